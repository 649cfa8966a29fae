// SPDX-License-Identifier: GPL-2.0

//! Open files: what they are, and what can be done to them.
//!
//! The `kernel` crate's [`File`] holds the reference; the functions here do what it lacks. Each file belongs to who opened it.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h), [`include/linux/file.h`](srctree/include/linux/file.h)

use core::ptr::NonNull;
use kernel::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    fs::File,
    prelude::*,
    sync::aref::ARef,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

use crate::{
    own::Own,
    subject::Subject, //
};

/// What can be read of a file without asking its file system: see `rust/helpers/files.h`.
pub use banyan_bindings::banyan_file_facts as Facts;

/// Where to read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// At the file's own offset, which then moves.
    Own,
    /// There. At most `i64::MAX`.
    Position(u64),
}

impl At {
    fn raw(self) -> Result<i64> {
        match self {
            At::Own => Ok(-1),
            At::Position(position) => Ok(i64::try_from(position)?),
        }
    }
}

/// Takes over a reference from C.
///
/// # Safety
///
/// `raw` is a file with a reference that the caller gives up, and no `fdget_pos` without the lock is under way on it.
pub(crate) unsafe fn adopt(raw: *mut bindings::file) -> Option<ARef<File>> {
    // SAFETY: By the requirements above.
    NonNull::new(raw).map(|raw| unsafe { ARef::from_raw(raw.cast::<File>()) })
}

/// Opens a path as the current task would were it not confined by Landlock.
///
/// # Errors
///
/// Those of `open(2)`, `ENOMEM`.
pub fn open(path: &CStr, flags: u32) -> Result<ARef<File>> {
    outside_of_domain(|| {
        // SAFETY: A string that ends in zero. O_CREAT is masked out, so that no mode is needed.
        let raw = from_err_ptr(unsafe {
            bindings::filp_open(
                path.as_char_ptr(),
                (flags & !(bindings::O_CREAT | bindings::O_EXCL | bindings::O_TRUNC)) as i32,
                0,
            )
        })?;
        // SAFETY: A new file, whose reference is ours.
        unsafe { adopt(raw) }.ok_or(ENOENT)
    })
}

/// Runs `f` outside of the current task's Landlock domain, should it have one: for what a process had open before it confined itself.
fn outside_of_domain<T>(f: impl FnOnce() -> Result<T>) -> Result<T> {
    // SAFETY: The former credentials come back below, in the same task.
    let former = from_err_ptr(unsafe { banyan_bindings::banyan_leave_domain() }.cast_mut())?;
    let result = f();
    if !former.is_null() {
        // SAFETY: `former` comes from the call above.
        unsafe { banyan_bindings::banyan_unborrow(former) };
    }
    result
}

/// The open file of a descriptor of the current task.
pub fn of_descriptor(fd: u32) -> Option<ARef<File>> {
    // SAFETY: The reference that it returns is ours.
    unsafe { adopt(bindings::fget(fd)) }
}

/// Whether Landlock denies that the file be truncated through this open file.
pub fn truncation_denied(file: &File) -> bool {
    // SAFETY: The file is valid.
    unsafe { banyan_bindings::banyan_truncation_denied(file.as_ptr()) }
}

/// What the file is.
pub fn facts(file: &File) -> Facts {
    let mut facts = Facts::default();
    // SAFETY: The file is valid.
    unsafe { banyan_bindings::banyan_file_facts(file.as_ptr(), &mut facts) };
    facts
}

/// Has the file system ask its server what the file is now, so that the [`facts`] are no older than this call.
///
/// # Errors
///
/// Those of `statx(2)` with `AT_STATX_FORCE_SYNC`.
pub fn refresh(file: &File) -> Result {
    // SAFETY: The file is valid.
    to_result(unsafe { banyan_bindings::banyan_file_refresh(file.as_ptr()) })
}

/// The text of [`Facts::name`].
pub fn name(facts: &Facts) -> &[u8] {
    // SAFETY: Any `c_char` is a `u8`.
    let bytes: &[u8; 24] = unsafe { &*(&raw const facts.name).cast() };
    let end = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    bytes.get(..end).unwrap_or(&[])
}

/// Whether these are references to the same open file.
pub fn same(a: &File, b: &File) -> bool {
    a.as_ptr() == b.as_ptr()
}

/// A number for the open file, equal for all references to it while one is held, never to be followed.
pub fn key(file: &File) -> usize {
    file.as_ptr() as usize
}

/// Its path as the current task sees it, at the end of `buffer`, without a zero.
///
/// # Errors
///
/// `ENAMETOOLONG`.
pub fn path<'a>(file: &File, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
    let room = i32::try_from(buffer.len())?;
    // SAFETY: The buffer has that many bytes.
    let start = unsafe { bindings::file_path(file.as_ptr(), buffer.as_mut_ptr(), room) };
    tail(buffer, from_err_ptr(start)?.cast())
}

/// The string that a kernel function left at the end of a buffer.
pub(crate) fn tail(buffer: &[u8], start: *const u8) -> Result<&[u8]> {
    let from = (start as usize)
        .checked_sub(buffer.as_ptr() as usize)
        .ok_or(EINVAL)?;
    let text = buffer.get(from..).ok_or(EINVAL)?;
    let end = text.iter().position(|&byte| byte == 0).ok_or(EINVAL)?;
    text.get(..end).ok_or(EINVAL)
}

/// Reads.
///
/// # Errors
///
/// Those of `read(2)`; also the kernel's own, such as `ERESTARTSYS`.
pub fn read(file: &File, to: &mut [u8], at: At) -> Result<usize> {
    transfer(file, to.as_mut_ptr(), to.len(), at, false)
}

/// Writes. A broken pipe is `EPIPE` without a signal.
///
/// # Errors
///
/// Those of `write(2)`; also the kernel's own, such as `ERESTARTSYS`.
pub fn write(file: &File, from: &[u8], at: At) -> Result<usize> {
    transfer(file, from.as_ptr().cast_mut(), from.len(), at, true)
}

fn transfer(file: &File, memory: *mut u8, size: usize, at: At, write: bool) -> Result<usize> {
    // SAFETY: `memory` is a slice of that size, exclusive if it is read into; writing only reads it.
    let done = unsafe {
        banyan_bindings::banyan_file_transfer(file.as_ptr(), memory.cast(), size, at.raw()?, write)
    };
    usize::try_from(done).map_err(|_| Error::from_errno(done as i32))
}

/// Moves the file's offset.
///
/// # Errors
///
/// Those of `lseek(2)`.
pub fn seek(file: &File, offset: i64, whence: u32) -> Result<i64> {
    // SAFETY: The file is valid.
    let result = unsafe { banyan_bindings::banyan_file_seek(file.as_ptr(), offset, whence as i32) };
    if result < 0 {
        return Err(Error::from_errno(result as i32));
    }
    Ok(result)
}

/// Writes everything of the file back that its memory and its mappings hold.
///
/// # Errors
///
/// `EIO`, `ENOSPC` and what its file system says.
pub fn write_back(file: &File) -> Result {
    // SAFETY: The file and with it its mapping are valid.
    to_result(unsafe {
        bindings::filemap_write_and_wait_range((*file.as_ptr()).f_mapping, 0, i64::MAX)
    })
}

/// Lets go of what this machine remembers of the file's data and attributes, so that what another machine wrote is seen, and no stale page is
/// written over it.
///
/// # Errors
///
/// `EIO` and what its file system says.
pub fn revalidate(file: &File) -> Result {
    // SAFETY: The file is referenced.
    to_result(unsafe { banyan_bindings::banyan_file_revalidate(file.as_ptr()) })
}

/// `fsync(2)`.
///
/// # Errors
///
/// Those of `fsync(2)`.
pub fn sync(file: &File, data_only: bool) -> Result {
    // SAFETY: The file is valid.
    to_result(unsafe { bindings::vfs_fsync(file.as_ptr(), data_only.into()) })
}

/// Sets the file's offset without asking it.
pub fn set_position(file: &File, position: i64) {
    // SAFETY: The file was opened a moment ago by the caller and is not yet in a descriptor table; nobody else knows it.
    unsafe { (*file.as_ptr()).f_pos = position };
}

/// Sets the flags that `fcntl(F_SETFL)` may set.
pub fn set_flags(file: &File, flags: u32) {
    // SAFETY: The file is valid; the helper locks.
    unsafe { banyan_bindings::banyan_set_file_flags(file.as_ptr(), flags) };
}

/// What locks an open file or its process holds on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Locks {
    /// `fcntl`, `flock` or open-file-description locks.
    pub lock: bool,
    /// A lease or a delegation.
    pub lease: bool,
}

/// Whose locks count besides those of the open file: a process's descriptor table, to compare with only.
#[derive(Clone, Copy)]
pub struct LockOwner {
    files: *const core::ffi::c_void,
    /// Another task shares the table.
    pub shared: bool,
}

impl Subject {
    /// The owner of its `fcntl` locks.
    pub fn lock_owner(&self) -> LockOwner {
        let mut shared = false;
        // SAFETY: The task is referenced.
        let files = unsafe { banyan_bindings::banyan_task_files(self.raw(), &mut shared) };
        LockOwner { files, shared }
    }

    /// The references to the file that its address space holds.
    pub fn mapped_references(&self, file: &File) -> u64 {
        // SAFETY: The task is referenced; the file is only compared.
        (unsafe { banyan_bindings::banyan_mapped_references(self.raw(), file.as_ptr()) }) as u64
    }

    /// The file that it executes.
    pub fn program_file(&self) -> Option<ARef<File>> {
        // SAFETY: The task is referenced. The reference to the file is ours.
        unsafe { adopt(banyan_bindings::banyan_task_exe(self.raw())) }
    }
}

/// The locks held on the file by itself and by `owner`.
pub fn locks(file: &File, owner: LockOwner) -> Locks {
    // SAFETY: The file is valid; `files` is only compared.
    let found = unsafe { banyan_bindings::banyan_file_locks(file.as_ptr(), owner.files) };
    Locks {
        lock: found & banyan_bindings::banyan_file_locked_BANYAN_FILE_HAS_LOCK != 0,
        lease: found & banyan_bindings::banyan_file_locked_BANYAN_FILE_HAS_LEASE != 0,
    }
}

impl Own {
    /// The owner of its `fcntl` locks.
    pub fn lock_owner(&self) -> LockOwner {
        Subject::current().lock_owner()
    }

    /// The file that it executes.
    pub fn program_file(&self) -> Option<ARef<File>> {
        Subject::current().program_file()
    }

    /// Makes it execute another file, for `/proc/PID/exe`. No mapping of the former may be left.
    ///
    /// # Errors
    ///
    /// `EBUSY` if one is, `EACCES` if the new one is open for writing.
    pub fn set_program_file(&self, file: &File) -> Result {
        // SAFETY: The address space is the current task's own; the callee takes a reference to the file.
        to_result(unsafe {
            banyan_bindings::banyan_ksym_replace_mm_exe_file(self.raw_mm(), file.as_ptr())
        })
    }

    /// Calls a file's ioctl with a number as argument.
    ///
    /// # Errors
    ///
    /// Those of `ioctl(2)`; also the kernel's own.
    pub fn ioctl(&self, file: &File, command: u32, argument: u64) -> Result<isize> {
        // SAFETY: The file is valid. What the argument means is checked by the file, as for a system call.
        let result = unsafe {
            banyan_bindings::banyan_file_ioctl(file.as_ptr(), command, argument as usize)
        };
        if result < 0 {
            return Err(Error::from_errno(result as i32));
        }
        Ok(result)
    }

    /// Calls a file's ioctl with memory as argument, which it may change. At most a page.
    ///
    /// # Errors
    ///
    /// Those of [`Own::ioctl`]; `EINVAL` for more than a page, `ENOMEM`.
    pub fn ioctl_memory(&self, file: &File, command: u32, memory: &mut [u8]) -> Result<isize> {
        if memory.len() > bindings::PAGE_SIZE {
            return Err(EINVAL);
        }
        // SAFETY: Maps fresh memory where the kernel finds room, in the current task's own address space.
        let page = unsafe {
            bindings::vm_mmap(
                core::ptr::null_mut(),
                0,
                bindings::PAGE_SIZE,
                (banyan_bindings::PROT_READ | banyan_bindings::PROT_WRITE) as usize,
                (banyan_bindings::MAP_PRIVATE | banyan_bindings::MAP_ANONYMOUS) as usize,
                0,
            )
        };
        if (page as isize) < 0 {
            return Err(Error::from_errno(page as i32));
        }
        let result = self.ioctl_at(file, command, page, memory);
        // SAFETY: Mapped above; nobody else knows of it.
        unsafe { bindings::vm_munmap(page, bindings::PAGE_SIZE) };
        result
    }

    fn ioctl_at(&self, file: &File, command: u32, page: usize, memory: &mut [u8]) -> Result<isize> {
        let slice = || UserSlice::new(UserPtr::from_addr(page), memory.len());
        slice().writer().write_slice(memory)?;
        let result = self.ioctl(file, command, page as u64)?;
        let reader = slice().reader();
        { reader }.read_slice(memory)?;
        Ok(result)
    }
}

/// Runs `f` as another user, as far as file systems care.
///
/// # Errors
///
/// `EINVAL` for an id that is none, `ENOMEM`, and those of `f`.
pub fn as_identity<T>(uid: u32, gid: u32, f: impl FnOnce() -> Result<T>) -> Result<T> {
    // SAFETY: The former credentials come back below, in the same task.
    let former = unsafe { banyan_bindings::banyan_borrow_identity(uid, gid) };
    let former = from_err_ptr(former.cast_mut())?;
    let result = f();
    // SAFETY: `former` comes from the call above.
    unsafe { banyan_bindings::banyan_unborrow(former) };
    result
}

/// Sends the current task SIGPIPE, as a write to a broken pipe does.
pub fn raise_sigpipe() {
    // SAFETY: The current task is valid.
    unsafe {
        bindings::send_sig(
            bindings::SIGPIPE as i32,
            kernel::task::Task::current_raw(),
            0,
        )
    };
}

/// A hook on a file's wait queues: tells once that readiness changed, after each [`PollHook::check`].
///
/// Owned by who polls; holds a reference to the file. The `Arc` is what gets told.
pub struct PollHook<T: Wake> {
    raw: NonNull<banyan_bindings::banyan_poll_hook>,
    target: *const T,
}

/// Gets told that a file's readiness changed.
pub trait Wake: Send + Sync {
    /// Called in atomic context.
    fn wake(&self);
}

// SAFETY: The hook has no tie to a thread; its functions are called with exclusive access.
unsafe impl<T: Wake> Send for PollHook<T> {}
// SAFETY: No method works on a shared reference.
unsafe impl<T: Wake> Sync for PollHook<T> {}

impl<T: Wake> PollHook<T> {
    /// Makes one.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(file: &File, target: kernel::sync::Arc<T>) -> Result<Self> {
        let target = kernel::sync::Arc::into_raw(target);
        // SAFETY: The file is valid; the hook refers to `target` until it is freed, which is before the reference is dropped.
        let raw = unsafe {
            banyan_bindings::banyan_poll_hook_new(
                file.as_ptr(),
                Some(Self::woken),
                target.cast_mut().cast(),
            )
        };
        match NonNull::new(raw) {
            Some(raw) => Ok(Self { raw, target }),
            None => {
                // SAFETY: The hook did not take it.
                drop(unsafe { kernel::sync::Arc::from_raw(target) });
                Err(ENOMEM)
            }
        }
    }

    /// The events that are ready (`POLLIN` ...). The next change afterwards wakes.
    pub fn check(&mut self, events: u32) -> u32 {
        // SAFETY: Exclusive access, as the function wants.
        unsafe { banyan_bindings::banyan_poll_hook_check(self.raw.as_ptr(), events) }
    }

    /// # Safety
    ///
    /// Called by the hook with the pointer that `new` gave it.
    unsafe extern "C" fn woken(target: *mut core::ffi::c_void) {
        // SAFETY: The hook holds a reference to the target.
        unsafe { &*target.cast::<T>() }.wake();
    }
}

impl<T: Wake> Drop for PollHook<T> {
    fn drop(&mut self) {
        // SAFETY: Ours. Afterwards `woken` does not run any more, so that the reference may go.
        unsafe {
            banyan_bindings::banyan_poll_hook_free(self.raw.as_ptr());
            drop(kernel::sync::Arc::from_raw(self.target));
        }
    }
}
