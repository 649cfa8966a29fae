// SPDX-License-Identifier: GPL-2.0

//! Tests of sockets, over the loopback device.

use kernel::{
    page::Page,
    prelude::*,
    sync::Arc, //
};
use kernel_ext::{
    clock::monotonic_ms,
    kthread::KThread,
    socket::{
        Address,
        Listener,
        PageVec,
        Patience,
        Socket, //
    },
    wait::pause, //
};

use crate::{
    check,
    check_error,
    Test, //
};

pub(crate) const TESTS: &[Test] = &[
    ("socket_refused", refused),
    ("socket_echo", echo),
    ("socket_large", large),
    ("socket_pages", pages),
    ("socket_receive_times_out", times_out),
    ("socket_deadline_despite_progress", deadline),
    ("socket_send_stalls", stalls),
    ("socket_shutdown_wakes_receiver", shutdown_wakes),
    ("socket_shutdown_wakes_accept", shutdown_listener),
    ("socket_peer_closed", peer_closed),
    ("socket_stop_wakes_thread", stop_wakes),
];

const LOOPBACK: u32 = 0x7f00_0001;
const PATIENCE: Patience = Patience::killable(10_000);

fn pair() -> Result<(Socket, Socket)> {
    let listener = Listener::bind(0, 4)?;
    let to = Address {
        ip: LOOPBACK,
        port: listener.port()?,
    };
    let client = Socket::connect(to, PATIENCE)?;
    let server = listener.accept(PATIENCE)?;
    server.tune(10_000);
    client.tune(10_000);
    Ok((client, server))
}

fn refused() -> Result {
    let port = Listener::bind(0, 4)?.port()?;
    let ip = LOOPBACK;
    let result = Socket::connect(Address { ip, port }, PATIENCE);
    check_error(result, ECONNREFUSED, "connect")
}

fn echo() -> Result {
    let began = monotonic_ms();
    for _ in 0..10 {
        pair()?;
    }
    let took = monotonic_ms().saturating_sub(began);
    pr_info!("# ten connections take {took} ms\n");
    let (client, server) = pair()?;
    let mut bytes = [0; 5];
    client.send_all(b"hello", PATIENCE)?;
    server.recv_exact(&mut bytes, PATIENCE)?;
    check(&bytes == b"hello", "there")?;
    server.send_all(&bytes, PATIENCE)?;
    client.recv_exact(&mut bytes, PATIENCE)?;
    check(&bytes == b"hello", "back")?;
    let there = client.peer_address()?;
    check(
        there == server.own_address()? && there.ip == LOOPBACK,
        "addresses",
    )
}

fn pattern(i: usize) -> u8 {
    (i as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3]
}

/// More than the socket's buffers hold, so that both sides wait.
fn large() -> Result {
    const LEN: usize = 16 << 20;
    let (client, server) = pair()?;
    let sender = Arc::new(client, GFP_KERNEL)?;
    let thread = KThread::spawn(fmt!("selftest"), move || {
        let send = || -> Result {
            let mut bytes = KVVec::from_elem(0, LEN, GFP_KERNEL)?;
            for (i, byte) in bytes.iter_mut().enumerate() {
                *byte = pattern(i);
            }
            sender.send_all(&bytes, PATIENCE)
        };
        if let Err(e) = send() {
            pr_err!("# send: {e:?}\n");
        }
    })?;
    let mut bytes = KVVec::from_elem(0, LEN, GFP_KERNEL)?;
    server.recv_exact(&mut bytes, PATIENCE)?;
    drop(thread);
    let wrong = bytes
        .iter()
        .enumerate()
        .find(|(i, byte)| **byte != pattern(*i));
    check(wrong.is_none(), "content")
}

fn page_list(count: usize) -> Result<KVec<Page>> {
    let mut pages = KVec::with_capacity(count, GFP_KERNEL)?;
    for _ in 0..count {
        pages.push(Page::alloc_page(GFP_KERNEL)?, GFP_KERNEL)?;
    }
    Ok(pages)
}

fn all(pages: &[Page]) -> Result<PageVec<'_>> {
    let mut vec = PageVec::with_capacity(pages.len())?;
    for page in pages {
        vec.push(page, 0, kernel::page::PAGE_SIZE)?;
    }
    Ok(vec)
}

/// Bytes to pages, those pages spliced back, and received as bytes.
fn pages() -> Result {
    const COUNT: usize = 64;
    const LEN: usize = COUNT * kernel::page::PAGE_SIZE;
    let (client, server) = pair()?;
    let pages = page_list(COUNT)?;
    let thread = KThread::spawn(fmt!("selftest"), move || {
        let turn = || -> Result {
            server.recv_pages(&mut all(&pages)?, PATIENCE)?;
            server.send_pages(&all(&pages)?, PATIENCE)
        };
        if let Err(e) = turn() {
            pr_err!("# pages: {e:?}\n");
        }
    })?;
    let mut bytes = KVVec::from_elem(0, LEN, GFP_KERNEL)?;
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = pattern(i);
    }
    client.send_all(&bytes, PATIENCE)?;
    bytes.as_mut_slice().fill(0);
    client.recv_exact(&mut bytes, PATIENCE)?;
    drop(thread);
    let wrong = bytes
        .iter()
        .enumerate()
        .find(|(i, byte)| **byte != pattern(*i));
    check(wrong.is_none(), "content")?;
    let page = Page::alloc_page(GFP_KERNEL)?;
    let mut vec = PageVec::with_capacity(1)?;
    check_error(
        vec.push(&page, 1, kernel::page::PAGE_SIZE),
        EINVAL,
        "beyond a page",
    )
}

fn times_out() -> Result {
    let (client, _server) = pair()?;
    let began = monotonic_ms();
    let result = client.recv_exact(&mut [0; 4], Patience::killable(50));
    check_error(result, ETIMEDOUT, "receive")?;
    check(monotonic_ms().saturating_sub(began) < 5_000, "time")
}

/// A peer that sends a byte now and then does not get more time.
fn deadline() -> Result {
    let (client, server) = pair()?;
    let _thread = KThread::spawn(fmt!("selftest"), move || {
        for _ in 0..100 {
            if server.send_all(b"x", PATIENCE).is_err() || kernel_ext::kthread::should_stop() {
                break;
            }
            pause();
        }
    })?;
    let result = client.recv_exact(&mut [0; 1000], Patience::until(200));
    check_error(result, ETIMEDOUT, "receive")
}

fn stalls() -> Result {
    let (client, _server) = pair()?;
    let bytes = KVVec::from_elem(0u8, 32 << 20, GFP_KERNEL)?;
    let result = client.send_all(&bytes, Patience::killable(100));
    check_error(result, ETIMEDOUT, "nobody reads")
}

fn shutdown_wakes() -> Result {
    let (client, _server) = pair()?;
    let client = Arc::new(client, GFP_KERNEL)?;
    let other = client.clone();
    let _thread = KThread::spawn(fmt!("selftest"), move || {
        pause();
        other.shutdown();
    })?;
    check_error(
        client.recv_exact(&mut [0; 4], PATIENCE),
        ECONNRESET,
        "receive",
    )?;
    check_error(client.send_all(b"x", PATIENCE), EPIPE, "send")
}

fn shutdown_listener() -> Result {
    let listener = Arc::new(Listener::bind(0, 4)?, GFP_KERNEL)?;
    let other = listener.clone();
    let _thread = KThread::spawn(fmt!("selftest"), move || {
        pause();
        other.shutdown();
    })?;
    check_error(listener.accept(PATIENCE), EINVAL, "accept")
}

fn peer_closed() -> Result {
    let (client, server) = pair()?;
    client.send_all(b"last", PATIENCE)?;
    drop(client);
    let mut bytes = [0; 4];
    server.recv_exact(&mut bytes, PATIENCE)?;
    check(&bytes == b"last", "what was sent before the close")?;
    check_error(
        server.recv_exact(&mut bytes, PATIENCE),
        ECONNRESET,
        "after it",
    )
}

fn stop_wakes() -> Result {
    let (client, _server) = pair()?;
    let began = monotonic_ms();
    let thread = KThread::spawn(fmt!("selftest"), move || {
        let _ = client.recv_exact(&mut [0; 4], Patience::killable(60_000));
    })?;
    pause();
    drop(thread);
    check(
        monotonic_ms().saturating_sub(began) < 10_000,
        "the wait went on",
    )
}
