// SPDX-License-Identifier: GPL-2.0

//! A process being captured: the writing end of its image.
//!
//! One [`Capture`] exists for each process that is leaving, on its stack. Small records are gathered and sent together. So are pages,
//! however scattered, up to 1 MiB of them; they go to the socket as they are, so that what a capture needs does not depend on the size of
//! the process.

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
        Extent,
        MAX_BATCH, //
    },
    migrate::MigrationId,
    NodeId,
    Wire, //
};
use kernel::prelude::*;
use kernel_ext::{
    pages::{
        Pinned,
        MAX_RUN, //
    },
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
    /// The number of this move: see [`first_move`](banyan_wire::migrate::first_move).
    pub moves: u32,
}

/// A run of pinned pages, and which of them go along with the next batch.
struct Run {
    pinned: Pinned,
    wanted: [bool; MAX_RUN],
}

/// Pages to be sent together.
#[derive(Default)]
struct Batch {
    extents: KVec<Extent>,
    runs: KVec<KBox<Run>>,
    pages: u32,
}

impl Batch {
    /// Where its last page ends.
    fn end(&self) -> u64 {
        self.extents.last().map_or(0, |last| {
            last.start
                .saturating_add(u64::from(last.pages).saturating_mul(image_memory::PAGE_SIZE))
        })
    }

    /// Adds page `index` of the last run, which is at `address`.
    fn push(&mut self, index: usize, address: u64) -> Result {
        let end = self.end();
        let run = self.runs.last_mut().ok_or(EINVAL)?;
        *run.wanted.get_mut(index).ok_or(EINVAL)? = true;
        match self.extents.last_mut() {
            Some(last) if address == end => last.pages = last.pages.saturating_add(1),
            _ => self.extents.push(
                Extent {
                    start: address,
                    pages: 1,
                    _pad: 0,
                },
                GFP_KERNEL,
            )?,
        }
        self.pages = self.pages.saturating_add(1);
        Ok(())
    }
}

/// A process being captured.
pub struct Capture {
    /// Who moves, from where to where.
    pub journey: Journey,
    /// A guest that a Landlock domain confines at its home.
    pub landlocked: bool,
    /// What the files kind keeps until the move is over.
    pub files: kinds::files::Captured,
    /// What the memory kind keeps for the files kind.
    pub memory: kinds::memory::Captured,
    socket: BulkSocket,
    gathered: KVVec<u8>,
    batch: Batch,
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
            landlocked: false,
            files: Default::default(),
            memory: Default::default(),
            socket,
            gathered: KVVec::with_capacity(GATHER, GFP_KERNEL)?,
            batch: Batch::default(),
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
        self.send_batch()?;
        self.add_record(rtype, version, payload)
    }

    fn add_record(&mut self, rtype: u16, version: u16, payload: &[u8]) -> Result {
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

    /// Adds a run of pages, leaving out those that are all zeros if `skip_zeros`. They are sent together with others, and stay pinned till
    /// then: until there are enough, or something else is added.
    ///
    /// # Errors
    ///
    /// Those of sending.
    pub fn pages(&mut self, start: usize, run: Pinned, skip_zeros: bool) -> Result {
        let mut address = start as u64;
        if address < self.batch.end() {
            // A batch is in ascending order.
            self.send_batch()?;
        }
        let count = run.len();
        let run = KBox::new(
            Run {
                pinned: run,
                wanted: [false; MAX_RUN],
            },
            GFP_KERNEL,
        )?;
        self.batch.runs.push(run, GFP_KERNEL)?;
        for index in 0..count {
            let here = address;
            address = address.saturating_add(image_memory::PAGE_SIZE);
            let last = self.batch.runs.last().ok_or(EINVAL)?;
            if skip_zeros && last.pinned.is_zero(index) {
                continue;
            }
            self.batch.push(index, here)?;
            if self.batch.pages == MAX_BATCH {
                self.send_full_batch()?;
            }
        }
        let wanted = |run: &KBox<Run>| run.wanted.contains(&true);
        if !self.batch.runs.last().is_some_and(wanted) {
            self.batch.runs.pop();
        }
        Ok(())
    }

    /// Sends the batch, and begins another one with the same last run, of which more pages may be wanted.
    fn send_full_batch(&mut self) -> Result {
        let mut batch = core::mem::take(&mut self.batch);
        self.send(&batch)?;
        if let Some(mut run) = batch.runs.pop() {
            run.wanted = [false; MAX_RUN];
            self.batch.runs.push(run, GFP_KERNEL)?;
        }
        Ok(())
    }

    /// Sends the batch, if there is anything in it, and unpins all of it.
    fn send_batch(&mut self) -> Result {
        let batch = core::mem::take(&mut self.batch);
        if batch.pages == 0 {
            return Ok(());
        }
        self.send(&batch)
    }

    fn send(&mut self, batch: &Batch) -> Result {
        let extents = &batch.extents;
        let mut payload =
            KVVec::from_elem(0u8, extents.len().saturating_mul(Extent::SIZE), GFP_KERNEL)?;
        for (extent, to) in extents.iter().zip(payload.chunks_exact_mut(Extent::SIZE)) {
            extent.encode(to).map_err(|_| EINVAL)?;
        }
        let mut pieces = PageVec::with_capacity(batch.pages as usize)?;
        for run in batch.runs.iter() {
            for (index, _) in run.wanted.iter().enumerate().filter(|(_, wanted)| **wanted) {
                pieces.push_pinned(&run.pinned, index)?;
            }
        }
        self.add_record(image_memory::PAGES, image_memory::VERSION, &payload)?;
        self.flush()?;
        self.socket.send_pages(&pieces)?;
        self.pages = self.pages.saturating_add(u64::from(batch.pages));
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
