// SPDX-License-Identifier: GPL-2.0

//! Messages between a deputy and its guest: ops 0x0201 to 0x02ff. One pair per process that is away.

use crate::ids::NodeId;

/// Bytes of the kernel's `siginfo_t`; carried as they are between nodes of one kernel ABI.
pub const SIGINFO_SIZE: usize = 128;

/// Highest signal number.
pub const MAX_SIGNAL: u32 = 64;

/// [`Usage::flags`]: the guest stands still because its deputy is frozen. A home where that is not so (any more) tells it by
/// [`Freeze`].
pub const USAGE_HELD: u32 = 1;
/// [`Usage::flags`]: the guest is stopped. A home where the deputy still is not, or still is though the guest is not, after two of them,
/// has missed a [`GuestState`].
pub const USAGE_STOPPED: u32 = 2;

crate::wire_enum! {
    /// What a guest does, in [`GuestState`]. Codes are those of [`child_state`](crate::uapi::child_state).
    pub enum Doing: u32 {
        Stopped = 1, "stopped";
        Continued = 2, "running on";
        Exited = 3, "ended";
    }

    /// What [`Freeze`] asks for.
    pub enum Freezing: u32 {
        Freeze = 1, "stand still";
        Thaw = 2, "run on";
    }
}

crate::wire_struct! {
    /// A signal that the deputy received. [`op::SIGNAL`](crate::op::SIGNAL).
    pub struct Signal {
        /// Pid of the process.
        pub pid: i32,
        /// Signal number, 1 to [`MAX_SIGNAL`]; the receiver checks it.
        pub signal: u32,
        /// Counts the signals of this deputy, from 1: the guest drops one that it has had, which was sent
        /// again since the answer was lost. 0 = from the node that the process has just left, which sends after it what came too late
        /// there; its home takes it too.
        pub seq: u64,
        /// 1 = for the process, 0 = for its one thread.
        pub group: u32,
        /// Zero.
        pub _pad: u32,
        /// Its `siginfo_t`.
        pub siginfo: [u8; SIGINFO_SIZE],
    }

    /// The guest ended. [`op::GUEST_EXIT`](crate::op::GUEST_EXIT). All figures are of the whole life.
    pub struct GuestExit {
        /// Pid of the process.
        pub pid: i32,
        /// Wait status, as `waitpid` gives it, with the core-dump flag.
        pub status: i32,
        /// User CPU time, nanoseconds.
        pub utime_ns: u64,
        /// System CPU time, nanoseconds.
        pub stime_ns: u64,
        /// Largest resident set, KiB.
        pub maxrss_kib: u64,
        /// Page faults without input.
        pub minflt: u64,
        /// Page faults with input.
        pub majflt: u64,
        /// Voluntary context switches.
        pub nvcsw: u64,
        /// Involuntary context switches.
        pub nivcsw: u64,
        /// Blocks read, 512 bytes each.
        pub inblock: u64,
        /// Blocks written, 512 bytes each.
        pub oublock: u64,
    }

    /// The guest stopped or goes on. [`op::GUEST_STATE`](crate::op::GUEST_STATE).
    pub struct GuestState {
        /// Pid of the process.
        pub pid: i32,
        /// What it does.
        pub doing: Doing,
        /// If stopped: the signal that did it; else 0.
        pub signal: u32,
        /// Counts the changes: an older one than the last is ignored.
        pub seq: u32,
    }

    /// What the guest has used so far. [`op::USAGE`](crate::op::USAGE), at most each second.
    pub struct Usage {
        /// Pid of the process.
        pub pid: i32,
        /// `USAGE_*`.
        pub flags: u32,
        /// User CPU time, nanoseconds.
        pub utime_ns: u64,
        /// System CPU time, nanoseconds.
        pub stime_ns: u64,
        /// Resident memory, KiB.
        pub rss_kib: u64,
        /// Size of the address space, KiB.
        pub vsize_kib: u64,
        /// Page faults without input.
        pub minflt: u64,
        /// Page faults with input.
        pub majflt: u64,
    }

    /// The deputy's cgroup is frozen or thawed. [`op::FREEZE`](crate::op::FREEZE).
    pub struct Freeze {
        /// Pid of the process.
        pub pid: i32,
        /// What to do.
        pub what: Freezing,
    }

    /// "There is no such process at its home: end it." [`op::ORPHAN`](crate::op::ORPHAN).
    pub struct Orphan {
        /// Pid of the process.
        pub pid: i32,
        /// Its home, which must be the sender.
        pub home: NodeId,
        /// Zero.
        pub _pad: [u8; 3],
    }
}

const _: () = {
    use crate::codec::Wire;
    assert!(Signal::SIZE == 152 && GuestExit::SIZE == 80 && GuestState::SIZE == 16);
    assert!(Usage::SIZE == 56 && Freeze::SIZE == 8 && Orphan::SIZE == 8);
};
