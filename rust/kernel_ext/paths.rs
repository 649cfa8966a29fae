// SPDX-License-Identifier: GPL-2.0

//! Directories of a process: its root and its working directory.
//!
//! A [`Directory`] holds a reference to a place in the tree of mounts; each process has two.
//!
//! C header: [`include/linux/fs_struct.h`](srctree/include/linux/fs_struct.h)

use kernel::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    fs::File,
    prelude::*, //
};

use crate::{
    file::{
        tail,
        Facts, //
    },
    own::Own,
    subject::Subject, //
};

/// A reference to a directory.
pub struct Directory(bindings::path);

impl Directory {
    /// What it is: only device, inode, mode, file system and whether it was removed are set.
    pub fn facts(&self) -> Facts {
        let mut facts = Facts::default();
        // SAFETY: The path is referenced.
        unsafe { banyan_bindings::banyan_path_facts(&self.0, &mut facts) };
        facts
    }

    /// Whether it is the root directory that the node's init has.
    pub fn is_init_root(&self) -> bool {
        // SAFETY: The path is referenced.
        unsafe { banyan_bindings::banyan_is_init_root(&self.0) }
    }

    /// Its path as the current task sees it, at the end of `buffer`, without a zero.
    ///
    /// # Errors
    ///
    /// `ENAMETOOLONG`.
    pub fn path<'a>(&self, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
        let room = i32::try_from(buffer.len())?;
        // SAFETY: The path is referenced, the buffer has that many bytes.
        let start = from_err_ptr(unsafe { bindings::d_path(&self.0, buffer.as_mut_ptr(), room) })?;
        tail(buffer, start.cast())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // SAFETY: The reference is ours.
        unsafe { bindings::path_put(&self.0) };
    }
}

/// `AT_FDCWD`: in place of a descriptor, the working directory.
pub const WORKING_DIRECTORY: i32 = -100;

/// What the current task finds under a path: device, inode, mode, file system and number of a device are set. A relative path starts at
/// an open directory, or at the working directory if there is none. `follow`: through the last part, too, if that is a link.
///
/// # Errors
///
/// Those of a path walk; `EBADF` if the descriptor is none.
pub fn look_up(directory: Option<i32>, name: &CStr, follow: bool) -> Result<Facts> {
    let mut facts = Facts::default();
    // SAFETY: The name ends with a zero, the facts are written before success is said. The context is that of a user task, by the nature
    // of a path walk; in another one the walk starts at the root of init.
    to_result(unsafe {
        banyan_bindings::banyan_look_up(
            directory.unwrap_or(WORKING_DIRECTORY),
            name.as_char_ptr(),
            follow,
            &mut facts,
        )
    })?;
    Ok(facts)
}

/// The directories of a process.
pub struct Directories {
    /// Its root.
    pub root: Directory,
    /// Its working directory.
    pub working: Directory,
}

fn directories(task: *mut bindings::task_struct) -> Option<Directories> {
    let mut root = bindings::path::default();
    let mut working = bindings::path::default();
    // SAFETY: The caller holds a reference to the task. If there are paths, their references are ours.
    unsafe { banyan_bindings::banyan_task_directories(task, &mut root, &mut working) }.then(|| {
        Directories {
            root: Directory(root),
            working: Directory(working),
        }
    })
}

impl Subject {
    /// Its directories, unless it has ended.
    pub fn directories(&self) -> Option<Directories> {
        directories(self.raw())
    }
}

impl Own {
    /// Its directories.
    ///
    /// # Errors
    ///
    /// `ESRCH` if it is about to end and has none.
    pub fn directories(&self) -> Result<Directories> {
        directories(self.raw()).ok_or(ESRCH)
    }

    /// Makes an open directory its working directory.
    ///
    /// # Errors
    ///
    /// `ENOSYS` if this kernel lacks the function.
    pub fn set_working_directory(&self, file: &File) -> Result {
        // SAFETY: The file is valid and with it its path; the callee takes references of its own.
        to_result(unsafe {
            banyan_bindings::banyan_set_pwd(&raw const (*file.as_ptr()).__bindgen_anon_1.f_path)
        })
    }
}
