// SPDX-License-Identifier: GPL-2.0

//! Shared memory without a name: memfds, `MAP_SHARED | MAP_ANONYMOUS`, removed files of a tmpfs.
//!
//! Each piece is an *object*. It goes along if nobody but the process can reach it: it is made anew at the target, with what is in it and
//! its holes, for all mappings and descriptors of the process together, so that it stays one. [`Objects`] are those of a process, found
//! anew for each check and each capture; [`Rebuilt`] are those that an image has brought so far.

use banyan_wire::{
    image_memory::{
        flags,
        object,
        SharedObject,
        Window,
        MAX_OBJECTS,
        MAX_OBJECT_NAME,
        MAX_WINDOW,
        PAGE_SIZE,
        SHARED_OBJECT,
        VERSION,
        WINDOW, //
    },
    Reason,
    Wire, //
};
use kernel::{
    fs::File,
    prelude::*,
    str::CString,
    sync::aref::ARef, //
};
use kernel_ext::{
    file,
    file_numbers::{
        FASYNC,
        O_CLOEXEC,
        O_LARGEFILE,
        O_PATH, //
    },
    memory::{
        Mapping,
        NewMapping, //
    },
    own::Own,
    pages::{
        Access,
        MAX_RUN, //
    },
    shared_memory::{
        self,
        Facts, //
    },
    subject::Subject,
    wait::{
        self,
        Interrupt, //
    }, //
};

use crate::capture::Capture;

const SEEK_DATA: u32 = 3;
const SEEK_HOLE: u32 = 4;

const F_SEAL_FUTURE_WRITE: u32 = 0x10;

/// Room for a path.
const PATH: usize = 4096;

/// An open file that stands for an object.
struct Holder {
    file: ARef<File>,
    /// References to it that the process holds: descriptors and mappings.
    held: u64,
    /// References that are held here and by the list of mappings.
    mine: u64,
    about: u32,
}

/// A name of an object, or what it has in place of one. Every open file refers to one.
struct Name {
    key: usize,
    /// References to it.
    users: u64,
    /// Open files of the process that refer to it.
    files: u64,
}

/// Shared memory that a process has.
pub struct Object {
    facts: Facts,
    /// One of the open files that stand for it.
    file: ARef<File>,
    names: KVec<Name>,
    alone: bool,
    about: u32,
}

/// All shared memory that a process has.
pub struct Objects(KVec<Object>);

/// Whether a file is one that the process can take along, if nobody else has it.
pub fn can_go_along(file: &File) -> bool {
    shared_memory::facts(file).is_some_and(|facts| facts.removed && !facts.linkable && !facts.sysv)
}

fn note(holders: &mut KVec<Holder>, file: &ARef<File>, listed: u64, about: u32) -> Result {
    if let Some(known) = holders
        .iter_mut()
        .find(|known| file::same(&known.file, file))
    {
        known.held = known.held.saturating_add(1);
        known.mine = known.mine.saturating_add(listed);
        return Ok(());
    }
    holders.push(
        Holder {
            file: file.clone(),
            held: 1,
            mine: listed.saturating_add(1),
            about,
        },
        GFP_KERNEL,
    )?;
    Ok(())
}

/// How often it is looked again whether really somebody else has one, and after how long, milliseconds: whoever looks at a process has its
/// files for that time.
const LOOKS: u32 = 4;
const LOOK_AGAIN_MS: u32 = 20;

impl Objects {
    /// Those of a process with these mappings. The caller holds one reference to the file of each mapping, and no other to its files.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `E2BIG`.
    pub fn of(subject: &Subject, mappings: &[Mapping]) -> Result<Self> {
        let mut objects = Self::seen(subject, mappings)?;
        for _ in 1..LOOKS {
            if objects.0.iter().all(|object| object.alone) {
                break;
            }
            let _ = wait::sleep(Interrupt::Killable, LOOK_AGAIN_MS);
            drop(objects);
            objects = Self::seen(subject, mappings)?;
        }
        Ok(objects)
    }

    /// Those of a process with these mappings, as they are this moment. The caller holds one reference to the file of each mapping, and no other to its files.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `E2BIG`.
    fn seen(subject: &Subject, mappings: &[Mapping]) -> Result<Self> {
        let mut holders = KVec::new();
        for mapping in mappings {
            if let Some(file) = mapping.file.as_ref().filter(|file| shared_memory::is(file)) {
                let page = mapping.start as u64 / PAGE_SIZE;
                note(&mut holders, file, 1, u32::try_from(page).unwrap_or(0))?;
            }
        }
        let mut result = Ok(());
        subject.for_each_descriptor(|fd, file| {
            // With a name, and not mapped, it is a file like any other.
            if shared_memory::facts(&file).is_some_and(|facts| facts.removed) {
                result = note(&mut holders, &file, 0, fd);
            }
            result.is_ok()
        });
        result?;
        let mut objects = Self(KVec::new());
        for holder in &holders {
            objects.add(holder)?;
        }
        if objects.0.len() > MAX_OBJECTS {
            return Err(E2BIG);
        }
        for object in &mut objects.0 {
            // A file system refers to what has a name by that.
            let named = u64::from(!object.facts.removed);
            object.alone &= object
                .names
                .iter()
                .all(|name| name.users <= name.files.saturating_add(named))
                && object.facts.inode_users <= object.names.len() as u64;
        }
        Ok(objects)
    }

    fn add(&mut self, holder: &Holder) -> Result {
        let Some(facts) = shared_memory::facts(&holder.file) else {
            return Ok(());
        };
        let (key, name) = (shared_memory::key(&facts), shared_memory::name_key(&facts));
        let (file_users, users) = (facts.file_users, facts.dentry_users);
        let at = self
            .0
            .iter()
            .position(|known| shared_memory::key(&known.facts) == key);
        if at.is_none() {
            self.0.push(
                Object {
                    facts,
                    file: holder.file.clone(),
                    names: KVec::new(),
                    alone: true,
                    about: holder.about,
                },
                GFP_KERNEL,
            )?;
        }
        // The clone above counts as well, but the facts are older.
        let at = at.unwrap_or(self.0.len().saturating_sub(1));
        let object = self.0.get_mut(at).ok_or(EINVAL)?;
        object.alone &= file_users <= holder.held.saturating_add(holder.mine);
        match object.names.iter_mut().find(|known| known.key == name) {
            Some(known) => known.files = known.files.saturating_add(1),
            None => object.names.push(
                Name {
                    key: name,
                    users,
                    files: 1,
                },
                GFP_KERNEL,
            )?,
        }
        Ok(())
    }

    /// Every reason why one of them cannot go along, with the page or the descriptor that it is about.
    pub fn refusals(&self, mut tell: impl FnMut(Reason, u32)) {
        for object in &self.0 {
            let facts = &object.facts;
            for (yes, reason) in [
                (facts.sysv, Reason::SysvShm),
                (!facts.removed, Reason::NamedSharedMemory),
                (facts.linkable, Reason::DeletedFile),
                (facts.policy, Reason::MemoryPolicy),
                (facts.extras, Reason::NotCarried),
                (!object.alone && !facts.sysv, Reason::SharedMemory),
            ] {
                if yes {
                    tell(reason, object.about);
                }
            }
        }
    }

    /// The number in the image of the object that a file stands for.
    pub fn number_of(&self, file: &File) -> Option<u32> {
        let key = shared_memory::key(&shared_memory::facts(file)?);
        let at = self
            .0
            .iter()
            .position(|object| shared_memory::key(&object.facts) == key)?;
        u32::try_from(at).ok()?.checked_add(1)
    }

    /// Writes the records that describe them.
    ///
    /// # Errors
    ///
    /// Those of sending, `ENOMEM`.
    pub fn describe(&self, capture: &mut Capture) -> Result {
        let mut path = KVec::from_elem(0u8, PATH, GFP_KERNEL)?;
        let mut record = KVec::from_elem(
            0u8,
            SharedObject::SIZE
                .saturating_add(MAX_OBJECT_NAME)
                .saturating_add(8),
            GFP_KERNEL,
        )?;
        for (index, object) in self.0.iter().enumerate() {
            let facts = &object.facts;
            let flag = |yes: bool, bit: u32| if yes { bit } else { 0 };
            let it = SharedObject {
                number: u32::try_from(index)?.saturating_add(1),
                flags: flag(facts.no_reserve, object::NO_RESERVE)
                    | flag(facts.secret, object::ANONYMOUS),
                size: facts.size,
                ino: facts.ino,
                atime: facts.atime,
                mtime: facts.mtime,
                ctime: facts.ctime,
                mode: facts.mode,
                uid: facts.uid,
                gid: facts.gid,
                seals: facts.seals,
            };
            let name = name_in(file::path(&object.file, &mut path)?);
            let len = it.encode_named(name, &mut record).map_err(|_| EINVAL)?;
            capture.record(SHARED_OBJECT, VERSION, record.get(..len).ok_or(EINVAL)?)?;
        }
        Ok(())
    }

    /// They are elsewhere now: frees what is in them. A deputy lets go of its files for good only when it leaves the kernel.
    pub fn discard(&self) {
        for object in &self.0 {
            shared_memory::empty(&object.file);
        }
    }

    /// Sends what is in them.
    ///
    /// # Errors
    ///
    /// Those of mapping and sending; `EINTR` on a fatal signal.
    pub fn send(&self, own: &Own, capture: &mut Capture) -> Result {
        for (index, object) in self.0.iter().enumerate() {
            object.send(own, capture, u32::try_from(index)?.saturating_add(1))?;
        }
        Ok(())
    }
}

/// The name for which the kernel shows this path: without the slash before it, and what stands behind it for a removed file.
fn name_in(path: &[u8]) -> &[u8] {
    let name = path.strip_prefix(b"/").unwrap_or(path);
    let name = name.strip_suffix(b" (deleted)").unwrap_or(name);
    name.get(..MAX_OBJECT_NAME).unwrap_or(name)
}

impl Object {
    /// Maps it piece by piece, so that its pages can be sent as those of private memory are.
    fn send(&self, own: &Own, capture: &mut Capture, number: u32) -> Result {
        let reader = shared_memory::open_again(&self.file, O_LARGEFILE)?;
        let size = self
            .facts
            .size
            .checked_next_multiple_of(PAGE_SIZE)
            .ok_or(EOVERFLOW)?;
        let mut at = 0;
        while at < size {
            let Some(data) = next(&reader, at, SEEK_DATA)? else {
                break;
            };
            let offset = data & !(PAGE_SIZE - 1);
            let len = size.saturating_sub(offset).min(MAX_WINDOW);
            let place = NewMapping {
                len: usize::try_from(len)?,
                read: true,
                shared: true,
                offset,
                ..Default::default()
            };
            let start = own.map(&place, Some(&reader))?;
            let window = Window {
                start: start as u64,
                len,
                offset,
                object: number,
                _pad: 0,
            };
            let sent = self.send_window(own, capture, &reader, &window);
            own.unmap(start, start.saturating_add(place.len))?;
            sent?;
            at = offset.saturating_add(len);
        }
        Ok(())
    }

    fn send_window(
        &self,
        own: &Own,
        capture: &mut Capture,
        reader: &File,
        window: &Window,
    ) -> Result {
        capture.value(WINDOW, VERSION, window)?;
        let end = window.offset.saturating_add(window.len);
        let mut at = window.offset;
        while at < end {
            let Some(data) = next(reader, at, SEEK_DATA)?.filter(|&data| data < end) else {
                break;
            };
            let hole = next(reader, data, SEEK_HOLE)?.unwrap_or(end).min(end);
            let from = data & !(PAGE_SIZE - 1);
            let to = hole.next_multiple_of(PAGE_SIZE).min(end);
            let mut left = usize::try_from(to.saturating_sub(from) / PAGE_SIZE)?;
            let address = window
                .start
                .saturating_add(from.saturating_sub(window.offset));
            let mut address = usize::try_from(address)?;
            while left > 0 {
                if own.fatal_signal_pending() {
                    return Err(EINTR);
                }
                let count = left.min(MAX_RUN);
                let run = own.pin(address, count, Access::Read)?;
                // Nobody can tell a page of zeros from a hole where no descriptor is.
                capture.pages(address, run, self.facts.secret)?;
                address = address.saturating_add(count.saturating_mul(PAGE_SIZE as usize));
                left = left.saturating_sub(count);
            }
            at = to.max(at.saturating_add(PAGE_SIZE));
        }
        Ok(())
    }
}

/// Where the next data or the next hole begins, if there is one.
fn next(reader: &File, at: u64, what: u32) -> Result<Option<u64>> {
    match file::seek(reader, i64::try_from(at)?, what) {
        Ok(found) => Ok(Some(u64::try_from(found)?)),
        Err(e) if e == ENXIO => Ok(None),
        Err(e) => Err(e),
    }
}

/// An object that was made anew.
struct Made {
    number: u32,
    /// For reading and writing.
    file: ARef<File>,
    /// For mappings that only read.
    reader: Option<ARef<File>>,
    seals: u32,
}

/// Objects that an image has brought so far. Those that are not [kept](Self::keep) are emptied in the end.
#[derive(Default)]
pub struct Rebuilt {
    made: KVec<Made>,
    window: Option<(usize, usize)>,
}

impl Rebuilt {
    fn find(&mut self, number: u32) -> Result<&mut Made> {
        self.made
            .iter_mut()
            .find(|made| made.number == number)
            .ok_or(EBADMSG)
    }

    /// Makes the object of a record.
    ///
    /// # Errors
    ///
    /// `EBADMSG`, `ENOMEM`, `EINVAL`.
    pub fn make(&mut self, payload: &[u8]) -> Result {
        let (it, name) = SharedObject::decode_named(payload).map_err(|_| EBADMSG)?;
        if self.made.len() >= MAX_OBJECTS || self.find(it.number).is_ok() {
            return Err(EBADMSG);
        }
        let name = core::str::from_utf8(name).unwrap_or("memory");
        let name = CString::try_from_fmt(fmt!("{}", name))?;
        let facts = Facts {
            size: it.size,
            ino: it.ino,
            atime: it.atime,
            mtime: it.mtime,
            ctime: it.ctime,
            mode: it.mode,
            uid: it.uid,
            gid: it.gid,
            secret: it.flags & object::ANONYMOUS != 0,
            no_reserve: it.flags & object::NO_RESERVE != 0,
            ..Default::default()
        };
        self.made.push(
            Made {
                number: it.number,
                file: shared_memory::make(&facts, &name)?,
                reader: None,
                seals: it.seals,
            },
            GFP_KERNEL,
        )?;
        Ok(())
    }

    /// Maps one, with the [`flags`] of its area.
    ///
    /// # Errors
    ///
    /// `EBADMSG` if there is no such object, and those of mapping.
    pub fn map(&mut self, own: &Own, number: u32, new: &NewMapping, area: u32) -> Result {
        let made = self.find(number)?;
        if area & flags::READ_ONLY != 0 {
            let reader = match made.reader.take() {
                Some(reader) => reader,
                None => shared_memory::open_again(&made.file, O_LARGEFILE)?,
            };
            let reader = made.reader.insert(reader);
            own.map(new, Some(reader))?;
            return Ok(());
        }
        if area & flags::WRITE_SEALED == 0 {
            own.map(new, Some(&made.file))?;
            return Ok(());
        }
        // It was mapped when it was sealed already; others may be from before.
        shared_memory::seal(&made.file, F_SEAL_FUTURE_WRITE)?;
        let mapped = own.map(new, Some(&made.file));
        shared_memory::seal(&made.file, 0)?;
        mapped.map(|_| ())
    }

    /// Another open file for one, with the status flags and access mode of a descriptor.
    ///
    /// # Errors
    ///
    /// `EBADMSG` if there is no such object, and those of `open(2)`.
    pub fn open(&mut self, number: u32, flags: u32) -> Result<ARef<File>> {
        let made = self.find(number)?;
        shared_memory::open_again(
            &made.file,
            (flags & !(FASYNC | O_CLOEXEC | O_PATH)) | O_LARGEFILE,
        )
    }

    /// Maps a part of one for a while, so that pages that come next find it by their addresses.
    ///
    /// # Errors
    ///
    /// `EBADMSG` if there is no such object or part, and those of mapping.
    pub fn show(&mut self, own: &Own, payload: &[u8]) -> Result {
        let window = Window::decode(payload).map_err(|_| EBADMSG)?;
        window.check().map_err(|_| EBADMSG)?;
        self.hide(own)?;
        let made = self.find(window.object)?;
        let start = usize::try_from(window.start)?;
        let len = usize::try_from(window.len)?;
        own.map(
            &NewMapping {
                start,
                len,
                read: true,
                write: true,
                shared: true,
                offset: window.offset,
                ..Default::default()
            },
            Some(&made.file),
        )?;
        self.window = Some((start, start.saturating_add(len)));
        Ok(())
    }

    fn hide(&mut self, own: &Own) -> Result {
        if let Some((start, end)) = self.window.take() {
            own.unmap(start, end)?;
        }
        Ok(())
    }

    /// All pages are there: the seals come into force.
    ///
    /// # Errors
    ///
    /// `EINTR` on a fatal signal, `EBUSY` if a mapping contradicts the seals.
    pub fn finish(&mut self, own: &Own) -> Result {
        self.hide(own)?;
        for made in &self.made {
            shared_memory::seal(&made.file, made.seals)?;
        }
        Ok(())
    }

    /// The process has them.
    pub fn keep(&mut self) {
        self.made = KVec::new();
    }
}

impl Drop for Rebuilt {
    fn drop(&mut self) {
        for made in &self.made {
            shared_memory::empty(&made.file);
        }
    }
}

/// The flags of an area that say how an object was mapped.
pub fn area_flags(mapping: &Mapping) -> u32 {
    match (
        mapping.mapped_shared(),
        mapping.shared(),
        mapping.may_write(),
    ) {
        (true, false, _) => flags::READ_ONLY,
        (true, true, false) => flags::WRITE_SEALED,
        _ => 0,
    }
}
