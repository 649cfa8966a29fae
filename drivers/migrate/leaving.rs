// SPDX-License-Identifier: GPL-2.0

//! The source's half of a move in the process's own context: capture, commit, and what becomes of the old task.
//!
//! A [`Leaving`] is the work that a process does at the border when it is to move: one for each move, owned by the kernel's list of works
//! until it runs. The order of the whole is in [`handover`](crate::handover).

use crate::{
    accounts::{
        self,
        Place, //
    },
    capture::{
        Capture,
        Journey, //
    },
    deputy::Deputy,
    faults::{
        self,
        Point, //
    },
    handover::{
        refused,
        Departure,
        Fate, //
    },
    kinds::KINDS,
    link,
    state::State, //
};
use banyan::BulkSocket;
use banyan_wire::{
    migrate::MigrateReply,
    op,
    Reason, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::{
    boundary::{
        BoundaryWork,
        Outcome, //
    },
    clock,
    own::Own,
    signals::Waiting, //
};

const SIGKILL: u32 = 9;

/// The work of a process that leaves, in its own context.
pub struct Leaving {
    /// The move.
    pub departure: Arc<Departure>,
    /// Of this node.
    pub state: Arc<State>,
    /// The connection for the image.
    pub socket: Option<BulkSocket>,
}

impl BoundaryWork for Leaving {
    fn run(&mut self, own: &Own) -> Outcome {
        let frozen_ns = clock::monotonic_ns();
        if !self.departure.begin() {
            return Outcome::Resume;
        }
        let journey = self.departure.journey;
        let home = journey.home == journey.source;

        // What is needed after the commit is made before it.
        let deputy = match self.prepare(own, home) {
            Ok(deputy) => deputy,
            Err(_) => return self.stay(Reason::NoMemory),
        };
        let mut capture = match self
            .socket
            .take()
            .ok_or(EINVAL)
            .and_then(|socket| Capture::new(journey, socket))
        {
            Ok(capture) => capture,
            Err(_) => {
                self.forget(&deputy);
                return self.stay(Reason::NoMemory);
            }
        };
        let guest = self.state.guests.get(journey.pid);
        capture.landlocked = guest.is_some_and(|guest| guest.landlocked);
        let restored = faults::pass(Point::Capture)
            .and_then(|()| capture_all(own, &mut capture))
            .map_err(|reason| self.departure.better_reason(reason))
            .and_then(|()| self.departure.await_restored())
            .and_then(|()| faults::pass(Point::Commit));
        let fate = match restored {
            Ok(()) => self.departure.commit(own),
            Err(reason) => Fate::Stays(reason),
        };
        match fate {
            Fate::Stays(reason) => {
                for kind in KINDS {
                    (kind.undo)(own, &mut capture);
                }
                self.forget(&deputy);
                return self.stay(reason);
            }
            Fate::Killed => {
                self.forget(&deputy);
                self.departure.tell_aborted(Reason::Killed);
                if let Some(deputy) = deputy {
                    deputy.end_guest();
                }
                self.departure
                    .end(&self.state, refused(Reason::Killed, None));
                return Outcome::Resume;
            }
            Fate::Gone | Fate::Lost => (),
        }
        let _ = faults::pass(Point::Leave);
        let now = clock::monotonic_ns();
        let bytes = capture.bytes();
        for kind in KINDS {
            (kind.leave)(own, &mut capture);
        }
        drop(capture);
        let lost = matches!(fate, Fate::Lost);
        let result = MigrateReply {
            freeze_us: now.saturating_sub(frozen_ns) / 1000,
            total_us: now.saturating_sub(self.departure.begun_ns()) / 1000,
            bytes,
            reason: if lost { Reason::NodeDown.code() } else { 0 },
            node: (!lost).then_some(journey.target),
            _pad: 0,
            errno: 0,
        };
        match deputy {
            Some(deputy) => {
                if lost {
                    deputy.node_down(journey.target);
                }
                self.departure.end(&self.state, result);
                deputy.live(own, &self.state)
            }
            None => {
                self.depart_for_good(own, lost);
                self.departure.end(&self.state, result);
                Outcome::Exit(0)
            }
        }
    }

    fn abandoned(&mut self) {
        self.departure.tell_aborted(Reason::Exiting);
        self.departure
            .end(&self.state, refused(Reason::Exiting, None));
    }
}

impl Leaving {
    /// Makes the deputy, if this is the home, and lets those find it who will ask for it.
    fn prepare(&self, own: &Own, home: bool) -> Result<Option<Arc<Deputy>>> {
        if !home {
            return Ok(None);
        }
        let journey = &self.departure.journey;
        let deputy = Deputy::new(
            own,
            Place {
                node: journey.target,
                moves: journey.moves,
            },
        )?;
        self.state.deputies.insert(journey.pid, deputy.clone())?;
        Ok(Some(deputy))
    }

    fn forget(&self, deputy: &Option<Arc<Deputy>>) {
        if let Some(deputy) = deputy {
            self.state.deputies.remove(deputy.pid, deputy);
        }
    }

    /// It stays here and runs on.
    fn stay(&self, reason: Reason) -> Outcome {
        let journey = &self.departure.journey;
        pr_info!(
            "{} stays at node {}: {}\n",
            journey.pid,
            journey.source.get(),
            reason.text()
        );
        self.departure.tell_aborted(reason);
        self.departure
            .end(&self.state, refused(reason, Some(journey.source)));
        Outcome::Resume
    }

    /// A guest has gone on to another node: this task is only a shell, and ends without anybody being told. What was sent to it
    /// meanwhile is sent after it.
    fn depart_for_good(&self, own: &Own, lost: bool) {
        let journey = &self.departure.journey;
        if let Some(guest) = self.state.guests.get(journey.pid) {
            self.state.guests.remove(journey.pid, &guest);
        }
        own.park_signals();
        let mut late = KVec::new();
        // Without memory the rest is lost, as if it had come after the end of this task.
        while let Some(waiting) = own.take_signal() {
            if late.push(waiting, GFP_KERNEL).is_err() {
                break;
            }
        }
        if own.killed_by_a_process() {
            // It killed but this shell.
            let kill = Waiting {
                signal: SIGKILL,
                shared: true,
                info: None,
            };
            let _ = late.push(kill, GFP_KERNEL);
        }
        if !lost && late.is_empty() {
            return;
        }
        let parting = Parting {
            journey: *journey,
            late,
            lost,
        };
        match self.state.partings.lock().push(parting, GFP_KERNEL) {
            Ok(()) => self.state.reaper.wake_all(),
            Err(_) => pr_warn!("no memory to tell of {}\n", journey.pid),
        }
    }
}

/// What is left to be told of a guest that has gone from here: by a thread of the node, since the shell may be killed.
pub struct Parting {
    journey: Journey,
    late: KVec<Waiting>,
    /// The node where it went died with it.
    lost: bool,
}

impl Parting {
    /// Tells it.
    pub fn tell(&self) {
        let Journey {
            pid, home, target, ..
        } = self.journey;
        if self.lost {
            let end = accounts::killed(pid);
            if let Err(failure) = link::request(home, op::GUEST_EXIT, &end, link::ANSWER_MS) {
                pr_info!("the end of {} was not told: {:?}\n", pid, failure.errno);
            }
            return;
        }
        for waiting in &self.late {
            let message = accounts::signal_message(pid, waiting, 0);
            let send = |node| link::request(node, op::SIGNAL, &message, link::ANSWER_MS);
            // It may have gone on from there, too.
            if let Err(failure) = send(target).or_else(|_| send(home)) {
                pr_info!(
                    "signal {} for {} was lost on the way: {:?}\n",
                    waiting.signal,
                    pid,
                    failure.errno
                );
            }
        }
    }
}

/// Tells what there is to tell, each on a thread of its own. Called by the keeper.
pub fn tell_partings(state: &Arc<State>) {
    loop {
        let parting = {
            let mut partings = state.partings.lock();
            match partings.remove(0) {
                Ok(parting) => parting,
                Err(_) => return,
            }
        };
        let pid = parting.journey.pid;
        let spawned = state
            .errands
            .spawn(fmt!("banyan/parting"), move || parting.tell());
        if let Err(e) = spawned {
            pr_warn!("nothing is told of {}: {:?}\n", pid, e);
        }
    }
}

/// Captures all kinds and ends the image.
fn capture_all(own: &Own, capture: &mut Capture) -> Result<(), Reason> {
    let why = |error| match error {
        _ if own.fatal_signal_pending() => Reason::Killed,
        e if e == ECONNRESET || e == EPIPE => Reason::Transport,
        e if e == ETIMEDOUT => Reason::TimedOut,
        e if e == ENOMEM => Reason::NoMemory,
        e if e == EBUSY => Reason::Changed,
        _ => Reason::CaptureFailed,
    };
    KINDS
        .iter()
        .try_for_each(|kind| {
            (kind.capture)(own, capture)
                .inspect_err(|e| pr_info!("{} of {} not captured: {:?}\n", kind.name, own.pid(), e))
        })
        .map_err(why)?;
    faults::pass(Point::Sent)?;
    capture.end().map_err(why)
}
