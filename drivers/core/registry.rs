// SPDX-License-Identifier: GPL-2.0

//! The services of other modules that use the transport: at most a handful, kept in one [`Registry`] owned by the module.
//!
//! A service owns a range of ops, takes what arrives for them, and hears of nodes that go. A call into a service holds its entry
//! busy; unregistering waits for all such calls, so that none is running when the service's module goes.
//!
//! Lock order: `entries` is innermost; it is never held during a call into a service.

use core::ops::Range;

use banyan_wire::NodeId;
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};
use kernel_ext::wait::{
    Interrupt,
    WaitQueue, //
};

use crate::{
    bulk::BulkSocket,
    rpc::Responder, //
};

/// Figures of a service for this node's heartbeat.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Processes homed elsewhere that run here.
    pub guests_in: u32,
    /// Processes homed here that run elsewhere.
    pub guests_out: u32,
    /// `NODE_FLAG_*` of `banyan_wire::uapi` to set.
    pub flags: u16,
}

/// A user of the transport.
///
/// All calls may come at once from several threads. Where nothing else is said, they come from kernel threads of `banyan.ko`
/// which others wait for: they must not wait for the network nor for anything that does.
pub trait Service: Send + Sync {
    /// The ops that it owns.
    fn ops(&self) -> Range<u16>;

    /// A request came. On the thread that reads this peer's frames, in order: must not sleep long. The responder can be kept and
    /// answered later, from anywhere; dropping it answers `EIO`.
    fn request(&self, from: NodeId, op: u16, payload: &[u8], reply: Responder);

    /// A one-way message came. On the same thread, in order with the requests of that node.
    fn message(&self, from: NodeId, op: u16, payload: &[u8]);

    /// A bulk connection was opened to here. On a thread of its own, which may wait (`recv_exact` etc. are bounded) but has to
    /// return soon after [`Service::stopping`] or after the node went (the socket then fails).
    fn bulk(&self, from: NodeId, tag: u64, socket: BulkSocket);

    /// This node is a member now. In order with [`Service::node_down`].
    fn node_up(&self, _node: NodeId) {}

    /// This node was declared dead, or left, or came back anew: every call that named it has failed already. May come again after
    /// a later [`Service::node_up`].
    fn node_down(&self, node: NodeId);

    /// The lease of a node that was declared dead is over: guests homed there must be ended now.
    fn lease_over(&self, _node: NodeId) {}

    /// This node was declared dead by the others, or leaves for good: end all guests and all deputies whose guest is elsewhere.
    /// On return nothing of them may be left that runs.
    fn fence(&self) {}

    /// This node joins a cluster, by its own will.
    fn joined(&self) {}

    /// The machine goes down at once, and the others are told so after this: what would be left over elsewhere or here must be
    /// told to end. May wait, but not long.
    fn going_down(&self) {}

    /// A device ioctl whose number is not `banyan.ko`'s own, in the caller's context. May wait as long as it likes, but has to
    /// return soon after [`Service::stopping`].
    fn ioctl(&self, cmd: u32, arg: usize) -> Result<isize>;

    /// Figures for the heartbeat, twice a second. Must not sleep long.
    fn figures(&self) -> Figures {
        Figures::default()
    }

    /// Returns the pid of a process that would be lost if the node left now.
    fn busy(&self) -> Option<i32> {
        None
    }

    /// The registration is being dropped: ends all waits in `ioctl` and `bulk`, which are then waited for.
    fn stopping(&self) {}
}

#[pin_data]
struct Entry {
    service: Arc<dyn Service>,
    ops: Range<u16>,
    /// Calls that run now.
    active: Atomic<u32>,
    #[pin]
    idle: WaitQueue,
}

/// A call into a service that is running: keeps unregistering waiting.
struct Call(Arc<Entry>);

impl Drop for Call {
    fn drop(&mut self) {
        if self.0.active.fetch_sub(1, Full) == 1 {
            self.0.idle.wake_all();
        }
    }
}

/// All services.
#[pin_data]
pub(crate) struct Registry {
    #[pin]
    entries: Mutex<KVec<Arc<Entry>>>,
}

/// A registered service. Dropping it unregisters: on return no call into the service runs, and none will. Must not be dropped
/// from within such a call, nor with a lock that one takes.
pub struct Registration {
    registry: Arc<Registry>,
    entry: Arc<Entry>,
}

impl Registry {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            entries <- new_mutex!(KVec::new()),
        })
    }

    /// Adds a service.
    ///
    /// # Errors
    ///
    /// `EEXIST` if one of its ops is taken; `ENOMEM`.
    pub(crate) fn register(self: &Arc<Self>, service: Arc<dyn Service>) -> Result<Registration> {
        let ops = service.ops();
        let range = ops.clone();
        let entry = Arc::pin_init(
            pin_init!(Entry {
                service,
                ops: range,
                active: Atomic::new(0),
                idle <- WaitQueue::new(),
            }),
            GFP_KERNEL,
        )?;
        let mut entries = self.entries.lock();
        if entries
            .iter()
            .any(|e| e.ops.start < ops.end && ops.start < e.ops.end)
        {
            return Err(EEXIST);
        }
        entries.push(entry.clone(), GFP_KERNEL)?;
        drop(entries);
        Ok(Registration {
            registry: self.clone(),
            entry,
        })
    }

    fn enter(&self, wanted: impl Fn(&Entry) -> bool) -> Option<Call> {
        let entries = self.entries.lock();
        let entry = entries.iter().find(|entry| wanted(entry))?.clone();
        // Under the lock: once unregistering has taken the entry out, the count only falls.
        entry.active.fetch_add(1, Full);
        Some(Call(entry))
    }

    /// Calls into the service that owns `op`; `None` if there is none.
    pub(crate) fn with_op<R>(&self, op: u16, f: impl FnOnce(&dyn Service) -> R) -> Option<R> {
        let call = self.enter(|entry| entry.ops.contains(&op))?;
        Some(f(&*call.0.service))
    }

    /// Calls into every service, one after the other.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&dyn Service)) {
        let mut after = 0;
        // By ascending range, so that a service that comes or goes meanwhile does not upset the order.
        while let Some(call) = self.next(after) {
            after = call.0.ops.end;
            f(&*call.0.service);
        }
    }

    fn next(&self, after: u16) -> Option<Call> {
        let start = {
            let entries = self.entries.lock();
            entries
                .iter()
                .map(|entry| entry.ops.start)
                .filter(|start| *start >= after)
                .min()?
        };
        self.enter(|entry| entry.ops.start == start)
    }

    /// Hands a device call to the first service that knows it.
    ///
    /// # Errors
    ///
    /// `ENOTTY` if there is no service; else the service's.
    pub(crate) fn ioctl(&self, cmd: u32, arg: usize) -> Result<isize> {
        let call = self.enter(|_| true).ok_or(ENOTTY)?;
        call.0.service.ioctl(cmd, arg)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry
            .entries
            .lock()
            .retain(|entry| !Arc::ptr_eq(entry, &self.entry));
        self.entry.service.stopping();
        if self.entry.ops.contains(&banyan_wire::op::OFFER) {
            // Its bulk handlers wait for nothing but these.
            if let Ok(session) = crate::session() {
                session.bulk.shutdown(None);
            }
        }
        let idle = || self.entry.active.load(Relaxed) == 0;
        // Ends when the calls do. Nothing may cut it short, since the code that they run goes next.
        while self
            .entry
            .idle
            .wait(Interrupt::Killable, 1_000, idle)
            .is_err()
            && !idle()
        {
            kernel_ext::wait::pause();
        }
    }
}
