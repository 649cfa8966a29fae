// SPDX-License-Identifier: GPL-2.0

//! A process being rebuilt: the reading end of an image.
//!
//! One [`Rebuild`] exists for each process that is arriving, on the stack of the task that becomes it: a child of `banyanctl serve`, or at
//! home the deputy. Every length and count of the image is checked here or by the kind that takes the record; what a kind has rebuilt in
//! the task need not be undone, since a task that fails to become the process is ended, or is emptied and stays a deputy.

use crate::{
    capture::Journey,
    kinds::{
        self,
        KINDS, //
    },
};
use banyan::BulkSocket;
use banyan_wire::{
    image::{
        self,
        End,
        ImageHeader,
        RecordHeader, //
    },
    image_memory::Extents,
    Wire, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::{
    memory::{
        NewMapping,
        PAGE_SIZE, //
    },
    own::Own,
    pages::{
        Access,
        Pinned,
        MAX_RUN, //
    },
    socket::PageVec, //
};

/// A process being rebuilt.
pub struct Rebuild {
    /// Who moves, from where to where.
    pub journey: Journey,
    /// Whether the task is the deputy, at home.
    pub at_home: bool,
    /// The module, which works for the border keep loaded.
    pub module: &'static ThisModule,
    /// What the register kind keeps until the commit.
    pub registers: kinds::registers::Rebuilt,
    /// What the memory kind keeps until the end of the image.
    pub memory: kinds::memory::Rebuilt,
    /// What the credentials kind keeps until the end of the image.
    pub credentials: kinds::credentials::Rebuilt,
    /// What the identity kind keeps until the commit.
    pub identity: kinds::identity::Rebuilt,
    /// What the scheduling kind keeps until the end of the image.
    pub scheduling: kinds::scheduling::Rebuilt,
    /// What the files kind keeps until the task leaves the kernel.
    pub files: kinds::files::Rebuilt,
    /// What the signals kind keeps until the commit.
    pub signals: kinds::signals::Rebuilt,
    /// What the task kind keeps until the memory is there.
    pub task: kinds::task::Rebuilt,
    /// What the timers kind keeps until the commit.
    pub timers: kinds::timers::Rebuilt,
    socket: Arc<BulkSocket>,
    scratch: Option<usize>,
    records: u64,
    pages: u64,
}

impl Rebuild {
    /// Starts reading an image from this connection.
    pub fn new(
        journey: Journey,
        at_home: bool,
        module: &'static ThisModule,
        socket: Arc<BulkSocket>,
    ) -> Self {
        Self {
            journey,
            at_home,
            module,
            registers: Default::default(),
            memory: Default::default(),
            credentials: Default::default(),
            identity: Default::default(),
            scheduling: Default::default(),
            files: Default::default(),
            signals: Default::default(),
            task: Default::default(),
            timers: Default::default(),
            socket,
            scratch: None,
            records: 0,
            pages: 0,
        }
    }

    /// Reads the whole image and rebuilds the process in the current task, all but what [`committed`](Self::committed) does.
    ///
    /// # Errors
    ///
    /// `EBADMSG` if the image is damaged or not that of the journey, and those of the kinds. The task has then lost what it was.
    pub fn receive(&mut self, own: &Own) -> Result {
        let header =
            ImageHeader::parse(&self.read::<{ ImageHeader::SIZE }>()?).map_err(|_| EBADMSG)?;
        let journey = &mut self.journey;
        if header.migration != journey.migration
            || header.pid != journey.pid
            || header.home != journey.home
        {
            return Err(EBADMSG);
        }
        journey.moves = header.moves;
        let mut payload = KVVec::<u8>::new();
        loop {
            let header = RecordHeader::parse(&self.read::<{ RecordHeader::SIZE }>()?)
                .map_err(|_| EBADMSG)?;
            payload.resize(header.len as usize, 0, GFP_KERNEL)?;
            self.socket.recv_exact(&mut payload)?;
            if header.rtype == image::END {
                let end = End::decode(&payload).map_err(|_| EBADMSG)?;
                if end.records != self.records || end.pages != self.pages {
                    return Err(EBADMSG);
                }
                break;
            }
            self.records = self.records.saturating_add(1);
            let mut taken = false;
            for kind in KINDS {
                if (kind.restore)(own, self, header.rtype, header.version, &payload).inspect_err(
                    |e| pr_warn!("{}: record {:#x}: {:?}\n", kind.name, header.rtype, e),
                )? {
                    taken = true;
                    break;
                }
            }
            if !taken && header.flags & image::OPTIONAL == 0 {
                pr_warn!("unknown record {:#x} of an image\n", header.rtype);
                return Err(EBADMSG);
            }
        }
        for kind in KINDS {
            (kind.finish)(own, self).inspect_err(|e| pr_warn!("{}: {:?}\n", kind.name, e))?;
        }
        if let Some(scratch) = self.scratch.take() {
            own.unmap(scratch, scratch.saturating_add(PAGE_SIZE))?;
        }
        Ok(())
    }

    /// Does what is left when the move is committed: the task is the process from here on.
    pub fn committed(&mut self, own: &Own) {
        for kind in KINDS {
            (kind.committed)(own, self);
        }
    }

    /// The address of one readable and writable page of the process that is there while it is being rebuilt, for arguments of system
    /// calls. To be used only after the mappings are in place.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn scratch(&mut self, own: &Own) -> Result<usize> {
        if let Some(scratch) = self.scratch {
            return Ok(scratch);
        }
        let page = NewMapping {
            len: PAGE_SIZE,
            read: true,
            write: true,
            ..Default::default()
        };
        let scratch = own.map(&page, None)?;
        self.scratch = Some(scratch);
        Ok(scratch)
    }

    /// Fills pages of the process with those that follow in the stream: all of a batch at once.
    ///
    /// # Errors
    ///
    /// `EFAULT` if there is no private mapping, and those of receiving.
    pub fn fill(&mut self, own: &Own, extents: &Extents<'_>) -> Result {
        let mut runs = KVec::<Pinned>::new();
        let mut pages = 0usize;
        for extent in extents.iter() {
            let mut at = usize::try_from(extent.start)?;
            let mut left = extent.pages as usize;
            while left > 0 {
                let count = left.min(MAX_RUN);
                runs.push(own.pin(at, count, Access::Fill)?, GFP_KERNEL)?;
                at = at.saturating_add(count.saturating_mul(PAGE_SIZE));
                left = left.saturating_sub(count);
            }
            pages = pages.saturating_add(extent.pages as usize);
        }
        let mut pieces = PageVec::with_capacity(pages)?;
        for run in runs.iter() {
            for index in 0..run.len() {
                pieces.push_pinned(run, index)?;
            }
        }
        self.socket.recv_pages(&mut pieces)?;
        self.pages = self.pages.saturating_add(pages as u64);
        Ok(())
    }

    fn read<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0u8; N];
        self.socket.recv_exact(&mut bytes)?;
        Ok(bytes)
    }
}
