// SPDX-License-Identifier: GPL-2.0

//! Requests that wait for their answer: one [`Pending`] table per session, one [`Call`] per request under way.
//!
//! A call ends by its answer, by its time, by a signal, or when the connection that it went out on is lost: nothing waits for a
//! node that is dead.
//!
//! Lock order: `calls`, then `Call::answer`; both innermost, never held across a wait.

use banyan_wire::{
    frame::{
        ErrorReply,
        FrameHeader, //
    },
    NodeId, //
};
use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::{
        Arc,
        Mutex, //
    },
    time::Msecs, //
};
use kernel_ext::wait::{
    Completion,
    Interrupt, //
};

use crate::peer::Peer;

/// Why a request failed: an errno, and what the peer said about it.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// As a function of this kernel would return it.
    pub errno: Error,
    /// A `banyan_wire::Reason` code, 0 if there is none.
    pub reason: u16,
}

impl From<Error> for Failure {
    fn from(errno: Error) -> Self {
        Self { errno, reason: 0 }
    }
}

impl From<kernel::alloc::AllocError> for Failure {
    fn from(_: kernel::alloc::AllocError) -> Self {
        ENOMEM.into()
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.errno
    }
}

/// The payload of an answer.
pub type Answer = KVVec<u8>;

/// A request under way.
#[pin_data]
struct Call {
    /// The connection that it went out on.
    connection: u64,
    #[pin]
    done: Completion,
    /// Set once, before `done`.
    #[pin]
    answer: Mutex<Option<Result<Answer, Failure>>>,
}

struct Calls {
    by_id: RBTree<u64, Arc<Call>>,
    next_id: u64,
}

/// The requests of a session that wait for their answer.
#[pin_data]
pub(crate) struct Pending {
    #[pin]
    calls: Mutex<Calls>,
}

impl Pending {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            calls <- new_mutex!(Calls {
                by_id: RBTree::new(),
                next_id: 1,
            }),
        })
    }

    /// Sends a request and waits for the answer.
    ///
    /// # Errors
    ///
    /// `EHOSTUNREACH` if the connection is lost, `ETIMEDOUT`, `EINTR`, `EMSGSIZE`, `ENOMEM`, and what the peer answers.
    pub(crate) fn call(
        &self,
        peer: &Arc<Peer>,
        op: u16,
        payload: &[u8],
        timeout: Msecs,
        interrupt: Interrupt,
    ) -> Result<Answer, Failure> {
        let call = Arc::pin_init(
            pin_init!(Call {
                connection: peer.connection(),
                done <- Completion::new(),
                answer <- new_mutex!(None),
            }),
            GFP_KERNEL,
        )?;
        let id = self.add(&call)?;
        let result = peer
            .send_request(op, id, payload, interrupt, timeout)
            .and_then(|()| call.done.wait(interrupt, timeout));
        let _ = self.calls.lock().by_id.remove(&id);
        // An answer that came in the last moment counts.
        let answer = call.answer.lock().take();
        match (answer, result) {
            (Some(answer), _) => answer,
            (None, Err(e)) => Err(e.into()),
            (None, Ok(())) => Err(EIO.into()),
        }
    }

    fn add(&self, call: &Arc<Call>) -> Result<u64> {
        let mut calls = self.calls.lock();
        let id = calls.next_id;
        calls.next_id = id.wrapping_add(1).max(1);
        let node = RBTreeNode::new(id, call.clone(), GFP_KERNEL)?;
        calls.by_id.insert(node);
        Ok(id)
    }

    /// An answer came. One that nobody waits for any more is dropped.
    pub(crate) fn answered(&self, connection: u64, header: &FrameHeader, payload: &[u8]) {
        let call = {
            let mut calls = self.calls.lock();
            match calls.by_id.get(&header.id()) {
                // A peer can only answer what it was asked.
                Some(call) if call.connection == connection => {}
                _ => return,
            }
            calls.by_id.remove(&header.id())
        };
        let Some(call) = call else { return };
        let answer = if header.is_error() {
            Err(read_failure(payload))
        } else {
            copy(payload).map_err(Failure::from)
        };
        call.finish(answer);
    }

    /// The connection is lost: its calls fail.
    pub(crate) fn lost(&self, connection: u64) {
        let calls = self.calls.lock();
        for call in calls.by_id.values() {
            if call.connection == connection {
                call.finish(Err(EHOSTUNREACH.into()));
            }
        }
    }
}

impl Call {
    fn finish(&self, answer: Result<Answer, Failure>) {
        let mut slot = self.answer.lock();
        if slot.is_none() {
            *slot = Some(answer);
        }
        drop(slot);
        self.done.complete_all();
    }
}

fn read_failure(payload: &[u8]) -> Failure {
    use banyan_wire::Wire;
    match ErrorReply::decode(payload) {
        Ok(reply) => Failure {
            errno: Error::from_errno(reply.kernel_errno()),
            reason: reply.reason,
        },
        Err(_) => EPROTO.into(),
    }
}

pub(crate) fn copy(payload: &[u8]) -> Result<Answer> {
    let mut copy = KVVec::with_capacity(payload.len(), GFP_KERNEL)?;
    copy.extend_from_slice(payload, GFP_KERNEL)?;
    Ok(copy)
}

/// The right and the duty to answer one request. Dropping it answers `EIO`.
pub struct Responder {
    peer: Option<Arc<Peer>>,
    op: u16,
    id: u64,
}

impl Responder {
    pub(crate) fn new(peer: Arc<Peer>, op: u16, id: u64) -> Self {
        Self {
            peer: Some(peer),
            op,
            id,
        }
    }

    /// Returns who asked.
    pub fn node(&self) -> Option<NodeId> {
        self.peer.as_ref().map(|peer| peer.node())
    }

    /// Answers. Does not wait. If the connection is gone, so is the one who asked, and nothing happens; an answer beyond the
    /// longest payload becomes `EMSGSIZE`.
    pub fn reply(mut self, payload: &[u8]) {
        if let Some(peer) = self.peer.take() {
            if peer.send_reply(self.op, self.id, payload).is_err() {
                let _ = peer.send_failure(self.op, self.id, EMSGSIZE.into());
            }
        }
    }

    /// Answers with a failure. Does not wait.
    pub fn fail(mut self, failure: impl Into<Failure>) {
        if let Some(peer) = self.peer.take() {
            let _ = peer.send_failure(self.op, self.id, failure.into());
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if let Some(peer) = self.peer.take() {
            let _ = peer.send_failure(self.op, self.id, EIO.into());
        }
    }
}
