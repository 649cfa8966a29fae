// SPDX-License-Identifier: GPL-2.0

//! What this machine is and how busy it is.

use kernel::prelude::*;

/// Words that [`cpu_capabilities`] fills at most.
pub const CPU_WORDS: usize = 32;
/// Components that [`xsave_layout`] fills at most.
pub const XSAVE_COMPONENTS: usize = 32;

/// The kernel's CPU capability words (`boot_cpu_data.x86_capability`); zeros behind the last.
///
/// # Errors
///
/// `E2BIG` if this kernel has more words than [`CPU_WORDS`].
pub fn cpu_capabilities() -> Result<[u32; CPU_WORDS]> {
    let mut words = [0; CPU_WORDS];
    // SAFETY: The place has room for so many.
    let count =
        unsafe { banyan_bindings::banyan_cpu_capabilities(words.as_mut_ptr(), CPU_WORDS as u32) };
    if count as usize > CPU_WORDS {
        return Err(E2BIG);
    }
    Ok(words)
}

/// The XSAVE components that the kernel has enabled for user state.
pub fn xfeatures() -> u64 {
    // SAFETY: Reads a register.
    unsafe { banyan_bindings::banyan_xfeatures() }
}

/// Bytes of the standard (not compacted) XSAVE area for them.
pub fn xsave_size() -> u32 {
    // SAFETY: Executes CPUID.
    unsafe { banyan_bindings::banyan_xsave_size() }
}

/// Offset and size in bytes of each component in the standard area, by number, both 0 for one that the CPU lacks; and which of them begin
/// at a multiple of 64 bytes in the compacted area, by bit.
pub fn xsave_layout() -> ([(u32, u32); XSAVE_COMPONENTS], u32) {
    let mut layout = [(0, 0); XSAVE_COMPONENTS];
    let mut aligned = 0;
    for (i, (offset, size)) in (0u32..).zip(layout.iter_mut()) {
        // SAFETY: Executes CPUID; the places are valid.
        if unsafe { banyan_bindings::banyan_xsave_component(i, offset, size) } {
            aligned |= 1u32.wrapping_shl(i);
        }
    }
    (layout, aligned)
}

/// Load average of the last minute, in hundredths.
pub fn load1() -> u32 {
    // SAFETY: Reads a number.
    unsafe { banyan_bindings::banyan_load1() }
}

/// Memory in KiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// All of it.
    pub total_kib: u64,
    /// What a new process could get without swapping.
    pub available_kib: u64,
}

/// Resets the machine at once, as a power cut would, without telling anybody or writing anything back. For tests of faults.
pub fn reset() {
    // SAFETY: No preconditions.
    unsafe { banyan_bindings::emergency_restart() };
}

/// The machine's memory.
pub fn memory() -> Memory {
    let (mut total_kib, mut available_kib) = (0, 0);
    // SAFETY: The places are valid.
    unsafe { banyan_bindings::banyan_memory(&mut total_kib, &mut available_kib) };
    Memory {
        total_kib,
        available_kib,
    }
}

/// CPUs online.
pub fn online_cpus() -> u32 {
    // SAFETY: Reads a number.
    unsafe { banyan_bindings::banyan_online_cpus() }
}

/// Seconds since boot, time in suspend included.
pub fn uptime_s() -> u32 {
    u32::try_from(crate::clock::boottime_ns() / 1_000_000_000).unwrap_or(u32::MAX)
}

/// The machine's name, NUL-padded.
pub fn host_name() -> [u8; 64] {
    let mut name = [0; 64];
    // SAFETY: The place has the given size.
    unsafe { banyan_bindings::banyan_host_name(name.as_mut_ptr().cast(), name.len() as u32) };
    name
}

/// The kernel's release (`uname -r`), NUL-padded.
pub fn kernel_release() -> [u8; 64] {
    let mut name = [0; 64];
    // SAFETY: The place has the given size.
    unsafe { banyan_bindings::banyan_kernel_release(name.as_mut_ptr().cast(), name.len() as u32) };
    name
}

/// Where the allocation of pids in the first pid namespace goes on.
pub fn pid_cursor() -> u32 {
    // SAFETY: Reads a number.
    unsafe { banyan_bindings::banyan_pid_cursor() }
}

/// Moves the allocation of pids, as a write to `/proc/sys/kernel/ns_last_pid` does.
///
/// # Errors
///
/// `ERANGE` if `next` lies beyond `pid_max`.
pub fn set_pid_cursor(next: u32) -> Result {
    if next >= pid_max() {
        return Err(ERANGE);
    }
    // SAFETY: Any value below pid_max is a valid place to go on.
    unsafe { banyan_bindings::banyan_pid_set_cursor(next) };
    Ok(())
}

/// One past the highest pid (`/proc/sys/kernel/pid_max`).
pub fn pid_max() -> u32 {
    // SAFETY: Reads a number.
    u32::try_from(unsafe { banyan_bindings::banyan_pid_max() }).unwrap_or(0)
}
