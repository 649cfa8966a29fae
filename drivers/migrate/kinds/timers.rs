// SPDX-License-Identifier: GPL-2.0

//! Timers and used time: interval timers, POSIX timers, CPU time and what else the process has used.
//!
//! The source's timers run on while it is captured, so that a move that fails leaves no trace; what they send after the capture is
//! dropped after a move that succeeds, since they run at the target as well. A timer whose signal waits is armed for the time in the past
//! at which it expired: it expires at once, and its period and its overruns go on from there.

use super::Kind;
use crate::{
    capture::Capture,
    reasons::Reasons, //
    rebuild::Rebuild,
};
use banyan_wire::{
    image_state as records,
    Reason,
    Wire, //
};
use kernel::prelude::*;
use kernel_ext::{
    clock,
    own::Own,
    subject::Subject,
    syscalls::Syscalls,
    timeline::Timeline,
    timers::{
        self,
        Account,
        IntervalTimer,
        PosixTimer, //
    },
};

/// This kind.
pub static KIND: Kind = Kind {
    name: "timers",
    carried: "ITIMER_REAL, ITIMER_VIRTUAL and ITIMER_PROF, POSIX timers on plain clocks and on the process's own CPU clocks with their \
              ids, overruns and signals that wait, CPU time used so far, page faults, context switches, I/O counts, start time",
    refused: "POSIX timers on alarm clocks, on devices' clocks and on other processes' CPU clocks (posix-timers)",
    check,
    capture,
    restore,
    finish,
    committed,
    leave,
    ..Kind::NOTHING
};

/// What is kept until the commit.
#[derive(Default)]
pub struct Rebuilt {
    interval: Option<records::IntervalTimers>,
    posix: KVVec<records::PosixTimer>,
    usage: Option<records::Usage>,
}

const PR_TIMER_CREATE_RESTORE_IDS: u32 = 77;
/// `SIGEV_THREAD_ID`: the signal is for one thread.
const SIGEV_THREAD_ID: u32 = 4;
const ITIMER_REAL: usize = 0;
const ITIMER_VIRTUAL: usize = 1;
/// What the kernel adds to a CPU interval timer, so that it does not expire too early: one tick.
const TICK_NS: i64 = 4_000_000;

fn check(subject: &Subject, reasons: &mut Reasons) {
    if let Some(id) = subject.odd_timer() {
        reasons.push(Reason::PosixTimers, id.unsigned_abs());
    }
}

fn capture(own: &Own, capture: &mut Capture) -> Result {
    let mut interval = [records::IntervalTimer::default(); timers::INTERVAL_TIMERS];
    for (which, (to, from)) in interval.iter_mut().zip(own.interval_timers()).enumerate() {
        let IntervalTimer {
            expires,
            interval,
            waits,
        } = from;
        let shift = which == ITIMER_REAL && expires != 0;
        let expires = if shift {
            own.to_virtual(Timeline::Monotonic, expires)
        } else {
            expires
        };
        *to = records::IntervalTimer {
            expires,
            interval,
            waits,
        };
    }
    capture.value(
        records::INTERVAL_TIMERS,
        records::VERSION,
        &records::IntervalTimers { timers: interval },
    )?;

    for timer in own.posix_timers(records::MAX_POSIX_TIMERS)? {
        if !timers::clock_is_plain(timer.clock, own.pid()) {
            return Err(EOPNOTSUPP);
        }
        let expires = match timer.expires {
            0 => 0,
            expires => own.to_virtual(timeline(timer.clock, timer.relative), expires),
        };
        let PosixTimer {
            id,
            clock,
            notify,
            signal,
            value,
            interval,
            overrun_last,
            pending,
            relative,
            ..
        } = timer;
        capture.value(
            records::POSIX_TIMER,
            records::VERSION,
            &records::PosixTimer {
                id,
                clock,
                notify,
                signal,
                value,
                expires,
                interval,
                overrun_last,
                pending,
                relative,
            },
        )?;
    }

    let used = own.account();
    capture.value(
        records::USAGE,
        records::VERSION,
        &records::Usage {
            start: own.to_virtual(Timeline::Monotonic, used.start as i64),
            start_boottime: own.to_virtual(Timeline::Boottime, used.start_boottime as i64),
            user: used.utime,
            system: used.stime,
            run: used.run,
            reported: used.reported,
            children: used.children_time,
            voluntary: used.nvcsw,
            involuntary: used.nivcsw,
            children_switches: used.children_switches,
            minor_faults: used.minor_faults,
            major_faults: used.major_faults,
            children_faults: used.children_faults,
            blocks: used.blocks,
            largest: used.largest,
            io: used.io,
        },
    )
}

/// Which clock a POSIX timer's expiry is on.
fn timeline(clock: i32, relative: u32) -> Timeline {
    if relative != 0 {
        return Timeline::Monotonic;
    }
    Timeline::of_clock(clock)
}

fn restore(
    _own: &Own,
    rebuild: &mut Rebuild,
    rtype: u16,
    version: u16,
    payload: &[u8],
) -> Result<bool> {
    let state = &mut rebuild.timers;
    match (rtype, version) {
        (records::INTERVAL_TIMERS, records::VERSION) => {
            state.interval = Some(records::IntervalTimers::decode(payload).map_err(|_| EBADMSG)?);
        }
        (records::POSIX_TIMER, records::VERSION) => {
            let timer = records::PosixTimer::decode(payload).map_err(|_| EBADMSG)?;
            if state.posix.len() >= records::MAX_POSIX_TIMERS
                || timer.interval < 0
                || timer.expires < 0
            {
                return Err(EBADMSG);
            }
            state.posix.push(timer, GFP_KERNEL)?;
        }
        (records::USAGE, records::VERSION) => {
            state.usage = Some(records::Usage::decode(payload).map_err(|_| EBADMSG)?);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn finish(own: &Own, rebuild: &mut Rebuild) -> Result {
    if rebuild.timers.interval.is_none() || rebuild.timers.usage.is_none() {
        return Err(EBADMSG);
    }
    // A deputy may have some left from an attempt to come home that failed.
    own.delete_posix_timers()?;
    let calls = Syscalls::new(own, rebuild.scratch(own)?);
    calls.prctl(PR_TIMER_CREATE_RESTORE_IDS, 1, 0)?;
    for timer in &rebuild.timers.posix {
        if !timers::clock_is_plain(timer.clock, own.pid()) {
            return Err(EBADMSG);
        }
        let thread = if timer.notify & SIGEV_THREAD_ID != 0 {
            own.pid()
        } else {
            0
        };
        calls.create_timer(
            timer.clock,
            timer.id,
            timer.value,
            timer.signal,
            timer.notify,
            thread,
        )?;
    }
    calls.prctl(
        PR_TIMER_CREATE_RESTORE_IDS,
        rebuild.identity.chooses_timer_ids().into(),
        0,
    )?;
    Ok(())
}

fn committed(own: &Own, rebuild: &mut Rebuild) {
    let complain = |what: &str, result: Result| {
        if let Err(e) = result {
            pr_warn!("{}: {} not started: {:?}\n", own.pid(), what, e);
        }
    };
    if let Some(used) = rebuild.timers.usage.take() {
        own.set_account(&Account {
            start: own.to_raw(Timeline::Monotonic, used.start) as u64,
            start_boottime: own.to_raw(Timeline::Boottime, used.start_boottime) as u64,
            utime: used.user,
            stime: used.system,
            run: used.run,
            reported: used.reported,
            children_time: used.children,
            nvcsw: used.voluntary,
            nivcsw: used.involuntary,
            children_switches: used.children_switches,
            minor_faults: used.minor_faults,
            major_faults: used.major_faults,
            children_faults: used.children_faults,
            blocks: used.blocks,
            largest: used.largest,
            io: used.io,
        });
    }
    let used = own.account();
    let user = used.utime[0].wrapping_add(used.utime[1]) as i64;
    let all = user.wrapping_add(used.stime[0].wrapping_add(used.stime[1]) as i64);
    let monotonic = clock::monotonic_ns() as i64;

    for (which, timer) in rebuild
        .timers
        .interval
        .iter()
        .flat_map(|it| it.timers)
        .enumerate()
    {
        let interval = timer.interval.max(0);
        if timer.expires == 0 {
            // A CPU timer keeps its interval without running; nobody can tell.
            complain("an interval timer", own.set_interval_timer(which, 0, 0));
            continue;
        }
        if which == ITIMER_REAL {
            let expires = own.to_raw(Timeline::Monotonic, timer.expires);
            if timer.waits != 0 {
                complain("an interval timer", own.set_interval_timer(which, 0, 0));
                own.set_waiting_timer(expires, interval);
            } else {
                let left = expires.saturating_sub(monotonic).max(1);
                complain(
                    "an interval timer",
                    own.set_interval_timer(which, left, interval),
                );
            }
        } else {
            let now = if which == ITIMER_VIRTUAL { user } else { all };
            let left = timer
                .expires
                .saturating_sub(now)
                .saturating_sub(TICK_NS)
                .max(1);
            complain(
                "an interval timer",
                own.set_interval_timer(which, left, interval),
            );
        }
    }

    for timer in &rebuild.timers.posix {
        if timer.expires == 0 {
            continue;
        }
        let result = if timer.relative != 0 {
            let left = own
                .to_raw(Timeline::Monotonic, timer.expires)
                .saturating_sub(monotonic);
            own.arm_posix_timer(timer.id, false, left, timer.interval, timer.overrun_last)
        } else {
            own.arm_posix_timer(
                timer.id,
                true,
                timer.expires,
                timer.interval,
                timer.overrun_last,
            )
        };
        complain("a timer", result);
    }
}

fn leave(own: &Own, _capture: &mut Capture) {
    for which in 0..timers::INTERVAL_TIMERS {
        if let Err(e) = own.set_interval_timer(which, 0, 0) {
            pr_warn!("{}: an interval timer goes on: {:?}\n", own.pid(), e);
        }
    }
    if let Err(e) = own.delete_posix_timers() {
        pr_warn!("{}: a timer goes on: {:?}\n", own.pid(), e);
    }
}
