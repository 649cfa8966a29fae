// SPDX-License-Identifier: GPL-2.0

//! Files of our own that look like others: type, device and owner of the true file, our operations.
//!
//! A [`ProxyFs`] is one hidden mount, owned by the module that makes the files. Each file carries an `Arc` of the module's own object
//! until its last close, and keeps the module loaded.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h), [`include/linux/pseudo_fs.h`](srctree/include/linux/pseudo_fs.h)

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::from_err_ptr,
    ffi::{
        c_int,
        c_long,
        c_uint,
        c_ulong, //
    },
    fs::{
        File,
        LocalFile, //
    },
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        poll::PollTable,
        Arc,
        ArcBorrow, //
    },
};

use crate::file::adopt;

/// What `fstat` tells of such a file: see `rust/helpers/proxyfs.h`.
pub use banyan_bindings::banyan_proxy_stat as Stat;

/// What stands behind a file.
pub trait ProxyFile: Send + Sync + Sized + 'static {
    /// `read(2)`.
    ///
    /// # Errors
    ///
    /// What the caller is to get.
    fn read(self: ArcBorrow<'_, Self>, file: &LocalFile, to: &mut IovIterDest<'_>)
        -> Result<usize>;

    /// `write(2)`.
    ///
    /// # Errors
    ///
    /// What the caller is to get.
    fn write(
        self: ArcBorrow<'_, Self>,
        file: &LocalFile,
        from: &mut IovIterSource<'_>,
    ) -> Result<usize>;

    /// Registers with the table, then says which events are ready.
    fn poll(self: ArcBorrow<'_, Self>, file: &File, table: &PollTable<'_>, events: u32) -> u32;

    /// `ioctl(2)`.
    ///
    /// # Errors
    ///
    /// What the caller is to get.
    fn ioctl(
        self: ArcBorrow<'_, Self>,
        file: &File,
        command: u32,
        argument: usize,
    ) -> Result<isize>;

    /// `fsync(2)`.
    ///
    /// # Errors
    ///
    /// What the caller is to get.
    fn sync(self: ArcBorrow<'_, Self>, file: &File, data_only: bool) -> Result;

    /// `lseek(2)`. Only for regular files; the others have no offset.
    ///
    /// # Errors
    ///
    /// What the caller is to get.
    fn seek(self: ArcBorrow<'_, Self>, file: &File, offset: i64, whence: u32) -> Result<i64>;

    /// The last reference to the file is gone.
    fn released(self: Arc<Self>);
}

/// The hidden mount that the files live on.
pub struct ProxyFs<P: ProxyFile> {
    mount: NonNull<bindings::vfsmount>,
    /// Not static, since a generic constant could not name the module.
    operations: KBox<bindings::file_operations>,
    _files: PhantomData<P>,
}

// SAFETY: The mount has no tie to a thread.
unsafe impl<P: ProxyFile> Send for ProxyFs<P> {}
// SAFETY: The functions called with the mount lock internally.
unsafe impl<P: ProxyFile> Sync for ProxyFs<P> {}

impl<P: ProxyFile> ProxyFs<P> {
    /// Makes the mount, for files that keep `module` loaded.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(module: &'static ThisModule) -> Result<Self> {
        let operations = KBox::new(
            bindings::file_operations {
                owner: module.as_ptr(),
                read_iter: Some(read_iter::<P>),
                write_iter: Some(write_iter::<P>),
                poll: Some(poll::<P>),
                unlocked_ioctl: Some(ioctl::<P>),
                fsync: Some(fsync::<P>),
                llseek: Some(llseek::<P>),
                release: Some(release::<P>),
                splice_read: Some(bindings::copy_splice_read),
                splice_write: Some(bindings::iter_file_splice_write),
                ..pin_init::zeroed()
            },
            GFP_KERNEL,
        )?;
        // SAFETY: No preconditions.
        let mount = from_err_ptr(unsafe { banyan_bindings::banyan_proxyfs_mount() })?;
        Ok(Self {
            mount: NonNull::new(mount).ok_or(ENOMEM)?,
            operations,
            _files: PhantomData,
        })
    }

    /// Makes a file. `name` is what `/proc/PID/fd` shows, `flags` are the access mode, `O_NONBLOCK` and `O_APPEND`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ENFILE`.
    pub fn open(&self, name: &CStr, stat: &Stat, flags: u32, proxy: Arc<P>) -> Result<ARef<File>> {
        let private = Arc::into_raw(proxy);
        // SAFETY: The mount and the operations live until all files are gone: each file pins the module that owns `self`, and the module
        // drops `self` when it goes. `private` is of the type that the operations expect.
        let raw = unsafe {
            banyan_bindings::banyan_proxyfs_open(
                self.mount.as_ptr(),
                name.as_char_ptr(),
                stat,
                flags,
                &*self.operations,
                private.cast_mut().cast(),
            )
        };
        match from_err_ptr(raw) {
            // SAFETY: A new file, whose reference is ours.
            Ok(raw) => unsafe { adopt(raw) }.ok_or(ENOMEM),
            Err(error) => {
                // SAFETY: On failure the file did not take it.
                drop(unsafe { Arc::from_raw(private) });
                Err(error)
            }
        }
    }

    /// What stands behind a file, if it is one of these.
    pub fn behind<'a>(&self, file: &'a File) -> Option<ArcBorrow<'a, P>> {
        // SAFETY: The file is valid; its operations do not change.
        let operations = unsafe { (*file.as_ptr()).f_op };
        // SAFETY: Files with these operations have a `P` behind them.
        core::ptr::eq(operations, &*self.operations).then(|| unsafe { borrow(file.as_ptr()) })
    }
}

impl<P: ProxyFile> Drop for ProxyFs<P> {
    fn drop(&mut self) {
        // SAFETY: Ours, and no file is left, since each pins the module.
        unsafe { banyan_bindings::banyan_proxyfs_unmount(self.mount.as_ptr()) };
    }
}

/// # Safety
///
/// The file is one of [`ProxyFs<P>`] and lives for `'a`.
unsafe fn borrow<'a, P: ProxyFile>(file: *mut bindings::file) -> ArcBorrow<'a, P> {
    // SAFETY: The private data come from `Arc::into_raw` and are given up in `release` only.
    unsafe { ArcBorrow::from_raw((*file).private_data.cast::<P>()) }
}

fn count(result: Result<usize>) -> isize {
    match result {
        Ok(count) => count as isize,
        Err(error) => error.to_errno() as isize,
    }
}

/// # Safety
///
/// Called by the kernel for a file of [`ProxyFs<P>`], as are the functions below.
unsafe extern "C" fn read_iter<P: ProxyFile>(
    kiocb: *mut bindings::kiocb,
    iter: *mut bindings::iov_iter,
) -> isize {
    // SAFETY: The file and the iterator are valid during the call.
    unsafe {
        let file = (*kiocb).ki_filp;
        count(borrow::<P>(file).read(LocalFile::from_raw_file(file), IovIterDest::from_raw(iter)))
    }
}

/// # Safety
///
/// As for [`read_iter`].
unsafe extern "C" fn write_iter<P: ProxyFile>(
    kiocb: *mut bindings::kiocb,
    iter: *mut bindings::iov_iter,
) -> isize {
    // SAFETY: The file and the iterator are valid during the call.
    unsafe {
        let file = (*kiocb).ki_filp;
        count(borrow::<P>(file).write(
            LocalFile::from_raw_file(file),
            IovIterSource::from_raw(iter),
        ))
    }
}

/// # Safety
///
/// As for [`read_iter`].
unsafe extern "C" fn poll<P: ProxyFile>(
    file: *mut bindings::file,
    table: *mut bindings::poll_table,
) -> bindings::__poll_t {
    // SAFETY: The file is valid during the call, and no `fdget_pos` is under way. The table is null or valid.
    unsafe {
        let events = if table.is_null() { !0 } else { (*table)._key };
        borrow::<P>(file).poll(
            File::from_raw_file(file),
            &PollTable::from_raw(table),
            events,
        )
    }
}

/// # Safety
///
/// As for [`read_iter`].
unsafe extern "C" fn ioctl<P: ProxyFile>(
    file: *mut bindings::file,
    command: c_uint,
    argument: c_ulong,
) -> c_long {
    // SAFETY: The file is valid during the call, and no `fdget_pos` is under way.
    let result = unsafe { borrow::<P>(file).ioctl(File::from_raw_file(file), command, argument) };
    match result {
        Ok(value) => value,
        Err(error) => error.to_errno() as c_long,
    }
}

/// # Safety
///
/// As for [`read_iter`].
unsafe extern "C" fn fsync<P: ProxyFile>(
    file: *mut bindings::file,
    _start: i64,
    _end: i64,
    data_only: c_int,
) -> c_int {
    // SAFETY: The file is valid during the call, and no `fdget_pos` is under way.
    match unsafe { borrow::<P>(file).sync(File::from_raw_file(file), data_only != 0) } {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}

/// # Safety
///
/// As for [`read_iter`].
unsafe extern "C" fn llseek<P: ProxyFile>(
    file: *mut bindings::file,
    offset: i64,
    whence: c_int,
) -> i64 {
    // SAFETY: The file is valid during the call. A `fdget_pos` without the lock may be under way, but the offset is not touched here.
    match unsafe { borrow::<P>(file).seek(File::from_raw_file(file), offset, whence as u32) } {
        Ok(position) => position,
        Err(error) => error.to_errno().into(),
    }
}

/// Sets the size that `fstat` tells of such a file.
pub fn set_size(file: &LocalFile, size: u64) {
    // SAFETY: The file is valid; the helper locks.
    unsafe { banyan_bindings::banyan_proxyfs_set_size(file.as_ptr(), size) };
}

/// # Safety
///
/// As for [`read_iter`]; once, at the end.
unsafe extern "C" fn release<P: ProxyFile>(
    _inode: *mut bindings::inode,
    file: *mut bindings::file,
) -> c_int {
    // SAFETY: The reference that `open` gave to the file, which nobody borrows any more.
    unsafe { Arc::from_raw((*file).private_data.cast::<P>()) }.released();
    0
}
