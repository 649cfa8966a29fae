// SPDX-License-Identifier: GPL-2.0

//! Bulk connections, for the pages of a move: opened on demand, as many as there are moves, each owned by whoever opened it or by
//! the service that took it. A [`BulkTable`] of the session knows the open ones, so that they fail when their node goes.
//!
//! Lock order: `open` is innermost.

use banyan_wire::NodeId;
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
    socket::{
        PageVec,
        Patience,
        Socket, //
    },
    wait::Interrupt, //
};

/// Longest time without progress on a bulk connection.
const STALL_MS: Msecs = 10_000;

/// Most memory for what waits on one in either direction, bytes: a move may take 16 MiB in all.
const BUFFERS: u32 = 8 << 20;

/// Sets a connection up to be a bulk connection.
pub(crate) fn tune(socket: &Socket) {
    socket.tune(STALL_MS);
    socket.limit_buffers(BUFFERS);
}

struct Open {
    node: NodeId,
    socket: Arc<Socket>,
}

/// The open bulk connections of a session.
#[pin_data]
pub(crate) struct BulkTable {
    #[pin]
    open: Mutex<Connections>,
}

struct Connections {
    list: KVec<Open>,
    /// The session ends: no more are added.
    closed: bool,
}

impl BulkTable {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            open <- new_mutex!(Connections {
                list: KVec::new(),
                closed: false,
            }),
        })
    }

    pub(crate) fn add(self: &Arc<Self>, node: NodeId, socket: Socket) -> Result<BulkSocket> {
        let socket = Arc::new(socket, GFP_KERNEL)?;
        let mut open = self.open.lock();
        if open.closed {
            return Err(ENOTCONN);
        }
        open.list.push(
            Open {
                node,
                socket: socket.clone(),
            },
            GFP_KERNEL,
        )?;
        drop(open);
        Ok(BulkSocket {
            node,
            socket,
            table: self.clone(),
            interrupt: Interrupt::Killable,
        })
    }

    /// Shuts the connections with this node down, or all.
    pub(crate) fn shutdown(&self, node: Option<NodeId>) {
        for open in self.open.lock().list.iter() {
            if node.is_none_or(|node| node == open.node) {
                open.socket.shutdown();
            }
        }
    }

    /// Shuts all connections down, and lets none be added.
    pub(crate) fn close(&self) {
        self.open.lock().closed = true;
        self.shutdown(None);
    }
}

/// An authenticated bulk connection. Dropping it closes it: what was sent before still arrives.
///
/// All calls end with `EINTR` by a fatal signal and with `ETIMEDOUT` after 10 s without progress; when the peer or its node
/// went, with `ECONNRESET` or `EPIPE`. After any error the connection is of no use.
pub struct BulkSocket {
    node: NodeId,
    socket: Arc<Socket>,
    table: Arc<BulkTable>,
    interrupt: Interrupt,
}

impl BulkSocket {
    /// Returns the node at the other end.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Chooses which signals end the calls; at first only fatal ones.
    pub fn set_interrupt(&mut self, interrupt: Interrupt) {
        self.interrupt = interrupt;
    }

    fn patience(&self) -> Patience {
        Patience {
            interrupt: self.interrupt,
            ..Patience::killable(STALL_MS)
        }
    }

    /// Sends all of `bytes`.
    pub fn send_all(&self, bytes: &[u8]) -> Result {
        self.socket.send_all(bytes, self.patience())
    }

    /// Fills all of `bytes`.
    pub fn recv_exact(&self, bytes: &mut [u8]) -> Result {
        self.socket.recv_exact(bytes, self.patience())
    }

    /// Sends pages without copying: their content must not change any more until the other end has it.
    pub fn send_pages(&self, pages: &PageVec<'_>) -> Result {
        self.socket.send_pages(pages, self.patience())
    }

    /// Fills pages.
    pub fn recv_pages(&self, pages: &mut PageVec<'_>) -> Result {
        self.socket.recv_pages(pages, self.patience())
    }

    /// Ends the connection: calls of other threads on it return. From any thread.
    pub fn shutdown(&self) {
        self.socket.shutdown();
    }
}

impl Drop for BulkSocket {
    fn drop(&mut self) {
        self.table
            .open
            .lock()
            .list
            .retain(|open| !Arc::ptr_eq(&open.socket, &self.socket));
    }
}
