// SPDX-License-Identifier: GPL-2.0

//! Memory: the address space with its mappings, its private pages, its bounds and its vDSO.
//!
//! Private pages travel, in runs of up to 1 MiB; pages that are untouched, or just those of a file, are mapped at the target from the
//! file itself. What was written to a shared mapping of a file is written back before, and read from there.

use super::Kind;
use crate::{
    capture::Capture,
    files,
    reasons::Reasons,
    rebuild::Rebuild, //
};
use banyan_wire::{
    image_memory::{
        self as records,
        flags,
        protection,
        Area,
        Backing,
        Extents,
        Layout, //
    },
    Reason,
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
        Obstacle,
        Special,
        PAGE_SIZE, //
    },
    own::Own,
    pages::{
        Access,
        MAX_RUN,
        SCAN, //
    },
    subject::Subject,
    syscalls, //
};

/// This kind.
pub static KIND: Kind = Kind {
    name: "memory",
    carried: "anonymous memory, private mappings of files with their modified pages, shared mappings of files on shared mounts, stack and \
              heap that still grow, guard gaps, protection, advice, the layout of the address space, the vDSO at its address",
    refused: "device memory (device-mapping), hugetlbfs (hugetlb), locked memory (locked-memory), userfaultfd, protection keys, shadow \
              stacks, sealed mappings (special-mapping), anonymous shared memory (shared-memory), mapped files that are deleted or not on \
              a shared mount",
    check,
    capture,
    restore,
    leave,
    ..Kind::NOTHING
};

/// Most mappings of a process that are carried.
const MAX_MAPPINGS: usize = 65536;

/// Most bytes of the description of a mapped file.
const DESCRIPTION: usize = 8 * 1024;

/// What is kept while the memory is rebuilt.
#[derive(Default)]
pub struct Rebuilt {
    emptied: bool,
    files: KVec<(u32, ARef<File>)>,
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

/// Why a mapping cannot move, if so.
fn refusal(mapping: &Mapping) -> Option<Reason> {
    if let Some(obstacle) = mapping.obstacle() {
        return Some(match obstacle {
            Obstacle::Device => Reason::DeviceMapping,
            Obstacle::HugeTlb => Reason::HugeTlb,
            Obstacle::Locked => Reason::LockedMemory,
            Obstacle::Userfaultfd => Reason::Userfaultfd,
            Obstacle::ShadowStack => Reason::ShadowStack,
            Obstacle::ProtectionKey => Reason::ProtectionKeys,
            Obstacle::Sealed | Obstacle::Special => Reason::SpecialMapping,
        });
    }
    mapping
        .file
        .as_ref()
        .and_then(|file| files::mapping_refusal(file))
}

/// The number that a reason about a mapping carries: its first page.
fn about(mapping: &Mapping) -> u32 {
    u32::try_from(mapping.start / PAGE_SIZE).unwrap_or(0)
}

fn check(subject: &Subject, reasons: &mut Reasons) {
    let mappings = match subject.mappings() {
        Ok(mappings) => mappings,
        Err(e) => {
            reasons.push(
                if e == ENOMEM {
                    Reason::NoMemory
                } else {
                    Reason::Exiting
                },
                0,
            );
            return;
        }
    };
    if mappings.len() > MAX_MAPPINGS {
        reasons.push(Reason::TooManyMappings, 0);
    }
    for mapping in mappings.iter() {
        if let Some(reason) = refusal(mapping) {
            reasons.push(reason, about(mapping));
        }
    }
    if !vdso(&mappings).is_some_and(|(_, _, whole)| whole) {
        reasons.push(Reason::VdsoMissing, 0);
    }
}

/// The range of the vDSO with its data pages, and whether it is in one piece.
fn vdso(mappings: &[Mapping]) -> Option<(usize, usize, bool)> {
    let mut range: Option<(usize, usize, bool)> = None;
    let mut code = false;
    for mapping in mappings {
        if !matches!(mapping.special, Some(Special::Vdso | Special::VdsoData)) {
            continue;
        }
        code |= mapping.special == Some(Special::Vdso);
        range = Some(match range {
            None => (mapping.start, mapping.end, true),
            Some((start, end, whole)) => (start, mapping.end, whole && end == mapping.start),
        });
    }
    range.map(|(start, end, whole)| (start, end, whole && code))
}

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

fn area(mapping: &Mapping, file: u32) -> Area {
    let mut area = Area {
        start: mapping.start as u64,
        end: mapping.end as u64,
        // The kernel keeps an offset for anonymous memory too, which means nothing elsewhere.
        offset: if file == 0 { 0 } else { mapping.offset },
        backing: if file == 0 {
            Backing::Anonymous
        } else {
            Backing::File
        },
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
    ] {
        if has {
            area.flags |= bit;
        }
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
    if mappings.len() > MAX_MAPPINGS || mappings.iter().any(|mapping| refusal(mapping).is_some()) {
        return Err(EBUSY);
    }
    let (vdso_start, vdso_end, _) = vdso(&mappings).ok_or(EBUSY)?;
    capture.value(
        records::LAYOUT,
        records::VERSION,
        &layout(own, (vdso_start, vdso_end)),
    )?;

    // The files, each once, before the first mapping of it.
    let mut known = KVec::<usize>::new();
    let mut description = KVVec::from_elem(0u8, DESCRIPTION, GFP_KERNEL)?;
    for mapping in mappings.iter().filter(|mapping| mapping.special.is_none()) {
        let mut number = 0;
        if let Some(file) = &mapping.file {
            if mapping.shared() && mapping.writable() {
                file::write_back(file)?;
            }
            let key = file::key(file);
            let index = match known.iter().position(|&known| known == key) {
                Some(index) => index,
                None => {
                    known.push(key, GFP_KERNEL)?;
                    let index = known.len() - 1;
                    let number = u32::try_from(index)?.checked_add(1).ok_or(EOVERFLOW)?;
                    let (head, rest) = description.split_at_mut_checked(4).ok_or(EINVAL)?;
                    head.copy_from_slice(&number.to_le_bytes());
                    let len = files::describe(file, rest)?.saturating_add(4);
                    capture.record(
                        records::MAPPED_FILE,
                        records::VERSION,
                        description.get(..len).ok_or(EINVAL)?,
                    )?;
                    index
                }
            };
            number = u32::try_from(index)?.checked_add(1).ok_or(EOVERFLOW)?;
        }
        capture.value(records::AREA, records::VERSION, &area(mapping, number))?;
    }

    for mapping in mappings.iter() {
        if mapping.special.is_some() || mapping.mapped_shared() {
            continue;
        }
        send_pages(own, capture, mapping)?;
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
            capture.pages(start, &run, skip_zeros)?;
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
        records::PAGES => {
            for extent in Extents::parse(payload).map_err(|_| EBADMSG)?.iter() {
                rebuild.fill(own, &extent)?;
            }
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
    let start = usize::try_from(area.start)?;
    let len = usize::try_from(area.end.saturating_sub(area.start))?;
    let has = |bit| area.flags & bit != 0;
    own.map(
        &NewMapping {
            start,
            len,
            read: area.protection & protection::READ != 0,
            write: area.protection & protection::WRITE != 0,
            exec: area.protection & protection::EXEC != 0,
            shared: has(flags::SHARED),
            grows_down: has(flags::GROWS_DOWN),
            no_reserve: has(flags::NO_RESERVE),
            offset: area.offset,
        },
        file,
    )?;
    for (_, bit, number) in ADVICE {
        if has(bit) {
            syscalls::madvise(own, start, len, number)?;
        }
    }
    Ok(())
}

/// Frees the memory of the old process, but for the pages with its arguments and environment, which `ps` shows at home.
fn leave(own: &Own, capture: &mut Capture) {
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
}
