// SPDX-License-Identifier: GPL-2.0

//! A control connection with another node: at most one in use for each node, kept in the session's table and by the two threads
//! that serve it. One thread reads frames and hands them out, one writes what is queued.
//!
//! Whoever sends writes at once if nobody else is writing and the socket has room, else only queues. Answers and messages never
//! wait, so that a reader cannot be held up by a writer, whose peer's reader is held up by its writer, and so on round; a
//! connection with too much queued for its peer to be alive is closed. Only new requests wait for room.
//!
//! Lock order: `queue` is innermost; never held while writing to the socket, which `Queue::writing` reserves.

use banyan_member::Opener;
use banyan_wire::{
    frame::{
        ErrorReply,
        FrameHeader,
        HEADER_LEN,
        MAX_PAYLOAD, //
    },
    handshake::Features,
    member::Heartbeat,
    Epoch, NodeId, Wire, WireError,
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
    },
    time::Msecs, //
};
use kernel_ext::{
    clock::monotonic_ms,
    kthread::should_stop,
    socket::{
        Patience,
        Socket, //
    },
    wait::{
        pause,
        Interrupt,
        WaitQueue, //
    }, //
};

use crate::{
    rpc::Failure,
    Core, //
};

/// Queued bytes above which new requests wait.
const QUEUE_SOFT: usize = 1 << 20;
/// Queued bytes above which the connection is given up.
const QUEUE_HARD: usize = 8 << 20;
/// Longest time that a frame may take to go out, or to come in once it began.
const FRAME_STALL_MS: Msecs = 10_000;

type Frame = KVVec<u8>;

struct Queue {
    /// What the socket had no room for, of a frame that was begun: from this byte on.
    begun: Option<(Frame, usize)>,
    /// Frames to be written after it.
    frames: KVec<Frame>,
    /// Somebody writes to the socket, who looks at `frames` afterwards.
    writing: bool,
    /// Bytes that are queued or being written.
    bytes: usize,
}

/// The connection.
#[pin_data]
pub(crate) struct Peer {
    core: Arc<Core>,
    node: NodeId,
    incarnation: u64,
    opener: Opener,
    /// Number of this connection in this boot; answers belong to the connection that their request went out on.
    connection: u64,
    features: KBox<Features>,
    socket: Socket,
    #[pin]
    queue: Mutex<Queue>,
    /// The writer waits here for frames, requests for room.
    #[pin]
    changed: WaitQueue,
    closed: AtomicFlag,
    /// The peer's membership epoch, as its last frame told.
    epoch: Atomic<u32>,
    #[pin]
    heartbeat: Mutex<Option<Heartbeat>>,
}

impl Peer {
    pub(crate) fn new(
        core: Arc<Core>,
        node: NodeId,
        opener: Opener,
        connection: u64,
        features: KBox<Features>,
        socket: Socket,
    ) -> Result<Arc<Self>> {
        socket.tune(FRAME_STALL_MS);
        Arc::pin_init(
            pin_init!(Self {
                core,
                node,
                incarnation: features.incarnation,
                opener,
                connection,
                features,
                socket,
                queue <- new_mutex!(Queue {
                    begun: None,
                    frames: KVec::new(),
                    writing: false,
                    bytes: 0,
                }),
                changed <- WaitQueue::new(),
                closed: AtomicFlag::new(false),
                epoch: Atomic::new(0),
                heartbeat <- new_mutex!(None),
            }),
            GFP_KERNEL,
        )
    }

    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    pub(crate) fn opener(&self) -> Opener {
        self.opener
    }

    pub(crate) fn connection(&self) -> u64 {
        self.connection
    }

    pub(crate) fn features(&self) -> &Features {
        &self.features
    }

    /// Returns the membership epoch that the peer is at.
    pub(crate) fn last_epoch(&self) -> u32 {
        self.epoch.load(Relaxed)
    }

    pub(crate) fn heartbeat(&self) -> Option<Heartbeat> {
        *self.heartbeat.lock()
    }

    pub(crate) fn set_heartbeat(&self, heartbeat: Heartbeat) {
        *self.heartbeat.lock() = Some(heartbeat);
    }

    /// Returns the IPv4 address at the other end.
    pub(crate) fn ip(&self) -> Option<u32> {
        self.socket.peer_address().ok().map(|address| address.ip)
    }

    /// Ends the connection: its threads end, what is queued is dropped, and nothing more is taken. Does not wait.
    pub(crate) fn close(&self) {
        // Under the lock, so that whoever queues afterwards sees it.
        let dropped = {
            let mut queue = self.queue.lock();
            self.closed.store(true, Relaxed);
            queue.bytes = 0;
            (queue.begun.take(), core::mem::take(&mut queue.frames))
        };
        drop(dropped);
        self.socket.shutdown();
        self.changed.wake_all();
    }

    /// Waits until the peer's machine has all that was queued, or so long: this one may be about to lose its network.
    pub(crate) fn flush(&self, timeout: Msecs) {
        // Seldom and short: not worth a wake-up after each frame.
        let end = monotonic_ms().saturating_add(timeout.into());
        let waits = || self.queue.lock().bytes > 0 || self.socket.unacknowledged();
        while waits() && monotonic_ms() < end {
            pause();
        }
    }

    fn make(&self, header: Result<FrameHeader, WireError>, payload: &[u8]) -> Result<Frame> {
        let header = header.map_err(|e| match e {
            WireError::TooLong => EMSGSIZE,
            _ => EINVAL,
        })?;
        let mut bytes = [0; HEADER_LEN];
        header.encode(&mut bytes).map_err(|_| EINVAL)?;
        let mut frame = KVVec::with_capacity(HEADER_LEN + payload.len(), GFP_KERNEL)?;
        frame.extend_from_slice(&bytes, GFP_KERNEL)?;
        frame.extend_from_slice(payload, GFP_KERNEL)?;
        Ok(frame)
    }

    fn epoch(&self) -> Epoch {
        self.core.epoch()
    }

    /// Writes or queues a frame unless more than `limit` bytes are queued; takes it out of `frame` if so.
    fn queue(&self, frame: &mut Option<Frame>, limit: usize) -> Result {
        let mut queue = self.queue.lock();
        if self.closed.load(Relaxed) {
            return Err(EHOSTUNREACH);
        }
        if queue.bytes > limit {
            return Err(ENOBUFS);
        }
        let idle = !queue.writing && queue.begun.is_none() && queue.frames.is_empty();
        if !idle {
            queue.frames.reserve(1, GFP_KERNEL)?;
        }
        let Some(frame) = frame.take() else {
            return Ok(());
        };
        queue.bytes += frame.len();
        if idle {
            queue.writing = true;
            drop(queue);
            return self.write_now(frame);
        }
        queue.frames.push(frame, GFP_KERNEL)?;
        drop(queue);
        self.changed.wake_all();
        Ok(())
    }

    /// Writes a frame, as far as the socket has room; leaves the rest to the writer. The caller has reserved the socket.
    fn write_now(&self, frame: Frame) -> Result {
        let sent = self.socket.try_send(&frame);
        let mut queue = self.queue.lock();
        queue.writing = false;
        let left = match sent {
            Err(_) => {
                drop(queue);
                self.close();
                return Err(EHOSTUNREACH);
            }
            Ok(sent) if sent < frame.len() => {
                queue.begun = Some((frame, sent));
                true
            }
            Ok(_) => {
                self.written(&mut queue, &frame);
                !queue.frames.is_empty()
            }
        };
        drop(queue);
        if left {
            self.changed.wake_all();
        }
        Ok(())
    }

    fn written(&self, queue: &mut Queue, frame: &Frame) {
        queue.bytes = queue.bytes.saturating_sub(frame.len());
        self.core.stats.frames_out.one();
        self.core.stats.bytes_out.add(frame.len());
    }

    fn queue_now(&self, frame: Frame) -> Result {
        let result = self.queue(&mut Some(frame), QUEUE_HARD);
        if let Err(e) = result {
            if e == ENOBUFS {
                pr_warn!(
                    "node {} does not read what it is sent: connection closed\n",
                    self.node.get()
                );
                self.close();
            }
        }
        result
    }

    /// Queues a one-way message. Does not wait.
    pub(crate) fn send_message(&self, op: u16, payload: &[u8]) -> Result {
        let len = payload.len().try_into().map_err(|_| EMSGSIZE)?;
        self.queue_now(self.make(FrameHeader::message(op, len, self.epoch()), payload)?)
    }

    /// Queues an answer. Does not wait.
    pub(crate) fn send_reply(&self, op: u16, id: u64, payload: &[u8]) -> Result {
        let len = payload.len().try_into().map_err(|_| EMSGSIZE)?;
        self.queue_now(self.make(FrameHeader::reply(op, len, self.epoch(), id), payload)?)
    }

    /// Queues a refusal. Does not wait.
    pub(crate) fn send_failure(&self, op: u16, id: u64, failure: Failure) -> Result {
        let mut payload = [0; ErrorReply::SIZE];
        ErrorReply::new(failure.errno.to_errno(), failure.reason)
            .encode(&mut payload)
            .map_err(|_| EINVAL)?;
        self.queue_now(self.make(FrameHeader::error(op, self.epoch(), id), &payload)?)
    }

    /// Queues a request; waits for room.
    pub(crate) fn send_request(
        &self,
        op: u16,
        id: u64,
        payload: &[u8],
        interrupt: Interrupt,
        timeout: Msecs,
    ) -> Result {
        let len = payload.len().try_into().map_err(|_| EMSGSIZE)?;
        let header = FrameHeader::request(op, len, self.epoch(), id);
        let mut frame = Some(self.make(header, payload)?);
        loop {
            match self.queue(&mut frame, QUEUE_SOFT) {
                Err(e) if e == ENOBUFS => self.changed.wait(interrupt, timeout, || {
                    self.queue.lock().bytes <= QUEUE_SOFT || self.closed.load(Relaxed)
                })?,
                other => return other,
            }
        }
    }

    /// The body of the writing thread: until the connection is closed.
    pub(crate) fn write_frames(&self) {
        let mut frames = KVec::new();
        while !self.closed.load(Relaxed) && !should_stop() {
            let more = || {
                let queue = self.queue.lock();
                let some = queue.begun.is_some() || !queue.frames.is_empty();
                (some && !queue.writing) || self.closed.load(Relaxed)
            };
            if self
                .changed
                .wait(Interrupt::Killable, 10_000, more)
                .is_err()
            {
                continue;
            }
            let begun = {
                let mut queue = self.queue.lock();
                if queue.writing {
                    continue;
                }
                queue.writing = true;
                core::mem::swap(&mut frames, &mut queue.frames);
                queue.begun.take()
            };
            let result = self.write_all(begun, &mut frames);
            self.queue.lock().writing = false;
            if let Err(e) = result {
                if !self.closed.load(Relaxed) {
                    let node = self.node.get();
                    pr_info!("connection with node {node} failed: {e:?}\n");
                }
                self.close();
            }
        }
    }

    fn write_all(&self, begun: Option<(Frame, usize)>, frames: &mut KVec<Frame>) -> Result {
        let rest = frames.drain_all().map(|frame| (frame, 0));
        for (frame, from) in Iterator::chain(begun.into_iter(), rest) {
            let bytes = frame.get(from..).unwrap_or(&[]);
            let patience = Patience::killable(FRAME_STALL_MS);
            self.socket.send_all(bytes, patience)?;
            self.written(&mut self.queue.lock(), &frame);
            self.changed.wake_all();
        }
        Ok(())
    }

    /// Reads the next frame; its payload goes to the front of `payload`.
    ///
    /// # Errors
    ///
    /// `EPROTO` if it makes no sense, and those of the socket.
    pub(crate) fn read_frame(&self, payload: &mut KVVec<u8>) -> Result<FrameHeader> {
        let mut bytes = [0; HEADER_LEN];
        let patience = Patience::killable(FRAME_STALL_MS);
        self.socket.recv_exact(&mut bytes, patience)?;
        let header = FrameHeader::decode(&bytes).map_err(|e| {
            pr_warn!("node {} sent a bad frame: {}\n", self.node.get(), e.text());
            EPROTO
        })?;
        self.epoch.store(header.epoch().0, Relaxed);
        let room = payload.get_mut(..header.payload_len()).ok_or(EPROTO)?;
        self.socket.recv_exact(room, patience)?;
        self.core.stats.frames_in.one();
        self.core
            .stats
            .bytes_in
            .add(HEADER_LEN + header.payload_len());
        Ok(header)
    }

    /// Room for the payload of any frame.
    pub(crate) fn payload_room() -> Result<KVVec<u8>> {
        Ok(KVVec::from_elem(0, MAX_PAYLOAD as usize, GFP_KERNEL)?)
    }
}
