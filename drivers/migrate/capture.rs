// SPDX-License-Identifier: GPL-2.0

//! A process being captured: the writing end of its image.
//!
//! One [`Capture`] exists for each process that is leaving, on its stack. Small records are gathered and sent together; pages go to the
//! socket as they are, so that what a capture needs does not depend on the size of the process.

use crate::kinds;

use banyan::BulkSocket;
use banyan_wire::{
    image::{
        self,
        End,
        ImageHeader,
        RecordHeader, //
    },
    image_memory::{
        self,
        Extent, //
    },
    migrate::MigrationId,
    NodeId,
    Wire, //
};
use kernel::prelude::*;
use kernel_ext::{
    pages::Pinned,
    socket::PageVec, //
};

/// Room for small records before they are sent.
const GATHER: usize = 128 * 1024;

/// Who moves, from where to where.
#[derive(Clone, Copy, Debug)]
pub struct Journey {
    /// The move.
    pub migration: MigrationId,
    /// The process.
    pub pid: i32,
    /// Its home.
    pub home: NodeId,
    /// Where it is.
    pub source: NodeId,
    /// Where it goes.
    pub target: NodeId,
    /// Times that it has moved, this one included.
    pub moves: u32,
}

/// A process being captured.
pub struct Capture {
    /// Who moves, from where to where.
    pub journey: Journey,
    /// What the files kind keeps until the move is over.
    pub files: kinds::files::Captured,
    /// What the memory kind keeps for the files kind.
    pub memory: kinds::memory::Captured,
    socket: BulkSocket,
    gathered: KVVec<u8>,
    records: u64,
    pages: u64,
    bytes: u64,
}

impl Capture {
    /// Starts an image on this connection.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(journey: Journey, socket: BulkSocket) -> Result<Self> {
        let mut capture = Self {
            journey,
            files: Default::default(),
            memory: Default::default(),
            socket,
            gathered: KVVec::with_capacity(GATHER, GFP_KERNEL)?,
            records: 0,
            pages: 0,
            bytes: 0,
        };
        capture.gather(&ImageHeader {
            magic: image::MAGIC,
            version: image::IMAGE_VERSION,
            flags: 0,
            pid: journey.pid,
            migration: journey.migration,
            home: journey.home,
            source: journey.source,
            _pad: [0; 2],
            moves: journey.moves,
        })?;
        Ok(capture)
    }

    /// Bytes sent and gathered so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a record.
    ///
    /// # Errors
    ///
    /// `E2BIG` if it is too long, and those of sending.
    pub fn record(&mut self, rtype: u16, version: u16, payload: &[u8]) -> Result {
        let len = u32::try_from(payload.len())?;
        if len > image::MAX_RECORD {
            return Err(E2BIG);
        }
        if self
            .gathered
            .len()
            .saturating_add(payload.len())
            .saturating_add(RecordHeader::SIZE)
            > GATHER
        {
            self.flush()?;
        }
        self.gather(&RecordHeader {
            rtype,
            version,
            flags: 0,
            _pad: 0,
            len,
        })?;
        self.gathered.extend_from_slice(payload, GFP_KERNEL)?;
        self.bytes = self.bytes.saturating_add(u64::from(len));
        self.records = self.records.saturating_add(1);
        Ok(())
    }

    /// Adds a record that is one value of fixed size.
    ///
    /// # Errors
    ///
    /// As [`record`](Self::record).
    pub fn value<T: Wire>(&mut self, rtype: u16, version: u16, value: &T) -> Result {
        let mut payload = KVVec::from_elem(0u8, T::SIZE, GFP_KERNEL)?;
        value.encode(&mut payload).map_err(|_| EINVAL)?;
        self.record(rtype, version, &payload)
    }

    /// Adds a run of pages, leaving out those that are all zeros if `skip_zeros`.
    ///
    /// # Errors
    ///
    /// Those of sending.
    pub fn pages(&mut self, start: usize, run: &Pinned, skip_zeros: bool) -> Result {
        let mut extents = KVec::<Extent>::new();
        let mut pieces = PageVec::with_capacity(run.len())?;
        let mut count = 0u64;
        let mut address = start as u64;
        for index in 0..run.len() {
            let here = address;
            address = address.saturating_add(image_memory::PAGE_SIZE);
            if skip_zeros && run.is_zero(index) {
                continue;
            }
            pieces.push_pinned(run, index)?;
            count = count.saturating_add(1);
            match extents.last_mut() {
                Some(last)
                    if last
                        .start
                        .saturating_add(u64::from(last.pages) * image_memory::PAGE_SIZE)
                        == here =>
                {
                    last.pages = last.pages.saturating_add(1);
                }
                _ => extents.push(
                    Extent {
                        start: here,
                        pages: 1,
                        _pad: 0,
                    },
                    GFP_KERNEL,
                )?,
            }
        }
        if count == 0 {
            return Ok(());
        }
        let mut payload =
            KVVec::from_elem(0u8, extents.len().saturating_mul(Extent::SIZE), GFP_KERNEL)?;
        for (extent, to) in extents.iter().zip(payload.chunks_exact_mut(Extent::SIZE)) {
            extent.encode(to).map_err(|_| EINVAL)?;
        }
        self.record(image_memory::PAGES, image_memory::VERSION, &payload)?;
        self.flush()?;
        self.socket.send_pages(&pieces)?;
        self.pages = self.pages.saturating_add(count);
        self.bytes = self.bytes.saturating_add(pieces.bytes() as u64);
        Ok(())
    }

    /// Ends the image and sends the rest of it.
    ///
    /// # Errors
    ///
    /// Those of sending.
    pub fn end(&mut self) -> Result {
        let end = End {
            records: self.records,
            pages: self.pages,
        };
        self.value(image::END, 1, &end)?;
        self.flush()
    }

    fn gather<T: Wire>(&mut self, value: &T) -> Result {
        let mut bytes = [0u8; 64];
        let len = value.encode(&mut bytes).map_err(|_| EINVAL)?;
        self.gathered
            .extend_from_slice(bytes.get(..len).ok_or(EINVAL)?, GFP_KERNEL)?;
        self.bytes = self.bytes.saturating_add(len as u64);
        Ok(())
    }

    fn flush(&mut self) -> Result {
        if !self.gathered.is_empty() {
            self.socket.send_all(&self.gathered)?;
            self.gathered.clear();
        }
        Ok(())
    }
}
