// SPDX-License-Identifier: GPL-2.0

//! System calls that the kernel makes for the current process, as if it had made them itself.
//!
//! What a system call can express is rebuilt by that call: the kernel checks the values, and their meaning stays its own. [`Syscalls`]
//! exists for the time of one rebuild. Arguments that lie in user memory are put into a page of the process that the rebuild owns.

use crate::own::Own;
use core::mem::size_of;
use kernel::{
    bindings,
    ffi,
    prelude::*,
    uaccess::{UserPtr, UserSlice}, //
};

/// Numbers of the system calls used here.
mod number {
    pub(super) const MPROTECT: u32 = 10;
    pub(super) const RT_SIGACTION: u32 = 13;
    pub(super) const MADVISE: u32 = 28;
    pub(super) const SETITIMER: u32 = 38;
    pub(super) const UMASK: u32 = 95;
    pub(super) const PERSONALITY: u32 = 135;
    pub(super) const SETPGID: u32 = 109;
    pub(super) const SETSID: u32 = 112;
    pub(super) const PRCTL: u32 = 157;
    pub(super) const SCHED_SETAFFINITY: u32 = 203;
    pub(super) const SET_TID_ADDRESS: u32 = 218;
    pub(super) const TIMER_CREATE: u32 = 222;
    pub(super) const TIMER_SETTIME: u32 = 223;
    pub(super) const TIMER_DELETE: u32 = 226;
    pub(super) const IOPRIO_SET: u32 = 251;
    pub(super) const SET_ROBUST_LIST: u32 = 273;
    pub(super) const PRLIMIT64: u32 = 302;
    pub(super) const MEMBARRIER: u32 = 324;
    pub(super) const RSEQ: u32 = 334;
}

/// Bytes of the page for arguments.
pub const SCRATCH_SIZE: usize = 4096;

/// System calls in the current process.
pub struct Syscalls<'own> {
    own: &'own Own,
    scratch: usize,
}

/// `madvise` for `len` bytes from `start` on; `advice` is one of `MADV_*`.
///
/// # Errors
///
/// Those of the call.
pub fn madvise(own: &Own, start: usize, len: usize, advice: i32) -> Result {
    Syscalls::new(own, 0).call(
        number::MADVISE,
        [start as u64, len as u64, advice as u64, 0, 0, 0],
    )?;
    Ok(())
}

/// `mprotect` for `len` bytes from `start` on; `protection` is `PROT_*`.
///
/// # Errors
///
/// Those of the call.
pub fn mprotect(own: &Own, start: usize, len: usize, protection: u32) -> Result {
    Syscalls::new(own, 0).call(
        number::MPROTECT,
        [start as u64, len as u64, protection.into(), 0, 0, 0],
    )?;
    Ok(())
}

/// `membarrier` with one of `MEMBARRIER_CMD_*`.
///
/// # Errors
///
/// Those of the call.
pub fn membarrier(own: &Own, command: u32) -> Result {
    Syscalls::new(own, 0).call(number::MEMBARRIER, [command.into(), 0, 0, 0, 0, 0])?;
    Ok(())
}

/// A dummy pointer argument.
const NULL: u64 = 0;

impl<'own> Syscalls<'own> {
    /// For calls whose arguments in memory are put at `scratch`, the address of a writable page of the process.
    pub fn new(own: &'own Own, scratch: usize) -> Self {
        Self { own, scratch }
    }

    /// The process.
    pub fn own(&self) -> &'own Own {
        self.own
    }

    /// Makes the call with this number. Whatever the arguments, it does no more than the process could do itself.
    ///
    /// # Errors
    ///
    /// Those of the call; `ENOSYS` also if the kernel's dispatcher is not known.
    pub fn call(&self, number: u32, arguments: [u64; 6]) -> Result<usize> {
        let [di, si, dx, r10, r8, r9] = arguments;
        let registers = bindings::pt_regs {
            di: di as usize,
            si: si as usize,
            dx: dx as usize,
            r10: r10 as usize,
            r8: r8 as usize,
            r9: r9 as usize,
            orig_ax: number as usize,
            ..Default::default()
        };
        // SAFETY: The dispatcher only reads the registers given, as at the entry of a system call. User pointers are checked by the
        // calls. `own` shows that this is a user task's context.
        let result = unsafe { banyan_bindings::banyan_system_call(&registers, number) };
        if (-4095..0).contains(&result) {
            return Err(Error::from_errno(result as ffi::c_int));
        }
        Ok(result as usize)
    }

    /// Puts bytes into the page, at `offset`, and returns their address.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the page is not there or too small.
    pub fn put(&self, offset: usize, bytes: &[u8]) -> Result<u64> {
        let end = offset.checked_add(bytes.len()).ok_or(EFAULT)?;
        if end > SCRATCH_SIZE {
            return Err(EFAULT);
        }
        let address = self.scratch.checked_add(offset).ok_or(EFAULT)?;
        UserSlice::new(UserPtr::from_addr(address), bytes.len())
            .writer()
            .write_slice(bytes)?;
        Ok(address as u64)
    }

    /// Puts words into the page, from its beginning, and returns their address.
    fn put_words<const N: usize>(&self, words: [u64; N]) -> Result<u64> {
        let mut address = self.scratch as u64;
        for (index, word) in words.iter().enumerate() {
            let at = self.put(index.saturating_mul(size_of::<u64>()), &word.to_ne_bytes())?;
            if index == 0 {
                address = at;
            }
        }
        Ok(address)
    }

    /// `rt_sigaction`. The words are handler, flags, restorer, mask.
    pub fn set_signal_action(&self, signal: u32, action: [u64; 4]) -> Result {
        let address = self.put_words(action)?;
        self.call(
            number::RT_SIGACTION,
            [signal.into(), address, NULL, 8, 0, 0],
        )?;
        Ok(())
    }

    /// `setitimer`: value and interval in nanoseconds, rounded up to microseconds; a value of 0 stops the timer.
    pub fn set_interval_timer(&self, which: u32, value: u64, interval: u64) -> Result {
        let parts = |nanoseconds: u64| {
            let microseconds = nanoseconds.div_ceil(1000);
            (microseconds / 1_000_000, microseconds % 1_000_000)
        };
        let (interval, value) = (parts(interval), parts(value));
        let address = self.put_words([interval.0, interval.1, value.0, value.1])?;
        self.call(number::SETITIMER, [which.into(), address, NULL, 0, 0, 0])?;
        Ok(())
    }

    /// `timer_create` with an id of one's choice, which `PR_TIMER_CREATE_RESTORE_IDS` must allow.
    pub fn create_timer(
        &self,
        clock: i32,
        id: i32,
        value: u64,
        signal: u32,
        notify: u32,
        thread: i32,
    ) -> Result {
        // A `sigevent` is 64 bytes: value, signal, notify, thread id.
        let mut event = [0u8; 64];
        let id_at = 64;
        let value = value.to_ne_bytes();
        let words = [signal, notify, thread as u32].map(u32::to_ne_bytes);
        for (to, from) in event
            .iter_mut()
            .zip(Iterator::chain(value.iter(), words.as_flattened()))
        {
            *to = *from;
        }
        let event = self.put(0, &event)?;
        let id = self.put(id_at, &id.to_ne_bytes())?;
        self.call(number::TIMER_CREATE, [clock as u64, event, id, 0, 0, 0])?;
        Ok(())
    }

    /// `timer_settime` with a time on the timer's clock.
    pub fn set_timer(&self, id: i32, expires: i64, interval: i64) -> Result {
        const TIMER_ABSTIME: u64 = 1;
        const SECOND: i64 = 1_000_000_000;
        let words = [
            interval / SECOND,
            interval % SECOND,
            expires / SECOND,
            expires % SECOND,
        ];
        let address = self.put_words(words.map(|word| word as u64))?;
        self.call(
            number::TIMER_SETTIME,
            [id as u64, TIMER_ABSTIME, address, NULL, 0, 0],
        )?;
        Ok(())
    }

    /// `timer_delete`.
    pub fn delete_timer(&self, id: i32) -> Result {
        self.call(number::TIMER_DELETE, [id as u64, 0, 0, 0, 0, 0])?;
        Ok(())
    }

    /// `umask`.
    pub fn set_umask(&self, mask: u32) -> Result {
        self.call(number::UMASK, [mask.into(), 0, 0, 0, 0, 0])?;
        Ok(())
    }

    /// `setpgid` for the process itself.
    pub fn set_process_group(&self, group: i32) -> Result {
        self.call(number::SETPGID, [0, group as u64, 0, 0, 0, 0])?;
        Ok(())
    }

    /// `setsid`.
    pub fn set_session(&self) -> Result {
        self.call(number::SETSID, [0, 0, 0, 0, 0, 0])?;
        Ok(())
    }

    /// `personality`.
    pub fn set_personality(&self, personality: u32) -> Result {
        self.call(number::PERSONALITY, [personality.into(), 0, 0, 0, 0, 0])?;
        Ok(())
    }

    /// `prctl`.
    pub fn prctl(&self, option: u32, argument: u64, argument2: u64) -> Result<usize> {
        self.call(number::PRCTL, [option.into(), argument, argument2, 0, 0, 0])
    }

    /// `sched_setaffinity`. Each word stands for 32 CPUs.
    pub fn set_affinity(&self, words: &[u32]) -> Result {
        let mut address = self.scratch as u64;
        let mut len = 0usize;
        for word in words {
            let at = self.put(len, &word.to_ne_bytes())?;
            if len == 0 {
                address = at;
            }
            len = len.saturating_add(size_of::<u32>());
        }
        // The kernel wants whole longs.
        if len % size_of::<u64>() != 0 {
            self.put(len, &[0; size_of::<u32>()])?;
            len = len.saturating_add(size_of::<u32>());
        }
        self.call(number::SCHED_SETAFFINITY, [0, len as u64, address, 0, 0, 0])?;
        Ok(())
    }

    /// `set_tid_address`.
    pub fn set_clear_child_tid(&self, address: u64) -> Result {
        self.call(number::SET_TID_ADDRESS, [address, 0, 0, 0, 0, 0])?;
        Ok(())
    }

    /// `set_robust_list`.
    pub fn set_robust_list(&self, address: u64) -> Result {
        let size = size_of::<[u64; 3]>() as u64;
        self.call(number::SET_ROBUST_LIST, [address, size, 0, 0, 0, 0])?;
        Ok(())
    }

    /// `ioprio_set` for the process.
    pub fn set_io_priority(&self, priority: u32) -> Result {
        const IOPRIO_WHO_PROCESS: u64 = 1;
        self.call(
            number::IOPRIO_SET,
            [IOPRIO_WHO_PROCESS, 0, priority.into(), 0, 0, 0],
        )?;
        Ok(())
    }

    /// `prlimit64` for the process.
    pub fn set_limit(&self, which: u32, soft: u64, hard: u64) -> Result {
        let address = self.put_words([soft, hard])?;
        self.call(number::PRLIMIT64, [0, which.into(), address, NULL, 0, 0])?;
        Ok(())
    }

    /// `rseq`.
    pub fn set_rseq(&self, address: u64, size: u32, signature: u32) -> Result {
        self.call(
            number::RSEQ,
            [address, size.into(), 0, signature.into(), 0, 0],
        )?;
        Ok(())
    }
}
