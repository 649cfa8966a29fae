// SPDX-License-Identifier: GPL-2.0

//! The address space of the current user process: its mappings and its bounds, read and rebuilt.
//!
//! Lock order: the mmap lock of the current process is taken and released within each function here and is never held across a wait
//! for anything but memory and the files that are mapped.
//!
//! C headers: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use crate::{
    own::Own,
    subject::Subject, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::to_result,
    fs::File,
    mm::MmWithUser,
    prelude::*,
    sync::aref::ARef, //
};

/// Size of a page in bytes.
pub const PAGE_SIZE: usize = kernel::page::PAGE_SIZE;

/// A special mapping of the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// Code of the vDSO.
    Vdso,
    /// Its data pages.
    VdsoData,
    /// Another one.
    Other,
}

/// What makes a mapping one that cannot be rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Device memory or pages that have no `struct page`.
    Device,
    /// hugetlbfs.
    HugeTlb,
    /// Locked in memory.
    Locked,
    /// Watched by a userfaultfd.
    Userfaultfd,
    /// A shadow stack.
    ShadowStack,
    /// Under a protection key.
    ProtectionKey,
    /// Sealed (`mseal`).
    Sealed,
    /// A special mapping that is not the vDSO.
    Special,
    /// Under a NUMA policy.
    Policy,
    /// With a property that is not known to be carried: an unknown flag, a name.
    Unknown,
}

/// One mapping, as it was when it was read.
pub struct Mapping {
    /// First address.
    pub start: usize,
    /// One past the last.
    pub end: usize,
    /// Offset in the file in bytes.
    pub offset: u64,
    /// The file that it maps (for anonymous shared memory: the kernel's own).
    pub file: Option<ARef<File>>,
    /// If it is a special mapping of the kernel's: which.
    pub special: Option<Special>,
    flags: usize,
    extras: u32,
}

impl Mapping {
    fn has(&self, flags: usize) -> bool {
        self.flags & flags != 0
    }

    /// Whether the program may read it.
    pub fn readable(&self) -> bool {
        self.has(bindings::VM_READ)
    }

    /// Whether the program may write to it.
    pub fn writable(&self) -> bool {
        self.has(bindings::VM_WRITE)
    }

    /// Whether the program may execute it.
    pub fn executable(&self) -> bool {
        self.has(bindings::VM_EXEC)
    }

    /// Whether what is written to it is seen through other mappings of the file.
    pub fn shared(&self) -> bool {
        self.has(bindings::VM_SHARED)
    }

    /// Whether it was mapped shared, though the file's mode forbids to write through it.
    pub fn mapped_shared(&self) -> bool {
        self.has(bindings::VM_MAYSHARE)
    }

    /// Whether it grows downwards.
    pub fn grows_down(&self) -> bool {
        self.has(banyan_bindings::AREA_GROWSDOWN)
    }

    /// Whether it was mapped without a reservation of memory.
    pub fn no_reserve(&self) -> bool {
        self.has(bindings::VM_NORESERVE)
    }

    /// Whether it may be made writable (`mprotect`).
    pub fn may_write(&self) -> bool {
        self.has(bindings::VM_MAYWRITE)
    }

    /// Whether it may be made executable.
    pub fn may_execute(&self) -> bool {
        self.has(bindings::VM_MAYEXEC)
    }

    /// Whether memory is reserved for all of it.
    pub fn accounted(&self) -> bool {
        self.has(bindings::VM_ACCOUNT)
    }

    /// Whether the kernel may drop its pages when memory is short.
    pub fn droppable(&self) -> bool {
        self.has(banyan_bindings::AREA_DROPPABLE)
    }

    /// Whether there may be guard pages in it (`MADV_GUARD_INSTALL`).
    pub fn may_have_guards(&self) -> bool {
        self.has(banyan_bindings::AREA_MAYBE_GUARD)
    }

    /// The advice (`madvise`) that it is under.
    pub fn advice(&self) -> impl Iterator<Item = Advice> + '_ {
        ADVICE
            .iter()
            .filter(|(flag, _)| self.has(*flag))
            .map(|&(_, advice)| advice)
    }

    /// What makes it one that cannot be rebuilt, if anything does.
    pub fn obstacle(&self) -> Option<Obstacle> {
        if let Some(special) = self.special {
            return (special == Special::Other).then_some(Obstacle::Special);
        }
        [
            (bindings::VM_HUGETLB, Obstacle::HugeTlb),
            (
                bindings::VM_PFNMAP | bindings::VM_IO | bindings::VM_MIXEDMAP,
                Obstacle::Device,
            ),
            (banyan_bindings::AREA_LOCKED, Obstacle::Locked),
            (banyan_bindings::AREA_UFFD, Obstacle::Userfaultfd),
            (banyan_bindings::AREA_SHADOW_STACK, Obstacle::ShadowStack),
            (banyan_bindings::AREA_PKEYS, Obstacle::ProtectionKey),
            (banyan_bindings::AREA_SEALED, Obstacle::Sealed),
            // All that is left: the flags that are carried are a whitelist.
            (!banyan_bindings::AREA_CARRIED, Obstacle::Unknown),
        ]
        .into_iter()
        .find_map(|(flags, obstacle)| self.has(flags).then_some(obstacle))
        .or_else(|| {
            let extra = |bit| self.extras & bit != 0;
            if extra(banyan_bindings::banyan_mapping_extras_BANYAN_MAPPING_POLICY) {
                Some(Obstacle::Policy)
            } else if extra(banyan_bindings::banyan_mapping_extras_BANYAN_MAPPING_NAMED) {
                Some(Obstacle::Unknown)
            } else {
                None
            }
        })
    }
}

/// Advice to the kernel about a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Not inherited by children.
    DontFork,
    /// Not in core dumps.
    DontDump,
    /// Zeroed in children.
    WipeOnFork,
    /// Huge pages wanted.
    Huge,
    /// Huge pages unwanted.
    NoHuge,
    /// Equal pages may be merged.
    Mergeable,
    /// Read in order.
    Sequential,
    /// Read in no order.
    Random,
}

/// The flag of a mapping for each advice.
const ADVICE: [(usize, Advice); 8] = [
    (bindings::VM_DONTCOPY, Advice::DontFork),
    (bindings::VM_DONTDUMP, Advice::DontDump),
    (bindings::VM_WIPEONFORK, Advice::WipeOnFork),
    (bindings::VM_HUGEPAGE, Advice::Huge),
    (bindings::VM_NOHUGEPAGE, Advice::NoHuge),
    (bindings::VM_MERGEABLE, Advice::Mergeable),
    (banyan_bindings::AREA_SEQ_READ, Advice::Sequential),
    (banyan_bindings::AREA_RAND_READ, Advice::Random),
];

/// How to map a piece of memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewMapping {
    /// First address; page aligned.
    pub start: usize,
    /// Length in bytes.
    pub len: usize,
    /// Readable.
    pub read: bool,
    /// Writable.
    pub write: bool,
    /// Executable.
    pub exec: bool,
    /// Shared, not private.
    pub shared: bool,
    /// Growing downwards.
    pub grows_down: bool,
    /// Without a reservation of memory.
    pub no_reserve: bool,
    /// Anonymous, and such that the kernel may drop its pages.
    pub droppable: bool,
    /// Offset in the file in bytes.
    pub offset: u64,
}

/// Bounds of the address space, as addresses, in the order of the kernel's `mm_struct`.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs)]
pub struct Bounds {
    pub start_code: u64,
    pub end_code: u64,
    pub start_data: u64,
    pub end_data: u64,
    pub start_brk: u64,
    pub brk: u64,
    pub start_stack: u64,
    pub arg_start: u64,
    pub arg_end: u64,
    pub env_start: u64,
    pub env_end: u64,
    pub mmap_base: u64,
}

/// Words of the auxiliary vector.
pub const AUXV: usize = 56;

/// Snapshot of the mappings of an address space, by ascending address.
///
/// # Errors
///
/// `ENOMEM`.
pub fn mappings_of(mm: &MmWithUser) -> Result<KVVec<Mapping>> {
    let mut out = KVVec::new();
    let mut at = 0usize;
    let guard = mm.mmap_read_lock();
    loop {
        // SAFETY: The mmap lock is held for reading until the end of the function, so a mapping that is found stays as it is.
        let vma = unsafe { bindings::find_vma(mm.as_raw(), at) };
        let Some(vma) = NonNull::new(vma) else { break };
        // SAFETY: As above.
        let mapping = unsafe { Mapping::read(vma) };
        at = mapping.end;
        out.push(mapping, GFP_KERNEL)?;
    }
    drop(guard);
    Ok(out)
}

impl Mapping {
    /// # Safety
    ///
    /// `vma` must be a mapping of an address space whose mmap lock is held.
    unsafe fn read(vma: NonNull<bindings::vm_area_struct>) -> Self {
        // SAFETY: By the function's requirements nobody changes the mapping or its file. The unions hold the range and the flags while
        // the mapping is in use.
        unsafe {
            let name = banyan_bindings::banyan_special_mapping_name(vma.as_ptr());
            let extras = banyan_bindings::banyan_mapping_extras(vma.as_ptr());
            let vma = vma.as_ref();
            let range = vma.__bindgen_anon_1.__bindgen_anon_1;
            let file = NonNull::new(vma.vm_file)
                .map(|file| ARef::from(File::from_raw_file(file.as_ptr())));
            let special = if name.is_null() || file.is_some() {
                None
            } else {
                Some(match CStr::from_char_ptr(name).to_bytes() {
                    b"[vdso]" => Special::Vdso,
                    b"[vvar]" | b"[vvar_vclock]" => Special::VdsoData,
                    _ => Special::Other,
                })
            };
            Self {
                start: range.vm_start,
                end: range.vm_end,
                offset: (vma.vm_pgoff as u64) << kernel::page::PAGE_SHIFT,
                file,
                special,
                flags: vma.__bindgen_anon_2.vm_flags,
                extras,
            }
        }
    }
}

/// The write side of the current process's mmap lock.
struct WriteLock<'a>(*mut bindings::mm_struct, PhantomData<&'a Own>);

impl<'a> WriteLock<'a> {
    fn take(own: &'a Own) -> Result<Self> {
        let mm = own.raw_mm();
        // SAFETY: The current process's address space.
        to_result(unsafe { banyan_bindings::banyan_mmap_write_lock_killable(mm) })?;
        Ok(Self(mm, PhantomData))
    }
}

impl Drop for WriteLock<'_> {
    fn drop(&mut self) {
        // SAFETY: Taken by `take`.
        unsafe { banyan_bindings::banyan_mmap_write_unlock(self.0) };
    }
}

impl Own {
    /// The address space of the current process.
    pub(crate) fn mm(&self) -> &MmWithUser {
        // SAFETY: The current task keeps a user reference to its `mm`, and does not change it while the token lives.
        unsafe { MmWithUser::from_raw(self.raw_mm()) }
    }

    /// Snapshot of its mappings, by ascending address.
    pub fn mappings(&self) -> Result<KVVec<Mapping>> {
        mappings_of(self.mm())
    }

    /// The bounds of its address space.
    pub fn bounds(&self) -> Bounds {
        // SAFETY: The current process's; nobody else changes the bounds but through the lock, and each is one word.
        let mm = unsafe { &(*self.raw_mm()).__bindgen_anon_1 };
        Bounds {
            start_code: mm.start_code as u64,
            end_code: mm.end_code as u64,
            start_data: mm.start_data as u64,
            end_data: mm.end_data as u64,
            start_brk: mm.start_brk as u64,
            brk: mm.brk as u64,
            start_stack: mm.start_stack as u64,
            arg_start: mm.arg_start as u64,
            arg_end: mm.arg_end as u64,
            env_start: mm.env_start as u64,
            env_end: mm.env_end as u64,
            mmap_base: mm.mmap_base as u64,
        }
    }

    /// Its auxiliary vector.
    pub fn auxv(&self) -> [u64; AUXV] {
        // SAFETY: As in `bounds`.
        let mm = unsafe { &(*self.raw_mm()).__bindgen_anon_1 };
        mm.saved_auxv.map(|word| word as u64)
    }

    /// Sets the bounds and the auxiliary vector.
    ///
    /// # Errors
    ///
    /// `EINTR` on a fatal signal.
    pub fn set_bounds(&self, bounds: &Bounds, auxv: &[u64; AUXV]) -> Result {
        let lock = WriteLock::take(self)?;
        // SAFETY: The lock is held for writing.
        let mm = unsafe { &mut (*lock.0).__bindgen_anon_1 };
        mm.start_code = bounds.start_code as usize;
        mm.end_code = bounds.end_code as usize;
        mm.start_data = bounds.start_data as usize;
        mm.end_data = bounds.end_data as usize;
        mm.start_brk = bounds.start_brk as usize;
        mm.brk = bounds.brk as usize;
        mm.start_stack = bounds.start_stack as usize;
        mm.arg_start = bounds.arg_start as usize;
        mm.arg_end = bounds.arg_end as usize;
        mm.env_start = bounds.env_start as usize;
        mm.env_end = bounds.env_end as usize;
        mm.mmap_base = bounds.mmap_base as usize;
        for (to, from) in mm.saved_auxv.iter_mut().zip(auxv) {
            *to = *from as usize;
        }
        Ok(())
    }

    /// Unmaps a range of its addresses.
    ///
    /// # Errors
    ///
    /// `EINTR` on a fatal signal, `EPERM` if a mapping in it is sealed, `ENOMEM`.
    pub fn unmap(&self, start: usize, end: usize) -> Result {
        if start >= end {
            return Ok(());
        }
        // SAFETY: The current process is not in user mode and expects nothing of its memory.
        to_result(unsafe { bindings::vm_munmap(start, end.saturating_sub(start)) })
    }

    /// Unmaps all that it has.
    ///
    /// # Errors
    ///
    /// As [`unmap`](Self::unmap).
    pub fn unmap_all(&self) -> Result {
        // SAFETY: No preconditions.
        self.unmap(0, unsafe { banyan_bindings::banyan_task_size() })
    }

    /// Maps a file, or anonymous memory without one, exactly where it is asked for (anywhere, if `start` is 0). Returns the address.
    ///
    /// # Errors
    ///
    /// `EEXIST` if something is mapped there, and those of `mmap`.
    pub fn map(&self, new: &NewMapping, file: Option<&File>) -> Result<usize> {
        let mut protection = 0;
        for (wanted, bit) in [
            (new.read, banyan_bindings::PROT_READ),
            (new.write, banyan_bindings::PROT_WRITE),
            (new.exec, banyan_bindings::PROT_EXEC),
        ] {
            if wanted {
                protection |= bit as usize;
            }
        }
        let mut flags = if new.shared {
            banyan_bindings::MAP_SHARED
        } else if new.droppable {
            banyan_bindings::MAP_DROPPABLE
        } else {
            banyan_bindings::MAP_PRIVATE
        };
        for (wanted, bit) in [
            (file.is_none(), banyan_bindings::MAP_ANONYMOUS),
            (
                new.start != 0,
                banyan_bindings::MAP_FIXED | banyan_bindings::MAP_FIXED_NOREPLACE,
            ),
            (new.grows_down, banyan_bindings::MAP_GROWSDOWN),
            (new.no_reserve, banyan_bindings::MAP_NORESERVE),
        ] {
            if wanted {
                flags |= bit;
            }
        }
        let file = file.map_or(core::ptr::null_mut(), |file| file.as_ptr());
        // SAFETY: `file` is null or referenced by the caller.
        let at = unsafe {
            bindings::vm_mmap(
                file,
                new.start,
                new.len,
                protection,
                flags as usize,
                usize::try_from(new.offset)?,
            )
        };
        if at > usize::MAX - 4096 {
            return Err(Error::from_errno(at as isize as i32));
        }
        if new.start != 0 && at != new.start {
            return Err(EEXIST);
        }
        Ok(at)
    }

    /// Maps the vDSO so that its data pages begin at `at`.
    ///
    /// # Errors
    ///
    /// `EEXIST` if it is mapped already or could not be put there, `ENOSYS` if this kernel lacks `do_arch_prctl_64`.
    pub fn map_vdso(&self, at: usize) -> Result {
        // SAFETY: The task is current.
        let len = unsafe {
            banyan_bindings::banyan_ksym_do_arch_prctl_64(
                self.raw(),
                banyan_bindings::ARCH_MAP_VDSO_64 as i32,
                at,
            )
        };
        if len < 0 {
            return Err(Error::from_errno(len as i32));
        }
        Ok(())
    }
}

impl Subject {
    /// Snapshot of its mappings, by ascending address.
    ///
    /// # Errors
    ///
    /// `ESRCH` if it has no address space (any more), `ENOMEM`.
    pub fn mappings(&self) -> Result<KVVec<Mapping>> {
        // SAFETY: The task is referenced. The call returns a user reference or null.
        let mm = unsafe { bindings::get_task_mm(self.raw()) };
        let mm = NonNull::new(mm).ok_or(ESRCH)?;
        // SAFETY: The reference goes to the `ARef`.
        let mm = unsafe { ARef::<MmWithUser>::from_raw(mm.cast()) };
        mappings_of(&mm)
    }
}
