// SPDX-License-Identifier: GPL-2.0

//! What a guest has used and how it ended, as its home is told and as the deputy shows it.

use banyan_wire::{
    guest::{
        GuestExit,
        Signal,
        Usage,
        SIGINFO_SIZE, //
    },
    NodeId, //
};
use kernel_ext::signals::Waiting;

const SIGKILL: i32 = 9;

/// What the parent hears if the guest's node died.
pub fn killed(pid: i32) -> GuestExit {
    GuestExit {
        pid,
        status: SIGKILL,
        utime_ns: 0,
        stime_ns: 0,
        maxrss_kib: 0,
        minflt: 0,
        majflt: 0,
        nvcsw: 0,
        nivcsw: 0,
        inblock: 0,
        oublock: 0,
    }
}

/// What a guest had used when it ended.
pub fn of_exit(exit: &GuestExit) -> kernel_ext::usage::Usage {
    kernel_ext::usage::Usage {
        utime_ns: exit.utime_ns,
        stime_ns: exit.stime_ns,
        maxrss_kib: exit.maxrss_kib,
        minflt: exit.minflt,
        majflt: exit.majflt,
        nvcsw: exit.nvcsw,
        nivcsw: exit.nivcsw,
        inblock: exit.inblock,
        oublock: exit.oublock,
        ..Default::default()
    }
}

/// What a guest has used so far.
pub fn of_report(report: &Usage) -> kernel_ext::usage::Usage {
    kernel_ext::usage::Usage {
        utime_ns: report.utime_ns,
        stime_ns: report.stime_ns,
        minflt: report.minflt,
        majflt: report.majflt,
        ..Default::default()
    }
}

/// A signal on its way to a guest.
pub fn signal_message(pid: i32, waiting: &Waiting, seq: u64) -> Signal {
    // The kernel's form of it is shorter than that of user mode, which ends in zeros.
    let mut siginfo = [0; SIGINFO_SIZE];
    let info = waiting
        .info
        .unwrap_or_else(|| Waiting::plain_info(waiting.signal));
    for (to, from) in siginfo.iter_mut().zip(info) {
        *to = from;
    }
    Signal {
        pid,
        signal: waiting.signal,
        seq,
        group: waiting.shared.into(),
        _pad: 0,
        // Without information it is one of the kernel's own.
        siginfo,
    }
}

/// A signal that came for a process.
pub fn waiting(message: &Signal) -> Waiting {
    Waiting {
        signal: message.signal,
        shared: message.group != 0,
        info: message.siginfo.first_chunk().copied(),
    }
}

/// Where the guest is.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The node.
    pub node: NodeId,
    /// The number of the move that brought it there.
    pub moves: u32,
}
