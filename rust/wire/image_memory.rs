// SPDX-License-Identifier: GPL-2.0

//! The records of an image that hold the address space and the registers.
//!
//! In this order: one [`Layout`], the [`Area`]s by ascending address, each that maps a file preceded by the [`MAPPED_FILE`] that
//! describes the file, then [`PAGES`] records, then [`GENERAL`] and [`EXTENDED`].

use crate::codec::{Array, Reader, Result, Wire, WireError, Writer};

/// Bounds and pointers of the address space: [`Layout`].
pub const LAYOUT: u16 = 0x0101;
/// One mapping: [`Area`].
pub const AREA: u16 = 0x0102;
/// Pages: [`Extent`]s; the pages themselves follow the record in the stream, 4096 bytes each.
pub const PAGES: u16 = 0x0103;
/// The general registers: 27 words, in the order of the kernel's `user_regs_struct`.
pub const GENERAL: u16 = 0x0104;
/// The extended state (FPU and vector registers) in the standard XSAVE layout.
pub const EXTENDED: u16 = 0x0105;

/// A file that [`Area`]s map: its number in the image (`u32`), then what describes it
/// ([`FileIdentity`](crate::image_files::FileIdentity) with its path).
pub const MAPPED_FILE: u16 = 0x0106;

/// Version of all these records.
pub const VERSION: u16 = 1;

/// Size of a page, in bytes.
pub const PAGE_SIZE: u64 = 4096;

/// End of the addresses that a program can have.
pub const ADDRESS_END: u64 = 0x7fff_ffff_f000;

/// Most pages in one [`PAGES`] record: 1 MiB.
pub const MAX_BATCH: u32 = 256;

/// Most bytes of extended state.
pub const MAX_EXTENDED: usize = 32 * 1024;

/// [`Area::protection`].
pub mod protection {
    /// Readable.
    pub const READ: u32 = 1;
    /// Writable.
    pub const WRITE: u32 = 2;
    /// Executable.
    pub const EXEC: u32 = 4;
    /// All of them.
    pub const ALL: u32 = 7;
}

/// [`Area::flags`]: how it was mapped, and what advice was given (`madvise`).
pub mod flags {
    /// Shared, not private.
    pub const SHARED: u32 = 1 << 0;
    /// It grows downwards, as a stack does.
    pub const GROWS_DOWN: u32 = 1 << 1;
    /// No memory is reserved for it.
    pub const NO_RESERVE: u32 = 1 << 2;
    /// Not inherited by children.
    pub const DONT_FORK: u32 = 1 << 3;
    /// Not in core dumps.
    pub const DONT_DUMP: u32 = 1 << 4;
    /// Zeroed in children.
    pub const WIPE_ON_FORK: u32 = 1 << 5;
    /// Huge pages wanted.
    pub const HUGE: u32 = 1 << 6;
    /// Huge pages unwanted.
    pub const NO_HUGE: u32 = 1 << 7;
    /// Equal pages may be merged.
    pub const MERGEABLE: u32 = 1 << 8;
    /// Read in order.
    pub const SEQUENTIAL: u32 = 1 << 9;
    /// Read in no order.
    pub const RANDOM: u32 = 1 << 10;
    /// All of them.
    pub const ALL: u32 = (1 << 11) - 1;
}

crate::wire_enum! {
    /// What a mapping maps.
    pub enum Backing: u32 {
        Anonymous = 1, "anonymous memory";
        File = 2, "a file";
        Vdso = 3, "the vDSO and its data pages, mapped by the kernel";
    }
}

crate::wire_struct! {
    /// Bounds and pointers of the address space, all of them addresses.
    pub struct Layout {
        /// Program text.
        pub start_code: u64,
        /// End of it.
        pub end_code: u64,
        /// Program data.
        pub start_data: u64,
        /// End of it.
        pub end_data: u64,
        /// Heap.
        pub start_brk: u64,
        /// End of it.
        pub brk: u64,
        /// Stack pointer at the start.
        pub start_stack: u64,
        /// Arguments.
        pub arg_start: u64,
        /// End of them.
        pub arg_end: u64,
        /// Environment.
        pub env_start: u64,
        /// End of it.
        pub env_end: u64,
        /// Where new mappings are looked for, downwards.
        pub mmap_base: u64,
        /// Start of the vDSO's data pages, which the code follows; 0 if there is none.
        pub vdso: u64,
        /// Length of data pages and code, in bytes.
        pub vdso_len: u64,
        /// The auxiliary vector, as the program found it.
        pub auxv: [u64; 56],
    }

    /// One mapping.
    pub struct Area {
        /// First address.
        pub start: u64,
        /// One past the last.
        pub end: u64,
        /// Offset in the file, in bytes.
        pub offset: u64,
        /// What it maps.
        pub backing: Backing,
        /// [`protection`].
        pub protection: u32,
        /// [`flags`].
        pub flags: u32,
        /// The [`MAPPED_FILE`] that it maps, by its number in the image; 0 = none.
        pub file: u32,
    }

    /// A run of pages.
    pub struct Extent {
        /// Address of the first.
        pub start: u64,
        /// Number of pages.
        pub pages: u32,
        /// Zero.
        pub _pad: u32,
    }
}

impl Layout {
    /// Whether all addresses are such as a program can have, and every range runs upwards.
    pub fn check(&self) -> Result<()> {
        let ranges = [
            (self.start_code, self.end_code),
            (self.start_data, self.end_data),
            (self.start_brk, self.brk),
            (self.arg_start, self.arg_end),
            (self.env_start, self.env_end),
        ];
        let good = ranges
            .iter()
            .all(|&(from, to)| from <= to && to <= ADDRESS_END)
            && self.start_stack <= ADDRESS_END
            && self.mmap_base <= ADDRESS_END
            && self.vdso % PAGE_SIZE == 0
            && self.vdso_len <= 64 * PAGE_SIZE
            && self.vdso <= ADDRESS_END.saturating_sub(self.vdso_len);
        good.then_some(()).ok_or(WireError::BadValue)
    }
}

impl Area {
    /// Whether the addresses are whole pages in order, and the flags are known ones.
    pub fn check(&self) -> Result<()> {
        let good = self.start < self.end
            && self.end <= ADDRESS_END
            && self.start % PAGE_SIZE == 0
            && self.end % PAGE_SIZE == 0
            && self.offset % PAGE_SIZE == 0
            && self.protection & !protection::ALL == 0
            && self.flags & !flags::ALL == 0
            && (self.file != 0) == matches!(self.backing, Backing::File);
        good.then_some(()).ok_or(WireError::BadValue)
    }
}

/// The extents of one [`PAGES`] record.
#[derive(Clone, Debug)]
pub struct Extents<'a> {
    extents: Array<'a, Extent>,
}

impl<'a> Extents<'a> {
    /// Reads and checks them: whole pages, ascending, at most [`MAX_BATCH`] in all.
    ///
    /// # Errors
    ///
    /// [`WireError::BadValue`], [`WireError::TooLong`], and those of decoding.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let extents = Array::<Extent>::whole(bytes)?;
        let mut total = 0u32;
        let mut after = 0u64;
        for extent in extents.clone() {
            let extent = extent?;
            let len = u64::from(extent.pages).saturating_mul(PAGE_SIZE);
            let end = extent.start.checked_add(len).ok_or(WireError::BadValue)?;
            if extent.pages == 0
                || extent.start % PAGE_SIZE != 0
                || extent.start < after
                || end > ADDRESS_END
            {
                return Err(WireError::BadValue);
            }
            after = end;
            total = total.saturating_add(extent.pages);
            if total > MAX_BATCH {
                return Err(WireError::TooLong);
            }
        }
        Ok(Self { extents })
    }

    /// The extents, in order. None is invalid after [`parse`](Self::parse).
    pub fn iter(&self) -> impl Iterator<Item = Extent> + 'a {
        self.extents.clone().filter_map(|extent| extent.ok())
    }
}

/// Writes general registers (27 words) and returns the length.
///
/// # Errors
///
/// [`WireError::NoRoom`].
pub fn encode_words(words: &[u64], out: &mut [u8]) -> Result<usize> {
    let mut w = Writer::new(out);
    words.iter().try_for_each(|word| w.put(word))?;
    Ok(w.len())
}

/// Reads `N` words that fill `bytes`.
///
/// # Errors
///
/// Those of decoding.
pub fn decode_words<const N: usize>(bytes: &[u8]) -> Result<[u64; N]> {
    let mut r = Reader::new(bytes);
    let words = r.get()?;
    r.finish()?;
    Ok(words)
}

const _: () = assert!(Layout::SIZE == 560 && Area::SIZE == 40 && Extent::SIZE == 16);

#[cfg(test)]
mod tests {
    use super::*;

    fn extents(list: &[(u64, u32)]) -> ([u8; 256], usize) {
        let mut out = [0; 256];
        let mut w = Writer::new(&mut out);
        for &(start, pages) in list {
            w.put(&Extent {
                start,
                pages,
                _pad: 0,
            })
            .unwrap();
        }
        let len = w.len();
        (out, len)
    }

    #[test]
    fn extents_are_checked() {
        let (b, n) = extents(&[(0x1000, 2), (0x3000, 1)]);
        assert_eq!(Extents::parse(&b[..n]).unwrap().iter().count(), 2);
        for bad in [
            &[(0x1001, 1)][..],
            &[(0x1000, 0)],
            &[(0x1000, 2), (0x2000, 1)],
            &[(ADDRESS_END, 1)],
            &[(0x1000, MAX_BATCH + 1)],
            &[(0x1000, 200), (0x1000_0000, 200)],
            &[(u64::MAX - 4095, 1)],
        ] {
            let (b, n) = extents(bad);
            assert!(Extents::parse(&b[..n]).is_err(), "{bad:?}");
        }
    }
}
