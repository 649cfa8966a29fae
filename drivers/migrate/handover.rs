// SPDX-License-Identifier: GPL-2.0

//! The two-phase move, seen from the source: offer, accept, capture, send, restored, commit. The only place that knows the order.
//!
//! A [`Departure`] exists for each process on its way from this node. Until the commit is sent the process belongs to this node, and runs
//! on here after any failure. After it was sent, the target's word decides, and if the answer is lost the target is asked until it says,
//! or is dead: then the process is gone with it, as it would be had it run there for a while. So there are never two.
//!
//! ```text
//!  this node                                   target
//!  check ── OFFER ───────────────────────────▶ check, Offered
//!        ◀─ accepted ─────────────────────────
//!        ── bulk connection ─────────────────▶ Receiving: a child, or the deputy, takes it
//!  capture ─ image ──────────────────────────▶ rebuild
//!        ◀─ RESTORED ───────────────────────── Restored
//!        ── COMMIT ──────────────────────────▶ Committed: it runs there
//!        ◀─ Committed ────────────────────────
//!  deputy, or gone
//! ```
//!
//! Lock order: `Departure::inner` is innermost; it is never held across a wait or a call to another node.

use crate::{
    capture::Journey,
    faults::{
        self,
        Point, //
    },
    guest::Guest,
    kinds::KINDS,
    leaving::Leaving,
    link,
    reasons::Reasons,
    state::State, //
};
use banyan::Failure;
use banyan_wire::{
    migrate::{
        first_move,
        next_move,
        MigrateReply,
        MigrationId,
        MigrationState,
        MigrationStep,
        Offer,
        OfferReply,
        Phase,
        OFFER_HOMEWARD,
        OFFER_ONWARD, //
    },
    op,
    NodeId,
    Reason,
    Wire, //
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
use kernel_ext::{
    boundary::{
        self,
        Notify, //
    },
    clock,
    machine,
    own::Own,
    subject::Subject,
    wait::{
        self,
        Interrupt,
        WaitQueue, //
    }, //
};

/// Longest wait for the process to come to the border, milliseconds.
const BORDER_MS: Msecs = 5_000;
/// Longest wait for the target to have restored what it was sent, milliseconds.
const RESTORE_MS: Msecs = 30_000;
/// Longest wait of whoever asked for the move, milliseconds; the move itself goes on.
const WHOLE_MS: Msecs = 600_000;
/// How long the target may take to say why it broke the connection, milliseconds.
const STORY_MS: Msecs = 500;
/// How often it is asked again if the pid is taken at the target.
const PID_TRIES: u32 = 10;
/// Pause between two questions, milliseconds.
const ASK_AGAIN_MS: Msecs = 200;
/// How often a move is begun anew that failed for something passing.
const NEW_STARTS: u32 = 2;

/// What the target has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Restored,
    Aborted(Reason),
}

struct Inner {
    /// The task is at the border and works on it.
    begun: bool,
    /// Given up before the task came to the border.
    cancelled: bool,
    said: Said,
    /// The target is gone.
    target_down: bool,
    result: Option<MigrateReply>,
}

/// A process on its way from this node.
#[pin_data]
pub struct Departure {
    /// Who moves, from where to where.
    pub journey: Journey,
    begun_ns: u64,
    #[pin]
    inner: Mutex<Inner>,
    #[pin]
    changed: WaitQueue,
}

/// A failed move for whoever asked for it.
pub fn refused(reason: Reason, node: Option<NodeId>) -> MigrateReply {
    MigrateReply {
        freeze_us: 0,
        total_us: 0,
        bytes: 0,
        reason: reason.code(),
        node,
        _pad: 0,
        errno: 0,
    }
}

/// Every reason why this process cannot move to `target` now, as far as this node knows.
pub fn check(subject: &Subject, target: Option<NodeId>, reasons: &mut Reasons) {
    for kind in KINDS {
        (kind.check)(subject, reasons);
    }
    if let Some(target) = target {
        if Some(target) == banyan::this_node() {
            reasons.push(Reason::AlreadyThere, u32::from(target.get()));
        } else if !banyan::is_member(target) {
            reasons.push(Reason::NodeDown, u32::from(target.get()));
        }
    }
}

/// Moves a process of this node to `target`. Returns when it runs there or will not.
pub fn depart(state: &Arc<State>, subject: &Subject, target: NodeId) -> MigrateReply {
    let Some(here) = banyan::this_node() else {
        return refused(Reason::NotJoined, None);
    };
    let mut starts = 0;
    loop {
        let mut reasons = Reasons::new();
        check(subject, Some(target), &mut reasons);
        if let Some(reason) = reasons.first() {
            return refused(reason, Some(here));
        }
        let reply = match begin(state, subject, here, target) {
            Ok(departure) => departure.outcome(state),
            Err(reason) => refused(reason, Some(here)),
        };
        if starts >= NEW_STARTS || !passes(reply.reason) {
            return reply;
        }
        starts += 1;
        if wait::sleep(Interrupt::Killable, ASK_AGAIN_MS).is_err() {
            return reply;
        }
    }
}

/// Begins the move home of a guest, in its own context: it goes when it comes to the border.
///
/// # Errors
///
/// Why it cannot: `Busy` if it is being moved already.
pub fn bring_home(state: &Arc<State>, guest: &Guest) -> Result<(), Reason> {
    let here = banyan::this_node().ok_or(Reason::NotJoined)?;
    let mut reasons = Reasons::new();
    check(&guest.subject, Some(guest.home), &mut reasons);
    match reasons.first() {
        Some(reason) => Err(reason),
        None => begin(state, &guest.subject, here, guest.home).map(drop),
    }
}

/// Whether a move that failed for this reason may well succeed if it is begun anew. A process that has `changed` since it was checked is
/// checked again; and the first opening of a file that the source has just written makes it hand back to the server what it has cached
/// (an NFS delegation), so that both then see the same times of the file.
fn passes(code: u16) -> bool {
    matches!(
        Reason::from_code(code),
        Some(Reason::Changed | Reason::FileIdentity)
    )
}

/// Offers the process and posts the work; what follows happens in the process's own context.
fn begin(
    state: &Arc<State>,
    subject: &Subject,
    here: NodeId,
    target: NodeId,
) -> Result<Arc<Departure>, Reason> {
    let pid = subject.pid();
    let guest = state.guests.get(pid);
    let home = guest.as_ref().map_or(here, |guest| guest.home);
    let sequence = state.next_move();
    let journey = Journey {
        migration: MigrationId::new(here, sequence),
        pid,
        home,
        source: here,
        target,
        moves: guest
            .as_ref()
            .map_or(first_move(sequence), |guest| next_move(guest.moves)),
    };
    let departure = Arc::pin_init(
        pin_init!(Departure {
            journey,
            begun_ns: clock::monotonic_ns(),
            inner <- new_mutex!(Inner {
                begun: false,
                cancelled: false,
                said: Said::Nothing,
                target_down: false,
                result: None,
            }),
            changed <- WaitQueue::new(),
        }),
        GFP_KERNEL,
    )
    .map_err(|_| Reason::NoMemory)?;
    state
        .departures
        .insert(pid, departure.clone())
        .map_err(|e| {
            if e == EEXIST {
                Reason::Busy
            } else {
                Reason::NoMemory
            }
        })?;
    let posted = faults::pass(Point::Offer)
        .and_then(|()| offer(subject, &journey, guest.is_some()))
        .and_then(|()| faults::pass(Point::Connect))
        .and_then(|()| {
            banyan::open_bulk(target, journey.migration.get(), link::ANSWER_MS)
                .map_err(|_| Reason::Transport)
        })
        .and_then(|socket| {
            let leaving = Leaving {
                departure: departure.clone(),
                state: state.clone(),
                socket: Some(socket),
            };
            boundary::post(subject, state.module, Notify::Interrupt, leaving)
                .map_err(|_| Reason::Exiting)
        });
    if let Err(reason) = posted {
        departure.tell_aborted(reason);
        state.departures.remove(pid, &departure);
        return Err(reason);
    }
    Ok(departure)
}

/// What is offered: the process as it is now.
fn describe(subject: &Subject, journey: &Journey, onward: bool) -> Result<Offer> {
    let usage = subject.usage();
    let mut flags = 0;
    if journey.target == journey.home {
        flags |= OFFER_HOMEWARD;
    }
    if onward {
        flags |= OFFER_ONWARD;
    }
    Ok(Offer {
        migration: journey.migration,
        pid: journey.pid,
        home: journey.home,
        source: journey.source,
        flags,
        bytes: usage.rss_kib.saturating_mul(1024),
        pages: usage.rss_kib / 4,
        xfeatures: machine::xfeatures(),
        abi: banyan_wire::handshake::abi_hash(&machine::kernel_release()),
        xsave_size: machine::xsave_size(),
        mappings: 0,
        descriptors: 0,
        image_version: banyan_wire::image::IMAGE_VERSION,
        _pad: 0,
        cpu: machine::cpu_capabilities()?,
    })
}

/// Asks another node what it has against a process of this node, and begins nothing: an [`ExplainReply`](banyan_wire::migrate::ExplainReply).
///
/// # Errors
///
/// Those of `banyan::call`.
pub fn ask(state: &State, subject: &Subject, target: NodeId) -> Result<banyan::Answer, Failure> {
    let here = banyan::this_node().ok_or(ENOTCONN)?;
    let guest = state.guests.get(subject.pid());
    let journey = Journey {
        migration: MigrationId::new(here, 0),
        pid: subject.pid(),
        home: guest.as_ref().map_or(here, |guest| guest.home),
        source: here,
        target,
        moves: 0,
    };
    let mut bytes = [0; Offer::SIZE];
    describe(subject, &journey, guest.is_some())?
        .encode(&mut bytes)
        .map_err(|_| EMSGSIZE)?;
    banyan::call(target, op::ASK, &bytes, link::ANSWER_MS)
}

fn offer(subject: &Subject, journey: &Journey, onward: bool) -> Result<(), Reason> {
    let offer = describe(subject, journey, onward).map_err(|_| Reason::Internal)?;
    let mut tries = 0;
    loop {
        let reply: OfferReply = link::ask(journey.target, op::OFFER, &offer, link::ANSWER_MS)
            .map_err(|_| Reason::Transport)?;
        match Reason::from_code(reply.reason) {
            _ if reply.migration != journey.migration => return Err(Reason::Internal),
            None if reply.reason == 0 => return Ok(()),
            None => return Err(Reason::TargetRefused),
            // It may be what is left there of the process's own last visit.
            Some(Reason::PidTaken) if tries < PID_TRIES => tries += 1,
            Some(reason) => return Err(reason),
        }
        wait::sleep(Interrupt::Killable, ASK_AGAIN_MS).map_err(|_| Reason::Interrupted)?;
    }
}

impl Departure {
    /// Waits for the end of the move, or for a fatal signal, whatever comes first.
    fn outcome(self: &Arc<Self>, state: &State) -> MigrateReply {
        let here = Some(self.journey.source);
        let _ = self.changed.wait(Interrupt::Killable, BORDER_MS, || {
            let inner = self.inner.lock();
            inner.begun || inner.result.is_some()
        });
        {
            let mut inner = self.inner.lock();
            if !inner.begun && inner.result.is_none() {
                // In a system call that cannot be interrupted, or stopped. The work is still posted, and will find this.
                inner.cancelled = true;
                drop(inner);
                self.tell_aborted(Reason::InKernel);
                state.departures.remove(self.journey.pid, self);
                return refused(Reason::InKernel, here);
            }
        }
        let ended = || self.inner.lock().result.is_some();
        let _ = self.changed.wait(Interrupt::Killable, WHOLE_MS, ended);
        let result = self.inner.lock().result;
        result.unwrap_or_else(|| refused(Reason::Interrupted, here))
    }

    /// The target has said something about the move `migration`.
    pub fn heard(&self, from: NodeId, migration: MigrationId, aborted: Option<Reason>) {
        if from != self.journey.target || migration != self.journey.migration {
            return;
        }
        {
            let mut inner = self.inner.lock();
            inner.said = match (inner.said, aborted) {
                (said @ Said::Aborted(_), _) => said,
                (_, Some(reason)) => Said::Aborted(reason),
                (_, None) => Said::Restored,
            };
        }
        self.changed.wake_all();
    }

    /// A node is gone.
    pub fn node_down(&self, node: NodeId) {
        if node == self.journey.target {
            self.inner.lock().target_down = true;
            self.changed.wake_all();
        }
    }

    fn step(&self, reason: u16) -> MigrationStep {
        MigrationStep {
            migration: self.journey.migration,
            pid: self.journey.pid,
            reason,
            _pad: 0,
        }
    }

    /// Tells the target that the move is given up.
    pub fn tell_aborted(&self, reason: Reason) {
        link::tell(self.journey.target, op::ABORT, &self.step(reason.code()));
    }

    /// The task is at the border and begins. Says whether the move is still wanted.
    pub fn begin(&self) -> bool {
        let mut inner = self.inner.lock();
        if inner.cancelled {
            return false;
        }
        inner.begun = true;
        drop(inner);
        self.changed.wake_all();
        true
    }

    /// When the move was asked for, nanoseconds of `CLOCK_MONOTONIC`.
    pub fn begun_ns(&self) -> u64 {
        self.begun_ns
    }

    /// Waits until the target has restored the process.
    pub fn await_restored(&self) -> Result<(), Reason> {
        let decided = || {
            let inner = self.inner.lock();
            inner.target_down || inner.said != Said::Nothing
        };
        let waited = self.changed.wait(Interrupt::Killable, RESTORE_MS, decided);
        let inner = self.inner.lock();
        match (inner.said, inner.target_down) {
            (Said::Aborted(reason), _) => Err(reason),
            (_, true) => Err(Reason::NodeDown),
            (Said::Restored, _) => Ok(()),
            (Said::Nothing, _) if waited == Err(EINTR) => Err(Reason::Killed),
            (Said::Nothing, _) => Err(Reason::TimedOut),
        }
    }

    /// A broken connection is often but the end of a story that the target is about to tell.
    pub fn better_reason(&self, reason: Reason) -> Reason {
        if reason == Reason::Transport {
            let told = || matches!(self.inner.lock().said, Said::Aborted(_));
            let _ = self.changed.wait(Interrupt::Killable, STORY_MS, told);
            if let Said::Aborted(reason) = self.inner.lock().said {
                return reason;
            }
        }
        reason
    }

    /// Commits. Whatever happens, the answer is the truth.
    pub fn commit(&self, own: &Own) -> Fate {
        // As long as nothing was sent it is known to be here.
        if self.inner.lock().target_down {
            return Fate::Stays(Reason::NodeDown);
        }
        let mut question = op::COMMIT;
        loop {
            let answer: Result<MigrationState, Failure> = link::ask(
                self.journey.target,
                question,
                &self.step(0),
                link::ANSWER_MS,
            );
            if let Ok(answer) = answer {
                match answer.phase {
                    _ if answer.migration != self.journey.migration => (),
                    Phase::Committed => return Fate::Gone,
                    Phase::Aborted => {
                        return Fate::Stays(
                            Reason::from_code(answer.reason).unwrap_or(Reason::TargetFailed),
                        )
                    }
                    // It has not heard the commit: say it again.
                    Phase::Restored => {
                        question = op::COMMIT;
                        continue;
                    }
                    // It has forgotten: then it has not committed, for that it remembers long enough.
                    _ => return Fate::Stays(Reason::TargetFailed),
                }
            }
            question = op::QUERY;
            if self.inner.lock().target_down {
                return Fate::Lost;
            }
            if own.fatal_signal_pending() {
                return Fate::Killed;
            }
            let _ = wait::sleep(Interrupt::Killable, ASK_AGAIN_MS);
        }
    }

    /// Ends the move with this result.
    pub fn end(self: &Arc<Self>, state: &State, result: MigrateReply) {
        self.inner.lock().result = Some(result);
        state.departures.remove(self.journey.pid, self);
        self.changed.wake_all();
    }
}

/// What became of a process after the commit was sent.
pub enum Fate {
    /// It runs at the target.
    Gone,
    /// It belongs here.
    Stays(Reason),
    /// The target died with or without it.
    Lost,
    /// It was killed here before the target answered; whatever runs there must end.
    Killed,
}
