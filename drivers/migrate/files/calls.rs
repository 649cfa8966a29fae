// SPDX-License-Identifier: GPL-2.0

//! Operations that this node sent to the owners of files and that have not ended.
//!
//! One [`Call`] for each, on behalf of the process that waits for it. A signal does not end the wait: it asks the owner to end the
//! operation and waits for what became of it, so that no byte is read and lost and none is written twice. Only a fatal signal, or the
//! death of the owner node, ends the wait at once.
//!
//! Lock order: `pending` is the innermost lock; nothing is called with it held.

use banyan_wire::{
    file_ops::{
        Action,
        Number,
        Outcome,
        Request,
        REQUEST_HEAD, //
    },
    op,
    NodeId,
    Wire, //
};
use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
};
use kernel_ext::{
    subject::Subject,
    wait::{
        Completion,
        Interrupt, //
    },
};

/// How long one wait is; it is then waited again, without end.
const WAIT_MS: u32 = 60_000;

/// An operation that was sent.
#[pin_data]
struct Call {
    owner: NodeId,
    #[pin]
    done: Completion,
    #[pin]
    outcome: Mutex<Option<Reply>>,
}

/// What the owner answered.
pub struct Reply {
    /// What the operation returned: 0 or more, or a negative errno.
    pub result: i64,
    /// Size of the file after it, if that is a regular file.
    pub size: u64,
    /// Its data.
    pub data: KVVec<u8>,
}

impl Reply {
    /// The result as a number, or the error.
    ///
    /// # Errors
    ///
    /// What the owner answered.
    pub fn value(&self) -> Result<usize> {
        usize::try_from(self.result).map_err(|_| Error::from_errno(self.result as i32))
    }

    fn failed(error: Error) -> Self {
        Self {
            result: error.to_errno().into(),
            size: 0,
            data: KVVec::new(),
        }
    }
}

/// What to ask of whom.
pub struct Ask<'a> {
    /// The owner node.
    pub owner: NodeId,
    /// The file there.
    pub handle: u64,
    /// Status flags to set first.
    pub flags: Option<u32>,
    /// What to do.
    pub action: Action,
    /// Where, if not at the description's own offset.
    pub position: Option<u64>,
    /// Data that go with it.
    pub data: &'a [u8],
}

/// All operations that were sent.
#[pin_data]
pub struct Calls {
    next: Atomic<u64>,
    #[pin]
    pending: Mutex<RBTree<u64, Arc<Call>>>,
}

/// Takes a call off the list when its caller goes.
struct Listed<'a> {
    calls: &'a Calls,
    number: u64,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        let call = self.calls.pending.lock().remove(&self.number);
        drop(call);
    }
}

impl Calls {
    /// None.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            next: Atomic::new(1),
            pending <- new_mutex!(RBTree::new(), "banyan file calls"),
        })
    }

    /// How many have not ended.
    pub fn count(&self) -> usize {
        self.pending.lock().iter().count()
    }

    /// Has an operation done at the owner, for the current process, and waits for what became of it.
    ///
    /// # Errors
    ///
    /// `EIO` if the owner is gone, `EINTR` if a fatal signal came (or any, for [`Action::Poll`], which has no effect that could be lost),
    /// `ENOMEM`. What the operation itself says is in the reply.
    pub fn perform(&self, ask: &Ask<'_>) -> Result<Reply> {
        let number = self.next.fetch_add(1, Relaxed);
        let request = Request {
            number,
            handle: ask.handle,
            pid: Subject::current().pid(),
            flags: ask.flags,
            action: ask.action,
            position: ask.position,
            data: ask.data,
        };
        let mut message =
            KVVec::with_capacity(REQUEST_HEAD.saturating_add(ask.data.len()), GFP_KERNEL)?;
        message.resize(REQUEST_HEAD, 0, GFP_KERNEL)?;
        request.encode_head(&mut message).map_err(|_| EINVAL)?;
        message.extend_from_slice(ask.data, GFP_KERNEL)?;

        let call = Arc::pin_init(
            pin_init!(Call {
                owner: ask.owner,
                done <- Completion::new(),
                outcome <- new_mutex!(None, "banyan file call"),
            }),
            GFP_KERNEL,
        )?;
        let node = RBTreeNode::new(number, Arc::clone(&call), GFP_KERNEL)?;
        self.pending.lock().insert(node);
        let _listed = Listed {
            calls: self,
            number,
        };

        banyan::send(ask.owner, op::FILE_OP, &message).map_err(|_| EIO)?;
        if let Err(error) = wait(&call.done, Interrupt::Any) {
            if matches!(ask.action, Action::Poll { .. }) {
                return Err(error);
            }
            // If the owner does not get this, it is gone, and then the wait ends by that.
            let mut cancel = [0u8; Number::SIZE];
            if (Number { number }).encode(&mut cancel).is_ok() {
                let _ = banyan::send(ask.owner, op::FILE_CANCEL, &cancel);
            }
            wait(&call.done, Interrupt::Killable)?;
        }
        let reply = call.outcome.lock().take();
        reply.ok_or(EIO)
    }

    /// The owner answered.
    pub fn outcome(&self, from: NodeId, payload: &[u8]) {
        let Ok(outcome) = Outcome::decode(payload) else {
            return;
        };
        let call = self.pending.lock().get(&outcome.number).cloned();
        let Some(call) = call.filter(|call| call.owner == from) else {
            return;
        };
        let mut data = KVVec::new();
        let reply = match data.extend_from_slice(outcome.data, GFP_KERNEL) {
            Ok(()) => Reply {
                result: outcome.result,
                size: outcome.size,
                data,
            },
            Err(error) => Reply::failed(error.into()),
        };
        finish(&call, reply);
    }

    /// The node is gone: everything that waits for it ends with `EIO`.
    pub fn node_down(&self, node: NodeId) {
        for call in self.pending.lock().values() {
            if call.owner == node {
                finish(call, Reply::failed(EIO));
            }
        }
    }
}

fn finish(call: &Call, reply: Reply) {
    let former = {
        let mut outcome = call.outcome.lock();
        match &*outcome {
            Some(_) => Some(reply),
            None => outcome.replace(reply),
        }
    };
    drop(former);
    call.done.complete_all();
}

fn wait(done: &Completion, interrupt: Interrupt) -> Result {
    loop {
        match done.wait(interrupt, WAIT_MS) {
            Err(error) if error == ETIMEDOUT => (),
            other => return other,
        }
    }
}
