// SPDX-License-Identifier: GPL-2.0

//! Memory: the address space with its mappings, its private pages, its bounds and its vDSO.
//!
//! Private pages travel, in batches of 1 MiB; pages that are untouched, or just those of a file, are mapped at the target from the
//! file itself. What was written to a shared mapping of a file is written back before, and read from there. Shared memory that nobody else
//! has goes along: see [`objects`].

use super::{
    memory_check::{
        check,
        check_mappings,
        check_whole,
        vdso, //
    },
    Kind, //
};
use crate::{
    capture::Capture,
    files::{
        self,
        objects::{
            self,
            Objects, //
        }, //
    },
    reasons::Reasons,
    rebuild::Rebuild, //
};
use banyan_wire::{
    image_memory::{
        self as records,
        barriers,
        flags,
        protection,
        Area,
        Backing,
        Extent,
        Extents,
        Layout,
        Settings,
        MAX_GUARDS, //
    },
    Wire, //
};
use kernel::{
    fs::File,
    prelude::*,
    sync::aref::ARef, //
};
use kernel_ext::{
    file,
    memory::{
        Advice,
        Bounds,
        Mapping,
        NewMapping,
        PAGE_SIZE, //
    },
    own::Own,
    pages::{
        Access,
        MAX_RUN,
        SCAN, //
    },
    shared_memory,
    subject::Subject,
    syscalls, //
};

/// This kind.
pub static KIND: Kind = Kind {
    name: "memory",
    carried: "anonymous memory, private mappings of files with their modified pages, shared mappings of files on shared mounts, shared memory \
              that nobody else has (MAP_SHARED with MAP_ANONYMOUS, memfd, removed files of /dev/shm and other tmpfs: holes, size, seals, \
              descriptors), stack and heap that still grow, guard gaps and guard pages (MADV_GUARD_INSTALL), protection, advice, droppable \
              memory, the layout of the address space, the vDSO at its address, core dump filter, registrations for membarrier",
    refused: "shared memory that another process maps or has open (shared-memory), System V shared memory (sysv-shm), files of /dev/shm or \
              another tmpfs that still have their names (named-shared-memory), shared mappings of files that another process maps, if one of \
              them can write (shared-mapping), device memory (device-mapping), hugetlbfs (hugetlb), secret memory (secret-memory), locked \
              memory (locked-memory), userfaultfd (userfaultfd), protection keys (protection-keys), shadow stacks (shadow-stack), sealed \
              mappings (sealed-mapping), NUMA policies (memory-policy), merging by prctl (ksm), PR_SET_MDWE (mdwe), local descriptor tables \
              (ldt), uprobes (uprobes), tagged addresses (cpu-mode), mapped files that are removed (mapped-deleted-file) or not on a shared \
              mount (mapped-local-file), flags of mappings that are not known to be carried (special-mapping)",
    check,
    capture,
    restore,
    finish,
    committed,
    leave,
    ..Kind::NOTHING
};

/// Most bytes of the description of a mapped file.
const DESCRIPTION: usize = 8 * 1024;

/// What is kept from the capture of the memory for that of the files.
#[derive(Default)]
pub struct Captured {
    /// Shared memory that goes along.
    pub objects: Option<Objects>,
}

/// What is kept while the memory is rebuilt.
#[derive(Default)]
pub struct Rebuilt {
    emptied: bool,
    files: KVec<(u32, ARef<File>)>,
    settings: Option<Settings>,
    /// Memory that is reserved, though it cannot be written to in the end.
    accounted: KVVec<Accounted>,
    /// Shared memory.
    pub objects: objects::Rebuilt,
}

/// A mapping that is writable until all pages are there.
struct Accounted {
    start: usize,
    len: usize,
    protection: u32,
    anonymous: bool,
}

/// The bit of the image for each advice, and its number for `madvise`.
const ADVICE: [(Advice, u32, i32); 8] = [
    (Advice::DontFork, flags::DONT_FORK, 10),
    (Advice::DontDump, flags::DONT_DUMP, 16),
    (Advice::WipeOnFork, flags::WIPE_ON_FORK, 18),
    (Advice::Huge, flags::HUGE, 14),
    (Advice::NoHuge, flags::NO_HUGE, 15),
    (Advice::Mergeable, flags::MERGEABLE, 12),
    (Advice::Sequential, flags::SEQUENTIAL, 2),
    (Advice::Random, flags::RANDOM, 1),
];

/// `MADV_GUARD_INSTALL`.
const GUARD: i32 = 102;

/// What each bit of the image means to the kernel that a process has registered, and to `membarrier` that it wants to.
const BARRIERS: [(u32, u32, u32); 4] = [
    (barriers::PRIVATE, 1 << 1, 1 << 4),
    (barriers::GLOBAL, 1 << 3, 1 << 2),
    (barriers::SYNC_CORE, 1 << 5, 1 << 6),
    (barriers::RSEQ, 1 << 7, 1 << 8),
];

fn layout(own: &Own, vdso: (usize, usize)) -> Layout {
    let bounds = own.bounds();
    Layout {
        start_code: bounds.start_code,
        end_code: bounds.end_code,
        start_data: bounds.start_data,
        end_data: bounds.end_data,
        start_brk: bounds.start_brk,
        brk: bounds.brk,
        start_stack: bounds.start_stack,
        arg_start: bounds.arg_start,
        arg_end: bounds.arg_end,
        env_start: bounds.env_start,
        env_end: bounds.env_end,
        mmap_base: bounds.mmap_base,
        vdso: vdso.0 as u64,
        vdso_len: vdso.1.saturating_sub(vdso.0) as u64,
        auxv: own.auxv(),
    }
}

fn area(mapping: &Mapping, file: u32, backing: Backing) -> Area {
    let mut area = Area {
        start: mapping.start as u64,
        end: mapping.end as u64,
        // The kernel keeps an offset for anonymous memory too, which means nothing elsewhere.
        offset: if file == 0 { 0 } else { mapping.offset },
        backing,
        protection: 0,
        flags: 0,
        file,
    };
    for (has, bit) in [
        (mapping.readable(), protection::READ),
        (mapping.writable(), protection::WRITE),
        (mapping.executable(), protection::EXEC),
    ] {
        if has {
            area.protection |= bit;
        }
    }
    for (has, bit) in [
        (mapping.mapped_shared(), flags::SHARED),
        (mapping.grows_down(), flags::GROWS_DOWN),
        (mapping.no_reserve(), flags::NO_RESERVE),
        (mapping.droppable(), flags::DROPPABLE),
        (mapping.accounted() && !mapping.writable(), flags::ACCOUNTED),
    ] {
        if has {
            area.flags |= bit;
        }
    }
    if backing == Backing::Shared {
        area.flags |= objects::area_flags(mapping);
    }
    for advice in mapping.advice() {
        if let Some((_, bit, _)) = ADVICE.iter().find(|(known, _, _)| *known == advice) {
            area.flags |= bit;
        }
    }
    area
}

fn capture(own: &Own, capture: &mut Capture) -> Result {
    let mappings = own.mappings()?;
    let subject = Subject::current();
    let mut reasons = Reasons::new();
    check_mappings(&subject, &mappings, &mut reasons);
    check_whole(&subject, &mut reasons);
    if let Some(reason) = reasons.first() {
        pr_info!("{} has changed: {}\n", own.pid(), reason.text());
        return Err(EBUSY);
    }
    let objects = Objects::of(&subject, &mappings)?;
    let (vdso_start, vdso_end, _) = vdso(&mappings).ok_or(EBUSY)?;
    capture.value(
        records::LAYOUT,
        records::VERSION,
        &layout(own, (vdso_start, vdso_end)),
    )?;
    capture.value(records::SETTINGS, records::VERSION, &settings(own))?;
    objects.describe(capture)?;
    describe_areas(capture, &mappings, &objects)?;

    for mapping in mappings.iter() {
        if mapping.special.is_some() || mapping.mapped_shared() {
            continue;
        }
        send_pages(own, capture, mapping)?;
    }
    objects.send(own, capture)?;
    for mapping in mappings.iter() {
        if mapping.may_have_guards() && mapping.special.is_none() {
            send_guards(own, capture, mapping)?;
        }
    }
    capture.memory.objects = Some(objects);
    Ok(())
}

fn settings(own: &Own) -> Settings {
    let registered = own.membarrier_state();
    let mut settings = Settings {
        dump_filter: own.dump_filter(),
        barriers: 0,
    };
    for (bit, state, _) in BARRIERS {
        if registered & state != 0 {
            settings.barriers |= bit;
        }
    }
    settings
}

/// The mappings, and the files that they map: each once, before the first mapping of it.
fn describe_areas(capture: &mut Capture, mappings: &[Mapping], objects: &Objects) -> Result {
    let mut known = KVec::<usize>::new();
    let mut description = KVVec::from_elem(0u8, DESCRIPTION, GFP_KERNEL)?;
    for mapping in mappings.iter().filter(|mapping| mapping.special.is_none()) {
        let (number, backing) = match &mapping.file {
            None => (0, Backing::Anonymous),
            Some(file) if shared_memory::is(file) => {
                (objects.number_of(file).ok_or(EBUSY)?, Backing::Shared)
            }
            Some(file) => {
                if mapping.shared() && mapping.writable() {
                    file::write_back(file)?;
                }
                (
                    describe_file(capture, &mut known, &mut description, file)?,
                    Backing::File,
                )
            }
        };
        capture.value(
            records::AREA,
            records::VERSION,
            &area(mapping, number, backing),
        )?;
    }
    Ok(())
}

/// The number of a mapped file in the image. `known`: those that have one already; `description`: room for a record.
fn describe_file(
    capture: &mut Capture,
    known: &mut KVec<usize>,
    description: &mut [u8],
    file: &File,
) -> Result<u32> {
    let key = file::key(file);
    let number = |index: usize| u32::try_from(index)?.checked_add(1).ok_or(EOVERFLOW);
    if let Some(index) = known.iter().position(|&known| known == key) {
        return number(index);
    }
    known.push(key, GFP_KERNEL)?;
    let number = number(known.len().saturating_sub(1))?;
    let (head, rest) = description.split_at_mut_checked(4).ok_or(EINVAL)?;
    head.copy_from_slice(&number.to_le_bytes());
    let len = files::describe(file, rest)?.saturating_add(4);
    capture.record(
        records::MAPPED_FILE,
        records::VERSION,
        description.get(..len).ok_or(EINVAL)?,
    )?;
    Ok(number)
}

/// Says which pages of a mapping are guarded.
fn send_guards(own: &Own, capture: &mut Capture, mapping: &Mapping) -> Result {
    let mut payload = KVVec::<u8>::new();
    let mut at = mapping.start;
    while at < mapping.end {
        let scan = own.scan_guards(at, mapping.end)?;
        for (start, count) in scan.runs(SCAN) {
            let mut bytes = [0u8; Extent::SIZE];
            let extent = Extent {
                start: start as u64,
                pages: u32::try_from(count)?,
                _pad: 0,
            };
            extent.encode(&mut bytes).map_err(|_| EINVAL)?;
            payload.extend_from_slice(&bytes, GFP_KERNEL)?;
            if payload.len() >= MAX_GUARDS.saturating_mul(Extent::SIZE) {
                capture.record(records::GUARDS, records::VERSION, &payload)?;
                payload.clear();
            }
        }
        at = at.saturating_add(SCAN.saturating_mul(PAGE_SIZE));
    }
    if !payload.is_empty() {
        capture.record(records::GUARDS, records::VERSION, &payload)?;
    }
    Ok(())
}

/// Sends the pages of a private mapping that hold data of their own.
fn send_pages(own: &Own, capture: &mut Capture, mapping: &Mapping) -> Result {
    // Over a file's page a page of zeros is data; over nothing it is nothing.
    let skip_zeros = mapping.file.is_none();
    let mut at = mapping.start;
    while at < mapping.end {
        let scan = own.scan(at, mapping.end)?;
        for (start, count) in scan.runs(MAX_RUN) {
            if own.fatal_signal_pending() {
                return Err(EINTR);
            }
            let run = own.pin(start, count, Access::Read)?;
            capture.pages(start, run, skip_zeros)?;
        }
        at = at.saturating_add(SCAN.saturating_mul(PAGE_SIZE));
    }
    Ok(())
}

fn restore(
    own: &Own,
    rebuild: &mut Rebuild,
    rtype: u16,
    version: u16,
    payload: &[u8],
) -> Result<bool> {
    if version != records::VERSION {
        return Ok(false);
    }
    match rtype {
        records::LAYOUT => restore_layout(own, rebuild, payload)?,
        records::MAPPED_FILE => {
            let (number, description) = payload.split_first_chunk::<4>().ok_or(EBADMSG)?;
            let file = files::reopen::for_mapping(description)?;
            rebuild
                .memory
                .files
                .push((u32::from_le_bytes(*number), file), GFP_KERNEL)?;
        }
        records::AREA => restore_area(own, rebuild, payload)?,
        records::SHARED_OBJECT => rebuild.memory.objects.make(payload)?,
        records::WINDOW => rebuild.memory.objects.show(own, payload)?,
        records::GUARDS => {
            for extent in Extents::parse_guards(payload).map_err(|_| EBADMSG)?.iter() {
                let len = (extent.pages as usize).saturating_mul(PAGE_SIZE);
                syscalls::madvise(own, usize::try_from(extent.start)?, len, GUARD)?;
            }
        }
        records::SETTINGS => {
            let settings = Settings::decode(payload).map_err(|_| EBADMSG)?;
            settings.check().map_err(|_| EBADMSG)?;
            rebuild.memory.settings = Some(settings);
        }
        records::PAGES => {
            rebuild.fill(own, &Extents::parse(payload).map_err(|_| EBADMSG)?)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

// Apart, so that its locals are not on the stack while a file is opened or pages are received.
#[inline(never)]
fn restore_layout(own: &Own, rebuild: &mut Rebuild, payload: &[u8]) -> Result {
    let layout = Layout::decode(payload).map_err(|_| EBADMSG)?;
    layout.check().map_err(|_| EBADMSG)?;
    own.unmap_all()?;
    rebuild.memory.emptied = true;
    own.set_bounds(
        &Bounds {
            start_code: layout.start_code,
            end_code: layout.end_code,
            start_data: layout.start_data,
            end_data: layout.end_data,
            start_brk: layout.start_brk,
            brk: layout.brk,
            start_stack: layout.start_stack,
            arg_start: layout.arg_start,
            arg_end: layout.arg_end,
            env_start: layout.env_start,
            env_end: layout.env_end,
            mmap_base: layout.mmap_base,
        },
        &layout.auxv,
    )?;
    own.map_vdso(usize::try_from(layout.vdso)?)
}

// Apart, so that its locals are not on the stack while a file is opened or pages are received.
#[inline(never)]
fn restore_area(own: &Own, rebuild: &mut Rebuild, payload: &[u8]) -> Result {
    let area = Area::decode(payload).map_err(|_| EBADMSG)?;
    area.check().map_err(|_| EBADMSG)?;
    if !rebuild.memory.emptied {
        return Err(EBADMSG);
    }
    let start = usize::try_from(area.start)?;
    let len = usize::try_from(area.end.saturating_sub(area.start))?;
    let has = |bit| area.flags & bit != 0;
    let write = area.protection & protection::WRITE != 0;
    let new = NewMapping {
        start,
        len,
        read: area.protection & protection::READ != 0,
        // Memory is reserved for what can be written to, and stays reserved.
        write: write || has(flags::ACCOUNTED),
        exec: area.protection & protection::EXEC != 0,
        shared: has(flags::SHARED),
        grows_down: has(flags::GROWS_DOWN),
        no_reserve: has(flags::NO_RESERVE),
        droppable: has(flags::DROPPABLE),
        offset: area.offset,
    };
    if area.backing == Backing::Shared {
        let objects = &mut rebuild.memory.objects;
        objects.map(own, area.file, &new, area.flags)?;
    } else {
        let file = match area.file {
            0 => None,
            number => Some(
                rebuild
                    .memory
                    .files
                    .iter()
                    .find_map(|(known, file)| (*known == number).then_some(&**file))
                    .ok_or(EBADMSG)?,
            ),
        };
        own.map(&new, file)?;
    }
    if new.write && !write {
        rebuild.memory.accounted.push(
            Accounted {
                start,
                len,
                protection: area.protection,
                anonymous: area.backing == Backing::Anonymous,
            },
            GFP_KERNEL,
        )?;
    }
    for (_, bit, number) in ADVICE {
        if has(bit) {
            syscalls::madvise(own, start, len, number)?;
        }
    }
    Ok(())
}

fn finish(own: &Own, rebuild: &mut Rebuild) -> Result {
    rebuild.memory.objects.finish(own)?;
    for area in core::mem::take(&mut rebuild.memory.accounted) {
        if area.anonymous {
            // Of memory that was never written to the kernel takes the reservation back. Where this page is guarded others are there.
            let _ = own.pin(area.start, 1, Access::Fill);
        }
        syscalls::mprotect(own, area.start, area.len, area.protection)?;
    }
    let settings = rebuild.memory.settings.take().ok_or(EBADMSG)?;
    own.set_dump_filter(settings.dump_filter);
    for (bit, _, command) in BARRIERS {
        if settings.barriers & bit != 0 {
            syscalls::membarrier(own, command)?;
        }
    }
    Ok(())
}

fn committed(_own: &Own, rebuild: &mut Rebuild) {
    rebuild.memory.objects.keep();
}

/// Frees the memory of the old process, but for the pages with its arguments and environment, which `ps` shows at home.
fn leave(own: &Own, capture: &mut Capture) {
    let captured = core::mem::take(&mut capture.memory);
    let bounds = own.bounds();
    let (mut from, mut to) = (0, 0);
    if capture.journey.home == capture.journey.source {
        from = (bounds.arg_start as usize) & !(PAGE_SIZE - 1);
        to = (bounds.env_end as usize).saturating_add(PAGE_SIZE - 1) & !(PAGE_SIZE - 1);
    }
    let end = records::ADDRESS_END as usize;
    for (start, end) in [(0, from), (to, end)] {
        if let Err(e) = own.unmap(start, end) {
            // It is freed when the task ends.
            pr_warn!("memory of {} not freed: {:?}\n", own.pid(), e);
        }
    }
    if let Some(objects) = captured.objects {
        objects.discard();
    }
}
