// SPDX-License-Identifier: GPL-2.0

//! What other nodes ask of this module: the dispatch of their requests and messages. One, registered with `banyan.ko` while this module
//! is loaded.
//!
//! Everything here runs on the transport's threads, and hands what may wait to an errand of its own.

use crate::{
    accounts::{
        self,
        Place, //
    },
    arrival,
    control,
    files,
    handover,
    link,
    request,
    state::State, //
};
use banyan::{
    BulkSocket,
    Figures,
    Responder,
    Service, //
};
use banyan_wire::{
    guest::{
        Freeze,
        GuestExit,
        GuestState,
        Orphan,
        Signal,
        Usage, //
    },
    migrate::{
        Clocks,
        ComeHome,
        ExplainRequest,
        Locate,
        MigrateRequest,
        MigrationState,
        MigrationStep,
        Moved,
        Offer,
        OfferReply,
        Phase, //
    },
    op,
    uapi,
    NodeId,
    Reason,
    Wire, //
};
use core::ops::Range;
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    }, //
};
use kernel_ext::{
    clock,
    machine,
    subject::Subject, //
};

/// The service.
pub struct MigrateService(pub Arc<State>);

/// Decodes a payload, or answers that it is none.
fn decode<T: Wire>(payload: &[u8], reply: Responder) -> Option<(T, Responder)> {
    match T::decode(payload) {
        Ok(value) => Some((value, reply)),
        Err(_) => {
            reply.fail(EBADMSG);
            None
        }
    }
}

impl MigrateService {
    /// Runs something that may wait, on a thread of its own; if there is none, the request is answered with a failure by being dropped.
    fn errand(&self, name: &'static str, body: impl FnOnce(&Arc<State>) + Send + 'static) {
        let state = self.0.clone();
        if let Err(e) = self
            .0
            .errands
            .spawn(fmt!("banyan/{}", name), move || body(&state))
        {
            pr_warn!("no thread to {}: {:?}\n", name, e);
        }
    }

    fn offered(&self, from: NodeId, offer: &Offer, reply: Responder) {
        let decision = if offer.source == from {
            arrival::offered(&self.0, offer)
        } else {
            Err((Reason::Internal, 0))
        };
        let (reason, detail) = decision
            .err()
            .map_or((0, 0), |(reason, detail)| (reason.code(), detail));
        link::answer(
            reply,
            &OfferReply {
                migration: offer.migration,
                reason,
                _pad: 0,
                detail,
            },
        );
    }

    /// COMMIT and QUERY.
    fn step(&self, from: NodeId, commit: bool, step: &MigrationStep, reply: Responder) {
        let unknown = MigrationState {
            migration: step.migration,
            pid: step.pid,
            phase: Phase::Unknown,
            reason: 0,
        };
        let state = match self.0.arrivals.get(step.migration.get()) {
            Some(arrival) if arrival.journey.source == from && commit => arrival.commit(),
            Some(arrival) if arrival.journey.source == from => arrival.state(),
            _ => unknown,
        };
        link::answer(reply, &state);
    }

    fn signalled(&self, from: NodeId, signal: &Signal, reply: Responder) {
        let sent_after = signal.seq == 0;
        let result = match self.0.guests.get(signal.pid) {
            Some(guest) if sent_after && guest.migration.source() == Some(from) => {
                guest.signal(signal)
            }
            Some(guest) if !sent_after && guest.home == from => guest.signal(signal),
            None if sent_after => self.sent_home(from, signal),
            _ => Err(ESRCH),
        };
        match result {
            Ok(()) => reply.reply(&[]),
            Err(e) => reply.fail(e),
        }
    }

    /// Whether the process has lately come home from there.
    fn came_home(&self, from: NodeId, pid: i32) -> bool {
        self.0.arrivals.snapshot().iter().any(|arrival| {
            arrival.homeward
                && arrival.journey.pid == pid
                && arrival.journey.source == from
                && arrival.state().phase == Phase::Committed
        })
    }

    /// A signal that came too late to a process of this node, which has just come home from there or has gone on; then its deputy
    /// passes it on.
    fn sent_home(&self, from: NodeId, signal: &Signal) -> Result {
        let away = self.0.deputies.get(signal.pid);
        let went_on = away.is_some_and(|deputy| deputy.was_at(from));
        if !went_on && !self.came_home(from, signal.pid) {
            return Err(ESRCH);
        }
        let subject = Subject::find(signal.pid).ok_or(ESRCH)?;
        subject.send_info(&accounts::waiting(signal))
    }

    fn ended(&self, from: NodeId, exit: &GuestExit, reply: Responder) {
        match self.0.deputies.get(exit.pid) {
            // It has not heard yet that the guest is there: it will be told again.
            Some(deputy) if deputy.place().node != from => reply.fail(EAGAIN),
            Some(deputy) => {
                deputy.guest_ended(from, *exit);
                reply.reply(&[]);
            }
            None => reply.reply(&[]),
        }
    }

    fn used(&self, from: NodeId, usage: &Usage) {
        match self.0.deputies.get(usage.pid) {
            Some(deputy) => deputy.guest_usage(from, *usage),
            // What is there is but a shell, about to vanish.
            None if self.came_home(from, usage.pid) => (),
            None => {
                // It died here while nobody could tell the guest.
                if let Some(home) = banyan::this_node() {
                    let message = Orphan {
                        pid: usage.pid,
                        home,
                        _pad: [0; 3],
                    };
                    link::tell(from, op::ORPHAN, &message);
                }
            }
        }
    }
}

impl Service for MigrateService {
    fn ops(&self) -> Range<u16> {
        op::MIGRATE_SERVICE
    }

    fn request(&self, from: NodeId, op: u16, payload: &[u8], reply: Responder) {
        match op {
            op::OFFER => {
                if let Some((offer, reply)) = decode::<Offer>(payload, reply) {
                    self.offered(from, &offer, reply);
                }
            }
            op::ASK => {
                if let Some((offer, reply)) = decode::<Offer>(payload, reply) {
                    let answer = if offer.source == from {
                        request::objections(&self.0, &offer)
                    } else {
                        Err(EINVAL)
                    };
                    match answer {
                        Ok(answer) => reply.reply(&answer),
                        Err(e) => reply.fail(e),
                    }
                }
            }
            op::COMMIT | op::QUERY => {
                if let Some((step, reply)) = decode::<MigrationStep>(payload, reply) {
                    self.step(from, op == op::COMMIT, &step, reply);
                }
            }
            op::SIGNAL => {
                if let Some((signal, reply)) = decode::<Signal>(payload, reply) {
                    self.signalled(from, &signal, reply);
                }
            }
            op::GUEST_EXIT => {
                if let Some((exit, reply)) = decode::<GuestExit>(payload, reply) {
                    self.ended(from, &exit, reply);
                }
            }
            op::CLOCKS => link::answer(
                reply,
                &Clocks {
                    monotonic_ns: clock::monotonic_ns(),
                    boottime_ns: clock::boottime_ns(),
                    name: machine::host_name(),
                },
            ),
            op::LOCATE => {
                if let Some((locate, reply)) = decode::<Locate>(payload, reply) {
                    link::answer(reply, &request::locate_here(&self.0, locate.pid));
                }
            }
            op::MIGRATE => {
                if let Some((wanted, reply)) = decode::<MigrateRequest>(payload, reply) {
                    self.errand("move", move |state| {
                        link::answer(reply, &request::migrate(state, &wanted));
                    });
                }
            }
            op::COME_HOME => {
                if let Some((wanted, reply)) = decode::<ComeHome>(payload, reply) {
                    self.errand("home", move |state| {
                        let result = match state.guests.get(wanted.pid) {
                            Some(guest) if guest.home == from => {
                                handover::depart(state, &guest.subject, from)
                            }
                            _ => handover::refused(Reason::NoSuchProcess, None),
                        };
                        link::answer(reply, &result);
                    });
                }
            }
            op::EXPLAIN => {
                if let Some((wanted, reply)) = decode::<ExplainRequest>(payload, reply) {
                    self.errand("explain", move |state| {
                        match request::explain(state, &wanted) {
                            Ok(answer) => reply.reply(&answer),
                            Err(failure) => reply.fail(failure),
                        }
                    });
                }
            }
            _ => reply.fail(ENOSYS),
        }
    }

    fn message(&self, from: NodeId, op: u16, payload: &[u8]) {
        if op::FILE.contains(&op) {
            files::message(from, op, payload);
            return;
        }
        match op {
            op::RESTORED | op::ABORT => {
                let Ok(step) = MigrationStep::decode(payload) else {
                    return;
                };
                let reason = Reason::from_code(step.reason).unwrap_or(Reason::TargetFailed);
                let aborted = (op == op::ABORT).then_some(reason);
                if let Some(departure) = self.0.departures.get(step.pid) {
                    departure.heard(from, step.migration, aborted);
                }
                if let Some(arrival) = self.0.arrivals.get(step.migration.get()) {
                    if op == op::ABORT && arrival.journey.source == from {
                        arrival.abort(reason, false);
                    }
                }
            }
            op::MOVED => {
                if let Ok(moved) = Moved::decode(payload) {
                    if let Some(deputy) = self.0.deputies.get(moved.pid) {
                        if moved.node == from {
                            deputy.moved(Place {
                                node: moved.node,
                                moves: moved.moves,
                            });
                        }
                    }
                }
            }
            op::GUEST_STATE => {
                if let Ok(state) = GuestState::decode(payload) {
                    if let Some(deputy) = self.0.deputies.get(state.pid) {
                        deputy.guest_state(from, state.doing, state.signal, state.seq);
                    }
                }
            }
            op::USAGE => {
                if let Ok(usage) = Usage::decode(payload) {
                    self.used(from, &usage);
                }
            }
            op::FREEZE => {
                if let Ok(freeze) = Freeze::decode(payload) {
                    if let Some(guest) = self.0.guests.get(freeze.pid) {
                        if guest.home == from {
                            guest.freeze(freeze.what, &self.0);
                        }
                    }
                }
            }
            op::ORPHAN => {
                if let Ok(orphan) = Orphan::decode(payload) {
                    if let Some(guest) = self.0.guests.get(orphan.pid) {
                        if guest.home == from && orphan.home == from {
                            guest.kill();
                        }
                    }
                }
            }
            _ => (),
        }
    }

    fn bulk(&self, from: NodeId, tag: u64, socket: BulkSocket) {
        let taken = self
            .0
            .arrivals
            .get(tag)
            .ok_or(ENOENT)
            .and_then(|arrival| arrival.connected(socket, &self.0));
        if let Err(e) = taken {
            pr_info!(
                "node {} connected for a move that is over: {:?}\n",
                from.get(),
                e
            );
        }
    }

    fn node_down(&self, node: NodeId) {
        files::node_down(node);
        for departure in self.0.departures.snapshot().iter() {
            departure.node_down(node);
        }
        for arrival in self.0.arrivals.snapshot().iter() {
            if arrival.journey.source == node {
                arrival.abort(Reason::NodeDown, false);
            }
        }
        for deputy in self.0.deputies.snapshot().iter() {
            deputy.node_down(node);
        }
    }

    fn lease_over(&self, node: NodeId) {
        for guest in self.0.guests.snapshot().iter() {
            if guest.home == node {
                guest.kill();
            }
        }
    }

    fn fence(&self) {
        for guest in self.0.guests.snapshot().iter() {
            guest.kill();
        }
        for deputy in self.0.deputies.snapshot().iter() {
            deputy.node_down(deputy.place().node);
        }
    }

    fn joined(&self) {
        self.0.keep_out.store(false, Relaxed);
    }

    fn going_down(&self) {
        self.0.keep_out.store(true, Relaxed);
        // Their parents are told that they are dead: they must not do anything after that.
        for guest in self.0.guests.snapshot().iter() {
            guest.kill();
        }
        for deputy in self.0.deputies.snapshot().iter() {
            deputy.end_guest();
        }
    }

    fn ioctl(&self, cmd: u32, arg: usize) -> Result<isize> {
        control::ioctl(&self.0, cmd, arg)
    }

    fn figures(&self) -> Figures {
        let draining = self.0.keep_out.load(Relaxed);
        Figures {
            guests_in: u32::try_from(self.0.guests.len()).unwrap_or(u32::MAX),
            guests_out: u32::try_from(self.0.deputies.len()).unwrap_or(u32::MAX),
            flags: uapi::NODE_FLAG_MIGRATE
                | if draining {
                    uapi::NODE_FLAG_DRAINING
                } else {
                    0
                },
        }
    }

    fn busy(&self) -> Option<i32> {
        let deputy = self.0.deputies.snapshot().first().map(|deputy| deputy.pid);
        deputy.or_else(|| self.0.guests.snapshot().first().map(|guest| guest.pid))
    }

    fn stopping(&self) {
        self.0.stopping.store(true, Relaxed);
        self.0.serve.wake_all();
    }
}
