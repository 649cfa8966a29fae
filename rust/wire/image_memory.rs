// SPDX-License-Identifier: GPL-2.0

//! The records of an image that hold the address space and the registers.
//!
//! In this order: one [`Layout`], one [`Settings`], one [`SharedObject`] for each piece of shared memory, the [`Area`]s by ascending
//! address, each that maps a file preceded by the [`MAPPED_FILE`] that describes the file, then [`PAGES`] records: first those of private
//! memory, then for each piece of shared memory a [`Window`] and those that fill it. At last [`GUARDS`], then [`GENERAL`] and
//! [`EXTENDED`].

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

/// Shared memory that the process alone has: [`SharedObject`], then its name (`u32` length, bytes).
pub const SHARED_OBJECT: u16 = 0x0107;
/// Where the pages of shared memory that follow are filled in: [`Window`].
pub const WINDOW: u16 = 0x0108;
/// Guarded pages: [`Extent`]s, without a page in the stream.
pub const GUARDS: u16 = 0x0109;
/// What is set for the address space as a whole: [`Settings`].
pub const SETTINGS: u16 = 0x010a;

/// Version of all these records.
pub const VERSION: u16 = 1;

/// Size of a page, in bytes.
pub const PAGE_SIZE: u64 = 4096;

/// End of the addresses that a program can have.
pub const ADDRESS_END: u64 = 0x7fff_ffff_f000;

/// Most pages in one [`PAGES`] record: 1 MiB.
pub const MAX_BATCH: u32 = 256;

/// Most [`Extent`]s in one [`GUARDS`] record.
pub const MAX_GUARDS: usize = 1024;

/// Most pieces of shared memory.
pub const MAX_OBJECTS: usize = 4096;

/// Longest name of shared memory, in bytes.
pub const MAX_OBJECT_NAME: usize = 255;

/// Longest [`Window`], in bytes.
pub const MAX_WINDOW: u64 = 1 << 30;

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
    /// The kernel may drop its pages when memory is short.
    pub const DROPPABLE: u32 = 1 << 11;
    /// Memory is reserved for it, though it cannot be written to now.
    pub const ACCOUNTED: u32 = 1 << 12;
    /// Shared memory mapped through a descriptor that only reads.
    pub const READ_ONLY: u32 = 1 << 13;
    /// Shared memory mapped when writing was sealed.
    pub const WRITE_SEALED: u32 = 1 << 14;
    /// All of them.
    pub const ALL: u32 = (1 << 15) - 1;
}

/// [`SharedObject::flags`].
pub mod object {
    /// No memory is reserved for it.
    pub const NO_RESERVE: u32 = 1 << 0;
    /// It was made by `MAP_SHARED | MAP_ANONYMOUS`.
    pub const ANONYMOUS: u32 = 1 << 1;
    /// All of them.
    pub const ALL: u32 = (1 << 2) - 1;
    /// All seals (`F_SEAL_*`): no more seals, no shrinking, no growing, no writing, no new writing, no change of execution.
    pub const SEALS: u32 = (1 << 6) - 1;
    /// All permission bits.
    pub const MODE: u32 = 0o7777;
}

/// [`Settings::barriers`]: the system call `membarrier` was told of these.
pub mod barriers {
    /// `MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED`.
    pub const PRIVATE: u32 = 1 << 0;
    /// `MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED`.
    pub const GLOBAL: u32 = 1 << 1;
    /// `MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE`.
    pub const SYNC_CORE: u32 = 1 << 2;
    /// `MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ`.
    pub const RSEQ: u32 = 1 << 3;
    /// All of them.
    pub const ALL: u32 = (1 << 4) - 1;
}

crate::wire_enum! {
    /// What a mapping maps.
    pub enum Backing: u32 {
        Anonymous = 1, "anonymous memory";
        File = 2, "a file";
        Vdso = 3, "the vDSO and its data pages, mapped by the kernel";
        Shared = 4, "shared memory that the process alone has";
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
        /// The [`MAPPED_FILE`] or the [`SharedObject`] that it maps, by its number in the image; 0 = none.
        pub file: u32,
    }

    /// Shared memory that the process alone has. Its name follows.
    pub struct SharedObject {
        /// Its number in the image; not 0.
        pub number: u32,
        /// [`object`] flags.
        pub flags: u32,
        /// Size in bytes.
        pub size: u64,
        /// Inode number.
        pub ino: u64,
        /// Last access: nanoseconds since 1970.
        pub atime: i64,
        /// Last modification.
        pub mtime: i64,
        /// Last change of the inode.
        pub ctime: i64,
        /// Permission bits.
        pub mode: u32,
        /// Owner.
        pub uid: u32,
        /// Group.
        pub gid: u32,
        /// `F_SEAL_*`.
        pub seals: u32,
    }

    /// A part of shared memory that is mapped for a while, so that the pages which follow find their place by address.
    pub struct Window {
        /// First address.
        pub start: u64,
        /// Length in bytes.
        pub len: u64,
        /// Offset in the shared memory, in bytes.
        pub offset: u64,
        /// The [`SharedObject`], by its number in the image.
        pub object: u32,
        /// Zero.
        pub _pad: u32,
    }

    /// What is set for the address space as a whole.
    pub struct Settings {
        /// Which mappings go into a core dump: the bits of `/proc/PID/coredump_filter`.
        pub dump_filter: u32,
        /// [`barriers`] flags.
        pub barriers: u32,
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
            && (self.file != 0) == matches!(self.backing, Backing::File | Backing::Shared)
            && (self.flags & (flags::READ_ONLY | flags::WRITE_SEALED) == 0
                || matches!(self.backing, Backing::Shared));
        good.then_some(()).ok_or(WireError::BadValue)
    }
}

impl SharedObject {
    /// Writes it with its name and returns the length.
    ///
    /// # Errors
    ///
    /// [`WireError::NoRoom`], [`WireError::TooLong`].
    pub fn encode_named(&self, name: &[u8], out: &mut [u8]) -> Result<usize> {
        let mut w = Writer::new(out);
        w.put(self)?;
        w.blob(name, MAX_OBJECT_NAME)?;
        Ok(w.len())
    }

    /// Reads one and its name, and checks them.
    ///
    /// # Errors
    ///
    /// [`WireError::BadValue`] for what shared memory cannot be, and those of decoding.
    pub fn decode_named(bytes: &[u8]) -> Result<(Self, &[u8])> {
        let mut r = Reader::new(bytes);
        let it: Self = r.get()?;
        let name = r.blob(MAX_OBJECT_NAME)?;
        r.finish()?;
        let good = it.number != 0
            && it.flags & !object::ALL == 0
            && it.size <= i64::MAX as u64
            && it.mode & !object::MODE == 0
            && it.seals & !object::SEALS == 0
            && !name.contains(&0);
        good.then_some((it, name)).ok_or(WireError::BadValue)
    }
}

impl Window {
    /// Whether it is whole pages of addresses that a program can have.
    pub fn check(&self) -> Result<()> {
        let good = self.len != 0
            && self.len <= MAX_WINDOW
            && self.start <= ADDRESS_END.saturating_sub(self.len)
            && self.start % PAGE_SIZE == 0
            && self.len % PAGE_SIZE == 0
            && self.offset % PAGE_SIZE == 0
            && self
                .offset
                .checked_add(self.len)
                .is_some_and(|end| end <= 1 << 63)
            && self.object != 0;
        good.then_some(()).ok_or(WireError::BadValue)
    }
}

impl Settings {
    /// Whether the flags are known ones.
    pub fn check(&self) -> Result<()> {
        let good = self.dump_filter < 1 << 9 && self.barriers & !barriers::ALL == 0;
        good.then_some(()).ok_or(WireError::BadValue)
    }
}

/// The extents of one [`PAGES`] or [`GUARDS`] record.
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
        Self::parse_up_to(bytes, MAX_BATCH)
    }

    /// Reads and checks those of a [`GUARDS`] record: whole pages, ascending, as many as there may be.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse).
    pub fn parse_guards(bytes: &'a [u8]) -> Result<Self> {
        if bytes.len() > MAX_GUARDS.saturating_mul(Extent::SIZE) {
            return Err(WireError::TooLong);
        }
        Self::parse_up_to(bytes, u32::MAX)
    }

    fn parse_up_to(bytes: &'a [u8], most: u32) -> Result<Self> {
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
            if total > most {
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
const _: () = assert!(SharedObject::SIZE == 64 && Window::SIZE == 32 && Settings::SIZE == 8);

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
    fn shared_memory_is_checked() {
        let it = SharedObject {
            number: 1,
            flags: object::NO_RESERVE,
            size: 5000,
            ino: 7,
            atime: 1,
            mtime: -2,
            ctime: 3,
            mode: 0o777,
            uid: 1000,
            gid: 100,
            seals: 8,
        };
        let mut out = [0; 512];
        let len = it.encode_named(b"memfd:x", &mut out).unwrap();
        assert_eq!(
            SharedObject::decode_named(&out[..len]).unwrap(),
            (it, &b"memfd:x"[..])
        );
        for cut in 0..len {
            assert!(SharedObject::decode_named(&out[..cut]).is_err());
        }
        for bad in [
            SharedObject { number: 0, ..it },
            SharedObject { flags: 4, ..it },
            SharedObject {
                size: 1 << 63,
                ..it
            },
            SharedObject {
                mode: 1 << 12,
                ..it
            },
            SharedObject { seals: 64, ..it },
        ] {
            let len = bad.encode_named(b"x", &mut out).unwrap();
            assert!(SharedObject::decode_named(&out[..len]).is_err(), "{bad:?}");
        }
        assert!(it.encode_named(&[b'x'; 256], &mut out).is_err());

        let window = Window {
            start: 0x1000,
            len: 0x2000,
            offset: 0x3000,
            object: 1,
            _pad: 0,
        };
        assert!(window.check().is_ok());
        for bad in [
            Window { start: 1, ..window },
            Window { len: 0, ..window },
            Window {
                len: MAX_WINDOW + PAGE_SIZE,
                ..window
            },
            Window {
                start: ADDRESS_END,
                ..window
            },
            Window {
                offset: u64::MAX - 4095,
                ..window
            },
            Window {
                object: 0,
                ..window
            },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn guards_may_be_many() {
        let (b, n) = extents(&[(0x1000, 100_000), (0x8000_0000, 5)]);
        assert!(Extents::parse(&b[..n]).is_err());
        assert_eq!(Extents::parse_guards(&b[..n]).unwrap().iter().count(), 2);
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
