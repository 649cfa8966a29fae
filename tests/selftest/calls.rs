// SPDX-License-Identifier: GPL-2.0

//! Tests of calls, messages and bulk connections between two nodes that both have this module.

use core::ops::Range;

use banyan::{
    BulkSocket,
    Failure,
    Registration,
    Responder,
    Service, //
};
use banyan_wire::{
    op,
    NodeId, //
};
use kernel::{
    new_mutex,
    page::Page,
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
    clock::monotonic_ms,
    kthread::KThread,
    socket::PageVec,
    wait::pause, //
};

use crate::{
    check,
    check_error,
    Test, //
};

pub(crate) const TESTS: &[Test] = &[
    ("peer_is_member", is_member),
    ("call_echo", echo),
    ("call_longest", longest),
    ("call_too_long", too_long),
    ("call_fails_with_reason", fails),
    ("call_dropped_responder", dropped),
    ("call_times_out", times_out),
    ("call_unknown_op", unknown),
    ("call_unknown_node", unknown_node),
    ("call_many_at_once", many),
    ("messages_keep_order", order),
    ("bulk_bytes", bulk_bytes),
    ("bulk_pages", bulk_pages),
    ("bulk_peer_closes", bulk_closes),
];

/// Answers the payload, reversed.
const ECHO: u16 = 0x03f0;
/// Refuses with `E2BIG` and reason 7.
const FAIL: u16 = 0x03f1;
/// Drops the responder.
const DROP: u16 = 0x03f2;
/// Never answers.
const NEVER: u16 = 0x03f3;
/// A message with a number that must be one above the last.
const COUNT: u16 = 0x03f4;
/// Answers the last number, or all ones if one was out of order.
const COUNTED: u16 = 0x03f5;

/// A bulk connection with this tag is closed at once; another one's tag is the bytes that come, and their sum goes back.
const CLOSE: u64 = u64::MAX;
/// Above so many bytes the sum counts as 0: there the time is measured.
const MOST_SUMMED: u64 = 4 << 20;

static PEER: Atomic<u32> = Atomic::new(0);

pub(crate) fn set_peer(node: u32) -> Result {
    NodeId::from_u32(node).ok_or(EINVAL)?;
    PEER.store(node, Relaxed);
    Ok(())
}

fn peer() -> Result<NodeId> {
    NodeId::from_u32(PEER.load(Relaxed)).ok_or(EINVAL)
}

#[pin_data]
struct Echo {
    #[pin]
    kept: Mutex<KVec<Responder>>,
    last: Atomic<u32>,
}

impl Service for Echo {
    fn ops(&self) -> Range<u16> {
        op::MIGRATE_SERVICE
    }

    fn request(&self, _from: NodeId, op: u16, payload: &[u8], reply: Responder) {
        match op {
            ECHO => {
                let mut bytes = KVVec::new();
                for byte in payload.iter().rev() {
                    if bytes.push(*byte, GFP_KERNEL).is_err() {
                        return;
                    }
                }
                reply.reply(&bytes);
            }
            FAIL => reply.fail(Failure {
                errno: E2BIG,
                reason: 7,
            }),
            NEVER => {
                let _ = self.kept.lock().push(reply, GFP_KERNEL);
            }
            COUNTED => reply.reply(&self.last.load(Relaxed).to_le_bytes()),
            _ => {}
        }
    }

    fn message(&self, _from: NodeId, op: u16, payload: &[u8]) {
        if op == COUNT {
            let number = payload.try_into().map_or(0, u32::from_le_bytes);
            let good = number == 1 || self.last.load(Relaxed).wrapping_add(1) == number;
            self.last
                .store(if good { number } else { u32::MAX - 1 }, Relaxed);
        }
    }

    fn bulk(&self, _from: NodeId, tag: u64, socket: BulkSocket) {
        if tag == CLOSE {
            return;
        }
        let turn = || -> Result {
            let mut bytes = KVVec::from_elem(0u8, 256 << 10, GFP_KERNEL)?;
            let (mut left, mut sum) = (tag, 0u64);
            while left > 0 {
                let len = left.min(bytes.len() as u64) as usize;
                let part = bytes.get_mut(..len).ok_or(EINVAL)?;
                socket.recv_exact(part)?;
                if tag <= MOST_SUMMED {
                    sum = part
                        .iter()
                        .fold(sum, |sum, b| sum.wrapping_add((*b).into()));
                }
                left -= len as u64;
            }
            socket.send_all(&sum.to_le_bytes())
        };
        if let Err(e) = turn() {
            pr_info!("# bulk: {e:?}\n");
        }
    }

    fn node_down(&self, node: NodeId) {
        pr_info!("# node {} is down\n", node.get());
    }

    fn ioctl(&self, _cmd: u32, _arg: usize) -> Result<isize> {
        Err(ENOTTY)
    }

    fn stopping(&self) {
        let kept = core::mem::take(&mut *self.kept.lock());
        drop(kept);
    }
}

/// The other end: the service as long as the module is loaded.
pub(crate) struct Server {
    _registration: Registration,
}

impl Server {
    pub(crate) fn start() -> Result<Self> {
        let echo = Arc::pin_init(
            pin_init!(Echo {
                kept <- new_mutex!(KVec::new()),
                last: Atomic::new(0),
            }),
            GFP_KERNEL,
        )?;
        Ok(Self {
            _registration: banyan::register(echo)?,
        })
    }
}

fn is_member() -> Result {
    let peer = peer()?;
    for _ in 0..2_000 {
        if banyan::is_member(peer) {
            let features = banyan::peer_features(peer)?;
            return check(features.cpus > 0, "features");
        }
        pause();
    }
    check(false, "the other node did not come")
}

fn echo() -> Result {
    let answer = banyan::call(peer()?, ECHO, b"abc", 5_000)?;
    check(answer.as_slice() == b"cba", "answer")?;
    let answer = banyan::call_interruptible(peer()?, ECHO, b"", 5_000)?;
    check(answer.is_empty(), "empty answer")?;
    let began = monotonic_ms();
    for _ in 0..100 {
        banyan::call(peer()?, ECHO, b"abc", 5_000)?;
    }
    let took = monotonic_ms().saturating_sub(began);
    pr_info!("# a call takes {}0 us\n", took);
    Ok(())
}

fn longest() -> Result {
    let len = banyan_wire::frame::MAX_PAYLOAD as usize;
    let mut bytes = KVVec::from_elem(7u8, len, GFP_KERNEL)?;
    if let Some(first) = bytes.as_mut_slice().first_mut() {
        *first = 1;
    }
    let answer = banyan::call(peer()?, ECHO, &bytes, 5_000)?;
    check(answer.len() == len && answer.last() == Some(&1), "answer")
}

fn too_long() -> Result {
    let len = banyan_wire::frame::MAX_PAYLOAD as usize + 1;
    let bytes = KVVec::from_elem(7u8, len, GFP_KERNEL)?;
    let result = banyan::call(peer()?, ECHO, &bytes, 5_000);
    check_error(result.map_err(Error::from), EMSGSIZE, "call")
}

fn fails() -> Result {
    match banyan::call(peer()?, FAIL, b"", 5_000) {
        Err(failure) => check(failure.errno == E2BIG && failure.reason == 7, "failure"),
        Ok(_) => check(false, "no failure"),
    }
}

fn dropped() -> Result {
    let result = banyan::call(peer()?, DROP, b"", 5_000);
    check_error(result.map_err(Error::from), EIO, "call")
}

fn times_out() -> Result {
    let result = banyan::call(peer()?, NEVER, b"", 100);
    check_error(result.map_err(Error::from), ETIMEDOUT, "call")
}

fn unknown() -> Result {
    let result = banyan::call(peer()?, 0x7000, b"", 5_000);
    check_error(result.map_err(Error::from), EOPNOTSUPP, "call")
}

fn unknown_node() -> Result {
    let nobody = NodeId::new(127).ok_or(EINVAL)?;
    let result = banyan::call(nobody, ECHO, b"", 5_000);
    check_error(result.map_err(Error::from), EHOSTUNREACH, "call")?;
    let me = banyan::this_node().ok_or(ENOTCONN)?;
    let result = banyan::call(me, ECHO, b"", 5_000);
    check_error(result.map_err(Error::from), EINVAL, "call to itself")
}

fn many() -> Result {
    let peer = peer()?;
    let good = Arc::new(Atomic::<u32>::new(0), GFP_KERNEL)?;
    let mut threads = KVec::new();
    for i in 0..8u8 {
        let good = good.clone();
        let thread = KThread::spawn(fmt!("selftest"), move || {
            for j in 0..50u8 {
                let Ok(bytes) = KVVec::from_elem(i ^ j, 1000, GFP_KERNEL) else {
                    return;
                };
                match banyan::call(peer, ECHO, &bytes, 10_000) {
                    Ok(answer) if answer.as_slice() == bytes.as_slice() => {
                        good.fetch_add(1, Relaxed);
                    }
                    _ => return,
                }
            }
        })?;
        threads.push(thread, GFP_KERNEL)?;
    }
    // Each is asked to stop only when it has ended by itself.
    for _ in 0..3_000 {
        if threads.iter().all(KThread::is_finished) {
            break;
        }
        pause();
    }
    drop(threads);
    check(good.load(Relaxed) == 400, "answers")
}

fn order() -> Result {
    let peer = peer()?;
    for number in 1..=1000u32 {
        banyan::send(peer, COUNT, &number.to_le_bytes())?;
    }
    let answer = banyan::call(peer, COUNTED, b"", 10_000)?;
    check(
        answer.as_slice() == 1000u32.to_le_bytes(),
        "the last of 1000",
    )
}

fn finish(socket: &BulkSocket, sum: u64) -> Result {
    let mut bytes = [0; 8];
    socket.recv_exact(&mut bytes)?;
    check(u64::from_le_bytes(bytes) == sum, "sum")
}

fn bulk_bytes() -> Result {
    let bytes = KVVec::from_elem(3u8, 1 << 20, GFP_KERNEL)?;
    let socket = banyan::open_bulk(peer()?, bytes.len() as u64, 5_000)?;
    socket.send_all(&bytes)?;
    finish(&socket, 3 << 20)
}

fn bulk_pages() -> Result {
    const COUNT: usize = 64;
    const TIMES: usize = 256;
    const LEN: usize = COUNT * TIMES * kernel::page::PAGE_SIZE;
    let mut pages = KVec::with_capacity(COUNT, GFP_KERNEL)?;
    for _ in 0..COUNT {
        pages.push(Page::alloc_page(GFP_KERNEL | __GFP_ZERO)?, GFP_KERNEL)?;
    }
    let mut vec = PageVec::with_capacity(COUNT)?;
    for page in &pages {
        vec.push(page, 0, kernel::page::PAGE_SIZE)?;
    }
    let socket = banyan::open_bulk(peer()?, LEN as u64, 5_000)?;
    let began = monotonic_ms();
    for _ in 0..TIMES {
        socket.send_pages(&vec)?;
    }
    finish(&socket, 0)?;
    let took = monotonic_ms().saturating_sub(began).max(1);
    let mib = (LEN >> 20) as u64;
    let rate = (mib * 1000).checked_div(took).unwrap_or(0);
    pr_info!("# {mib} MiB in {took} ms: {rate} MiB/s\n");
    Ok(())
}

fn bulk_closes() -> Result {
    let socket = banyan::open_bulk(peer()?, CLOSE, 5_000)?;
    let began = monotonic_ms();
    check(socket.recv_exact(&mut [0; 8]).is_err(), "still open")?;
    check(monotonic_ms().saturating_sub(began) < 5_000, "time")
}
