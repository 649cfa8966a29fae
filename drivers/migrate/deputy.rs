// SPDX-License-Identifier: GPL-2.0

//! Deputies: what stays at home of a process that runs elsewhere.
//!
//! A [`Deputy`] is the original task of the process, parked in the kernel without its memory: one for each process homed here that is
//! away. It owns the pid, the parent, the process group, the session and the terminal; it passes signals on to the guest, does in its own
//! context what the guest asks for at home, ends as the guest ends, and becomes the process again when that comes home.
//!
//! Lock order: `inner` is innermost; it is never held across a wait or a call to another node.

mod signals;

use crate::{
    accounts::{
        self,
        Place, //
    },
    arrival::{
        self,
        Arrival, //
    },
    link,
    state::State, //
};
use banyan_wire::{
    guest::{
        Doing,
        Freeze,
        Freezing,
        GuestExit,
        Orphan,
        Usage,
        USAGE_HELD,
        USAGE_STOPPED, //
    },
    migrate::journey_of,
    op,
    NodeId, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};
use kernel_ext::{
    boundary::{
        self,
        BoundaryWork,
        Notify,
        Outcome, //
    },
    clock,
    own::Own,
    subject::Subject,
    usage::ShownMemory,
    wait::{
        Interrupt,
        WaitQueue, //
    }, //
};

const SIGKILL: i32 = 9;
const SIGCONT: i32 = 18;
const SIGSTOP: u32 = 19;

/// Work that a deputy does in its own context.
pub trait Job: Send {
    /// Does it. May wait interruptibly; a signal, or [`Deputy::kick`], ends the wait.
    fn run(&mut self, own: &Own);
}

struct Inner {
    place: Place,
    /// Where it was before, if it went on from there.
    before: Option<NodeId>,
    jobs: KVec<KBox<dyn Job>>,
    arriving: Option<Arc<Arrival>>,
    /// It is with the kernel, outside of [`Deputy::live`], and this brings it back.
    outside: Option<boundary::Ready<Return>>,
    end: Option<GuestExit>,
    usage: Option<Usage>,
    /// The guest stopped by this signal, and the deputy has not yet.
    stop: Option<u32>,
    stop_seq: u32,
}

/// What stays at home of one process.
#[pin_data]
pub struct Deputy {
    /// Its pid.
    pub pid: i32,
    /// The task.
    pub subject: Subject,
    /// When it left, milliseconds of `CLOCK_MONOTONIC`.
    pub since_ms: u64,
    /// Files that the guest uses through this node.
    pub files: crate::files::OwnedTable,
    #[pin]
    inner: Mutex<Inner>,
    #[pin]
    wake: WaitQueue,
    signals: Atomic<u64>,
    /// The page where it waits if it enters user mode, 0 if there is none yet.
    room: Atomic<usize>,
    /// The guest's memory, for `ps`.
    shown: Option<ShownMemory>,
    cpu_ns: Atomic<u64>,
    rss_kib: Atomic<u64>,
    /// Its cgroup is frozen, so that the guest has to stand still.
    frozen: Atomic<bool>,
    /// A SIGCONT of our own is on its way to it, which is none of the guest's.
    continued: Atomic<bool>,
    /// How many reports in a row said of the guest that it is stopped, or that it is not, when the deputy was the contrary.
    astray: Atomic<u32>,
}

/// What the loop of a deputy found to do.
enum Next {
    Job(KBox<dyn Job>),
    Arrive(Arc<Arrival>),
    End(GuestExit),
    Stop(u32),
    Usage(Usage),
    Nothing,
}

impl Deputy {
    /// Makes one for the current task, which is about to leave for `place`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(own: &Own, place: Place) -> Result<Arc<Self>> {
        let pid = own.pid();
        let files = crate::files::OwnedTable::new(pid, place.moves);
        Arc::pin_init(
            pin_init!(Self {
                pid,
                subject: Subject::current(),
                since_ms: clock::monotonic_ms(),
                files,
                inner <- new_mutex!(Inner {
                    place,
                    before: None,
                    jobs: KVec::new(),
                    arriving: None,
                    outside: None,
                    end: None,
                    usage: None,
                    stop: None,
                    stop_seq: 0,
                }),
                wake <- WaitQueue::new(),
                signals: Atomic::new(0),
                room: Atomic::new(0),
                shown: ShownMemory::new(own),
                cpu_ns: Atomic::new(0),
                rss_kib: Atomic::new(0),
                frozen: Atomic::new(false),
                continued: Atomic::new(false),
                astray: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    /// Where the guest is.
    pub fn place(&self) -> Place {
        self.inner.lock().place
    }

    /// The guest is elsewhere now.
    pub fn moved(&self, place: Place) {
        let mut inner = self.inner.lock();
        // What is left under way from an earlier journey names a node where it is not.
        if journey_of(place.moves) == journey_of(inner.place.moves)
            && place.moves > inner.place.moves
        {
            inner.before = Some(inner.place.node);
            inner.place = place;
        }
        drop(inner);
        self.wake.wake_all();
    }

    /// Whether the guest is at `node` or has just left it.
    pub fn was_at(&self, node: NodeId) -> bool {
        let inner = self.inner.lock();
        inner.place.node == node || inner.before == Some(node)
    }

    /// CPU time in nanoseconds and resident memory in KiB, as last reported.
    pub fn figures(&self) -> (u64, u64) {
        (self.cpu_ns.load(Relaxed), self.rss_kib.load(Relaxed))
    }

    /// There is something to do.
    fn rouse(&self) {
        self.wake.wake_all();
        // It is not in its wait, but in that of the freezer.
        if self.frozen.load(Relaxed) {
            self.kick();
        }
    }

    /// Gives it work.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn submit(&self, job: KBox<dyn Job>) -> Result {
        self.inner.lock().jobs.push(job, GFP_KERNEL)?;
        self.rouse();
        Ok(())
    }

    /// Interrupts the work that it does now.
    pub fn kick(&self) {
        self.subject.interrupt();
    }

    /// The process wants to come home.
    ///
    /// # Errors
    ///
    /// `EBUSY` if it is on its way already.
    pub fn arrive(&self, arrival: Arc<Arrival>) -> Result {
        let mut inner = self.inner.lock();
        if inner.arriving.is_some() || inner.end.is_some() {
            return Err(EBUSY);
        }
        inner.arriving = Some(arrival);
        drop(inner);
        self.wake.wake_all();
        // It may be waiting within a job for the guest, which is frozen now.
        self.kick();
        Ok(())
    }

    /// The guest ended at `from`.
    pub fn guest_ended(&self, from: NodeId, exit: GuestExit) {
        let mut inner = self.inner.lock();
        if inner.place.node != from || inner.end.is_some() {
            return;
        }
        inner.end = Some(exit);
        drop(inner);
        self.wake.wake_all();
        self.kick();
        self.go_on();
    }

    /// Lets it go on if it is stopped.
    fn go_on(&self) {
        if self.subject.stopped() {
            self.continued.store(true, Relaxed);
            self.subject.kill(SIGCONT);
        }
    }

    /// The guest reports whether it is stopped. What it told when that changed may not have counted: it came from a node which the guest
    /// had left by then, or just when the deputy was about to stop. A report that differs may be older than the change, the next is not.
    fn guest_stopped(&self, stopped: bool) {
        if stopped == self.subject.stopped() {
            self.astray.store(0, Relaxed);
            return;
        } else if self.astray.fetch_add(1, Relaxed) == 0 {
            return;
        }
        self.astray.store(0, Relaxed);
        if stopped {
            self.inner.lock().stop.get_or_insert(SIGSTOP);
            self.wake.wake_all();
        } else {
            self.inner.lock().stop = None;
            self.go_on();
        }
    }

    /// The node where the guest was is gone: it ends as if killed.
    pub fn node_down(&self, node: NodeId) {
        if self.place().node == node {
            self.guest_ended(node, accounts::killed(self.pid));
        }
    }

    /// The guest stopped or goes on.
    pub fn guest_state(&self, from: NodeId, doing: Doing, signal: u32, seq: u32) {
        let mut inner = self.inner.lock();
        if inner.place.node != from || seq <= inner.stop_seq {
            return;
        }
        inner.stop_seq = seq;
        inner.stop = (doing == Doing::Stopped).then_some(signal);
        drop(inner);
        self.wake.wake_all();
        if doing == Doing::Continued {
            self.go_on();
        }
    }

    /// The guest reports what it has used.
    pub fn guest_usage(&self, from: NodeId, usage: Usage) {
        self.cpu_ns
            .store(usage.utime_ns.saturating_add(usage.stime_ns), Relaxed);
        self.rss_kib.store(usage.rss_kib, Relaxed);
        let mut inner = self.inner.lock();
        if inner.place.node == from {
            inner.usage = Some(usage);
            drop(inner);
            self.wake.wake_all();
            // The message was lost, or the guest has come there since.
            if (usage.flags & USAGE_HELD != 0) != self.frozen.load(Relaxed) {
                self.tell_frozen(from);
            }
            self.guest_stopped(usage.flags & USAGE_STOPPED != 0);
        }
    }

    /// Tells the guest that the deputy is frozen, or not any more, if that has changed.
    fn pass_on_freeze(&self, own: &Own) {
        let freezing = own.freezing();
        if self.frozen.xchg(freezing, Relaxed) != freezing {
            self.tell_frozen(self.place().node);
        }
    }

    fn tell_frozen(&self, node: NodeId) {
        let message = Freeze {
            pid: self.pid,
            what: if self.frozen.load(Relaxed) {
                Freezing::Freeze
            } else {
                Freezing::Thaw
            },
        };
        link::tell(node, op::FREEZE, &message);
    }

    fn next(&self) -> Next {
        let mut inner = self.inner.lock();
        if let Some(exit) = inner.end.take() {
            return Next::End(exit);
        }
        if let Some(arrival) = inner.arriving.take() {
            return Next::Arrive(arrival);
        }
        if !inner.jobs.is_empty() {
            if let Ok(job) = inner.jobs.remove(0) {
                return Next::Job(job);
            }
        }
        if let Some(signal) = inner.stop.take() {
            return Next::Stop(signal);
        }
        match inner.usage.take() {
            Some(usage) => Next::Usage(usage),
            None => Next::Nothing,
        }
    }

    fn has_work(&self) -> bool {
        let inner = self.inner.lock();
        inner.end.is_some()
            || inner.arriving.is_some()
            || !inner.jobs.is_empty()
            || inner.stop.is_some()
            || inner.usage.is_some()
    }

    /// The life of a deputy: until the process ends or is itself again. Called in the deputy's own context, with the kinds having left.
    pub fn live(self: &Arc<Self>, own: &Own, state: &Arc<State>) -> Outcome {
        own.park_signals();
        loop {
            self.pass_on_freeze(own);
            if own.fatal_signal_pending() {
                self.end_guest();
                self.forget(state);
                // The signal does the rest.
                return Outcome::Resume;
            }
            match self.next() {
                Next::Job(mut job) => {
                    job.run(own);
                    own.clear_interrupt();
                    continue;
                }
                Next::Arrive(arrival) => {
                    own.clear_interrupt();
                    let shell = own.shell();
                    self.show(0);
                    if arrival::become_process(own, state, &arrival) {
                        self.forget(state);
                        return Outcome::Resume;
                    }
                    // What it had is gone, the page too; what came of the process is of no use.
                    self.room.store(0, Relaxed);
                    own.close_all();
                    if let Err(e) = own.unmap_all() {
                        pr_warn!("memory of {} not freed: {:?}\n", self.pid, e);
                    }
                    if let Err(e) = shell.and_then(|shell| own.put_on(&shell)) {
                        pr_info!("{} shows no arguments any more: {:?}\n", self.pid, e);
                    }
                    own.park_signals();
                    continue;
                }
                Next::End(exit) => {
                    self.forget(state);
                    own.set_usage(&accounts::of_exit(&exit));
                    return Outcome::Exit(exit.status);
                }
                Next::Stop(signal) => {
                    own.stop_by(signal);
                    return self.leave_to_kernel(own, state);
                }
                Next::Usage(usage) => {
                    own.set_usage(&accounts::of_report(&usage));
                    self.show(usage.rss_kib);
                    continue;
                }
                Next::Nothing => (),
            }
            if let Some(waiting) = own.take_signal() {
                // Not the one by which `go_on` let it go on.
                let kernels = waiting.signal == SIGCONT as u32 && waiting.is_from_kernel();
                if !kernels || !self.continued.xchg(false, Relaxed) {
                    self.pass_on(own, &waiting);
                }
                continue;
            }
            own.clear_interrupt();
            if own.signal_pending() {
                // Not a signal: the freezer, a stop, or the like. The kernel knows what to do, outside of this.
                own.block_signals();
                return self.leave_to_kernel(own, state);
            }
            if own.works_wait() {
                // Above all files that were closed here: for others they are open until then.
                return self.come_again(state);
            }
            // Ends early for anything; nothing is lost by looking again.
            let _ = self
                .wake
                .wait(Interrupt::Any, 3_600_000, || self.has_work());
        }
    }

    /// Lets the works run that wait, and comes back behind them.
    fn come_again(self: &Arc<Self>, state: &Arc<State>) -> Outcome {
        let again = self.as_return(state);
        let ready = boundary::prepare(state.module, again);
        match ready.and_then(|ready| ready.post(&self.subject, Notify::Return)) {
            Ok(()) => Outcome::Resume,
            Err(e) => self.give_up(state, e),
        }
    }

    fn as_return(self: &Arc<Self>, state: &Arc<State>) -> Return {
        let (deputy, state) = (self.clone(), state.clone());
        Return { deputy, state }
    }

    fn give_up(self: &Arc<Self>, state: &Arc<State>, why: Error) -> Outcome {
        pr_warn!("deputy {} ends: {:?}\n", self.pid, why);
        self.end_guest();
        self.forget(state);
        Outcome::Exit(SIGKILL)
    }

    /// Lets the kernel handle what is pending: a stop, a freeze.
    ///
    /// A work that is posted from within a work runs before the kernel gets its turn. So the keeper posts the one that brings the deputy
    /// back, a moment later; should the deputy enter user mode before, it finds nothing there but a page in which it waits.
    fn leave_to_kernel(self: &Arc<Self>, own: &Own, state: &Arc<State>) -> Outcome {
        let again = self.as_return(state);
        let ready = self
            .waiting_room(own)
            .and_then(|room| boundary::prepare(state.module, again).map(|ready| (room, ready)));
        match ready {
            Ok((room, ready)) => {
                own.enter_waiting_room(room);
                self.inner.lock().outside = Some(ready);
                state.reaper.wake_all();
                Outcome::Resume
            }
            Err(e) => self.give_up(state, e),
        }
    }

    fn show(&self, rss_kib: u64) {
        if let Some(shown) = &self.shown {
            shown.set(rss_kib);
        }
    }

    fn waiting_room(&self, own: &Own) -> Result<usize> {
        match self.room.load(Relaxed) {
            0 => own
                .make_waiting_room()
                .inspect(|&room| self.room.store(room, Relaxed)),
            room => Ok(room),
        }
    }

    /// Whether the kernel has its turn.
    pub fn is_outside(&self) -> bool {
        self.inner.lock().outside.is_some()
    }

    /// Brings it back from the kernel. Called by the keeper.
    pub fn bring_back(self: &Arc<Self>, state: &State) {
        let ready = self.inner.lock().outside.take();
        if let Some(ready) = ready {
            // While it stands still there it is left alone until it has something to do.
            let still = self.subject.stands_still();
            let notify = if still {
                Notify::Return
            } else {
                Notify::Interrupt
            };
            if ready.post(&self.subject, notify).is_err() {
                // It was killed there.
                self.end_guest();
                self.forget(state);
            } else if still && (self.has_work() || !self.subject.stands_still()) {
                self.kick();
            }
        }
    }

    fn forget(self: &Arc<Self>, state: &State) {
        state.deputies.remove(self.pid, self);
    }

    /// Tells the guest to end: there is nothing left here to come home to.
    pub fn end_guest(&self) {
        if let Some(home) = banyan::this_node() {
            let message = Orphan {
                pid: self.pid,
                home,
                _pad: [0; 3],
            };
            link::tell(self.place().node, op::ORPHAN, &message);
        }
    }
}

/// The deputy again, after the kernel handled what was pending.
pub struct Return {
    deputy: Arc<Deputy>,
    state: Arc<State>,
}

impl BoundaryWork for Return {
    fn run(&mut self, own: &Own) -> Outcome {
        self.deputy.live(own, &self.state)
    }

    fn abandoned(&mut self) {
        self.deputy.end_guest();
        self.deputy.forget(&self.state);
    }
}
