// SPDX-License-Identifier: GPL-2.0

//! The registers of the current user process: general, segment bases, and the extended state (FPU, vector registers).
//!
//! C headers: [`include/linux/regset.h`](srctree/include/linux/regset.h)

use crate::own::Own;
use banyan_bindings::{
    user_regset,
    BANYAN_GENERAL_REGISTERS, //
};
use kernel::{
    error::to_result,
    prelude::*, //
};

/// Number of words in [`General`].
pub const GENERAL: usize = BANYAN_GENERAL_REGISTERS as usize;

/// The general registers in the order of the kernel's `user_regs_struct` for x86-64: `r15 r14 r13 r12 bp bx r11 r10 r9 r8 ax cx dx si di
/// orig_ax ip cs flags sp ss fs_base gs_base ds es fs gs`.
pub type General = [u64; GENERAL];

const FS_BASE: usize = 21;
const GS_BASE: usize = 22;
const SELECTORS: core::ops::Range<usize> = 23..27;

/// Notes by which the kernel names its register sets (`include/uapi/linux/elf.h`).
const NT_PRSTATUS: u32 = 1;
const NT_X86_XSTATE: u32 = 0x202;

/// Finds a register set of the current task by its note.
fn regset(own: &Own, note: u32) -> Result<&'static user_regset> {
    // SAFETY: The task is current; views and their sets are static.
    unsafe {
        let view = banyan_bindings::task_user_regset_view(own.raw());
        for i in 0..(*view).n {
            let set = (*view).regsets.add(i as usize);
            if (*set).core_note_type == note {
                return Ok(&*set);
            }
        }
    }
    Err(EOPNOTSUPP)
}

/// Reads a register set of the current task into `to`; returns the number of bytes.
fn read(own: &Own, set: &user_regset, to: &mut [u8]) -> Result<usize> {
    let room = u32::try_from(to.len())?;
    // SAFETY: The task is current, `to` has the length given.
    let got = unsafe { banyan_bindings::regset_get(own.raw(), set, room, to.as_mut_ptr().cast()) };
    to_result(got.min(0))?;
    Ok(usize::try_from(got)?)
}

/// The size of the extended state on this CPU in bytes, as the kernel gives it to debuggers.
pub fn extended_size(own: &Own) -> Result<usize> {
    let set = regset(own, NT_X86_XSTATE)?;
    (set.n as usize)
        .checked_mul(set.size as usize)
        .ok_or(EOVERFLOW)
}

impl Own {
    /// Whether it runs 64-bit code at the moment.
    pub fn is_64bit(&self) -> bool {
        // SAFETY: The current task is a user task and has user registers.
        unsafe { banyan_bindings::banyan_user_64bit() }
    }

    /// The general registers with which it would go on, raw: an interrupted system call is not made to restart yet.
    pub fn general_registers(&self) -> Result<General> {
        let mut bytes = [0u8; GENERAL * 8];
        let got = read(self, regset(self, NT_PRSTATUS)?, &mut bytes)?;
        if got != bytes.len() {
            return Err(EINVAL);
        }
        let mut out = [0u64; GENERAL];
        for (word, chunk) in out.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(chunk.try_into().map_err(|_| EINVAL)?);
        }
        Ok(out)
    }

    /// Whether the selectors are those of an ordinary 64-bit program (all zero: the bases say it all).
    pub fn plain_selectors(registers: &General) -> bool {
        registers
            .get(SELECTORS)
            .is_some_and(|s| s.iter().all(|&s| s == 0))
    }

    /// Sets the general registers with which it goes on. To be called at the border, as the last thing.
    pub fn set_general_registers(&self, registers: &General) {
        // SAFETY: The current task is at the border; the array has the length that the helper reads.
        unsafe { banyan_bindings::banyan_set_user_registers(registers.as_ptr()) };
    }

    /// Sets the bases of the `fs` and `gs` segments.
    ///
    /// # Errors
    ///
    /// `EPERM` if one is not a user address, `ENOSYS` if this kernel lacks `do_arch_prctl_64`.
    pub fn set_segment_bases(&self, registers: &General) -> Result {
        for (option, base) in [
            (banyan_bindings::ARCH_SET_FS, registers.get(FS_BASE)),
            (banyan_bindings::ARCH_SET_GS, registers.get(GS_BASE)),
        ] {
            let base = *base.ok_or(EINVAL)?;
            // SAFETY: The task is current.
            let ret = unsafe {
                banyan_bindings::banyan_ksym_do_arch_prctl_64(
                    self.raw(),
                    option as i32,
                    base as usize,
                )
            };
            to_result(ret as i32)?;
        }
        Ok(())
    }

    /// The extended state, in the standard XSAVE layout.
    pub fn extended_state(&self) -> Result<KVVec<u8>> {
        let set = regset(self, NT_X86_XSTATE)?;
        let mut state = KVVec::from_elem(0u8, extended_size(self)?, GFP_KERNEL)?;
        let got = read(self, set, &mut state)?;
        state.truncate(got);
        Ok(state)
    }

    /// Sets the extended state, given in the standard XSAVE layout of this very size.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the size is another or it is not a state that this CPU can have, `ENOSYS` if this kernel lacks
    /// `copy_uabi_from_kernel_to_xstate`.
    pub fn set_extended_state(&self, state: &[u8]) -> Result {
        if state.len() != extended_size(self)? {
            return Err(EINVAL);
        }
        // SAFETY: The current task is a user task in process context; the state has the length that the kernel reads.
        to_result(unsafe { banyan_bindings::banyan_set_extended_state(state.as_ptr().cast()) })
    }
}
