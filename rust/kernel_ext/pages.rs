// SPDX-License-Identifier: GPL-2.0

//! Pages of the current user process: which of them hold data of their own, and runs of them pinned for sending and receiving.
//!
//! A [`Pinned`] run belongs to the function that pins it; dropping it unpins. At most [`MAX_RUN`] pages each.

use crate::{
    memory::PAGE_SIZE,
    own::Own,
    socket::PageVec, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*, //
};

/// Most pages in one run: 1 MiB.
pub const MAX_RUN: usize = 256;

/// Pages that one [`Own::scan`] looks at: 16 MiB.
pub const SCAN: usize = 4096;

/// A helper that marks pages of a range in a map.
type Walk = unsafe extern "C" fn(*mut bindings::mm_struct, usize, usize, *mut usize) -> i32;

/// Some pages of a range: those that hold data of their own, or those that are guarded.
pub struct Scan {
    start: usize,
    pages: usize,
    map: KVec<usize>,
}

impl Scan {
    /// Runs of such pages: address and number of pages, none longer than `max`.
    pub fn runs(&self, max: usize) -> Runs<'_> {
        Runs {
            scan: self,
            at: 0,
            max,
        }
    }

    fn bit(&self, page: usize) -> bool {
        page < self.pages
            && self
                .map
                .get(page / usize::BITS as usize)
                .is_some_and(|word| word >> (page % usize::BITS as usize) & 1 != 0)
    }
}

/// Iterator over the runs of a [`Scan`].
pub struct Runs<'a> {
    scan: &'a Scan,
    at: usize,
    max: usize,
}

impl Iterator for Runs<'_> {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<(usize, usize)> {
        while !self.scan.bit(self.at) {
            if self.at >= self.scan.pages {
                return None;
            }
            self.at = self.at.saturating_add(1);
        }
        let first = self.at;
        while self.scan.bit(self.at) && self.at - first < self.max {
            self.at = self.at.saturating_add(1);
        }
        let start = self
            .scan
            .start
            .saturating_add(first.saturating_mul(PAGE_SIZE));
        Some((start, self.at - first))
    }
}

/// Why pages are pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To be read, whatever their protection.
    Read,
    /// To be filled, whatever their protection: private pages only.
    Fill,
}

/// A run of pinned pages.
///
/// # Invariants
///
/// Every pointer is a page that this value has pinned.
pub struct Pinned {
    pages: KVec<*mut bindings::page>,
    access: Access,
}

impl Own {
    /// Finds which of the pages from `start` on, up to `end` and at most [`SCAN`], hold data of their own: neither untouched nor just a
    /// file's.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ENOSYS` if this kernel lacks `walk_page_range`.
    pub fn scan(&self, start: usize, end: usize) -> Result<Scan> {
        self.scan_with(start, end, banyan_bindings::banyan_scan_pages)
    }

    /// Finds which of the pages from `start` on, up to `end` and at most [`SCAN`], are guarded (`MADV_GUARD_INSTALL`).
    ///
    /// # Errors
    ///
    /// As [`scan`](Self::scan).
    pub fn scan_guards(&self, start: usize, end: usize) -> Result<Scan> {
        self.scan_with(start, end, banyan_bindings::banyan_scan_guards)
    }

    /// `walk` marks pages of a range: one of the two helpers.
    fn scan_with(&self, start: usize, end: usize, walk: Walk) -> Result<Scan> {
        let pages = (end.saturating_sub(start) / PAGE_SIZE).min(SCAN);
        let mut scan = Scan {
            start,
            pages,
            map: KVec::from_elem(0usize, pages.div_ceil(usize::BITS as usize), GFP_KERNEL)?,
        };
        let end = start.saturating_add(pages.saturating_mul(PAGE_SIZE));
        let mm = self.mm();
        let guard = mm.mmap_read_lock();
        // SAFETY: The lock is held; the map has a bit for each page of the range.
        let ret = unsafe { walk(mm.as_raw(), start, end, scan.map.as_mut_ptr()) };
        drop(guard);
        to_result(ret)?;
        Ok(scan)
    }

    /// Pins `count` pages from `start` on, faulting them in.
    ///
    /// # Errors
    ///
    /// `EFAULT` if not all of them can be had, `EINVAL` for more than [`MAX_RUN`], `ENOMEM`.
    pub fn pin(&self, start: usize, count: usize, access: Access) -> Result<Pinned> {
        if count == 0 || count > MAX_RUN {
            return Err(EINVAL);
        }
        let mut pages = KVec::<*mut bindings::page>::with_capacity(count, GFP_KERNEL)?;
        let flags = match access {
            Access::Read => bindings::FOLL_FORCE,
            Access::Fill => bindings::FOLL_FORCE | bindings::FOLL_WRITE,
        };
        let mut done = 0;
        while done < count {
            let at = start.saturating_add(done.saturating_mul(PAGE_SIZE));
            // SAFETY: There is room for `count - done` pointers behind the first `done`.
            let got = unsafe {
                bindings::pin_user_pages_fast(
                    at,
                    (count - done) as i32,
                    flags,
                    pages.as_mut_ptr().add(done),
                )
            };
            if got <= 0 {
                // INVARIANT: The first `done` are set and pinned; they are unpinned here.
                // SAFETY: As above, `done` is within the capacity.
                unsafe { pages.inc_len(done) };
                drop(Pinned {
                    pages,
                    access: Access::Read,
                });
                return Err(if got < 0 {
                    Error::from_errno(got)
                } else {
                    EFAULT
                });
            }
            done = done.saturating_add(got as usize);
        }
        // SAFETY: All `count` are set.
        unsafe { pages.inc_len(count) };
        // INVARIANT: All of them were pinned by the calls above.
        Ok(Pinned { pages, access })
    }
}

impl Pinned {
    /// Number of pages.
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    /// Whether there is none (there always is one).
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// Whether page `index` is all zeros.
    pub fn is_zero(&self, index: usize) -> bool {
        match self.pages.get(index) {
            // SAFETY: The page is pinned.
            Some(&page) => unsafe { banyan_bindings::banyan_page_is_zero(page) },
            None => false,
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: The pages are pinned by the type's invariant, and not used after this.
        unsafe {
            bindings::unpin_user_pages_dirty_lock(
                self.pages.as_mut_ptr(),
                self.pages.len(),
                self.access == Access::Fill,
            )
        };
    }
}

impl<'a> PageVec<'a> {
    /// Adds a whole page of a pinned run.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no such page, `ENOMEM`.
    pub fn push_pinned(&mut self, run: &'a Pinned, index: usize) -> Result {
        let page = *run.pages.get(index).ok_or(EINVAL)?;
        // SAFETY: The run keeps the page pinned for `'a`. Pages of a process are not slab memory, and what is pinned for filling may be
        // written.
        unsafe { self.push_raw(page, 0, PAGE_SIZE) }
    }
}
