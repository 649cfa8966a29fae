// SPDX-License-Identifier: GPL-2.0

//! Guests: processes that run here and are homed at another node.
//!
//! One [`Guest`] for each, from its arrival to its end or its departure. One thread, the [`keeper`], reports to the homes what guests use
//! and how they end, and lets arrivals that nobody claims go.

use crate::{
    accounts,
    calls::Hooked,
    deputy::Deputy,
    leaving,
    link,
    rebuild::Rebuild,
    state::State, //
};
use banyan_wire::{
    guest::{
        Doing,
        Freezing,
        GuestExit,
        GuestState,
        Signal,
        Usage,
        USAGE_HELD,
        USAGE_STOPPED, //
    },
    migrate::{
        times_moved,
        MigrationId,
        Moved, //
    },
    op,
    NodeId, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        Arc, //
    }, //
};
use kernel_ext::{
    boundary::{
        self,
        BoundaryWork,
        Notify,
        Outcome, //
    },
    call_hooks::CallMark,
    clock,
    exit_watch::ExitWatch,
    kthread::should_stop,
    own::Own,
    signals::Waiting,
    subject::Subject,
    wait::{
        self,
        Interrupt, //
    }, //
};

const SIGKILL: i32 = 9;
const SIGCONT: u32 = 18;
const SIGSTOP: u32 = 19;
/// SIGTSTP, SIGTTIN, SIGTTOU: whether their default action stops depends on the process group, which is at home.
const TERMINAL_STOPS: [u32; 3] = [20, 21, 22];

/// How often guests report what they use, milliseconds.
const REPORT_MS: u32 = 1_000;

/// How often the end of a guest is told to a home that does not answer: longer than it takes to find that the home is dead.
const MAX_TRIES: u32 = 20;

/// A process that runs here and is homed elsewhere.
#[pin_data]
pub struct Guest {
    /// Its pid, the same everywhere.
    pub pid: i32,
    /// Its home.
    pub home: NodeId,
    /// The task.
    pub subject: Subject,
    /// The move that brought it here.
    pub migration: MigrationId,
    /// The number of that move.
    pub moves: u32,
    /// When it came, milliseconds of `CLOCK_MONOTONIC`.
    pub since_ms: u64,
    watch: ExitWatch,
    state_seq: Atomic<u32>,
    /// The move is committed. Before, its home must hear nothing of it.
    arrived: Atomic<bool>,
    /// The number of the last signal from the deputy.
    heard: Atomic<u64>,
    /// What the home was told last: the signal that stopped it, 0 if it runs.
    told: Atomic<u32>,
    /// The signal that it was stopped for, if it was not SIGSTOP.
    stopped_by: Atomic<u32>,
    /// The deputy is frozen, so it stands still.
    held: Atomic<bool>,
    /// How often its end could not be told.
    tries: Atomic<u32>,
    /// How often a move home that one of its system calls began has not succeeded (yet).
    homeward: Atomic<u32>,
    /// A Landlock domain confines it at its home, which judges what it wants of paths.
    pub landlocked: bool,
    /// Lets its system calls be decided about.
    mark: CallMark,
    /// Keeps the calls hooked.
    _hooked: Hooked,
}

impl Guest {
    /// Makes one for the current task, which has just become the process.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ESRCH`.
    pub fn new(own: &Own, rebuild: &Rebuild, hooked: Hooked, state: &State) -> Result<Arc<Self>> {
        let journey = &rebuild.journey;
        let subject = Subject::current();
        let watch = ExitWatch::new(&subject, state.reaper.clone())?;
        let mark = CallMark::new(own)?;
        Arc::pin_init(
            pin_init!(Self {
                pid: own.pid(),
                home: journey.home,
                subject,
                migration: journey.migration,
                moves: journey.moves,
                since_ms: clock::monotonic_ms(),
                watch,
                state_seq: Atomic::new(times_moved(journey.moves).wrapping_shl(16)),
                arrived: Atomic::new(false),
                heard: Atomic::new(0),
                told: Atomic::new(0),
                stopped_by: Atomic::new(0),
                held: Atomic::new(false),
                tries: Atomic::new(0),
                homeward: Atomic::new(0),
                landlocked: rebuild.credentials.landlocked,
                mark,
                _hooked: hooked,
            }),
            GFP_KERNEL,
        )
    }

    /// It is here: its home hears of it from now on.
    pub fn arrive(&self) {
        self.arrived.store(true, Release);
        self.tell_place();
    }

    /// From here on its system calls may go home. To be called when it is about to run.
    pub fn heed_calls(&self) {
        self.mark.activate();
    }

    /// Counts a move home that one of its system calls has begun.
    pub fn count_move_home(&self) {
        self.homeward.fetch_add(1, Relaxed);
    }

    /// How many of these have not succeeded. To be asked when none is under way.
    pub fn failed_moves_home(&self) -> u32 {
        self.homeward.load(Relaxed)
    }

    /// Lets it try once more after `most` moves home have failed.
    pub fn forgive_moves_home(&self, most: u32) {
        self.homeward.store(most.saturating_sub(1), Relaxed);
    }

    /// A signal from the deputy, or from the node where the process was.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is none, `ESRCH` if the guest has ended.
    pub fn signal(&self, message: &Signal) -> Result {
        if message.signal == SIGCONT {
            // The home knows that it goes on by this: if it stops again, that is news, however soon it is.
            self.told.store(0, Relaxed);
        }
        // The deputy sends one after the other.
        if message.seq != 0 && self.heard.load(Relaxed) == message.seq {
            return Ok(());
        }
        let mut waiting = accounts::waiting(message);
        if TERMINAL_STOPS.contains(&message.signal)
            && self.subject.default_action_of(message.signal)
        {
            // The home has decided that it stops: here its group has no parent in its session, so it would not.
            self.stopped_by.store(message.signal, Relaxed);
            waiting = Waiting {
                signal: SIGSTOP,
                shared: true,
                info: None,
            };
        }
        self.subject.send_info(&waiting)?;
        if message.seq != 0 {
            self.heard.store(message.seq, Relaxed);
        }
        Ok(())
    }

    /// It stopped, or goes on: as `waitid` said to its parent, or as the keeper saw.
    pub fn child_state(&self, doing: Doing, status: u32) {
        let now = if doing == Doing::Stopped { status } else { 0 };
        if self.told.xchg(now, Full) == now {
            return;
        }
        let instead = self.stopped_by.xchg(0, Relaxed);
        let signal = match (doing, status, instead) {
            (Doing::Stopped, SIGSTOP, 0) => SIGSTOP,
            (Doing::Stopped, SIGSTOP, instead) => instead,
            (Doing::Stopped, other, _) => other,
            _ => 0,
        };
        let message = GuestState {
            pid: self.pid,
            doing,
            signal,
            seq: self.state_seq.fetch_add(1, Relaxed).wrapping_add(1),
        };
        link::tell(self.home, op::GUEST_STATE, &message);
    }

    /// The deputy is frozen, or not any more.
    pub fn freeze(self: &Arc<Self>, what: Freezing, state: &State) {
        let hold = what == Freezing::Freeze;
        if self.held.xchg(hold, Full) != hold {
            self.post_hold(state);
        }
    }

    /// Lets it come to the border, to stand still there or to go on, as `held` says then.
    fn post_hold(self: &Arc<Self>, state: &State) {
        let work = Hold(self.clone());
        if let Err(e) = boundary::post(&self.subject, state.module, Notify::Interrupt, work) {
            pr_debug!("guest {} neither frozen nor thawed: {:?}\n", self.pid, e);
        }
    }

    /// Ends it.
    pub fn kill(&self) {
        self.subject.kill(SIGKILL);
    }

    /// Tells the home if it has stopped or gone on and nobody said so: its parent is no server if that has ended since it came.
    fn look(&self) {
        match self.subject.stop_signal() {
            Some(signal) => self.child_state(Doing::Stopped, signal),
            None => self.child_state(Doing::Continued, 0),
        }
    }

    fn report(self: &Arc<Self>, state: &State) {
        self.look();
        // Its own cgroup was thawed meanwhile, or it came to another one.
        if self.held.load(Acquire) && !self.subject.held() {
            self.post_hold(state);
        }
        let usage = self.subject.usage();
        let mut flags = 0;
        if self.held.load(Acquire) {
            flags |= USAGE_HELD;
        }
        if self.subject.stopped() {
            flags |= USAGE_STOPPED;
        }
        let message = Usage {
            pid: self.pid,
            flags,
            utime_ns: usage.utime_ns,
            stime_ns: usage.stime_ns,
            rss_kib: usage.rss_kib,
            vsize_kib: usage.vsize_kib,
            minflt: usage.minflt,
            majflt: usage.majflt,
        };
        link::tell(self.home, op::USAGE, &message);
        // The home may have missed that it came here from another node.
        self.tell_place();
    }

    /// Tells the home where the guest is.
    fn tell_place(&self) {
        if let (true, Some(node)) = (times_moved(self.moves) > 1, banyan::this_node()) {
            let moved = Moved {
                migration: self.migration,
                pid: self.pid,
                moves: self.moves,
                node,
                _pad: [0; 7],
            };
            link::tell(self.home, op::MOVED, &moved);
        }
    }

    /// Tells the home how it ended; says whether that need not be tried again.
    fn report_end(&self, status: i32) -> bool {
        let usage = self.subject.usage();
        let message = GuestExit {
            pid: self.pid,
            status,
            utime_ns: usage.utime_ns,
            stime_ns: usage.stime_ns,
            maxrss_kib: usage.maxrss_kib,
            minflt: usage.minflt,
            majflt: usage.majflt,
            nvcsw: usage.nvcsw,
            nivcsw: usage.nivcsw,
            inblock: usage.inblock,
            oublock: usage.oublock,
        };
        let told = link::request(self.home, op::GUEST_EXIT, &message, REPORT_MS).is_ok();
        told || self.tries.fetch_add(1, Relaxed) >= MAX_TRIES
    }
}

/// Holds a guest because its deputy is frozen, or lets it go. Works may run in another order than they were posted: what holds is asked
/// when it runs.
struct Hold(Arc<Guest>);

impl BoundaryWork for Hold {
    fn run(&mut self, own: &Own) -> Outcome {
        own.hold(self.0.held.load(Acquire));
        Outcome::Resume
    }

    fn abandoned(&mut self) {}
}

/// Takes the hooks off that no guest needs, on a thread of its own since it takes a while.
fn rest(state: &Arc<State>) {
    let idle = state.clone();
    let spawned = state.errands.spawn(fmt!("banyan/unhook"), move || {
        idle.calls.unhook();
    });
    if let Err(e) = spawned {
        pr_debug!("hooks stay on: {:?}\n", e);
    }
}

/// How long a deputy is left to the kernel, milliseconds.
const MOMENT_MS: u32 = 20;

/// The deputies that are with the kernel.
fn outside(state: &State) -> KVVec<Arc<Deputy>> {
    let mut deputies = state.deputies.snapshot();
    deputies.retain(|deputy| deputy.is_outside());
    deputies
}

/// The thread that looks after guests and arrivals until it is stopped.
pub fn keeper(state: Arc<State>) {
    let mut next_report = clock::monotonic_ms();
    while !should_stop() {
        let now = clock::monotonic_ms();
        let report = now >= next_report;
        if report {
            next_report = now.saturating_add(u64::from(REPORT_MS));
        }
        for guest in state.guests.snapshot().iter() {
            if !guest.arrived.load(Acquire) {
                continue;
            }
            match guest.subject.exit_status() {
                Some(status) => {
                    if guest.report_end(status) {
                        state.guests.remove(guest.pid, guest);
                    }
                }
                None if report => guest.report(&state),
                None => (),
            }
        }
        leaving::tell_partings(&state);
        for arrival in state.arrivals.snapshot().iter() {
            arrival.expire(&state);
        }
        if report && state.calls.have_rested() {
            rest(&state);
        }
        // Those that left for the kernel before this round have had their moment.
        let outside = outside(&state);
        if !outside.is_empty() {
            let _ = wait::sleep(Interrupt::Any, MOMENT_MS);
            for deputy in outside.iter() {
                deputy.bring_back(&state);
            }
            continue;
        }
        let ended = || {
            if !state.partings.lock().is_empty() {
                return true;
            }
            state
                .deputies
                .snapshot()
                .iter()
                .any(|deputy| deputy.is_outside())
                || state.guests.snapshot().iter().any(|guest| {
                    guest.arrived.load(Acquire)
                        && guest.tries.load(Relaxed) == 0
                        && guest.subject.exit_status().is_some()
                })
        };
        let left = next_report.saturating_sub(clock::monotonic_ms()).max(1);
        // Woken by the end of a guest, by time, or to stop.
        let _ = state.reaper.wait(
            Interrupt::Any,
            u32::try_from(left).unwrap_or(REPORT_MS),
            ended,
        );
    }
}
