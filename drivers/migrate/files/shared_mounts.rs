// SPDX-License-Identifier: GPL-2.0

//! Which mounts of this node other nodes have too: one list, told by `banyanctl serve`, owned by [`Files`](super::Files).
//!
//! A mount is the same as one of another node if both have the same identity: the same server and export. The name of the file system
//! does not count. A file of such a mount is then named by that identity and its inode number.

use banyan_wire::{
    image_files::MOUNT_ID,
    uapi::{
        MountRecord,
        Mounts,
        MAX_MOUNTS, //
    },
    Wire, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};
use kernel_ext::file::Facts;

/// Identity of a mount.
pub type MountId = [u8; MOUNT_ID];

/// The list.
#[pin_data]
pub struct SharedMounts {
    #[pin]
    list: Mutex<KVec<(u32, MountId)>>,
}

impl SharedMounts {
    /// An empty one: no mount is shared.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            list <- new_mutex!(KVec::new(), "banyan mounts"),
        })
    }

    /// The identity of the mount that a file is on, if it is shared.
    pub fn of(&self, facts: &Facts) -> Option<MountId> {
        let device = device_of(facts.dev);
        self.list
            .lock()
            .iter()
            .find(|&&(dev, _)| dev == device)
            .map(|&(_, id)| id)
    }

    /// Replaces the list by what the caller of the ioctl [`uapi::MOUNTS`](banyan_wire::uapi::MOUNTS) tells. The caller is trusted: to be
    /// called only for root.
    ///
    /// # Errors
    ///
    /// `EINVAL`, `E2BIG`, `EFAULT`, `ENOMEM`.
    pub fn tell(&self, argument: usize) -> Result {
        let mut head = [0u8; Mounts::SIZE];
        UserSlice::new(UserPtr::from_addr(argument), head.len())
            .reader()
            .read_slice(&mut head)?;
        let told = Mounts::decode(&head).map_err(|_| EINVAL)?;
        if (told.size as usize) < Mounts::SIZE {
            return Err(EINVAL);
        }
        if told.size as usize > Mounts::SIZE || told.count > MAX_MOUNTS {
            return Err(E2BIG);
        }
        let bytes = (told.count as usize)
            .checked_mul(MountRecord::SIZE)
            .ok_or(E2BIG)?;
        let mut reader =
            UserSlice::new(UserPtr::from_addr(usize::try_from(told.buf)?), bytes).reader();
        let mut list = KVec::with_capacity(told.count as usize, GFP_KERNEL)?;
        for _ in 0..told.count {
            let mut record = [0u8; MountRecord::SIZE];
            reader.read_slice(&mut record)?;
            let record = MountRecord::decode(&record).map_err(|_| EINVAL)?;
            if record._pad != 0 || record.id == [0; MOUNT_ID] {
                return Err(EINVAL);
            }
            list.push((record.dev, record.id), GFP_KERNEL)?;
        }
        let former = core::mem::replace(&mut *self.list.lock(), list);
        drop(former);
        Ok(())
    }
}

/// A device number as the interface has it (`major << 20 | minor`), from the form that `stat` has (`new_encode_dev`).
fn device_of(encoded: u32) -> u32 {
    let major = (encoded >> 8) & 0xfff;
    let minor = (encoded & 0xff) | ((encoded >> 12) & 0xfff00);
    (major << 20) | minor
}
