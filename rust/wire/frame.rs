// SPDX-License-Identifier: GPL-2.0

//! The header in front of every message on an authenticated control connection.
//!
//! 24 bytes, little endian: magic `u32`, op `u16`, flags `u16`, payload length `u32`, epoch `u32`, id `u64`.
//! Written by the sender's tx thread, read by the receiver's rx thread; the payload follows at once.

use crate::codec::{Reader, Result, Wire, WireError, Writer};
use crate::ids::Epoch;
use crate::op;

/// Version of everything on the wire. Peers of different versions refuse each other.
/// The changelog is in `docs/developers/wire-protocol.md`; a change there and here go together.
pub const PROTOCOL_VERSION: u16 = 2;

/// First word of every header: the bytes `BNYF`.
pub const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"BNYF");

/// Bytes of a header.
pub const HEADER_LEN: usize = 24;

/// Largest payload, in bytes. A longer one is refused before it is read.
pub const MAX_PAYLOAD: u32 = 128 * 1024;

/// Flag: this answers the request with the same id.
pub const FLAG_REPLY: u16 = 1;
/// Flag, only with [`FLAG_REPLY`]: the payload is an [`ErrorReply`].
pub const FLAG_ERROR: u16 = 2;
/// Flag: the sender waits for an answer; a receiver that does not know the op must send an error.
pub const FLAG_REQUEST: u16 = 4;
/// Flag: a receiver that does not know the op ignores the message.
pub const FLAG_OPTIONAL: u16 = 1 << 15;

const FLAGS: u16 = FLAG_REPLY | FLAG_ERROR | FLAG_REQUEST | FLAG_OPTIONAL;

/// A checked header: if one exists, its flags fit together and its length is within [`MAX_PAYLOAD`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    op: u16,
    flags: u16,
    len: u32,
    epoch: Epoch,
    id: u64,
}

impl FrameHeader {
    /// A header with these fields.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`] for `len`; [`WireError::BadValue`] for flags that do not fit together, an
    /// `op` of 0, a request or a reply without an id, or a one-way message with one.
    pub const fn new(op: u16, flags: u16, len: u32, epoch: Epoch, id: u64) -> Result<Self> {
        if len > MAX_PAYLOAD {
            return Err(WireError::TooLong);
        }
        let reply = flags & FLAG_REPLY != 0;
        let request = flags & FLAG_REQUEST != 0;
        let error = flags & FLAG_ERROR != 0;
        if flags & !FLAGS != 0 || (error && !reply) || (reply && request) || op == op::NONE {
            return Err(WireError::BadValue);
        }
        if (reply || request) != (id != 0) {
            return Err(WireError::BadValue);
        }
        Ok(Self {
            op,
            flags,
            len,
            epoch,
            id,
        })
    }

    /// A one-way message.
    ///
    /// # Errors
    ///
    /// Those of [`FrameHeader::new`].
    pub const fn message(op: u16, len: u32, epoch: Epoch) -> Result<Self> {
        Self::new(op, 0, len, epoch, 0)
    }

    /// A request; `id` is not 0 and names it on this connection until it is answered.
    ///
    /// # Errors
    ///
    /// Those of [`FrameHeader::new`].
    pub const fn request(op: u16, len: u32, epoch: Epoch, id: u64) -> Result<Self> {
        Self::new(op, FLAG_REQUEST, len, epoch, id)
    }

    /// The answer to the request `id`.
    ///
    /// # Errors
    ///
    /// Those of [`FrameHeader::new`].
    pub const fn reply(op: u16, len: u32, epoch: Epoch, id: u64) -> Result<Self> {
        Self::new(op, FLAG_REPLY, len, epoch, id)
    }

    /// The refusal of the request `id`; an [`ErrorReply`] follows.
    ///
    /// # Errors
    ///
    /// Those of [`FrameHeader::new`].
    pub const fn error(op: u16, epoch: Epoch, id: u64) -> Result<Self> {
        Self::new(
            op,
            FLAG_REPLY | FLAG_ERROR,
            ErrorReply::SIZE as u32,
            epoch,
            id,
        )
    }

    /// The message's op, one of [`op`](crate::op).
    pub const fn op(&self) -> u16 {
        self.op
    }

    /// The flags.
    pub const fn flags(&self) -> u16 {
        self.flags
    }

    /// Bytes of payload behind the header.
    pub const fn payload_len(&self) -> usize {
        self.len as usize
    }

    /// The sender's membership epoch when it queued the message.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The request's name on this connection; 0 for a one-way message.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Whether the sender waits for an answer.
    pub const fn is_request(&self) -> bool {
        self.flags & FLAG_REQUEST != 0
    }

    /// Whether this answers a request.
    pub const fn is_reply(&self) -> bool {
        self.flags & FLAG_REPLY != 0
    }

    /// Whether the payload is an [`ErrorReply`].
    pub const fn is_error(&self) -> bool {
        self.flags & FLAG_ERROR != 0
    }

    /// Whether a receiver that does not know the op ignores it.
    pub const fn is_optional(&self) -> bool {
        self.flags & FLAG_OPTIONAL != 0
    }

    /// The same with [`FLAG_OPTIONAL`].
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.flags |= FLAG_OPTIONAL;
        self
    }
}

impl Wire for FrameHeader {
    const SIZE: usize = HEADER_LEN;

    fn put(&self, w: &mut Writer<'_>) -> Result<()> {
        w.put(&FRAME_MAGIC)?;
        w.put(&self.op)?;
        w.put(&self.flags)?;
        w.put(&self.len)?;
        w.put(&self.epoch)?;
        w.put(&self.id)
    }

    fn get(r: &mut Reader<'_>) -> Result<Self> {
        if r.get::<u32>()? != FRAME_MAGIC {
            return Err(WireError::BadMagic);
        }
        Self::new(r.get()?, r.get()?, r.get()?, r.get()?, r.get()?)
    }
}

crate::wire_struct! {
    /// The payload of a reply with [`FLAG_ERROR`].
    pub struct ErrorReply {
        /// The errno, as the receiver's kernel returns it: negative, -4095 to -1.
        pub errno: i32,
        /// A [`Reason`](crate::Reason) code, 0 if there is none.
        pub reason: u16,
        /// Zero.
        pub _pad: u16,
    }
}

impl ErrorReply {
    /// With this errno (either sign) and reason code.
    pub const fn new(errno: i32, reason: u16) -> Self {
        let errno = if errno > 0 {
            errno.saturating_neg()
        } else {
            errno
        };
        let mut reply = Self {
            errno,
            reason,
            _pad: 0,
        };
        reply.errno = reply.kernel_errno();
        reply
    }

    /// The errno, forced into the range that a kernel function may return (-4095 to -1): what a peer
    /// sends goes through here before it is returned to anyone. Nonsense becomes `EIO`.
    pub const fn kernel_errno(&self) -> i32 {
        const EIO: i32 = 5;
        if self.errno < 0 && self.errno >= -4095 {
            self.errno
        } else {
            -EIO
        }
    }
}
