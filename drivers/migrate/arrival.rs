// SPDX-License-Identifier: GPL-2.0

//! Arrivals: processes on their way to this node.
//!
//! An [`Arrival`] exists from the offer that was accepted until the move ended one way or the other, and for a while after, so that the
//! source can ask what became of it. Its phase decides: once it is `Committed`, the process runs here; once it is `Aborted`, never.
//!
//! Lock order: `inner` is innermost; it is never held across a wait or a call to another node.

use crate::{
    capture::Journey,
    faults::{
        self,
        Point, //
    },
    guest::Guest,
    link,
    reasons::Reasons,
    rebuild::Rebuild,
    state::State, //
};
use banyan::BulkSocket;
use banyan_wire::{
    migrate::{
        MigrationState,
        MigrationStep,
        Offer,
        Phase,
        OFFER_HOMEWARD, //
    },
    op,
    Reason, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc,
        Mutex, //
    }, //
};
use kernel_ext::{
    clock,
    machine,
    own::Own,
    subject::Subject,
    wait::{
        Interrupt,
        WaitQueue, //
    }, //
};

/// Longest time from the offer to the child that takes the process, milliseconds.
const CLAIM_MS: u64 = 30_000;
/// Longest wait for the source's decision, milliseconds; the source has given up long before.
const COMMIT_MS: u32 = 60_000;
/// How long it is remembered what became of a move, milliseconds.
const MEMORY_MS: u64 = 120_000;
/// Most arrivals at the same time.
const MAX_ARRIVALS: usize = 1024;

struct Inner {
    phase: Phase,
    reason: Option<Reason>,
    /// Kept when a task has taken it too: whoever gives the move up ends the connection, on which that task may wait.
    socket: Option<Arc<BulkSocket>>,
    /// A task has taken it.
    claimed: bool,
    /// Committed, and the task is the process in full.
    settled: bool,
    ended_ms: u64,
}

/// A process on its way to this node.
#[pin_data]
pub struct Arrival {
    /// Who moves, from where to where.
    pub journey: Journey,
    /// Whether it comes home.
    pub homeward: bool,
    offered_ms: u64,
    #[pin]
    inner: Mutex<Inner>,
    #[pin]
    changed: WaitQueue,
}

/// Everything that this node has against an offer, with the number that each reason is about. Begins nothing.
pub fn object(state: &State, offer: &Offer, reasons: &mut Reasons) {
    let Some(here) = banyan::this_node() else {
        return reasons.push(Reason::NotJoined, 0);
    };
    let homeward = offer.flags & OFFER_HOMEWARD != 0;
    if offer.image_version != banyan_wire::image::IMAGE_VERSION {
        reasons.push(Reason::ImageVersion, 0);
    }
    if offer.abi != banyan_wire::handshake::abi_hash(&machine::kernel_release()) {
        reasons.push(Reason::KernelAbi, 0);
    }
    object_to_cpu(offer, reasons);
    if homeward != (offer.home == here) {
        reasons.push(Reason::Internal, 0);
    }
    if homeward {
        if state.deputies.get(offer.pid).is_none() {
            reasons.push(Reason::NoSuchProcess, 0);
        }
    } else {
        if state.keep_out.load(Relaxed) {
            reasons.push(Reason::Draining, 0);
        }
        if !state.is_served() {
            reasons.push(Reason::NotServing, 0);
        }
        if Subject::find(offer.pid).is_some() {
            reasons.push(Reason::PidTaken, offer.pid as u32);
        }
        // A tenth more than its pages: page tables and the like.
        let needed = offer.pages.saturating_mul(4).saturating_mul(11) / 10;
        if needed > machine::memory().available_kib {
            let mib = u32::try_from(needed.div_ceil(1024)).unwrap_or(u32::MAX);
            reasons.push(Reason::NoMemory, mib);
        }
    }
    if state.arrivals.len() >= MAX_ARRIVALS {
        reasons.push(Reason::TooManyMoves, 0);
    }
}

/// What is against an offer in this machine's CPU.
fn object_to_cpu(offer: &Offer, reasons: &mut Reasons) {
    let (Ok(ours), Ok(theirs)) = (banyan::own_features(), banyan::peer_features(offer.source))
    else {
        return reasons.push(Reason::Transport, 0);
    };
    for feature in banyan_wire::cpu::missing(&offer.cpu, &ours.cpu) {
        reasons.push(Reason::CpuFeature, feature);
    }
    let lacking = offer.xfeatures & !ours.xfeatures;
    if lacking != 0 {
        reasons.push(Reason::XsaveLayout, lacking.trailing_zeros());
    } else if let Some(component) = ours.other_layout(&theirs, offer.xfeatures) {
        reasons.push(Reason::XsaveLayout, component);
    } else if ours.xsave_size != offer.xsave_size {
        // It has more components: then the area of a signal handler is larger than the program was told.
        let more = ours.xfeatures & !offer.xfeatures;
        reasons.push(Reason::XsaveLayout, more.trailing_zeros() & 63);
    }
}

/// Decides about an offer: accepts it, or says why not (with the number that the reason is about).
pub fn offered(state: &State, offer: &Offer) -> Result<(), (Reason, u32)> {
    let internal = |_| (Reason::NoMemory, 0);
    let here = banyan::this_node().ok_or((Reason::NotJoined, 0))?;
    faults::pass(Point::Offered).map_err(|reason| (reason, 0))?;
    let mut reasons = Reasons::new();
    object(state, offer, &mut reasons);
    if let Some(reason) = reasons.first() {
        let about = reasons.iter().next().map_or(0, |(_, about)| about);
        return Err((reason, about));
    }
    let homeward = offer.flags & OFFER_HOMEWARD != 0;
    let journey = Journey {
        migration: offer.migration,
        pid: offer.pid,
        home: offer.home,
        source: offer.source,
        target: here,
        moves: 0,
    };
    let arrival = Arc::pin_init(
        pin_init!(Arrival {
            journey,
            homeward,
            offered_ms: clock::monotonic_ms(),
            inner <- new_mutex!(Inner {
                phase: Phase::Offered,
                reason: None,
                socket: None,
                claimed: false,
                settled: false,
                ended_ms: 0,
            }),
            changed <- WaitQueue::new(),
        }),
        GFP_KERNEL,
    )
    .map_err(internal)?;
    state
        .arrivals
        .insert(journey.migration.get(), arrival)
        .map_err(|_| (Reason::Busy, 0))
}

impl Arrival {
    /// The connection with the image is there: a task may take the process.
    ///
    /// # Errors
    ///
    /// `ENOENT` if the move was given up, `ENOMEM`.
    pub fn connected(self: &Arc<Self>, socket: BulkSocket, state: &State) -> Result {
        let socket = Arc::new(socket, GFP_KERNEL)?;
        {
            let mut inner = self.inner.lock();
            if inner.phase != Phase::Offered || socket.node() != self.journey.source {
                return Err(ENOENT);
            }
            inner.phase = Phase::Receiving;
            inner.socket = Some(socket);
        }
        if let Err(reason) = faults::pass(Point::Connected) {
            self.abort(reason, true);
            return Err(ENOENT);
        }
        let handed = if self.homeward {
            state
                .deputies
                .get(self.journey.pid)
                .ok_or(ESRCH)
                .and_then(|deputy| deputy.arrive(self.clone()))
        } else {
            state
                .unserved
                .lock()
                .push(self.clone(), GFP_KERNEL)
                .map_err(Error::from)
                .inspect(|()| state.serve.wake_all())
        };
        if handed.is_err() {
            self.abort(Reason::ChildFailed, true);
        }
        handed
    }

    /// What is known of the move.
    pub fn state(&self) -> MigrationState {
        let inner = self.inner.lock();
        MigrationState {
            migration: self.journey.migration,
            pid: self.journey.pid,
            phase: inner.phase,
            reason: inner.reason.map_or(0, Reason::code),
        }
    }

    /// Whether it is not yet decided where the process runs, or what runs here is not yet itself.
    pub fn is_open(&self) -> bool {
        let inner = self.inner.lock();
        match inner.phase {
            Phase::Committed => !inner.settled,
            Phase::Aborted => false,
            _ => true,
        }
    }

    /// The process is itself here.
    fn settle(&self) {
        self.inner.lock().settled = true;
    }

    /// The source commits: from here on the process runs here, if it was restored and not given up. Says what holds now.
    pub fn commit(&self) -> MigrationState {
        if let Err(reason) = faults::pass(Point::Committing) {
            self.abort(reason, false);
        }
        {
            let mut inner = self.inner.lock();
            if inner.phase == Phase::Restored {
                inner.phase = Phase::Committed;
                inner.ended_ms = clock::monotonic_ms();
            } else if inner.phase != Phase::Committed && inner.phase != Phase::Aborted {
                inner.phase = Phase::Aborted;
                inner.reason = Some(Reason::Internal);
                inner.ended_ms = clock::monotonic_ms();
            }
        }
        // At once: should the source die now, the home must hear where the process is before it is told of that.
        self.changed.wake_all();
        let _ = faults::pass(Point::Committed);
        self.state()
    }

    /// Gives the move up, unless it is committed. Tells the source if `tell`. Says whether it is given up now.
    pub fn abort(&self, reason: Reason, tell: bool) -> bool {
        let socket = {
            let mut inner = self.inner.lock();
            match inner.phase {
                Phase::Committed => return false,
                Phase::Aborted => return true,
                _ => (),
            }
            inner.phase = Phase::Aborted;
            inner.reason = Some(reason);
            inner.ended_ms = clock::monotonic_ms();
            inner.socket.take()
        };
        if let Some(socket) = socket {
            socket.shutdown();
        }
        self.changed.wake_all();
        if tell {
            let step = MigrationStep {
                migration: self.journey.migration,
                pid: self.journey.pid,
                reason: reason.code(),
                _pad: 0,
            };
            link::tell(self.journey.source, op::ABORT, &step);
        }
        true
    }

    /// Lets it go when it has had its time.
    pub fn expire(self: &Arc<Self>, state: &State) {
        let now = clock::monotonic_ms();
        let (forget, give_up) = {
            let inner = self.inner.lock();
            let ended = matches!(inner.phase, Phase::Committed | Phase::Aborted);
            (
                ended && now.saturating_sub(inner.ended_ms) > MEMORY_MS,
                !ended && !inner.claimed && now.saturating_sub(self.offered_ms) > CLAIM_MS,
            )
        };
        if give_up {
            self.abort(Reason::TimedOut, true);
        }
        if forget {
            state.arrivals.remove(self.journey.migration.get(), self);
        }
    }

    fn claim(&self) -> Result<Arc<BulkSocket>> {
        let mut inner = self.inner.lock();
        if inner.phase != Phase::Receiving || inner.claimed {
            return Err(ENOENT);
        }
        inner.claimed = true;
        inner.socket.clone().ok_or(ENOENT)
    }

    /// Restored: says so to the source and waits for its decision.
    fn await_commit(&self) -> bool {
        let read = {
            let mut inner = self.inner.lock();
            if inner.phase != Phase::Receiving {
                return false;
            }
            inner.phase = Phase::Restored;
            inner.socket.take()
        };
        drop(read);
        let step = MigrationStep {
            migration: self.journey.migration,
            pid: self.journey.pid,
            reason: 0,
            _pad: 0,
        };
        link::tell(self.journey.source, op::RESTORED, &step);
        let decided = || matches!(self.inner.lock().phase, Phase::Committed | Phase::Aborted);
        let waited = self.changed.wait(Interrupt::Killable, COMMIT_MS, decided);
        if waited.is_err() && self.abort(Reason::TimedOut, true) {
            return false;
        }
        self.inner.lock().phase == Phase::Committed
    }
}

/// The reason that a failure to rebuild has for the source.
fn reason_of(error: Error) -> Reason {
    match error {
        e if e == ENOMEM => Reason::NoMemory,
        e if e == EBADMSG => Reason::BadImage,
        e if e == ESTALE => Reason::FileIdentity,
        e if e == ECONNRESET || e == ETIMEDOUT || e == EPIPE => Reason::Transport,
        e if e == EINTR => Reason::Killed,
        e if e == ECANCELED => Reason::Injected,
        _ => Reason::TargetFailed,
    }
}

/// Rebuilds the process in the current task: a child made for it, or its deputy. Says whether the task is the process now; if it is not,
/// it has lost what it was.
pub fn become_process(own: &Own, state: &Arc<State>, arrival: &Arc<Arrival>) -> bool {
    let Ok(socket) = arrival.claim() else {
        return false;
    };
    let mut rebuild = Rebuild::new(arrival.journey, arrival.homeward, state.module, socket);
    let mut guest = None;
    let received = faults::pass(Point::Rebuild).map_err(|_| ECANCELED);
    let received = received.and_then(|()| {
        if arrival.homeward {
            return Ok(None);
        }
        state.calls.hook().map(Some).map_err(|reason| {
            arrival.abort(reason, true);
            EREMOTEIO
        })
    });
    let received = received.and_then(|hooked| {
        rebuild.receive(own)?;
        if let Some(hooked) = hooked {
            let new = Guest::new(own, &rebuild, hooked, state)?;
            state.guests.insert(new.pid, new.clone())?;
            guest = Some(new);
        }
        faults::pass(Point::Restored).map_err(|_| ECANCELED)
    });
    let committed = match received {
        Ok(()) => arrival.await_commit(),
        Err(error) => {
            pr_info!(
                "{} from node {} not restored: {:?}\n",
                arrival.journey.pid,
                arrival.journey.source.get(),
                error
            );
            arrival.abort(reason_of(error), true);
            false
        }
    };
    if !committed {
        if let Some(guest) = guest {
            state.guests.remove(guest.pid, &guest);
        }
        return false;
    }
    if let Some(guest) = &guest {
        guest.arrive();
    }
    let _ = faults::pass(Point::Run);
    rebuild.committed(own);
    if let Some(guest) = guest {
        guest.heed_calls();
    }
    arrival.settle();
    true
}
