// SPDX-License-Identifier: GPL-2.0

//! Lists of pages as sockets take them: one for each batch under way, owned by whoever sends or receives it.
//!
//! C header: [`include/linux/bvec.h`](srctree/include/linux/bvec.h)

use core::marker::PhantomData;
use kernel::{
    bindings,
    page::Page,
    prelude::*, //
};

/// Pieces of pages, to be sent or filled.
pub struct PageVec<'a> {
    pub(crate) pieces: KVec<bindings::bio_vec>,
    pub(crate) bytes: usize,
    _pages: PhantomData<&'a Page>,
}

// SAFETY: The pointers are to pages that are kept by their owner for `'a`; pages have no tie to a thread.
unsafe impl Send for PageVec<'_> {}

impl<'a> PageVec<'a> {
    /// One with room for so many pieces.
    pub fn with_capacity(count: usize) -> Result<Self> {
        Ok(Self {
            pieces: KVec::with_capacity(count, GFP_KERNEL)?,
            bytes: 0,
            _pages: PhantomData,
        })
    }

    /// Adds `len` bytes of a page from `offset` on.
    ///
    /// # Errors
    ///
    /// `EINVAL` if that is not within the page; `ENOMEM`.
    pub fn push(&mut self, page: &'a Page, offset: usize, len: usize) -> Result {
        // SAFETY: The borrow keeps the page for `'a`.
        unsafe { self.push_raw(page.as_ptr(), offset, len) }
    }

    /// Adds `len` bytes from `offset` on of a page, or of the pages of one folio.
    ///
    /// # Errors
    ///
    /// `EINVAL` if an order-0 page would be exceeded; `ENOMEM`.
    ///
    /// # Safety
    ///
    /// The page stays allocated for `'a`, is not slab memory, and may be written to if this is used for receiving.
    pub unsafe fn push_raw(
        &mut self,
        page: *mut bindings::page,
        offset: usize,
        len: usize,
    ) -> Result {
        if offset
            .checked_add(len)
            .is_none_or(|end| end > kernel::page::PAGE_SIZE)
        {
            return Err(EINVAL);
        }
        self.pieces.push(
            bindings::bio_vec {
                bv_page: page,
                bv_len: len as u32,
                bv_offset: offset as u32,
            },
            GFP_KERNEL,
        )?;
        self.bytes += len;
        Ok(())
    }

    /// All bytes of all pieces.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets the pieces, keeps the room.
    pub fn clear(&mut self) {
        self.pieces.clear();
        self.bytes = 0;
    }
}
