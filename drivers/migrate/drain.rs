// SPDX-License-Identifier: GPL-2.0

//! Emptying this node: every guest is sent to its home, every process homed here is brought home.
//!
//! One [`Drain`] for each call of `DRAIN`, shared by its caller and a few errands that each take one process after the other.
//!
//! Lock order: `inner` is innermost; it is never held across a wait or a call to another node.

use crate::{
    deputy::Deputy,
    guest::Guest,
    handover,
    link,
    state::State, //
};
use banyan_wire::{
    migrate::{
        ComeHome,
        HomeCause,
        MigrateReply, //
    },
    op,
    Reason, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    time::Msecs, //
};
use kernel_ext::wait::{
    Interrupt,
    WaitQueue, //
};

/// Most processes that are moved at the same time.
const WIDTH: usize = 8;
/// Longest wait for one process to come home, milliseconds.
const HOME_MS: Msecs = 600_000;
/// How often a caller whose moves take long looks again, milliseconds.
const LOOK_MS: Msecs = 60_000;

/// A process that has to go.
enum Leaver {
    Guest(Arc<Guest>),
    Deputy(Arc<Deputy>),
}

impl Leaver {
    fn pid(&self) -> i32 {
        match self {
            Leaver::Guest(guest) => guest.pid,
            Leaver::Deputy(deputy) => deputy.pid,
        }
    }

    /// Moves it to its home. Waits until that is done or refused.
    fn go_home(&self, state: &Arc<State>) -> MigrateReply {
        match self {
            Leaver::Guest(guest) => handover::depart(state, &guest.subject, guest.home),
            Leaver::Deputy(deputy) => {
                let wanted = ComeHome {
                    pid: deputy.pid,
                    cause: HomeCause::Drain,
                    _pad: 0,
                };
                link::ask(deputy.place().node, op::COME_HOME, &wanted, HOME_MS)
                    .unwrap_or_else(|_| handover::refused(Reason::Transport, None))
            }
        }
    }
}

struct Inner {
    left: KVec<Leaver>,
    /// Processes that are being moved now.
    moving: u32,
    result: Drained,
}

/// What became of it.
#[derive(Clone, Copy, Default)]
pub struct Drained {
    /// Processes that were moved.
    pub moved: u32,
    /// The first that stays, and the code of the reason.
    pub held: Option<(i32, u16)>,
}

#[pin_data]
struct Drain {
    #[pin]
    inner: Mutex<Inner>,
    #[pin]
    changed: WaitQueue,
}

/// Empties this node, several processes at once. Returns when each has been moved or refused.
///
/// # Errors
///
/// `ENOMEM`; `EINTR` on a fatal signal: moves that have begun go on, no other begins.
pub fn run(state: &Arc<State>) -> Result<Drained> {
    let mut left = KVec::new();
    for guest in state.guests.snapshot().iter() {
        left.push(Leaver::Guest(guest.clone()), GFP_KERNEL)?;
    }
    for deputy in state.deputies.snapshot().iter() {
        left.push(Leaver::Deputy(deputy.clone()), GFP_KERNEL)?;
    }
    let width = left.len().min(WIDTH);
    let drain = Arc::pin_init(
        pin_init!(Drain {
            inner <- new_mutex!(Inner {
                left,
                moving: 0,
                result: Drained::default(),
            }),
            changed <- WaitQueue::new(),
        }),
        GFP_KERNEL,
    )?;
    for _ in 0..width {
        let (it, of) = (drain.clone(), state.clone());
        let spawned = state
            .errands
            .spawn(fmt!("banyan/drain"), move || it.work(&of));
        if spawned.is_err() {
            // Too many errands already: the caller does it alone, or helps those that there are.
            drain.work(state);
            break;
        }
    }
    loop {
        let done = || {
            let inner = drain.inner.lock();
            inner.left.is_empty() && inner.moving == 0
        };
        match drain.changed.wait(Interrupt::Killable, LOOK_MS, done) {
            Ok(()) => return Ok(drain.inner.lock().result),
            Err(e) if e == ETIMEDOUT => (),
            Err(e) => {
                let dropped = core::mem::take(&mut drain.inner.lock().left);
                drop(dropped);
                return Err(e);
            }
        }
    }
}

impl Drain {
    fn next(&self) -> Option<Leaver> {
        let mut inner = self.inner.lock();
        let next = inner.left.pop()?;
        inner.moving = inner.moving.saturating_add(1);
        Some(next)
    }

    /// Moves one after the other until none is left.
    fn work(&self, state: &Arc<State>) {
        while let Some(leaver) = self.next() {
            let reply = leaver.go_home(state);
            let mut inner = self.inner.lock();
            inner.moving = inner.moving.saturating_sub(1);
            let result = &mut inner.result;
            if reply.reason == 0 {
                result.moved = result.moved.saturating_add(1);
            } else if reply.reason != Reason::NoSuchProcess.code() && result.held.is_none() {
                result.held = Some((leaver.pid(), reply.reason));
            }
            drop(inner);
            self.changed.wake_all();
        }
    }
}
