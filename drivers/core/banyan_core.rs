// SPDX-License-Identifier: GPL-2.0

//! `banyan.ko`: membership of the cluster, transport between its nodes, and the control interfaces.
//!
//! Crate `banyan`, which the other modules use; the functions here are its interface. One [`Core`] for each machine, made on
//! load and gone on unload; a [`session::Session`] while the machine is in a cluster.
//!
//! Lock order, over all of this crate: `Core::transition`, then `Core::running`, then those of `session`; `Core::settings` alone.
//! No lock is held across a wait for the network but `transition`, which only joining and leaving take.

#![deny(unsafe_code)]

use banyan_wire::{
    handshake::Features,
    Epoch,
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
    },
    time::Msecs, //
};
use kernel_ext::{
    device::Device,
    global::Global,
    reboot::{
        OnReboot,
        RebootWatch, //
    },
    socket::{
        local_address,
        Address, //
    },
    sysfs::Directory,
    wait::Interrupt, //
};

mod auth;
mod bulk;
mod connection;
mod control;
pub mod device_arg;
mod membership;
mod peer;
mod pids;
mod registry;
mod rpc;
mod session;
mod settings;
mod stats;

pub use bulk::BulkSocket;
pub use registry::{
    Figures,
    Registration,
    Service, //
};
pub use rpc::{
    Answer,
    Failure,
    Responder, //
};

use registry::Registry;
use session::{
    Identity,
    Running,
    Session, //
};
use settings::Settings;
use stats::Stats;

module! {
    type: BanyanModule,
    name: "banyan",
    authors: ["The Banyan developers"],
    description: "Banyan: membership and transport of a cluster that acts as one machine",
    license: "GPL",
}

/// The machine's part in a cluster, whether it is in one or not.
#[pin_data]
pub(crate) struct Core {
    #[pin]
    settings: Mutex<Settings>,
    /// Held by whoever joins or leaves.
    #[pin]
    transition: Mutex<()>,
    #[pin]
    running: Mutex<Option<Running>>,
    registry: Arc<Registry>,
    stats: Stats,
    /// The version of the membership; 0 while offline.
    epoch: Atomic<u32>,
}

static CORE: Global<Core> = Global::new();

/// Returns the core; `ENODEV` while the module comes or goes.
pub(crate) fn core() -> Result<Arc<Core>> {
    CORE.get().ok_or(ENODEV)
}

impl Core {
    fn new() -> Result<Arc<Self>> {
        let registry = Arc::pin_init(Registry::new(), GFP_KERNEL)?;
        Arc::pin_init(
            pin_init!(Self {
                settings <- new_mutex!(Settings::from_parameters()),
                transition <- new_mutex!(()),
                running <- new_mutex!(None),
                registry,
                stats: Stats::new(),
                epoch: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        let running = self.running.lock();
        running.as_ref().map(|running| running.session.clone())
    }

    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Relaxed))
    }

    pub(crate) fn set_epoch(&self, epoch: Epoch) {
        self.epoch.store(epoch.0, Relaxed);
    }

    /// Takes the settings for a session; says in the log what is missing.
    fn identity(&self) -> Result<Identity> {
        let settings = self.settings.lock();
        let key = settings.key.clone().ok_or(EINVAL).inspect_err(|_| {
            pr_err!("cannot join: no cluster key (/etc/banyan/key)\n");
        })?;
        if settings.cluster.is_empty() {
            pr_err!("cannot join: no cluster name (banyan.cluster=NAME or cluster = NAME)\n");
            return Err(EINVAL);
        }
        let ip = settings
            .address
            .or_else(local_address)
            .ok_or(EINVAL)
            .inspect_err(|_| {
                pr_err!("cannot join: no IPv4 address (address = A.B.C.D)\n");
            })?;
        let node = settings.node.or_else(|| NodeId::from_ipv4(ip)).ok_or(EINVAL).inspect_err(|_| {
            pr_err!(
                "cannot join: the address gives no node id: set one by banyan.node=N on the kernel command line \
                 or node = N in /etc/banyan/banyan.conf\n"
            );
        })?;
        let address = Address {
            ip,
            port: settings.port,
        };
        let mut cluster = KVec::new();
        cluster.extend_from_slice(&settings.cluster, GFP_KERNEL)?;
        let mut seeds = KVec::new();
        seeds.extend_from_slice(&settings.seeds, GFP_KERNEL)?;
        Ok(Identity {
            node,
            cluster,
            key,
            address,
            seeds,
            features: session::own_features(address)?,
        })
    }

    /// Joins the cluster. Nothing happens if it is in already.
    ///
    /// # Errors
    ///
    /// `EINVAL` if a setting is missing; `EADDRINUSE`; `ENOMEM`.
    pub(crate) fn join(self: &Arc<Self>) -> Result {
        let _transition = self.transition.lock();
        if self.running.lock().is_some() {
            return Ok(());
        }
        let identity = self.identity()?;
        let (node, address) = (identity.node, identity.address);
        let running = Running::start(self.clone(), identity).inspect_err(|e| {
            pr_err!("cannot listen on port {}: {e:?}\n", address.port);
        })?;
        *self.running.lock() = Some(running);
        self.registry.for_each(|service| service.joined());
        pr_info!("node {} is up at {address}\n", node.get());
        Ok(())
    }

    /// Leaves the cluster. Nothing happens if it is in none.
    ///
    /// # Errors
    ///
    /// `EBUSY` while a process is away or a guest is here; the log says which.
    pub(crate) fn leave(&self) -> Result {
        let _transition = self.transition.lock();
        let mut holder = None;
        self.registry.for_each(|service| {
            holder = holder.or_else(|| service.busy());
        });
        if let Some(pid) = holder {
            pr_notice!("cannot leave: process {pid} is away or a guest\n");
            return Err(EBUSY);
        }
        self.end();
        Ok(())
    }

    /// The machine goes down: so that the others need not wait until they miss it.
    fn say_goodbye(&self) {
        self.registry.for_each(|service| service.going_down());
        if let Some(session) = self.session() {
            session.say_goodbye();
        }
    }

    /// Ends the session, if there is one.
    fn end(&self) {
        // From here on nobody finds the session any more; then it says goodbye and ends.
        let running = self.running.lock().take();
        if let Some(running) = running {
            running.leave();
            drop(running);
            self.set_epoch(Epoch(0));
            pr_info!("out of the cluster\n");
        }
    }
}

impl OnReboot for Core {
    fn going_down(&self) {
        self.say_goodbye();
    }
}

struct BanyanModule {
    // Dropped in this order: first what leads in from outside.
    _reboot: RebootWatch<Core>,
    _device: Pin<KBox<Device<control::Control>>>,
    _stats: Directory<Core>,
    _directory: Directory<Core>,
    core: Arc<Core>,
}

impl kernel::Module for BanyanModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        kernel_ext::ksym::resolve()?;
        let core = Core::new()?;
        let directory = Directory::new(c"banyan", control::ATTRIBUTES, core.clone())?;
        let stats = directory.subdirectory(c"stats", stats::ATTRIBUTES, core.clone())?;
        let name = c"banyan";
        let device = KBox::pin_init(Device::register(name, 0o666), GFP_KERNEL)?;
        let reboot = RebootWatch::new(core.clone())?;
        CORE.set(core.clone());
        pr_info!("loaded\n");
        Ok(Self {
            _reboot: reboot,
            _device: device,
            _stats: stats,
            _directory: directory,
            core,
        })
    }
}

impl Drop for BanyanModule {
    fn drop(&mut self) {
        // No service is left: their modules use this one.
        CORE.take();
        self.core.end();
        pr_info!("unloaded\n");
    }
}

fn session() -> Result<Arc<Session>> {
    core()?.session().ok_or(ENOTCONN)
}

/// Returns this node's id; `None` while it is in no cluster.
pub fn this_node() -> Option<NodeId> {
    session().ok().map(|session| session.identity.node)
}

/// Returns the version of the membership; 0 while offline.
pub fn epoch() -> Epoch {
    core().map_or(Epoch(0), |core| core.epoch())
}

/// Returns whether a node is a member that can be asked now (or this node itself).
pub fn is_member(node: NodeId) -> bool {
    session().is_ok_and(|session| session.state.lock().membership.is_reachable(node))
}

/// Returns what another member said of itself when it connected.
///
/// # Errors
///
/// `ENOTCONN` while offline, `EHOSTUNREACH` if the node is no member.
pub fn peer_features(node: NodeId) -> Result<KBox<Features>> {
    let peer = session()?.member(node)?;
    Ok(KBox::new(*peer.features(), GFP_KERNEL)?)
}

/// Returns what this machine is. Also while it is in no cluster.
///
/// # Errors
///
/// `ENOMEM`.
pub fn own_features() -> Result<KBox<Features>> {
    match session() {
        Ok(session) => session.features(),
        Err(_) => session::own_features(Address { ip: 0, port: 0 }),
    }
}

/// Registers a service, until the result is dropped.
///
/// # Errors
///
/// `EEXIST` if one of its ops is taken; `ENODEV`, `ENOMEM`.
pub fn register(service: Arc<dyn Service>) -> Result<Registration> {
    core()?.registry.register(service)
}

fn call_by(
    node: NodeId,
    op: u16,
    payload: &[u8],
    timeout: Msecs,
    interrupt: Interrupt,
) -> Result<Answer, Failure> {
    let session = session()?;
    let peer = session.member(node)?;
    session.core.stats.calls.one();
    let result = session.pending.call(&peer, op, payload, timeout, interrupt);
    if result.as_ref().is_err_and(|f| f.errno == ETIMEDOUT) {
        session.core.stats.calls_timed_out.one();
    }
    result
}

/// Asks a node and waits for the answer, at most `timeout` milliseconds. Only a fatal signal ends the wait.
///
/// # Errors
///
/// `ENOTCONN` while offline; `EHOSTUNREACH` if the node is no member or its connection is lost, answered or not; `ETIMEDOUT`,
/// `EINTR`; `EMSGSIZE` beyond 128 KiB; `EOPNOTSUPP` if the node has no service for it; and what the service answered.
pub fn call(node: NodeId, op: u16, payload: &[u8], timeout: Msecs) -> Result<Answer, Failure> {
    call_by(node, op, payload, timeout, Interrupt::Killable)
}

/// As [`call`]; any signal ends the wait, with `EINTR`.
///
/// # Errors
///
/// As [`call`].
pub fn call_interruptible(
    node: NodeId,
    op: u16,
    payload: &[u8],
    timeout: Msecs,
) -> Result<Answer, Failure> {
    call_by(node, op, payload, timeout, Interrupt::Any)
}

/// Sends a one-way message; it arrives in order with what else is sent to that node, or not at all. Does not wait.
///
/// # Errors
///
/// `ENOTCONN`, `EHOSTUNREACH`, `EMSGSIZE` as [`call`]; `ENOBUFS` if the node does not read what it is sent.
pub fn send(node: NodeId, op: u16, payload: &[u8]) -> Result {
    session()?.member(node)?.send_message(op, payload)
}

/// Opens a bulk connection to the service of moves at a node, which gets it with `tag`. Waits at most `timeout` milliseconds
/// for the connection and 5 s for the handshake.
///
/// # Errors
///
/// `ENOTCONN`, `EHOSTUNREACH`, `ETIMEDOUT`, `EINTR`, `ECONNREFUSED` and others of the connection.
pub fn open_bulk(node: NodeId, tag: u64, timeout: Msecs) -> Result<BulkSocket> {
    session()?.open_bulk(node, tag, timeout)
}
