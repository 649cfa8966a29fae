// SPDX-License-Identifier: GPL-2.0

//! Files of processes that move.
//!
//! A file on a mount that both nodes share is opened again where the process is ([`reopen`]). A pipe, terminal or other character device
//! stays where it was opened, its *owner node*: there a handle names it ([`owner`]), elsewhere a file of our own stands for it ([`proxy`]),
//! and what is done to the one is sent to the other ([`calls`]).
//!
//! There is one [`Files`], made when the module loads.

pub mod calls;
pub mod classify;
pub mod ioctls;
pub mod objects;
mod owned_table;
pub mod owner;
pub mod proxy;
pub mod reopen;
pub mod shared_mounts;

use banyan_wire::{
    image_files::{
        self,
        FileIdentity, //
    },
    op,
    uapi,
    NodeId,
    Reason, //
};
use kernel::{
    error::code::ENODEV,
    fs::File,
    prelude::*,
    sync::Arc, //
};
use kernel_ext::{
    clock,
    file::{
        self,
        Facts, //
    },
    global::Global,
    proxyfs::ProxyFs, //
};

use calls::Calls;
pub use owned_table::OwnedTable;
use owner::Owned;
use proxy::{
    Proxies,
    Proxy, //
};
use shared_mounts::SharedMounts;

/// How long after a change a file's time is asked of the server, seconds. Longer than any cache of attributes lives.
const RECENT_S: i64 = 120;

/// Everything about files that outlives one move.
#[pin_data]
pub struct Files {
    /// Where proxy files live.
    pub proxies: ProxyFs<Proxy>,
    /// Who waits for them to become ready.
    #[pin]
    pub list: Proxies,
    /// Mounts that other nodes have too.
    #[pin]
    pub mounts: SharedMounts,
    /// Operations that were sent to owners.
    #[pin]
    pub calls: Calls,
    /// Files that processes elsewhere use.
    #[pin]
    pub owned: Owned,
}

/// Magic numbers of the file systems of secret memory and of huge pages.
const SECRETMEM: u32 = 0x5345_434d;
const HUGETLBFS: u32 = 0x9584_58f6;

static FILES: Global<Files> = Global::new();

/// The one [`Files`] is up while this lives.
pub struct Up(());

/// Makes the one [`Files`]. To be called when the module loads.
///
/// # Errors
///
/// `ENOMEM`.
pub fn start(module: &'static ThisModule) -> Result<Up> {
    let files = Arc::pin_init(
        try_pin_init!(Files {
            proxies: ProxyFs::new(module)?,
            list <- Proxies::new(),
            mounts <- SharedMounts::new(),
            calls <- Calls::new(),
            owned <- Owned::new(),
        }),
        GFP_KERNEL,
    )?;
    drop(FILES.set(files));
    Ok(Up(()))
}

impl Drop for Up {
    fn drop(&mut self) {
        if let Some(files) = FILES.take() {
            files.owned.clear();
        }
    }
}

/// The one [`Files`].
///
/// # Errors
///
/// `ENODEV` while the module is being unloaded.
pub fn files() -> Result<Arc<Files>> {
    FILES.get().ok_or(ENODEV)
}

/// A message of the range [`op::FILE`] came. Does not sleep long.
pub fn message(from: NodeId, op: u16, payload: &[u8]) {
    let Ok(files) = files() else {
        return;
    };
    match op {
        op::FILE_OP => owner::request(&files, from, payload),
        op::FILE_CANCEL => files.owned.cancel(from, payload),
        op::FILE_RELEASE => files.owned.released(from, payload),
        op::FILE_HOLDER => files.owned.held_by(from, payload),
        op::FILE_OUTCOME => files.calls.outcome(from, payload),
        op::POLL_WAKE => proxy::woken(&files, from, payload),
        _ => (),
    }
}

/// A node is gone: what waits for it ends, what it used is closed.
pub fn node_down(node: NodeId) {
    if let Ok(files) = files() {
        files.calls.node_down(node);
        proxy::node_down(&files, node);
        files.owned.node_down(node);
    }
}

/// The ioctl [`uapi::MOUNTS`]. To be called only for root.
///
/// # Errors
///
/// Those of [`SharedMounts::tell`].
pub fn tell_mounts(argument: usize) -> Result<isize> {
    files()?.mounts.tell(argument)?;
    Ok(0)
}

// The ioctl is dispatched by the owner of the device's numbers.
const _: () = assert!(uapi::nr(uapi::MOUNTS) == 0x29);

impl Files {
    /// What makes a file of a shared mount the same elsewhere, if it is on one.
    pub fn identity(&self, facts: &Facts) -> Option<FileIdentity> {
        Some(FileIdentity {
            mount: self.mounts.of(facts)?,
            ino: facts.ino,
            size: facts.size,
            mtime_seconds: facts.mtime_seconds,
            mtime_nanoseconds: facts.mtime_nanoseconds,
            generation: facts.generation,
            mode: facts.mode,
            opener_uid: facts.opener_uid,
            opener_gid: facts.opener_gid,
            flags: facts.flags,
        })
    }
}

/// Why memory of a file like this can never move, if so.
pub fn peculiar_mapping(file: &File) -> Option<Reason> {
    match file::facts(file).magic {
        SECRETMEM => Some(Reason::SecretMemory),
        HUGETLBFS => Some(Reason::HugeTlb),
        _ => None,
    }
}

/// Why a file that memory maps keeps its process from moving, if so. Not for shared memory: see [`objects`].
pub fn mapping_refusal(file: &File) -> Option<Reason> {
    let facts = file::facts(file);
    let shared = files().is_ok_and(|files| files.mounts.of(&facts).is_some());
    match (shared, facts.unlinked) {
        (true, false) => None,
        (true, true) => Some(Reason::MappedDeletedFile),
        (false, _) => Some(Reason::MappedLocalFile),
    }
}

/// Writes the identity and the path of a file that memory maps, and returns their length. [`reopen::for_mapping`] takes them.
///
/// To be called in the context of the process. The file's data are written back by whoever maps it shared and writable.
///
/// # Errors
///
/// `EXDEV` if it is not on a shared mount, `ESTALE` if it was removed, `ENAMETOOLONG`.
pub fn describe(file: &File, out: &mut [u8]) -> Result<usize> {
    let mut facts = file::facts(file);
    // What was written a moment ago, from here or elsewhere, may have a time here that the server does not know; it may have been given
    // an old one since, as by `cp -p`.
    let changed = facts.mtime_seconds.max(facts.ctime_seconds);
    if changed.saturating_add(RECENT_S) > clock::realtime_ns() as i64 / 1_000_000_000 {
        file::refresh(file)?;
        facts = file::facts(file);
    }
    if facts.unlinked {
        return Err(ESTALE);
    }
    let identity = files()?.identity(&facts).ok_or(EXDEV)?;
    let mut buffer = KVec::from_elem(0u8, image_files::MAX_PATH, GFP_KERNEL)?;
    let path = file::path(file, &mut buffer)?;
    image_files::encode_with_path(&identity, path, out).map_err(|_| ENAMETOOLONG)
}
