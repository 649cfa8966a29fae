// SPDX-License-Identifier: GPL-2.0

//! One stay of this node in the cluster, from `online` to leaving: at most one [`Session`] at a time, owned by [`Running`],
//! which the module's [`Core`] holds. All threads and connections belong to it, and none outlives it.
//!
//! Lock order: `state`, then `notices`; `dialling` and `strangers` alone. None is held across a wait for the network.

use banyan_member::{
    Event,
    Membership,
    Row,
    ROWS, //
};
use banyan_wire::{
    handshake::{
        Features,
        XsaveComponent, //
    },
    member::{
        Heartbeat,
        Leave, //
    },
    op,
    uapi::NODE_FLAG_MIGRATE,
    NodeId, Wire,
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            AtomicFlag,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};
use kernel_ext::{
    clock::{
        monotonic_ms,
        realtime_ns, //
    },
    crypto::Secret,
    kthread::{
        set_nice,
        should_stop,
        KThread,
        ThreadGroup, //
    },
    machine,
    socket::{
        Address,
        Listener, //
    },
    wait::{
        Interrupt,
        WaitQueue, //
    }, //
};

use crate::{
    bulk::BulkTable,
    membership::{
        Notice,
        State, //
    },
    peer::Peer,
    pids::PidRange,
    rpc::Pending,
    settings::KEY_LEN,
    Core, //
};

/// Threads for connections: two for each peer, one for each handshake and bulk connection.
const MOST_THREADS: usize = 1024;
/// Nice value of the threads on which others wait for a sign of life.
pub(crate) const NICE: i32 = -15;
/// Time that a leave waits for what is queued to go out.
const FLUSH_MS: u32 = 1_000;

/// What a session was started with.
pub(crate) struct Identity {
    pub(crate) node: NodeId,
    pub(crate) cluster: KVec<u8>,
    pub(crate) key: Secret<KEY_LEN>,
    pub(crate) address: Address,
    pub(crate) seeds: KVec<Address>,
    /// What this node is; figures that change are filled in for each handshake.
    pub(crate) features: KBox<Features>,
}

/// The session.
#[pin_data]
pub(crate) struct Session {
    pub(crate) core: Arc<Core>,
    pub(crate) identity: Identity,
    #[pin]
    pub(crate) state: Mutex<State>,
    #[pin]
    notices: Mutex<KVec<Notice>>,
    /// The notifier waits here for notices.
    #[pin]
    noticed: WaitQueue,
    #[pin]
    pub(crate) pending: Pending,
    pub(crate) bulk: Arc<BulkTable>,
    #[pin]
    pub(crate) threads: ThreadGroup,
    /// Addresses that are being dialled.
    #[pin]
    pub(crate) dialling: Mutex<KVec<Address>>,
    /// The addresses of connections that were taken and whose handshake is not over.
    #[pin]
    pub(crate) strangers: Mutex<KVec<u32>>,
    next_connection: Atomic<u64>,
    pub(crate) leaving: AtomicFlag,
}

/// A session with its threads. Dropping it ends the session at once.
pub(crate) struct Running {
    pub(crate) session: Arc<Session>,
    listener: Arc<Listener>,
    threads: KVec<KThread>,
}

impl Session {
    /// Returns the number for a new connection.
    pub(crate) fn number_connection(&self) -> u64 {
        self.next_connection.fetch_add(1, Relaxed)
    }

    /// Closes a connection, and what waits on it fails. Does not wait.
    pub(crate) fn close(&self, peer: &Peer) {
        peer.close();
        self.pending.lost(peer.connection());
    }

    /// Notes what services must hear.
    pub(crate) fn notice(&self, notice: Notice) {
        if self.notices.lock().push(notice, GFP_KERNEL).is_err() {
            pr_err!("no memory to tell of {notice:?}\n");
        }
        self.noticed.wake_all();
    }

    /// Feeds an event to the membership, and opens the connections that it asks for.
    pub(crate) fn event(self: &Arc<Self>, event: Event<'_>) {
        let dials = {
            let mut state = self.state.lock();
            state.handle(self, event);
            state.take_dials()
        };
        self.dial_all(dials);
    }

    /// Returns the connection with a member.
    ///
    /// # Errors
    ///
    /// `EHOSTUNREACH` if it is no member or not connected; `EINVAL` for this node itself; `ENOTCONN` if this node leaves.
    pub(crate) fn member(&self, node: NodeId) -> Result<Arc<Peer>> {
        if node == self.identity.node {
            return Err(EINVAL);
        }
        if self.leaving.load(Relaxed) {
            return Err(ENOTCONN);
        }
        let state = self.state.lock();
        if !state.membership.is_reachable(node) {
            return Err(EHOSTUNREACH);
        }
        state.peer(node).cloned().ok_or(EHOSTUNREACH)
    }

    /// Returns this node's features as they are now.
    pub(crate) fn features(&self) -> Result<KBox<Features>> {
        let mut features = KBox::new(*self.identity.features, GFP_KERNEL)?;
        let state = self.state.lock();
        features.members = state.membership.members();
        features.lowest = state.membership.lowest();
        features.incarnation = state.membership.incarnation();
        Ok(features)
    }

    /// Returns this node's figures.
    pub(crate) fn heartbeat(&self, incarnation: u64) -> Heartbeat {
        let memory = machine::memory();
        let mut heartbeat = Heartbeat {
            incarnation,
            mem_total_kib: memory.total_kib,
            mem_free_kib: memory.available_kib,
            load1: machine::load1(),
            uptime_s: machine::uptime_s(),
            guests_in: 0,
            guests_out: 0,
            cpus: u16::try_from(machine::online_cpus()).unwrap_or(u16::MAX),
            flags: 0,
            _pad: 0,
        };
        self.core.registry.for_each(|service| {
            let figures = service.figures();
            heartbeat.guests_in = heartbeat.guests_in.saturating_add(figures.guests_in);
            heartbeat.guests_out = heartbeat.guests_out.saturating_add(figures.guests_out);
            heartbeat.flags |= figures.flags;
            if service.ops().contains(&op::OFFER) {
                heartbeat.flags |= NODE_FLAG_MIGRATE;
            }
        });
        heartbeat
    }

    fn send_heartbeats(&self) {
        let incarnation = self.state.lock().membership.incarnation();
        let mut payload = [0; Heartbeat::SIZE];
        if self.heartbeat(incarnation).encode(&mut payload).is_err() {
            return;
        }
        for peer in self.state.lock().peers() {
            // A connection that fails now tells its own story.
            let _ = peer.send_message(op::HEARTBEAT, &payload);
        }
    }

    /// The body of the thread that keeps time: ticks, heartbeats, pids, and the threads that have ended.
    fn keep_time(self: &Arc<Self>) {
        set_nice(NICE);
        let mut pids = PidRange::new(self.identity.node);
        let mut heartbeat_due = monotonic_ms();
        while !should_stop() {
            self.event(Event::Tick);
            if monotonic_ms() >= heartbeat_due {
                heartbeat_due = monotonic_ms().saturating_add(banyan_member::HEARTBEAT_MS);
                self.send_heartbeats();
                self.threads.reap();
            }
            pids.keep();
            let tick = banyan_member::TICK_MS as u32;
            let _ = self.noticed.wait(Interrupt::Killable, tick, should_stop);
        }
    }

    /// The body of the thread that tells services of changes, in order.
    fn notify(self: &Arc<Self>) {
        while !should_stop() {
            let some = || !self.notices.lock().is_empty();
            let _ = self.noticed.wait(Interrupt::Killable, 60_000, some);
            let mut notices = core::mem::take(&mut *self.notices.lock());
            for notice in notices.drain_all() {
                self.tell(notice);
            }
        }
    }

    fn tell(&self, notice: Notice) {
        self.core.registry.for_each(|service| match notice {
            Notice::Up(node) => service.node_up(node),
            Notice::Down(node) => service.node_down(node),
            Notice::LeaseOver(node) => service.lease_over(node),
            Notice::Fence => service.fence(),
        });
        if notice == Notice::Fence {
            let mut state = self.state.lock();
            state.membership.rejoin(monotonic_ms(), realtime_ns());
            self.core.set_epoch(state.membership.epoch());
        }
    }

    /// Tells the others that this node leaves; nothing more is asked of them from here on. Waits for it to go out, but not for long.
    pub(crate) fn say_goodbye(&self) {
        self.leaving.store(true, Relaxed);
        let mut peers = KVec::new();
        let mut payload = [0; Leave::SIZE];
        {
            let state = self.state.lock();
            let incarnation = state.membership.incarnation();
            if (Leave { incarnation }).encode(&mut payload).is_err() {
                return;
            }
            for peer in state.peers() {
                if peer.send_message(op::LEAVE, &payload).is_ok() {
                    let _ = peers.push(peer.clone(), GFP_KERNEL);
                }
            }
        }
        let end = monotonic_ms().saturating_add(FLUSH_MS.into());
        for peer in &peers {
            peer.flush(end.saturating_sub(monotonic_ms()) as u32);
        }
    }
}

impl Running {
    /// Starts a session.
    ///
    /// # Errors
    ///
    /// `EADDRINUSE` if the port is taken, `ENOMEM`.
    pub(crate) fn start(core: Arc<Core>, identity: Identity) -> Result<Self> {
        let listener = Arc::new(Listener::bind(identity.address.port, 128)?, GFP_KERNEL)?;
        let membership = Membership::new(
            identity.node,
            realtime_ns(),
            identity.address.ip.to_be(),
            identity.address.port,
            monotonic_ms(),
            KVec::from_elem(Row::EMPTY, ROWS, GFP_KERNEL)?,
        );
        core.set_epoch(membership.epoch());
        let state = State::new(membership)?;
        let bulk = Arc::pin_init(BulkTable::new(), GFP_KERNEL)?;
        let session = Arc::pin_init(
            pin_init!(Session {
                core,
                identity,
                state <- new_mutex!(state),
                notices <- new_mutex!(KVec::new()),
                noticed <- WaitQueue::new(),
                pending <- Pending::new(),
                bulk,
                threads <- ThreadGroup::new(MOST_THREADS),
                dialling <- new_mutex!(KVec::new()),
                strangers <- new_mutex!(KVec::new()),
                next_connection: Atomic::new(1),
                leaving: AtomicFlag::new(false),
            }),
            GFP_KERNEL,
        )?;
        // From here on the drop of `running` ends what was started.
        let mut running = Self {
            session: session.clone(),
            listener: listener.clone(),
            threads: KVec::with_capacity(3, GFP_KERNEL)?,
        };
        let it = session.clone();
        let thread = KThread::spawn(fmt!("banyan/accept"), move || it.accept_all(&listener))?;
        running.threads.push(thread, GFP_KERNEL)?;
        let it = session.clone();
        let thread = KThread::spawn(fmt!("banyan/notify"), move || it.notify())?;
        running.threads.push(thread, GFP_KERNEL)?;
        let thread = KThread::spawn(fmt!("banyan/time"), move || session.keep_time())?;
        running.threads.push(thread, GFP_KERNEL)?;
        Ok(running)
    }

    /// Tells the others that this node leaves. The drop then ends the session.
    pub(crate) fn leave(&self) {
        self.session.say_goodbye();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let session = &self.session;
        session.leaving.store(true, Relaxed);
        self.listener.shutdown();
        // No connection opens any more: the thread that takes them and the one that dials are gone after this.
        self.threads.clear();
        let mut members = KVec::new();
        {
            let state = session.state.lock();
            for peer in state.peers() {
                session.close(peer);
                let _ = members.push(peer.node(), GFP_KERNEL);
            }
        }
        session.bulk.close();
        session.threads.stop();
        for node in &members {
            session.tell(Notice::Down(*node));
        }
    }
}

/// Returns what this machine is.
///
/// # Errors
///
/// `E2BIG` if this kernel knows more CPU features than the format has room for; `ENOMEM`.
pub(crate) fn own_features(address: Address) -> Result<KBox<Features>> {
    let mut xsave = [XsaveComponent { offset: 0, size: 0 }; machine::XSAVE_COMPONENTS];
    let (layout, xsave_aligned) = machine::xsave_layout();
    for (component, (offset, size)) in xsave.iter_mut().zip(layout) {
        *component = XsaveComponent { offset, size };
    }
    Ok(KBox::new(
        Features {
            version: banyan_wire::frame::PROTOCOL_VERSION,
            image_version: banyan_wire::image::IMAGE_VERSION,
            cpus: u16::try_from(machine::online_cpus()).unwrap_or(u16::MAX),
            port: address.port,
            addr_be: address.ip.to_be(),
            members: 1,
            lowest: 0,
            _pad: 0,
            incarnation: 0,
            mem_total_kib: machine::memory().total_kib,
            xfeatures: machine::xfeatures(),
            xsave_size: machine::xsave_size(),
            xsave_aligned,
            abi: machine::kernel_release(),
            name: machine::host_name(),
            cpu: machine::cpu_capabilities()?,
            xsave,
        },
        GFP_KERNEL,
    )?)
}
