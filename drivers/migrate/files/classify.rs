// SPDX-License-Identifier: GPL-2.0

//! What becomes of each open file of a process that moves: the one table.
//!
//! Called for a running process, to say whether it can move, and again when it is captured.

use banyan_wire::{
    image_files::MOUNT_ID,
    Reason, //
};
use kernel::fs::File;
use kernel_ext::file::{
    self,
    Facts,
    LockOwner, //
};
use kernel_ext::file_numbers::{
    FASYNC,
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFIFO,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    S_IFSOCK, //
};

use super::{
    objects,
    Files, //
};

/// What becomes of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// On a shared mount: opened again.
    Shared([u8; MOUNT_ID]),
    /// A device that every node has alike: opened again.
    Device,
    /// Stays here; a proxy stands for it.
    Forward,
    /// Stands itself for a file of another node.
    Proxy,
    /// Shared memory: goes along, if nobody else has it.
    Memory,
    /// Cannot move.
    Refused(Reason),
}

/// Files without a name in the tree, by what the kernel calls them.
const ANONYMOUS: &[(&[u8], Reason)] = &[
    (b"[eventpoll]", Reason::Epoll),
    (b"[eventfd]", Reason::Eventfd),
    (b"[signalfd]", Reason::Signalfd),
    (b"[timerfd]", Reason::Timerfd),
    (b"inotify", Reason::Inotify),
    (b"[fanotify]", Reason::Inotify),
    (b"[io_uring]", Reason::IoUring),
    (b"[perf_event]", Reason::PerfEvents),
    (b"[userfaultfd]", Reason::Userfaultfd),
    (b"[landlock-ruleset]", Reason::Landlock),
    (b"bpf-map", Reason::MountFile),
    (b"bpf-prog", Reason::MountFile),
    (b"bpf_link", Reason::MountFile),
];

/// Magic numbers of file systems whose files are handles to something else.
const PIDFS: u32 = 0x5049_4446;
const NSFS: u32 = 0x6e73_6673;

/// Memory devices that have no state: null, zero, full, random, urandom.
const MEM_MAJOR: u32 = 1;
const STATELESS: [u32; 5] = [3, 5, 7, 8, 9];
/// Devices that do not only stream: `/dev/fuse`, `/dev/kvm`, tunnels.
const MISC_MAJOR: u32 = 10;

/// The major and minor number of an encoded device number.
fn device(encoded: u32) -> (u32, u32) {
    (
        (encoded >> 8) & 0xfff,
        (encoded & 0xff) | ((encoded >> 12) & 0xfff00),
    )
}

/// Whether a device number is that of a device which every node has alike.
pub fn is_stateless_device(encoded: u32) -> bool {
    matches!(device(encoded), (MEM_MAJOR, minor) if STATELESS.contains(&minor))
}

impl Files {
    /// What becomes of a file when the process with this descriptor table moves from here. `at_home`: whether the process is homed here,
    /// so that its deputy can own the file.
    pub fn classify(&self, file: &File, facts: &Facts, owner: LockOwner, at_home: bool) -> Class {
        use Class::{
            Device,
            Forward,
            Memory,
            Proxy,
            Refused,
            Shared, //
        };
        let name = file::name(facts);
        if facts.path_only {
            return Refused(Reason::PathOnly);
        }
        if self.proxies.behind(file).is_some() {
            return Proxy;
        }
        if facts.anonymous {
            let known = ANONYMOUS.iter().find(|(known, _)| *known == name);
            return Refused(known.map_or(Reason::UnsupportedFile, |&(_, reason)| reason));
        }
        match facts.magic {
            PIDFS => return Refused(Reason::Pidfd),
            NSFS => return Refused(Reason::MountFile),
            _ => (),
        }
        if let Some(reason) = super::peculiar_mapping(file) {
            return Refused(reason);
        }
        if facts.flags & FASYNC != 0 {
            return Refused(Reason::FileOwner);
        }
        match facts.mode & S_IFMT {
            S_IFREG | S_IFDIR => {
                let locks = file::locks(file, owner);
                let memory = objects::can_go_along(file);
                if facts.unlinked && !memory {
                    Refused(Reason::DeletedFile)
                } else if locks.lock {
                    Refused(Reason::FileLock)
                } else if locks.lease {
                    Refused(Reason::FileLease)
                } else if memory {
                    Memory
                } else {
                    self.mounts
                        .of(facts)
                        .map_or(Refused(Reason::LocalFile), Shared)
                }
            }
            S_IFIFO if at_home => Forward,
            S_IFIFO => Refused(Reason::Pipe),
            S_IFCHR => match device(facts.rdev) {
                _ if is_stateless_device(facts.rdev) => Device,
                (MEM_MAJOR | MISC_MAJOR, _) => Refused(Reason::DeviceFile),
                _ if at_home && facts.can_read_iter && facts.can_write_iter => Forward,
                _ => Refused(Reason::DeviceFile),
            },
            S_IFBLK => Refused(Reason::DeviceFile),
            S_IFSOCK => Refused(Reason::Socket),
            S_IFLNK => Refused(Reason::PathOnly),
            _ => Refused(Reason::UnsupportedFile),
        }
    }
}
