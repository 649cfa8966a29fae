// SPDX-License-Identifier: GPL-2.0

//! Shared memory that files stand for, what is set for an address space as a whole, and who else maps a file.
//!
//! Shared memory without a name (a memfd, `MAP_SHARED | MAP_ANONYMOUS`, a removed file of a tmpfs) lives as long as open files and
//! mappings of it do. Whoever has counted these knows whether anybody else can reach it: that is what [`Facts`] is for.
//!
//! C header: [`include/linux/shmem_fs.h`](srctree/include/linux/shmem_fs.h)

use crate::{
    file::adopt,
    own::Own,
    subject::Subject, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    fs::File,
    mm::MmWithUser,
    prelude::*,
    sync::aref::ARef, //
};

/// What can be read of shared memory: see `rust/helpers/shared_memory.h`.
pub use banyan_bindings::banyan_object_facts as Facts;

/// Most bytes of the name of shared memory.
pub const MAX_NAME: usize = banyan_bindings::BANYAN_OBJECT_NAME as usize - 1;

/// Whether a file stands for shared memory: a regular file of a tmpfs, with a name or without.
pub fn is(file: &File) -> bool {
    // SAFETY: The file is valid.
    unsafe { banyan_bindings::banyan_is_shared_memory(file.as_ptr()) }
}

/// What it stands for, if it is shared memory.
pub fn facts(file: &File) -> Option<Facts> {
    if !is(file) {
        return None;
    }
    let mut facts = Facts::default();
    // SAFETY: The file is valid and stands for shared memory.
    unsafe { banyan_bindings::banyan_object_facts(file.as_ptr(), &mut facts) };
    Some(facts)
}

/// A number for the shared memory itself, equal for all open files that stand for it while one is held.
pub fn key(facts: &Facts) -> usize {
    facts.inode as usize
}

/// A number for its name, likewise.
pub fn name_key(facts: &Facts) -> usize {
    facts.dentry as usize
}

/// Makes shared memory, all zeros, and an open file for it. Of `facts` those that are no counts or numbers of pointers are used.
///
/// # Errors
///
/// `EINVAL` for ids that are none or a size that is too big, `ENOMEM`.
pub fn make(facts: &Facts, name: &CStr) -> Result<ARef<File>> {
    // SAFETY: The facts and the string are valid for the call.
    let raw = unsafe { banyan_bindings::banyan_object_make(facts, name.as_char_ptr()) };
    // SAFETY: A new file, whose reference is ours.
    unsafe { adopt(from_err_ptr(raw)?) }.ok_or(ENOMEM)
}

/// Sets the seals that are in force (`F_SEAL_*`).
///
/// # Errors
///
/// `EBUSY` if writing is sealed, and it is mapped so that it may be written to; `EINVAL` if the file is another kind.
pub fn seal(file: &File, seals: u32) -> Result {
    // SAFETY: The file is valid.
    to_result(unsafe { banyan_bindings::banyan_object_seal(file.as_ptr(), seals) })
}

/// Frees what is in shared memory without a name, which reads as zeros from then on. For who alone has it, and needs it no more: where the
/// last references go is not where the memory must be free.
pub fn empty(file: &File) {
    // SAFETY: The file is valid.
    unsafe { banyan_bindings::banyan_object_empty(file.as_ptr()) };
}

/// Another open file for what this one stands for, as the current task.
///
/// # Errors
///
/// Those of `open(2)`.
pub fn open_again(file: &File, flags: u32) -> Result<ARef<File>> {
    // SAFETY: The file is valid.
    let raw = unsafe { banyan_bindings::banyan_open_again(file.as_ptr(), flags) };
    // SAFETY: A new file, whose reference is ours.
    unsafe { adopt(from_err_ptr(raw)?) }.ok_or(ENOMEM)
}

/// Who else maps a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OtherMappers {
    /// Another process maps it.
    pub any: bool,
    /// Another process may write to it through a shared mapping.
    pub writing: bool,
}

impl OtherMappers {
    /// Whether one would miss what the other writes, if they no longer had the same memory. `writing`: whether the process itself may
    /// write to it through its shared mapping.
    pub fn matters(self, writing: bool) -> bool {
        self.writing || writing && self.any
    }
}

/// What is set for an address space as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Whole {
    /// Future mappings are locked (`mlockall(MCL_FUTURE)`).
    pub locks_future: bool,
    /// It has a local descriptor table.
    pub ldt: bool,
    /// It has allocated protection keys.
    pub protection_keys: bool,
    /// Equal pages are merged (`PR_SET_MEMORY_MERGE`).
    pub merges: bool,
    /// It denies itself memory that becomes executable (`PR_SET_MDWE`).
    pub denies_exec_gain: bool,
    /// Uprobes may be set in it.
    pub uprobes: bool,
    /// Tags in addresses are ignored.
    pub tagged: bool,
}

impl Subject {
    /// Its address space, if it has one (still).
    fn address_space(&self) -> Option<ARef<MmWithUser>> {
        // SAFETY: The task is referenced. The call returns a user reference or null, which goes to the `ARef`.
        unsafe {
            let mm = NonNull::new(bindings::get_task_mm(self.raw()))?;
            Some(ARef::from_raw(mm.cast()))
        }
    }

    /// Who else maps the file.
    pub fn other_mappers(&self, file: &File) -> OtherMappers {
        // SAFETY: The task is referenced; its `mm` is only compared. The file is valid.
        let found = unsafe {
            let mm = (&raw const (*self.raw()).mm).read_volatile();
            banyan_bindings::banyan_other_mappers(file.as_ptr(), mm)
        };
        OtherMappers {
            any: found & banyan_bindings::banyan_mappers_BANYAN_MAPPED_ELSEWHERE != 0,
            writing: found & banyan_bindings::banyan_mappers_BANYAN_WRITTEN_ELSEWHERE != 0,
        }
    }

    /// What is set for its address space as a whole.
    pub fn whole_memory(&self) -> Whole {
        let Some(mm) = self.address_space() else {
            return Whole::default();
        };
        // SAFETY: The address space is referenced; single words of it are read.
        let state = unsafe { banyan_bindings::banyan_mm_state(mm.as_raw()) };
        let has = |bit| state & bit != 0;
        Whole {
            locks_future: has(banyan_bindings::banyan_mm_state_BANYAN_MM_LOCKS_FUTURE),
            ldt: has(banyan_bindings::banyan_mm_state_BANYAN_MM_LDT),
            protection_keys: has(banyan_bindings::banyan_mm_state_BANYAN_MM_PKEYS),
            merges: has(banyan_bindings::banyan_mm_state_BANYAN_MM_MERGES),
            denies_exec_gain: has(banyan_bindings::banyan_mm_state_BANYAN_MM_DENIES_EXEC_GAIN),
            uprobes: has(banyan_bindings::banyan_mm_state_BANYAN_MM_UPROBES),
            tagged: has(banyan_bindings::banyan_mm_state_BANYAN_MM_TAGGED),
        }
    }
}

impl Own {
    /// Which mappings go into a core dump: the bits of `/proc/PID/coredump_filter`.
    pub fn dump_filter(&self) -> u32 {
        // SAFETY: The current task's address space.
        unsafe { banyan_bindings::banyan_dump_filter(self.raw_mm()) }
    }

    /// Sets which do.
    pub fn set_dump_filter(&self, filter: u32) {
        // SAFETY: As above; unknown bits are ignored.
        unsafe { banyan_bindings::banyan_set_dump_filter(self.raw_mm(), filter) }
    }

    /// The barriers (`membarrier`) that it has registered for: the kernel's `MEMBARRIER_STATE_*`.
    pub fn membarrier_state(&self) -> u32 {
        // SAFETY: As above.
        unsafe { banyan_bindings::banyan_membarrier_state(self.raw_mm()) }
    }
}
