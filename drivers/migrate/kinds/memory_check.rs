// SPDX-License-Identifier: GPL-2.0

//! Which memory can move: the checks of the [memory](super::memory) kind, for a process that runs and again when it stands still.

use crate::{
    files::{
        self,
        objects::Objects, //
    },
    reasons::Reasons, //
};
use banyan_wire::Reason;
use kernel::prelude::*;
use kernel_ext::{
    memory::{
        Mapping,
        Obstacle,
        Special,
        PAGE_SIZE, //
    },
    shared_memory,
    subject::Subject, //
};

/// Most mappings of a process that are carried.
const MAX_MAPPINGS: usize = 65536;

/// Why a mapping cannot move, if so. What is said of the memory itself, if it is shared, is for [`Objects`] to say.
fn refusal(subject: &Subject, mapping: &Mapping) -> Option<Reason> {
    // Before the flags, of which it has peculiar ones.
    let own_reason = mapping
        .file
        .as_ref()
        .and_then(|file| files::peculiar_mapping(file));
    if own_reason.is_some() {
        return own_reason;
    }
    if let Some(obstacle) = mapping.obstacle() {
        return Some(match obstacle {
            Obstacle::Device => Reason::DeviceMapping,
            Obstacle::HugeTlb => Reason::HugeTlb,
            Obstacle::Locked => Reason::LockedMemory,
            Obstacle::Userfaultfd => Reason::Userfaultfd,
            Obstacle::ShadowStack => Reason::ShadowStack,
            Obstacle::ProtectionKey => Reason::ProtectionKeys,
            Obstacle::Sealed => Reason::SealedMapping,
            Obstacle::Policy => Reason::MemoryPolicy,
            Obstacle::Special | Obstacle::Unknown => Reason::SpecialMapping,
        });
    }
    let file = mapping.file.as_ref()?;
    if shared_memory::is(file) {
        // Made anew, it is on no mount that forbids execution.
        return (!mapping.may_execute()).then_some(Reason::SpecialMapping);
    }
    files::mapping_refusal(file).or_else(|| {
        // What one of them wrote would not be seen by the other any more.
        let others = match (mapping.mapped_shared(), mapping.shared()) {
            (true, writing) => subject.other_mappers(file).matters(writing),
            (false, _) => false,
        };
        others.then_some(Reason::SharedMapping)
    })
}

/// The number that a reason about a mapping carries: its first page.
fn about(mapping: &Mapping) -> u32 {
    u32::try_from(mapping.start / PAGE_SIZE).unwrap_or(0)
}

/// Adds every reason why the memory cannot move now.
pub(super) fn check(subject: &Subject, reasons: &mut Reasons) {
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
    check_mappings(subject, &mappings, reasons);
    check_whole(subject, reasons);
}

/// Adds the reasons that lie in single mappings, and in shared memory.
pub(super) fn check_mappings(subject: &Subject, mappings: &[Mapping], reasons: &mut Reasons) {
    if mappings.len() > MAX_MAPPINGS {
        reasons.push(Reason::TooManyMappings, 0);
    }
    for mapping in mappings {
        if let Some(reason) = refusal(subject, mapping) {
            reasons.push(reason, about(mapping));
        }
    }
    match Objects::of(subject, mappings) {
        Ok(objects) => objects.refusals(|reason, about| reasons.push(reason, about)),
        Err(e) if e == E2BIG => reasons.push(Reason::TooManyMappings, 0),
        Err(_) => reasons.push(Reason::NoMemory, 0),
    }
    if !vdso(mappings).is_some_and(|(_, _, whole)| whole) {
        reasons.push(Reason::VdsoMissing, 0);
    }
}

/// Adds the reasons that lie in the address space as a whole.
pub(super) fn check_whole(subject: &Subject, reasons: &mut Reasons) {
    let whole = subject.whole_memory();
    for (yes, reason) in [
        (whole.locks_future, Reason::LockedMemory),
        (whole.ldt, Reason::Ldt),
        (whole.protection_keys, Reason::ProtectionKeys),
        (whole.merges, Reason::KernelSamePage),
        (whole.denies_exec_gain, Reason::DeniesExecGain),
        (whole.uprobes, Reason::Uprobes),
        (whole.tagged, Reason::CpuMode),
    ] {
        if yes {
            reasons.push(reason, 0);
        }
    }
}

/// The range of the vDSO with its data pages, and whether it is in one piece.
pub(super) fn vdso(mappings: &[Mapping]) -> Option<(usize, usize, bool)> {
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
