// SPDX-License-Identifier: GPL-2.0

//! Kinds: open files, the working and the root directory, the program file.
//!
//! What becomes of each open file is decided by one table, [`Files::classify`](crate::files::Files::classify).

use banyan_wire::{
    ids,
    image_files::{
        self,
        Description,
        Descriptor,
        Device,
        FileIdentity,
        Forwarded,
        Memory,
        Place,
        Source,
        MAX_DESCRIPTORS,
        MAX_PATH,
        MAX_RECORD, //
    },
    Reason,
    Wire, //
};
use kernel::{
    fs::File,
    prelude::*,
    str::CString,
    sync::{
        aref::ARef,
        Arc, //
    },
};
use kernel_ext::file_numbers::{
    O_ACCMODE,
    O_RDONLY,
    O_WRONLY,
    S_IFMT,
    S_IFREG, //
};
use kernel_ext::{
    fdtable,
    file::{
        self,
        Facts, //
    },
    own::Own,
    paths::Directory,
    subject::Subject, //
};

use super::Kind;
use crate::{
    capture::Capture,
    files::{
        self,
        classify::Class,
        owner,
        proxy,
        Files, //
    },
    reasons::Reasons,
    rebuild::Rebuild, //
};

/// Open files.
pub static FILES: Kind = Kind {
    name: "open files",
    carried: "regular files and directories on shared mounts (offset, flags, close-on-exec, shared descriptions); pipes, fifos, \
              terminals and other character devices, regular files whose offset another process shares, and files on local mounts that are only \
              written or are the standard input: they stay at home and are used through proxies; memfds and removed files of a tmpfs that \
              nobody else has open; null, zero, full, random, urandom",
    refused: "sockets (socket), epoll (epoll), eventfd (eventfd), signalfd (signalfd), timerfd (timerfd), inotify (inotify), pidfd (pidfd), \
              io_uring (io-uring), descriptors of namespaces and BPF (mount-file), devices that cannot be forwarded (device-file), pipes made \
              while away (pipe), other special descriptors (unsupported-file); other files on local mounts (local-file), other deleted files \
              (deleted-file), files with locks or leases (file-lock, file-lease), shared offsets of directories and of mapped files \
              (shared-description), O_PATH (path-only), O_ASYNC (file-owner), more than 4096 descriptors (too-many-files)",
    check: check_files,
    capture: capture_files,
    undo: undo_files,
    restore: restore_files,
    finish: finish_files,
    committed: committed_files,
    leave: leave_files,
};

/// The working and the root directory.
pub static DIRECTORIES: Kind = Kind {
    name: "directories",
    carried: "the working directory, if it lies on a shared mount",
    refused: "another root directory than the node's (root-not-shared), a working directory on a local mount (cwd-not-shared)",
    check: check_directories,
    capture: capture_directories,
    restore: restore_directories,
    ..Kind::NOTHING
};

/// The program file.
pub static PROGRAM: Kind = Kind {
    name: "program file",
    carried: "the program file (/proc/PID/exe), if it lies on a shared mount",
    refused: "a program file on a local mount or removed (exe-not-shared)",
    check: check_program,
    capture: capture_program,
    restore: restore_program,
    ..Kind::NOTHING
};

/// What the capture of open files keeps until the move is over.
#[derive(Default)]
pub struct Captured {
    /// The proxies that the process has here.
    proxies: KVVec<ARef<File>>,
    /// Files were put into the table of owned files.
    owned: bool,
}

/// What the rebuilding of open files keeps until the commit.
#[derive(Default)]
pub struct Rebuilt {
    /// Files that the task had before. Their last references go when the task leaves the kernel, since a call on one may be under way.
    former: KVVec<ARef<File>>,
    emptied: bool,
    /// Open files by number.
    descriptions: KVVec<(u32, ARef<File>)>,
}

/// The open files of a process: each once, with the number of descriptors that name it.
struct Opened {
    file: ARef<File>,
    /// Lowest descriptor.
    fd: u32,
    descriptors: u64,
}

fn add(list: &mut KVVec<Opened>, fd: u32, file: ARef<File>) -> Result<usize> {
    if let Some(at) = list.iter().position(|known| file::same(&known.file, &file)) {
        if let Some(known) = list.get_mut(at) {
            known.descriptors = known.descriptors.saturating_add(1);
        }
        return Ok(at);
    }
    list.push(
        Opened {
            file,
            fd,
            descriptors: 1,
        },
        GFP_KERNEL,
    )?;
    Ok(list.len().saturating_sub(1))
}

/// Whether somebody else has the open file too, and an offset that is worth sharing.
fn offset_shared(subject: &Subject, opened: &Opened, facts: &Facts, mine: u64) -> bool {
    let own = opened
        .descriptors
        .saturating_add(mine)
        .saturating_add(subject.mapped_references(&opened.file));
    facts.references > own
}

/// Whether the process is homed here, so that its files can stay here.
fn at_home(pid: i32) -> bool {
    let home = ids::home_of(pid);
    home.is_none() || home == banyan::this_node()
}

/// Whether a regular file that cannot be opened again elsewhere can stay here and be used from there: if the process will miss nothing
/// that a proxy lacks, which are mappings and reading and writing at an offset of its own choice.
fn can_be_forwarded(subject: &Subject, opened: &Opened, facts: &Facts) -> bool {
    let streamed = match facts.flags & O_ACCMODE {
        O_WRONLY => true,
        // Input that was redirected.
        O_RDONLY => opened.fd == 0,
        _ => false,
    };
    streamed && facts.mode & S_IFMT == S_IFREG && subject.mapped_references(&opened.file) == 0
}

/// What becomes of an open file, with regard to who else has it: one whose offset another process shares stays here if it can, so that
/// there is one offset. `mine`: the references to it that the caller holds.
fn class_of(
    files: &Files,
    subject: &Subject,
    opened: &Opened,
    facts: &Facts,
    at_home: bool,
    mine: u64,
) -> Class {
    let class = files.classify(&opened.file, facts, subject.lock_owner(), at_home);
    match class {
        Class::Shared(_) | Class::Proxy if offset_shared(subject, opened, facts, mine) => {
            let regular = matches!(class, Class::Shared(_)) && facts.mode & S_IFMT == S_IFREG;
            // A proxy cannot be mapped.
            if regular && at_home && subject.mapped_references(&opened.file) == 0 {
                Class::Forward
            } else {
                Class::Refused(Reason::SharedDescription)
            }
        }
        // A domain's judgement on truncation, once given, is bound to the open file.
        Class::Shared(_)
            if facts.flags & O_ACCMODE != O_RDONLY && file::truncation_denied(&opened.file) =>
        {
            if at_home && can_be_forwarded(subject, opened, facts) {
                Class::Forward
            } else {
                Class::Refused(Reason::Landlock)
            }
        }
        Class::Refused(Reason::LocalFile)
            if at_home && can_be_forwarded(subject, opened, facts) =>
        {
            Class::Forward
        }
        class => class,
    }
}

fn check_files(subject: &Subject, reasons: &mut Reasons) {
    let Ok(files) = files::files() else {
        reasons.push(Reason::NotServing, 0);
        return;
    };
    if subject.lock_owner().shared {
        reasons.push(Reason::SharedFiles, 0);
    }
    let at_home = at_home(subject.pid());
    let mut list = KVVec::new();
    let mut count = 0usize;
    let mut short = false;
    subject.for_each_descriptor(|fd, file| {
        count = count.saturating_add(1);
        short = add(&mut list, fd, file).is_err();
        !short && count <= MAX_DESCRIPTORS
    });
    if short {
        reasons.push(Reason::NoMemory, 0);
    }
    if count > MAX_DESCRIPTORS {
        reasons.push(Reason::TooManyFiles, 0);
    }
    for opened in &list {
        let facts = file::facts(&opened.file);
        // The one reference beyond those of the process is that of the list. One that waits in `poll` holds more to each file that it waits
        // for; of the files here that have one offset, none can be waited for but a proxy. Whether that is shared is seen at the border.
        let class = if files.proxies.behind(&opened.file).is_some() {
            Class::Proxy
        } else {
            class_of(&files, subject, opened, &facts, at_home, 1)
        };
        if let Class::Refused(reason) = class {
            reasons.push(reason, opened.fd);
        }
    }
}

fn capture_files(own: &Own, capture: &mut Capture) -> Result {
    let files = files::files()?;
    let descriptors = own.descriptors(MAX_DESCRIPTORS)?;
    let mut list = KVVec::new();
    let mut ids = KVVec::with_capacity(descriptors.len(), GFP_KERNEL)?;
    for fdtable::Descriptor { fd, file, .. } in &descriptors {
        ids.push(add(&mut list, *fd, file.clone())?, GFP_KERNEL)?;
    }
    for (id, opened) in list.iter().enumerate() {
        capture_description(capture, &files, u32::try_from(id)?, opened)?;
    }
    for (descriptor, &id) in descriptors.iter().zip(&ids) {
        let record = Descriptor {
            fd: descriptor.fd,
            description: u32::try_from(id)?,
            close_on_exec: descriptor.close_on_exec.into(),
        };
        capture.value(image_files::DESCRIPTOR, image_files::VERSION, &record)?;
    }
    Ok(())
}

fn capture_description(
    capture: &mut Capture,
    files: &Arc<Files>,
    id: u32,
    opened: &Opened,
) -> Result {
    let journey = capture.journey;
    let subject = Subject::current();
    let facts = file::facts(&opened.file);
    // The list of descriptors has a reference for each, the list of open files one.
    let mine = opened.descriptors.saturating_add(1);
    let at_home = journey.home == journey.source;
    let source = match class_of(files, &subject, opened, &facts, at_home, mine) {
        Class::Refused(reason) => {
            pr_notice!(
                "{}: descriptor {}: {}\n",
                journey.pid,
                opened.fd,
                reason.text()
            );
            return Err(EBUSY);
        }
        Class::Shared(_) => {
            if facts.mode & S_IFMT == S_IFREG && facts.flags & O_ACCMODE != O_RDONLY {
                file::write_back(&opened.file)?;
            }
            // Its size and time are those after writing back.
            Source::Shared(files.identity(&file::facts(&opened.file)).ok_or(EXDEV)?)
        }
        Class::Device => Source::Device(Device { rdev: facts.rdev }),
        Class::Memory => {
            let objects = capture.memory.objects.as_ref().ok_or(EINVAL)?;
            let object = objects.number_of(&opened.file).ok_or(EBUSY)?;
            Source::Memory(Memory { object })
        }
        Class::Forward => {
            let handle = owner::handle(journey.pid, journey.moves, id);
            files
                .owned
                .add(handle, opened.file.clone(), journey.target)?;
            capture.files.owned = true;
            Source::Forwarded(Forwarded {
                owner: journey.source,
                handle,
                stat: owner::stat_of(&facts),
            })
        }
        Class::Proxy => {
            let there = files.proxies.behind(&opened.file).ok_or(EIO)?.there;
            capture
                .files
                .proxies
                .push(opened.file.clone(), GFP_KERNEL)?;
            Source::Forwarded(there)
        }
    };
    let description = Description {
        id,
        flags: facts.flags,
        position: facts.position.max(0),
        source,
    };
    let mut buffer = KVec::from_elem(0u8, MAX_PATH, GFP_KERNEL)?;
    let path = file::path(&opened.file, &mut buffer)?;
    let mut record = KVec::from_elem(0u8, MAX_RECORD, GFP_KERNEL)?;
    let len = description.encode(path, &mut record).map_err(|_| EINVAL)?;
    capture.record(
        image_files::DESCRIPTION,
        image_files::VERSION,
        record.get(..len).ok_or(EINVAL)?,
    )
}

fn undo_files(_own: &Own, capture: &mut Capture) {
    if core::mem::take(&mut capture.files).owned {
        if let Ok(files) = files::files() {
            files
                .owned
                .forget(capture.journey.pid, capture.journey.moves);
        }
    }
}

fn leave_files(own: &Own, capture: &mut Capture) {
    // The proxies go where the process goes: their last close here closes nothing at the owner.
    let captured = core::mem::take(&mut capture.files);
    if let Ok(files) = files::files() {
        for opened in &captured.proxies {
            if let Some(proxy) = files.proxies.behind(opened) {
                proxy.leave_open();
            }
        }
    }
    // What stays open here is in the table of owned files. The others are closed, so that nothing of them is held here.
    own.close_all();
}

/// Closes what the task had open before it becomes the process.
fn empty(own: &Own, rebuilt: &mut Rebuilt) -> Result {
    if !rebuilt.emptied {
        for descriptor in own.descriptors(MAX_DESCRIPTORS)? {
            rebuilt.former.push(descriptor.file, GFP_KERNEL)?;
        }
        own.close_all();
        rebuilt.emptied = true;
    }
    Ok(())
}

fn restore_files(
    own: &Own,
    rebuild: &mut Rebuild,
    rtype: u16,
    version: u16,
    payload: &[u8],
) -> Result<bool> {
    if !matches!(rtype, image_files::DESCRIPTION | image_files::DESCRIPTOR) {
        return Ok(false);
    }
    if version != image_files::VERSION {
        return Err(EBADMSG);
    }
    empty(own, &mut rebuild.files)?;
    if rtype == image_files::DESCRIPTION {
        let (description, path) = Description::decode(payload).map_err(|_| EBADMSG)?;
        let opened = restore_description(rebuild, &description, path).inspect_err(|error| {
            pr_notice!("file {} cannot be restored: {:?}\n", description.id, error)
        })?;
        if rebuild.files.descriptions.len() >= MAX_DESCRIPTORS {
            return Err(EBADMSG);
        }
        rebuild
            .files
            .descriptions
            .push((description.id, opened), GFP_KERNEL)?;
    } else {
        let descriptor = Descriptor::decode(payload).map_err(|_| EBADMSG)?;
        let (_, opened) = rebuild
            .files
            .descriptions
            .iter()
            .find(|(id, _)| *id == descriptor.description)
            .ok_or(EBADMSG)?;
        own.install(descriptor.fd, opened, descriptor.close_on_exec != 0)?;
    }
    Ok(true)
}

fn restore_description(
    rebuild: &mut Rebuild,
    description: &Description,
    path: &[u8],
) -> Result<ARef<File>> {
    let files = files::files()?;
    match &description.source {
        Source::Shared(identity) => {
            let opened = files.reopen(identity, path, description.flags)?;
            if description.position != 0 {
                file::seek(&opened, description.position, 0)?;
            }
            Ok(opened)
        }
        Source::Device(device) => files.reopen_device(device, path, description.flags),
        Source::Memory(memory) => {
            let opened = rebuild
                .memory
                .objects
                .open(memory.object, description.flags)?;
            if description.position != 0 {
                file::seek(&opened, description.position, 0)?;
            }
            Ok(opened)
        }
        Source::Forwarded(there) if Some(there.owner) == banyan::this_node() => {
            files.owned.get(there.handle).ok_or(EBADF)
        }
        Source::Forwarded(there) => {
            // A name is what /proc/PID/fd shows, no more.
            let name = core::str::from_utf8(path).unwrap_or("forwarded");
            let name = CString::try_from_fmt(fmt!("{}", name))?;
            proxy::make(&files, *there, &name, description.flags)
        }
    }
}

fn finish_files(own: &Own, rebuild: &mut Rebuild) -> Result {
    // For a process without a single descriptor.
    empty(own, &mut rebuild.files)
}

fn committed_files(_own: &Own, rebuild: &mut Rebuild) {
    let Ok(files) = files::files() else {
        return;
    };
    for (_, opened) in &rebuild.files.descriptions {
        if let Some(proxy) = files.proxies.behind(opened) {
            proxy.announce();
        }
    }
    rebuild.files.descriptions = KVVec::new();
}

fn check_directories(subject: &Subject, reasons: &mut Reasons) {
    let Some(directories) = subject.directories() else {
        return;
    };
    if !directories.root.is_init_root() {
        reasons.push(Reason::RootNotShared, 0);
    }
    let shared = files::files().is_ok_and(|files| place(&files, &directories.working).is_some());
    if !shared {
        reasons.push(Reason::CwdNotShared, 0);
    }
}

fn place(files: &Files, directory: &Directory) -> Option<Place> {
    let facts = directory.facts();
    if facts.unlinked {
        return None;
    }
    Some(Place {
        mount: files.mounts.of(&facts)?,
        ino: facts.ino,
    })
}

fn capture_directories(own: &Own, capture: &mut Capture) -> Result {
    let files = files::files()?;
    let directories = own.directories()?;
    if !directories.root.is_init_root() {
        return Err(EXDEV);
    }
    let place = place(&files, &directories.working).ok_or(EXDEV)?;
    let mut buffer = KVec::from_elem(0u8, MAX_PATH, GFP_KERNEL)?;
    let path = directories.working.path(&mut buffer)?;
    let mut record = KVec::from_elem(0u8, MAX_RECORD, GFP_KERNEL)?;
    let len = image_files::encode_with_path(&place, path, &mut record).map_err(|_| EINVAL)?;
    capture.record(
        image_files::WORKING_DIRECTORY,
        image_files::VERSION,
        record.get(..len).ok_or(EINVAL)?,
    )
}

fn restore_directories(
    own: &Own,
    _rebuild: &mut Rebuild,
    rtype: u16,
    version: u16,
    payload: &[u8],
) -> Result<bool> {
    if rtype != image_files::WORKING_DIRECTORY {
        return Ok(false);
    }
    if version != image_files::VERSION {
        return Err(EBADMSG);
    }
    let (place, path) = image_files::decode_with_path::<Place>(payload).map_err(|_| EBADMSG)?;
    let opened = files::files()?.reopen_place(&place, path)?;
    own.set_working_directory(&opened)?;
    Ok(true)
}

fn check_program(subject: &Subject, reasons: &mut Reasons) {
    let shared = subject.program_file().is_some_and(|program| {
        let facts = file::facts(&program);
        !facts.unlinked && files::files().is_ok_and(|files| files.mounts.of(&facts).is_some())
    });
    if !shared && !subject.exiting() {
        reasons.push(Reason::ExeNotShared, 0);
    }
}

fn capture_program(own: &Own, capture: &mut Capture) -> Result {
    let program = own.program_file().ok_or(ENOENT)?;
    let mut record = KVec::from_elem(0u8, MAX_RECORD, GFP_KERNEL)?;
    let len = files::describe(&program, &mut record)?;
    capture.record(
        image_files::PROGRAM_FILE,
        image_files::VERSION,
        record.get(..len).ok_or(EINVAL)?,
    )
}

fn restore_program(
    own: &Own,
    _rebuild: &mut Rebuild,
    rtype: u16,
    version: u16,
    payload: &[u8],
) -> Result<bool> {
    if rtype != image_files::PROGRAM_FILE {
        return Ok(false);
    }
    if version != image_files::VERSION {
        return Err(EBADMSG);
    }
    let (identity, path) =
        image_files::decode_with_path::<FileIdentity>(payload).map_err(|_| EBADMSG)?;
    let files = files::files()?;
    if let Some(program) = own.program_file() {
        let facts = file::facts(&program);
        if facts.ino == identity.ino && files.mounts.of(&facts) == Some(identity.mount) {
            // The deputy, or a move of `banyanctl` itself.
            return Ok(true);
        }
    }
    let opened = files.reopen(&identity, path, identity.flags & O_ACCMODE)?;
    own.set_program_file(&opened)?;
    Ok(true)
}
