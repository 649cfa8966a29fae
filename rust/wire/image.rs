// SPDX-License-Identifier: GPL-2.0

//! The frame of an image: its header, and the header of every record.
//!
//! An image is one [`ImageHeader`], then records, the last of them of type [`END`]. A record is a [`RecordHeader`] and as many bytes as
//! it says; behind a record of type [`PAGES`](crate::image_memory::PAGES) the pages themselves follow. The payloads are in the other
//! `image_*` files: 0x01xx memory and registers, 0x02xx process state, 0x03xx files. The rules of change, and the changelog, are in
//! `docs/developers/image-format.md`.

use crate::codec::{Result, Wire, WireError};
use crate::ids::NodeId;
use crate::migrate::MigrationId;

/// Version of the format that this build writes, and the only one that it reads.
pub const IMAGE_VERSION: u16 = 1;

/// The first eight bytes of an image.
pub const MAGIC: [u8; 8] = *b"BANYANIM";

/// Longest payload of a record, in bytes.
pub const MAX_RECORD: u32 = 64 * 1024;

/// [`RecordHeader::flags`]: a reader that does not know the type may skip the record.
pub const OPTIONAL: u16 = 1;

/// The last record: [`End`].
pub const END: u16 = 0x0001;

crate::wire_struct! {
    /// What an image begins with.
    pub struct ImageHeader {
        /// [`MAGIC`].
        pub magic: [u8; 8],
        /// [`IMAGE_VERSION`].
        pub version: u16,
        /// Zero.
        pub flags: u16,
        /// Pid of the process.
        pub pid: i32,
        /// The move that it is made for.
        pub migration: MigrationId,
        /// Its home.
        pub home: NodeId,
        /// The node that wrote it.
        pub source: NodeId,
        /// Zero.
        pub _pad: [u8; 2],
        /// Number of this move of the process: see [`first_move`](crate::migrate::first_move).
        pub moves: u32,
    }

    /// What every record begins with.
    pub struct RecordHeader {
        /// What it holds.
        pub rtype: u16,
        /// Version of that.
        pub version: u16,
        /// [`OPTIONAL`] or 0.
        pub flags: u16,
        /// Zero.
        pub _pad: u16,
        /// Length of the payload that follows, in bytes.
        pub len: u32,
    }

    /// The end: payload of [`END`].
    pub struct End {
        /// Number of records before this one.
        pub records: u64,
        /// Number of pages sent.
        pub pages: u64,
    }
}

impl ImageHeader {
    /// Reads a header and checks what can be checked without knowing the move.
    ///
    /// # Errors
    ///
    /// [`WireError::BadMagic`], [`WireError::BadVersion`], [`WireError::BadValue`] for flags, and those of decoding.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let header = Self::decode(bytes)?;
        if header.magic != MAGIC {
            return Err(WireError::BadMagic);
        }
        if header.version != IMAGE_VERSION {
            return Err(WireError::BadVersion);
        }
        if header.flags != 0 || header.pid <= 0 {
            return Err(WireError::BadValue);
        }
        Ok(header)
    }
}

impl RecordHeader {
    /// Reads a header and checks its length.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`], [`WireError::BadValue`] for unknown flags, and those of decoding.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let header = Self::decode(bytes)?;
        if header.len > MAX_RECORD {
            return Err(WireError::TooLong);
        }
        if header.flags & !OPTIONAL != 0 {
            return Err(WireError::BadValue);
        }
        Ok(header)
    }
}

const _: () = assert!(ImageHeader::SIZE == 32 && RecordHeader::SIZE == 12 && End::SIZE == 16);
