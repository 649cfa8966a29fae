// SPDX-License-Identifier: GPL-2.0

//! What this node knows of processes that are away, here as guests, or on their way. One, from the module's load to its unload.

use crate::{
    arrival::Arrival,
    calls::CallsHome,
    deputy::Deputy,
    guest::Guest,
    handover::Departure,
    leaving::Parting,
    table::Table, //
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
    clock,
    global::Global,
    kthread::ThreadGroup,
    wait::WaitQueue, //
};

/// How long a server is expected back that went to make a process, milliseconds.
const SERVER_MS: u64 = 5_000;

/// Most moves and other errands that this node does for others at the same time.
const MAX_ERRANDS: usize = 256;

static STATE: Global<State> = Global::new();

/// All of it.
#[pin_data]
pub struct State {
    /// The module, for those who keep it loaded.
    pub module: &'static ThisModule,
    /// Processes homed here that run elsewhere, by pid.
    #[pin]
    pub deputies: Table<i32, Deputy>,
    /// Processes that run here and are homed elsewhere, by pid.
    #[pin]
    pub guests: Table<i32, Guest>,
    /// Processes on their way to here, by the number of the move.
    #[pin]
    pub arrivals: Table<u64, Arrival>,
    /// Processes on their way from here, by pid.
    #[pin]
    pub departures: Table<i32, Departure>,
    /// Arrivals that wait for a child to be made for them.
    #[pin]
    pub unserved: Mutex<KVec<Arc<Arrival>>>,
    /// What is left to be told of guests that have gone from here.
    #[pin]
    pub partings: Mutex<KVec<Parting>>,
    /// Woken when `unserved` has grown or the module goes.
    #[pin]
    pub serve: WaitQueue,
    /// Threads that wait in `SERVE_WAIT` now.
    pub servers: Atomic<u32>,
    /// When the last of them went to make a process, milliseconds of `CLOCK_MONOTONIC`.
    pub served_ms: Atomic<u64>,
    /// Woken when a guest has ended or has gone.
    pub reaper: Arc<WaitQueue>,
    /// Threads for what may not be done on the transport's own.
    #[pin]
    pub errands: ThreadGroup,
    /// Hooks on the system calls of guests.
    pub calls: Arc<CallsHome>,
    /// The module goes.
    pub stopping: Atomic<bool>,
    /// No guests are taken.
    pub keep_out: Atomic<bool>,
    sequence: Atomic<u64>,
}

impl State {
    /// Makes it and lets [`get`] find it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn start(module: &'static ThisModule) -> Result<Arc<Self>> {
        let reaper = Arc::pin_init(WaitQueue::new(), GFP_KERNEL)?;
        let calls = Arc::pin_init(CallsHome::new(), GFP_KERNEL)?;
        let state = Arc::pin_init(
            pin_init!(Self {
                module,
                deputies <- Table::new(),
                guests <- Table::new(),
                arrivals <- Table::new(),
                departures <- Table::new(),
                unserved <- new_mutex!(KVec::new()),
                partings <- new_mutex!(KVec::new()),
                serve <- WaitQueue::new(),
                servers: Atomic::new(0),
                served_ms: Atomic::new(0),
                reaper,
                errands <- ThreadGroup::new(MAX_ERRANDS),
                calls,
                stopping: Atomic::new(false),
                keep_out: Atomic::new(false),
                // Not the same after the module was loaded again: an old move is never taken for a new one.
                sequence: Atomic::new(kernel_ext::clock::realtime_ns() >> 10),
            }),
            GFP_KERNEL,
        )?;
        STATE.set(state.clone());
        Ok(state)
    }

    /// Hides it.
    pub fn stop() {
        drop(STATE.take());
    }

    /// Whether somebody makes processes for arrivals: waits for one, or is making one and comes back.
    pub fn is_served(&self) -> bool {
        if self.servers.load(Relaxed) > 0 {
            return true;
        }
        let served = self.served_ms.load(Relaxed);
        served != 0 && clock::monotonic_ms().saturating_sub(served) < SERVER_MS
    }

    /// Whether the process is on its way from here or to here.
    pub fn is_moving(&self, pid: i32) -> bool {
        self.departures.get(pid).is_some()
            || self
                .arrivals
                .snapshot()
                .iter()
                .any(|arrival| arrival.journey.pid == pid && arrival.is_open())
    }

    /// The next number for a move.
    pub fn next_move(&self) -> u64 {
        self.sequence.fetch_add(1, Relaxed)
    }
}

/// The state of this node.
///
/// # Errors
///
/// `ENODEV` if the module goes.
pub fn get() -> Result<Arc<State>> {
    STATE.get().ok_or(ENODEV)
}
