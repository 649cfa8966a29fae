// SPDX-License-Identifier: GPL-2.0

//! Numbers of the kernel's file interface: open flags, types of files, events. Only constants.

pub use kernel::bindings::{
    FASYNC,
    O_ACCMODE,
    O_APPEND,
    O_CLOEXEC,
    O_DIRECTORY,
    O_LARGEFILE,
    O_NOCTTY,
    O_NOFOLLOW,
    O_NONBLOCK,
    O_PATH,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    POLLERR,
    POLLHUP,
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFIFO,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    S_IFSOCK, //
};
