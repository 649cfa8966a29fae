// SPDX-License-Identifier: GPL-2.0

//! Signals: what is done about them, masks, those that wait, the alternate stack, and the system call to go on with.
//!
//! Signals that wait are copied, and only marked at the source: after a move that fails they are still there, after one that succeeds
//! they are dropped, and what came meanwhile is left for the deputy to pass on. At the target all signals are blocked until the commit.

use super::Kind;
use crate::{
    capture::Capture,
    reasons::Reasons, //
    rebuild::Rebuild,
};
use banyan_wire::{
    image_state::{
        self as records,
        RestartKind, //
    },
    Reason,
    Wire, //
};
use kernel::prelude::*;
use kernel_ext::{
    own::Own,
    restart::{
        Restart,
        Sleep,
        FUTEX_REALTIME, //
    },
    signals::{
        Masks,
        Waiting, //
    },
    subject::Subject,
    syscalls::Syscalls,
    timeline::Timeline, //
};

/// This kind.
pub static KIND: Kind = Kind {
    name: "signals",
    carried: "dispositions of all signals, blocked signals, signals that wait with their siginfo, alternate stack, masks of sigsuspend \
              and ppoll, and the rest of an interrupted sleep, poll or futex wait",
    refused: "more waiting signals than can be carried (pending-signals), an interrupted system call of an unknown kind (not-carried)",
    check,
    capture,
    undo,
    restore,
    finish,
    committed,
    leave,
};

/// What is kept until the commit.
#[derive(Default)]
pub struct Rebuilt {
    actions: Option<KVec<records::SignalAction>>,
    masks: Option<Masks>,
    waiting: KVec<Waiting>,
    restart: Option<Restart>,
}

/// SIGKILL and SIGSTOP, whose disposition cannot be set.
const FIXED: [u32; 2] = [9, 19];

fn check(subject: &Subject, reasons: &mut Reasons) {
    let count = subject.waiting_signals();
    if count > records::MAX_PENDING {
        reasons.push(
            Reason::PendingSignals,
            u32::try_from(count).unwrap_or(u32::MAX),
        );
    }
}

fn capture(own: &Own, capture: &mut Capture) -> Result {
    let mut actions = KBox::new(
        records::SignalActions {
            actions: [Default::default(); records::SIGNALS],
        },
        GFP_KERNEL,
    )?;
    for (signal, to) in (1..).zip(&mut actions.actions) {
        let action = own.signal_action(signal);
        *to = records::SignalAction {
            handler: action.handler,
            flags: action.flags,
            restorer: action.restorer,
            mask: action.mask,
        };
    }
    capture.value(records::SIGNAL_ACTIONS, records::VERSION, &*actions)?;

    let masks = own.signal_masks();
    capture.value(
        records::SIGNAL_STATE,
        records::VERSION,
        &records::SignalState {
            blocked: masks.blocked,
            saved: masks.saved,
            restore_saved: masks.restore_saved.into(),
            stack_flags: masks.stack_flags,
            stack: masks.stack,
            stack_size: masks.stack_size,
        },
    )?;

    for waiting in own.capture_signals(records::MAX_PENDING)? {
        capture.value(
            records::PENDING_SIGNAL,
            records::VERSION,
            &records::PendingSignal {
                signal: waiting.signal,
                shared: waiting.shared.into(),
                has_info: waiting.info.is_some().into(),
                info: waiting.info.unwrap_or([0; records::SIGINFO]),
            },
        )?;
    }

    if let Some(restart) = own.restart()? {
        capture.value(
            records::RESTART,
            records::VERSION,
            &encode_restart(&restart, own),
        )?;
    }
    Ok(())
}

fn undo(own: &Own, _capture: &mut Capture) {
    own.release_signals();
}

fn restore(
    own: &Own,
    rebuild: &mut Rebuild,
    rtype: u16,
    version: u16,
    payload: &[u8],
) -> Result<bool> {
    let state = &mut rebuild.signals;
    match (rtype, version) {
        (records::SIGNAL_ACTIONS, records::VERSION) => {
            let mut actions = KVec::with_capacity(records::SIGNALS, GFP_KERNEL)?;
            for action in records::decode_actions(payload).map_err(|_| EBADMSG)? {
                actions.push(action.map_err(|_| EBADMSG)?, GFP_KERNEL)?;
            }
            state.actions = Some(actions);
        }
        (records::SIGNAL_STATE, records::VERSION) => {
            let masks = records::SignalState::decode(payload).map_err(|_| EBADMSG)?;
            state.masks = Some(Masks {
                blocked: masks.blocked,
                saved: masks.saved,
                restore_saved: masks.restore_saved != 0,
                stack: masks.stack,
                stack_size: masks.stack_size,
                stack_flags: masks.stack_flags,
            });
        }
        (records::PENDING_SIGNAL, records::VERSION) => {
            let waiting = records::PendingSignal::parse(payload).map_err(|_| EBADMSG)?;
            if state.waiting.len() >= records::MAX_PENDING.saturating_add(2 * records::SIGNALS) {
                return Err(EBADMSG);
            }
            state.waiting.push(
                Waiting {
                    signal: waiting.signal,
                    shared: waiting.shared != 0,
                    info: (waiting.has_info != 0).then_some(waiting.info),
                },
                GFP_KERNEL,
            )?;
        }
        (records::RESTART, records::VERSION) => {
            let restart = records::Restart::decode(payload).map_err(|_| EBADMSG)?;
            state.restart = Some(decode_restart(&restart, own)?);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn finish(own: &Own, rebuild: &mut Rebuild) -> Result {
    let actions = rebuild.signals.actions.take().ok_or(EBADMSG)?;
    if rebuild.signals.masks.is_none() {
        return Err(EBADMSG);
    }
    own.block_signals();
    let calls = Syscalls::new(own, rebuild.scratch(own)?);
    for (signal, action) in (1..).zip(&actions) {
        if FIXED.contains(&signal) {
            // A deputy has another.
            own.default_action(signal);
            continue;
        }
        calls.set_signal_action(
            signal,
            [action.handler, action.flags, action.restorer, action.mask],
        )?;
    }
    for waiting in &rebuild.signals.waiting {
        own.queue_signal(waiting)?;
    }
    Ok(())
}

fn committed(own: &Own, rebuild: &mut Rebuild) {
    if !own.set_restart(rebuild.signals.restart.as_ref()) {
        // This kernel lacks the function, though it runs the same version: the call returns EINTR.
        own.set_restart(None);
    }
    own.release_signals();
    if let Some(masks) = &rebuild.signals.masks {
        own.set_signal_masks(masks);
    }
}

fn leave(own: &Own, _capture: &mut Capture) {
    own.park_signals();
}

/// Which clock of the process a sleep's deadline is on.
fn timeline(restart: &Restart) -> Timeline {
    match restart {
        Restart::Sleep(sleep) => Timeline::of_clock(sleep.clock),
        Restart::AlarmSleep(sleep) if sleep.clock == 1 => Timeline::Boottime,
        Restart::Poll { .. } => Timeline::Monotonic,
        Restart::Futex { flags, .. } if flags & FUTEX_REALTIME == 0 => Timeline::Monotonic,
        _ => Timeline::Unshifted,
    }
}

fn encode_restart(restart: &Restart, own: &Own) -> records::Restart {
    let to_virtual = |deadline: i64| own.to_virtual(timeline(restart), deadline);
    let sleep = |what: RestartKind, sleep: &Sleep| records::Restart {
        what,
        flags: sleep.clock as u32,
        value: sleep.report,
        bits: 0,
        address: sleep.rest,
        address2: 0,
        deadline: to_virtual(sleep.deadline),
    };
    match restart {
        Restart::Sleep(it) => sleep(RestartKind::Sleep, it),
        Restart::CpuSleep(it) => sleep(RestartKind::CpuSleep, it),
        Restart::AlarmSleep(it) => sleep(RestartKind::AlarmSleep, it),
        &Restart::Poll {
            descriptors,
            count,
            deadline,
        } => records::Restart {
            what: RestartKind::Poll,
            flags: deadline.is_some().into(),
            value: count,
            bits: 0,
            address: descriptors,
            address2: 0,
            deadline: to_virtual(deadline.unwrap_or(0)),
        },
        &Restart::Futex {
            address,
            address2,
            value,
            flags,
            bits,
            deadline,
        } => records::Restart {
            what: RestartKind::Futex,
            flags,
            value,
            bits,
            address,
            address2,
            deadline: to_virtual(deadline),
        },
    }
}

fn decode_restart(record: &records::Restart, own: &Own) -> Result<Restart> {
    let sleep = Sleep {
        clock: record.flags as i32,
        report: record.value,
        rest: record.address,
        deadline: record.deadline,
    };
    // The kernel takes clock and report from here without looking at them again.
    if record.what != RestartKind::Poll && record.what != RestartKind::Futex && sleep.report > 1 {
        return Err(EBADMSG);
    }
    let mut restart = match record.what {
        RestartKind::Sleep if Timeline::is_sleep_clock(sleep.clock) => Restart::Sleep(sleep),
        RestartKind::CpuSleep if Timeline::is_own_cpu_clock(sleep.clock) => {
            Restart::CpuSleep(sleep)
        }
        RestartKind::AlarmSleep if sleep.clock == 0 || sleep.clock == 1 => {
            Restart::AlarmSleep(sleep)
        }
        RestartKind::Poll => Restart::Poll {
            descriptors: record.address,
            count: record.value,
            deadline: (record.flags & 1 != 0).then_some(record.deadline),
        },
        RestartKind::Futex => Restart::Futex {
            address: record.address,
            address2: record.address2,
            value: record.value,
            flags: record.flags,
            bits: record.bits,
            deadline: record.deadline,
        },
        _ => return Err(EBADMSG),
    };
    let line = timeline(&restart);
    match &mut restart {
        Restart::Sleep(Sleep { deadline, .. })
        | Restart::AlarmSleep(Sleep { deadline, .. })
        | Restart::CpuSleep(Sleep { deadline, .. })
        | Restart::Poll {
            deadline: Some(deadline),
            ..
        }
        | Restart::Futex { deadline, .. } => *deadline = own.to_raw(line, *deadline),
        Restart::Poll { deadline: None, .. } => (),
    }
    Ok(restart)
}
