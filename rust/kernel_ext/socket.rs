// SPDX-License-Identifier: GPL-2.0

//! TCP sockets of the kernel: [`Listener`] and [`Socket`].
//!
//! No call blocks inside the network stack: each tries, and waits here if it would block. So every wait is bounded, ends on a
//! fatal signal (or, if asked for, on any), and ends when another thread calls `shutdown`. All calls take `&self`: one thread
//! may send while another receives; two that send (or receive) at once must exclude each other, or their bytes mix.
//!
//! C headers: [`include/linux/net.h`](srctree/include/linux/net.h), [`include/net/sock.h`](srctree/include/net/sock.h)

use core::{
    mem::size_of,
    ptr::{
        null_mut,
        NonNull, //
    }, //
};
use kernel::{
    bindings,
    error::to_result,
    fmt,
    prelude::*,
    time::Msecs, //
};

pub use crate::page_vec::PageVec;

use crate::{
    clock::monotonic_ms,
    wait::Interrupt, //
};

/// An IPv4 address with a TCP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address as a number whose top byte is the first.
    pub ip: u32,
    /// The port.
    pub port: u16,
}

impl Address {
    fn to_raw(self) -> bindings::sockaddr_in {
        bindings::sockaddr_in {
            sin_family: bindings::AF_INET as u16,
            sin_port: self.port.to_be(),
            sin_addr: bindings::in_addr {
                s_addr: self.ip.to_be(),
            },
            ..Default::default()
        }
    }

    fn from_raw(raw: &bindings::sockaddr_in) -> Self {
        Self {
            ip: u32::from_be(raw.sin_addr.s_addr),
            port: u16::from_be(raw.sin_port),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.ip.to_be_bytes();
        write!(f, "{a}.{b}.{c}.{d}:{}", self.port)
    }
}

/// Returns the machine's own IPv4 address, the first global one of an interface that is up.
pub fn local_address() -> Option<u32> {
    // SAFETY: Takes and releases the lock that it needs.
    let address = unsafe { banyan_bindings::banyan_local_address() };
    (address != 0).then(|| u32::from_be(address))
}

/// How long a call may wait, and what ends it early.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Which signals end the wait.
    pub interrupt: Interrupt,
    /// Longest time without progress, in milliseconds.
    pub stall: Msecs,
    /// When it ends whatever the progress: on the clock [`monotonic_ms`](crate::clock::monotonic_ms).
    pub deadline: Option<u64>,
}

impl Patience {
    /// A wait that only a fatal signal ends early.
    pub const fn killable(stall: Msecs) -> Self {
        Self {
            interrupt: Interrupt::Killable,
            stall,
            deadline: None,
        }
    }

    /// The same, over in so many milliseconds from now even with progress: for strangers.
    pub fn until(stall: Msecs) -> Self {
        Self {
            deadline: Some(monotonic_ms().saturating_add(stall.into())),
            ..Self::killable(stall)
        }
    }

    /// Milliseconds that a wait from now on may take.
    fn left(&self) -> Msecs {
        match self.deadline {
            None => self.stall,
            Some(deadline) => {
                let left = deadline.saturating_sub(monotonic_ms());
                Msecs::try_from(left).unwrap_or(Msecs::MAX).min(self.stall)
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Send,
    Receive,
}

/// A connected TCP socket. Dropping it closes the connection.
///
/// # Invariants
///
/// `raw` is a stream socket that this value owns.
pub struct Socket {
    raw: NonNull<bindings::socket>,
}

// SAFETY: Sockets lock internally and have no tie to a thread.
unsafe impl Send for Socket {}
// SAFETY: As above.
unsafe impl Sync for Socket {}

impl Socket {
    fn create() -> Result<Self> {
        let mut raw = null_mut();
        // SAFETY: `init_net` is always there; `raw` is a valid place for the result.
        to_result(unsafe {
            bindings::sock_create_kern(
                &raw mut bindings::init_net,
                bindings::AF_INET as i32,
                bindings::sock_type_SOCK_STREAM as i32,
                bindings::IPPROTO_TCP as i32,
                &mut raw,
            )
        })?;
        // INVARIANT: Made here and owned by nobody else.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(ENOMEM)?,
        })
    }

    /// Connects to `to`.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT`, `EINTR`, `ECONNREFUSED`, `EHOSTUNREACH`, `ENETUNREACH` and what else TCP answers.
    pub fn connect(to: Address, patience: Patience) -> Result<Self> {
        let socket = Self::create()?;
        loop {
            let mut address = to.to_raw();
            // SAFETY: The socket is ours, the address of the given length.
            let result = to_result(unsafe {
                bindings::kernel_connect(
                    socket.raw.as_ptr(),
                    (&raw mut address).cast(),
                    size_of::<bindings::sockaddr_in>() as i32,
                    bindings::O_NONBLOCK as i32,
                )
            });
            match result {
                Err(e) if e == EINPROGRESS || e == EALREADY => {
                    socket.wait(Direction::Send, patience)?;
                }
                Err(e) if e == EISCONN => break,
                other => {
                    other?;
                    break;
                }
            }
        }
        Ok(socket)
    }

    /// Sets the connection up for what Banyan uses it for: nothing waits to be batched, silent peers are probed, and data that
    /// stays unacknowledged for `stall` milliseconds ends the connection.
    pub fn tune(&self, stall: Msecs) {
        // SAFETY: The socket is a TCP socket of ours.
        unsafe { banyan_bindings::banyan_sock_tune(self.raw.as_ptr(), stall) };
    }

    /// Limits what data waiting in either direction takes to this many bytes of memory each; else the kernel lets it grow as it is set.
    pub fn limit_buffers(&self, bytes: u32) {
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        // SAFETY: The socket is ours.
        unsafe { banyan_bindings::banyan_sock_limit(self.raw.as_ptr(), bytes) };
    }

    /// Whether something was sent that the other end has not said it got.
    pub fn unacknowledged(&self) -> bool {
        // SAFETY: The socket is a TCP socket of ours.
        unsafe { banyan_bindings::banyan_sock_unacknowledged(self.raw.as_ptr()) }
    }

    /// Makes the close throw away what was not sent yet, for a peer that is dead.
    pub fn abort_on_close(&self) {
        // SAFETY: The socket is ours.
        unsafe { banyan_bindings::banyan_sock_abort_on_close(self.raw.as_ptr()) };
    }

    /// Ends the connection in both directions: every call that waits on it returns, and later ones fail. From any thread.
    pub fn shutdown(&self) {
        // SAFETY: The socket is ours. A connection that is down already is no concern.
        unsafe {
            bindings::kernel_sock_shutdown(self.raw.as_ptr(), bindings::sock_shutdown_cmd_SHUT_RDWR)
        };
    }

    /// Returns the other end's address.
    ///
    /// # Errors
    ///
    /// `ENOTCONN`.
    pub fn peer_address(&self) -> Result<Address> {
        self.address(bindings::kernel_getpeername)
    }

    /// Returns the own end's address.
    ///
    /// # Errors
    ///
    /// `ENOTCONN`.
    pub fn own_address(&self) -> Result<Address> {
        self.address(bindings::kernel_getsockname)
    }

    fn address(
        &self,
        ask: unsafe extern "C" fn(*mut bindings::socket, *mut bindings::sockaddr) -> i32,
    ) -> Result<Address> {
        // Room for any address family, though these are IPv4.
        let mut storage = [0u64; 16];
        // SAFETY: The place is as large as `struct sockaddr_storage`.
        let len = unsafe { ask(self.raw.as_ptr(), storage.as_mut_ptr().cast()) };
        to_result(len.min(0))?;
        // SAFETY: Filled or zero, aligned, and any bit pattern is valid.
        Ok(Address::from_raw(unsafe {
            &*storage.as_ptr().cast::<bindings::sockaddr_in>()
        }))
    }

    fn wait(&self, direction: Direction, patience: Patience) -> Result {
        let event = match direction {
            Direction::Send => banyan_bindings::banyan_sock_event_BANYAN_SOCK_WRITABLE,
            Direction::Receive => banyan_bindings::banyan_sock_event_BANYAN_SOCK_READABLE,
        };
        // SAFETY: The socket is ours.
        to_result(unsafe {
            banyan_bindings::banyan_sock_wait(
                self.raw.as_ptr(),
                event,
                patience.interrupt.raw(),
                patience.left(),
            )
        })
    }

    /// Moves all bytes that `message` describes, or fails.
    ///
    /// # Safety
    ///
    /// The iterator of `message` describes valid memory of the direction, `left` bytes of it.
    unsafe fn transfer(
        &self,
        direction: Direction,
        message: &mut bindings::msghdr,
        mut left: usize,
        patience: Patience,
    ) -> Result {
        let flags = message.msg_flags | bindings::MSG_DONTWAIT | bindings::MSG_NOSIGNAL;
        while left > 0 {
            message.msg_flags = flags;
            let done = match direction {
                // SAFETY: By the caller's promise. The call moves the iterator on.
                Direction::Send => unsafe { bindings::sock_sendmsg(self.raw.as_ptr(), message) },
                // SAFETY: As above.
                Direction::Receive => unsafe { self.receive(message, flags) },
            };
            if done == EAGAIN.to_errno() {
                self.wait(direction, patience)?;
                continue;
            }
            to_result(done.min(0))?;
            if done == 0 {
                // The other end closed.
                return Err(ECONNRESET);
            }
            left = left.saturating_sub(done as usize);
        }
        Ok(())
    }

    /// Receives what is there, without waiting: into pages by the short way, as long as it brings something.
    ///
    /// # Safety
    ///
    /// The iterator of `message` describes valid memory to be written.
    unsafe fn receive(&self, message: &mut bindings::msghdr, flags: u32) -> i32 {
        if message.msg_iter.iter_type == bindings::iter_type_ITER_BVEC as u8 {
            // SAFETY: A TCP socket of ours; the memory is valid by the caller's promise. The call moves the iterator on.
            let taken = unsafe {
                banyan_bindings::banyan_sock_take(self.raw.as_ptr(), &mut message.msg_iter)
            };
            if taken > 0 {
                return taken;
            }
        }
        // SAFETY: As above.
        unsafe { bindings::sock_recvmsg(self.raw.as_ptr(), message, flags as i32) }
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT` if nothing moved for so long, `EINTR`, `EPIPE` or `ECONNRESET` if the connection is gone. After an error it
    /// is of no use, since an unknown part was sent.
    pub fn send_all(&self, bytes: &[u8], patience: Patience) -> Result {
        let vec = bindings::kvec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        let mut message = bindings::msghdr::default();
        // SAFETY: `vec` outlives the message, and the bytes are only read.
        unsafe {
            bindings::iov_iter_kvec(
                &mut message.msg_iter,
                bindings::ITER_SOURCE,
                &vec,
                1,
                bytes.len(),
            );
            self.transfer(Direction::Send, &mut message, bytes.len(), patience)
        }
    }

    /// Sends as much of `bytes` as there is room for now; returns how much that was. Does not wait.
    ///
    /// # Errors
    ///
    /// `EPIPE` or `ECONNRESET` if the connection is gone.
    pub fn try_send(&self, bytes: &[u8]) -> Result<usize> {
        let mut vec = bindings::kvec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        let mut message = bindings::msghdr {
            msg_flags: bindings::MSG_DONTWAIT | bindings::MSG_NOSIGNAL,
            ..Default::default()
        };
        // SAFETY: `vec` and the bytes outlive the call, which only reads them.
        let sent = unsafe {
            bindings::kernel_sendmsg(self.raw.as_ptr(), &mut message, &mut vec, 1, bytes.len())
        };
        if sent == EAGAIN.to_errno() {
            return Ok(0);
        }
        to_result(sent.min(0))?;
        Ok(sent as usize)
    }

    /// Fills all of `bytes`.
    ///
    /// # Errors
    ///
    /// As [`Socket::send_all`]; `ECONNRESET` also if the other end closed.
    pub fn recv_exact(&self, bytes: &mut [u8], patience: Patience) -> Result {
        let vec = bindings::kvec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: bytes.len(),
        };
        let mut message = bindings::msghdr::default();
        // SAFETY: `vec` outlives the message, and the bytes are borrowed for writing.
        unsafe {
            bindings::iov_iter_kvec(
                &mut message.msg_iter,
                bindings::ITER_DEST,
                &vec,
                1,
                bytes.len(),
            );
            self.transfer(Direction::Receive, &mut message, bytes.len(), patience)
        }
    }

    /// Sends all of `pages` without copying them: the stack refers to the pages until the other end has acknowledged them, so
    /// their content must not change any more. The pages themselves may be freed meanwhile.
    ///
    /// # Errors
    ///
    /// As [`Socket::send_all`].
    pub fn send_pages(&self, pages: &PageVec<'_>, patience: Patience) -> Result {
        self.transfer_pages(Direction::Send, pages, patience)
    }

    /// Fills all of `pages`.
    ///
    /// # Errors
    ///
    /// As [`Socket::recv_exact`].
    pub fn recv_pages(&self, pages: &mut PageVec<'_>, patience: Patience) -> Result {
        self.transfer_pages(Direction::Receive, pages, patience)
    }

    fn transfer_pages(
        &self,
        direction: Direction,
        pages: &PageVec<'_>,
        patience: Patience,
    ) -> Result {
        let (raw_direction, flags) = match direction {
            Direction::Send => (bindings::ITER_SOURCE, banyan_bindings::MSG_SPLICE_PAGES),
            Direction::Receive => (bindings::ITER_DEST, 0),
        };
        let mut message = bindings::msghdr {
            msg_flags: flags,
            ..Default::default()
        };
        // SAFETY: The pieces outlive the message; the pages are kept by their owner, and may be written if they are to be filled.
        unsafe {
            bindings::iov_iter_bvec(
                &mut message.msg_iter,
                raw_direction,
                pages.pieces.as_ptr(),
                pages.pieces.len(),
                pages.bytes,
            );
            self.transfer(direction, &mut message, pages.bytes, patience)
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: Owned, by the type's invariant, and not used afterwards.
        unsafe { bindings::sock_release(self.raw.as_ptr()) };
    }
}

/// A TCP socket that takes connections. Dropping it closes it.
pub struct Listener {
    socket: Socket,
}

impl Listener {
    /// Listens on this port of all addresses; at most `backlog` connections wait to be taken.
    ///
    /// # Errors
    ///
    /// `EADDRINUSE`.
    pub fn bind(port: u16, backlog: i32) -> Result<Self> {
        let socket = Socket::create()?;
        let mut address = Address { ip: 0, port }.to_raw();
        // SAFETY: The socket is ours; the address has the given length. Port reuse lets a node that left come back at once.
        unsafe {
            banyan_bindings::sock_set_reuseaddr((*socket.raw.as_ptr()).sk.cast());
            to_result(bindings::kernel_bind(
                socket.raw.as_ptr(),
                (&raw mut address).cast(),
                size_of::<bindings::sockaddr_in>() as i32,
            ))?;
            to_result(bindings::kernel_listen(socket.raw.as_ptr(), backlog))?;
        }
        Ok(Self { socket })
    }

    /// Returns the port, if it was chosen by the kernel (port 0).
    ///
    /// # Errors
    ///
    /// None in practice.
    pub fn port(&self) -> Result<u16> {
        Ok(self.socket.own_address()?.port)
    }

    /// Takes the next connection.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT`, `EINTR`; `EINVAL` after [`Listener::shutdown`].
    pub fn accept(&self, patience: Patience) -> Result<Socket> {
        loop {
            let mut raw = null_mut();
            // SAFETY: The socket is ours; `raw` is a valid place for the result.
            let result = to_result(unsafe {
                bindings::kernel_accept(
                    self.socket.raw.as_ptr(),
                    &mut raw,
                    bindings::O_NONBLOCK as i32,
                )
            });
            match result {
                Err(e) if e == EAGAIN => self.socket.wait(Direction::Receive, patience)?,
                Err(e) => return Err(e),
                Ok(()) => {
                    // INVARIANT: A new socket, owned by nobody else.
                    return Ok(Socket {
                        raw: NonNull::new(raw).ok_or(ENOMEM)?,
                    });
                }
            }
        }
    }

    /// Ends the listening; calls that wait return. From any thread.
    pub fn shutdown(&self) {
        self.socket.shutdown();
    }
}
