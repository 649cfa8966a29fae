// SPDX-License-Identifier: GPL-2.0

//! The descriptor table of a process: one each, owned by the process.
//!
//! From outside ([`Subject`]) it can be looked through; in the process's own context ([`Own`]) it can be replaced.
//!
//! C header: [`include/linux/fdtable.h`](srctree/include/linux/fdtable.h)

use kernel::{
    bindings,
    error::to_result,
    fs::File,
    prelude::*,
    sync::aref::ARef, //
};

use crate::{
    file::adopt,
    own::Own,
    subject::Subject, //
};

/// One used number of the table.
pub struct Descriptor {
    /// The number.
    pub fd: u32,
    /// The open file.
    pub file: ARef<File>,
    /// Whether it closes on exec.
    pub close_on_exec: bool,
}

/// Calls `f` for each used number, in order, until it returns `false`.
fn walk(task: *mut bindings::task_struct, mut f: impl FnMut(u32, ARef<File>) -> bool) {
    let mut fd = 0u32;
    loop {
        // SAFETY: The caller holds a reference to the task. A file that is returned comes with a reference.
        let raw = unsafe { bindings::fget_task_next(task, &mut fd) };
        // SAFETY: The reference is ours. It came by the table, not by `fdget_pos`.
        let Some(file) = (unsafe { adopt(raw) }) else {
            return;
        };
        if !f(fd, file) {
            return;
        }
        let Some(next) = fd.checked_add(1) else {
            return;
        };
        fd = next;
    }
}

impl Subject {
    /// Calls `f` for each open descriptor, in order, until it returns `false`.
    pub fn for_each_descriptor(&self, f: impl FnMut(u32, ARef<File>) -> bool) {
        walk(self.raw(), f);
    }
}

impl Own {
    /// All open descriptors, in order.
    ///
    /// # Errors
    ///
    /// `EMFILE` if there are more than `most`, `ENOMEM`.
    pub fn descriptors(&self, most: usize) -> Result<KVVec<Descriptor>> {
        let mut found = KVVec::new();
        let mut result = Ok(());
        walk(self.raw(), |fd, file| {
            // SAFETY: Looks at the current task's table only.
            let close_on_exec = unsafe { banyan_bindings::banyan_close_on_exec(fd) };
            if found.len() >= most {
                result = Err(EMFILE);
            } else if let Err(error) = found.push(
                Descriptor {
                    fd,
                    file,
                    close_on_exec,
                },
                GFP_KERNEL,
            ) {
                result = Err(error.into());
            }
            result.is_ok()
        });
        result.map(|()| found)
    }

    /// Gives an open file a number, whatever the limit of open files says. What had the number is closed.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENOMEM`, `EBUSY`.
    pub fn install(&self, fd: u32, file: &File, close_on_exec: bool) -> Result {
        let flags = if close_on_exec {
            bindings::O_CLOEXEC
        } else {
            0
        };
        // SAFETY: Works on the current task's table; takes a reference of its own to the file.
        to_result(unsafe { banyan_bindings::banyan_install_fd(fd, file.as_ptr(), flags) })
    }

    /// Closes a number. What closing reports (a late write error) is passed over, as at exit.
    pub fn close(&self, fd: u32) {
        // SAFETY: Works on the current task's table.
        unsafe { bindings::close_fd(fd) };
    }

    /// Closes all descriptors.
    pub fn close_all(&self) {
        walk(self.raw(), |fd, file| {
            drop(file);
            self.close(fd);
            true
        });
    }
}
