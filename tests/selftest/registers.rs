// SPDX-License-Identifier: GPL-2.0

//! Tests of register sets: what is read of a process, what it has when it was set, and that malformed ones are refused.

use core::ops::Range;

use kernel::prelude::*;
use kernel_ext::{
    boundary::Notify,
    machine,
    own::Own,
    registers::{
        extended_size,
        General, //
    }, //
};

use crate::{
    check,
    check_error,
    child::{
        at,
        loader,
        set_user,
        user_word,
        Child,
        DATA,
        NO_CALL,
        PAUSE,
        PROBE, //
    },
    Test, //
};

pub(crate) const TESTS: &[Test] = &[
    ("registers_of_system_call", of_system_call),
    ("registers_set_and_read", general),
    ("registers_flags_and_selectors_kept", privileged),
    ("segment_bases_set_and_read", bases),
    ("segment_bases_refused", bases_refused),
    ("extended_state_layout", layout),
    ("extended_state_set_and_read", extended),
    ("extended_state_malformed", malformed),
    ("registers_in_user_mode", user_mode),
];

const INIT_MODULE: u64 = 175;
const FINIT_MODULE: u64 = 313;
/// The instruction `syscall`, as the last two bytes of a word.
const SYSCALL: u64 = 0x050f;

/// Selectors of a 64-bit program.
const USER_CODE: u64 = 0x33;
const USER_STACK: u64 = 0x2b;

const CARRY: u64 = 1;
const FIXED: u64 = 1 << 1;
const INTERRUPTS: u64 = 1 << 9;
const IO_LEVEL: u64 = 3 << 12;
const VIRTUAL_8086: u64 = 1 << 17;

/// Places in the standard XSAVE area.
const MXCSR: Range<usize> = 24..28;
const XMM: Range<usize> = 160..416;
const FEATURES: Range<usize> = 512..520;
const COMPACTION: Range<usize> = 520..528;
const RESERVED: Range<usize> = 528..576;

/// Components.
const SSE: u64 = 1 << 1;
const AVX: u64 = 1 << 2;
const AVX_COMPONENT: usize = 2;

/// Rounding towards minus infinity, all exceptions masked.
const ROUND_DOWN: u32 = 0x3f80;

/// A word for each register, all different.
fn pattern(i: usize) -> u64 {
    (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The process that loads the module has the registers of its system call.
fn of_system_call() -> Result {
    let own = loader()?;
    let registers = own.general_registers()?;
    let call = registers[at::ORIG_AX];
    check(
        call == FINIT_MODULE || call == INIT_MODULE,
        "number of the call",
    )?;
    let before = user_word(registers[at::IP].saturating_sub(8))?;
    check(before >> 48 == SYSCALL, "the instruction before")?;
    check(registers[at::CS] == USER_CODE, "code selector")?;
    check(registers[at::SS] == USER_STACK, "stack selector")?;
    check(own.is_64bit(), "64-bit")?;
    check(Own::plain_selectors(&registers), "other selectors")?;
    check(registers[at::FLAGS] & INTERRUPTS != 0, "flags")?;
    user_word(registers[at::SP])?;
    // The C library's thread block begins with its own address.
    let thread = registers[at::FS_BASE];
    check(thread != 0 && user_word(thread)? == thread, "fs base")?;
    let again = own.general_registers()?;
    check(again == registers, "the same again")
}

/// A register set with all that a program may have of its own, for the child.
fn new_registers(child: &Child, old: &General) -> General {
    let mut new = *old;
    for (i, word) in new.iter_mut().enumerate().take(at::ORIG_AX) {
        *word = pattern(i);
    }
    new[at::ORIG_AX] = NO_CALL;
    new[at::SP] = child.room + DATA;
    new[at::FLAGS] = CARRY | FIXED | INTERRUPTS;
    new
}

/// In a work of the child: sets registers, reads them, and puts the old ones back.
fn set_and_read(child: &Child, new: General) -> Result<(General, General, General)> {
    child.ask(Notify::Interrupt, move |own| {
        let old = own.general_registers()?;
        own.set_general_registers(&new);
        let read = own.general_registers();
        own.set_general_registers(&old);
        Ok((old, read?, own.general_registers()?))
    })
}

fn general() -> Result {
    let child = Child::start()?;
    let old = child.until_waiting()?;
    let mut new = new_registers(&child, &old);
    new[at::IP] = child.room + PROBE.start;
    check(new != old, "something to set")?;
    let (before, read, after) = set_and_read(&child, new)?;
    check(read == new, "read as set")?;
    check(after == before, "put back")?;
    check(
        child.until_waiting()? == old,
        "it goes on with the old ones",
    )
}

fn privileged() -> Result {
    let child = Child::start()?;
    let old = child.until_waiting()?;
    let mut new = old;
    new[at::FLAGS] = CARRY | IO_LEVEL | VIRTUAL_8086;
    new[at::CS] = 0x10;
    new[at::SS] = 0x18;
    new[at::FS_BASE] = pattern(0);
    new[at::GS_BASE] = pattern(1);
    let (_, read, _) = set_and_read(&child, new)?;
    check(
        read[at::FLAGS] == CARRY | FIXED | INTERRUPTS,
        "only flags of a program",
    )?;
    check(
        read[at::CS] == USER_CODE && read[at::SS] == USER_STACK,
        "only selectors of a program",
    )?;
    check(
        read[at::FS_BASE] == old[at::FS_BASE] && read[at::GS_BASE] == old[at::GS_BASE],
        "bases are not set with them",
    )
}

/// In a work of the child: sets these bases; returns what that said, and the bases then.
fn set_bases(child: &Child, fs: u64, gs: u64) -> Result<(Result, (u64, u64))> {
    child.ask(Notify::Interrupt, move |own| {
        let mut registers = own.general_registers()?;
        registers[at::FS_BASE] = fs;
        registers[at::GS_BASE] = gs;
        let said = own.set_segment_bases(&registers);
        let now = own.general_registers()?;
        Ok((said, (now[at::FS_BASE], now[at::GS_BASE])))
    })
}

fn bases() -> Result {
    let child = Child::start()?;
    let old = child.until_waiting()?;
    let highest = (1 << 47) - 0x2000;
    for (fs, gs) in [
        (child.room, child.room + DATA),
        (highest, 0x1234_5678),
        (0, 0),
        (old[at::FS_BASE], old[at::GS_BASE]),
    ] {
        let (said, now) = set_bases(&child, fs, gs)?;
        said?;
        check(now == (fs, gs), "read as set")?;
        // And after it was in user mode.
        let later = child.until_waiting()?;
        check(
            (later[at::FS_BASE], later[at::GS_BASE]) == (fs, gs),
            "kept over user mode",
        )?;
    }
    Ok(())
}

fn bases_refused() -> Result {
    let child = Child::start()?;
    let good = (child.room, child.room + DATA);
    set_bases(&child, good.0, good.1)?.0?;
    for bad in [0xffff_8880_0000_0000, 1 << 63, u64::MAX] {
        let (said, now) = set_bases(&child, bad, good.1)?;
        check_error(said, EPERM, "fs base")?;
        check(now == good, "left as they were")?;
        let (said, now) = set_bases(&child, good.0, bad)?;
        check_error(said, EPERM, "gs base")?;
        check(now == good, "left as they were")?;
    }
    Ok(())
}

/// A part of an area.
fn part(state: &[u8], range: Range<usize>) -> Result<&[u8]> {
    state.get(range).ok_or(EINVAL)
}

/// Replaces a part of an area.
fn put(state: &mut [u8], range: Range<usize>, bytes: &[u8]) -> Result {
    let to = state.get_mut(range).ok_or(EINVAL)?;
    if to.len() != bytes.len() {
        return Err(EINVAL);
    }
    to.copy_from_slice(bytes);
    Ok(())
}

fn features(state: &[u8]) -> Result<u64> {
    let bytes = part(state, FEATURES)?.try_into().map_err(|_| EINVAL)?;
    Ok(u64::from_le_bytes(bytes))
}

fn mxcsr(state: &[u8]) -> Result<u32> {
    let bytes = part(state, MXCSR)?.try_into().map_err(|_| EINVAL)?;
    Ok(u32::from_le_bytes(bytes))
}

/// Where the upper halves of the AVX registers are, if this CPU has them.
fn avx() -> Option<Range<usize>> {
    if machine::xfeatures() & AVX == 0 {
        return None;
    }
    let (layout, _) = machine::xsave_layout();
    let (offset, size) = *layout.get(AVX_COMPONENT)?;
    let (offset, size) = (offset as usize, size as usize);
    Some(offset..offset.checked_add(size)?)
}

/// Fills the vector registers with a pattern, and sets a rounding mode.
fn fill(state: &mut [u8]) -> Result {
    let mut present = features(state)? | SSE;
    for (range, salt) in [(Some(XMM), 3u8), (avx(), 5u8)] {
        let Some(to) = range.map(|range| state.get_mut(range)) else {
            continue;
        };
        for (i, byte) in to.ok_or(EINVAL)?.iter_mut().enumerate() {
            *byte = (i as u8).wrapping_mul(7).wrapping_add(salt);
        }
    }
    if avx().is_some() {
        present |= AVX;
    }
    put(state, MXCSR, &ROUND_DOWN.to_le_bytes())?;
    put(state, FEATURES, &present.to_le_bytes())
}

fn layout() -> Result {
    if machine::xfeatures() == 0 {
        return Ok(());
    }
    let child = Child::start()?;
    child.until_waiting()?;
    let (size, state) = child.ask(Notify::Interrupt, |own| {
        Ok((extended_size(own)?, own.extended_state()?))
    })?;
    check(size == machine::xsave_size() as usize, "size")?;
    check(state.len() == size, "all of it")?;
    check(
        features(&state)? & !machine::xfeatures() == 0,
        "only what this CPU has",
    )?;
    check(
        part(&state, COMPACTION)?.iter().all(|byte| *byte == 0),
        "the standard layout",
    )?;
    check(mxcsr(&state)? & 0x1f80 == 0x1f80, "exceptions are masked")
}

fn extended() -> Result {
    if machine::xfeatures() == 0 {
        return Ok(());
    }
    let child = Child::start()?;
    child.until_waiting()?;
    child.ask(Notify::Interrupt, |own| {
        let old = own.extended_state()?;
        let mut new = KVVec::new();
        new.extend_from_slice(&old, GFP_KERNEL)?;
        fill(&mut new)?;
        check(new.as_slice() != old.as_slice(), "something to set")?;
        own.set_extended_state(&new)?;
        check(
            own.extended_state()?.as_slice() == new.as_slice(),
            "read as set",
        )?;
        own.set_extended_state(&old)?;
        check(
            own.extended_state()?.as_slice() == old.as_slice(),
            "put back",
        )
    })
}

/// Each area is refused, and the state stays as it was.
fn malformed() -> Result {
    if machine::xfeatures() == 0 {
        return Ok(());
    }
    let child = Child::start()?;
    child.until_waiting()?;
    child.ask(Notify::Interrupt, |own| {
        let mut good = own.extended_state()?;
        fill(&mut good)?;
        own.set_extended_state(&good)?;
        let refused = |state: &[u8], what| {
            check_error(own.set_extended_state(state), EINVAL, what)?;
            check(
                own.extended_state()?.as_slice() == good.as_slice(),
                "left as it was",
            )
        };
        let mut bad = KVVec::new();
        bad.extend_from_slice(&good, GFP_KERNEL)?;
        bad.push(0, GFP_KERNEL)?;
        refused(&bad, "too long")?;
        bad.truncate(good.len());
        refused(part(&bad, 0..good.len().saturating_sub(1))?, "too short")?;
        refused(part(&bad, 0..RESERVED.end)?, "the header alone")?;
        refused(&[], "empty")?;

        let known = features(&good)?;
        let lacks = 1u64 << (!machine::xfeatures()).trailing_zeros().min(63);
        for unknown in [lacks, 1 << 62, 1 << 63] {
            put(&mut bad, FEATURES, &(known | unknown).to_le_bytes())?;
            refused(&bad, "an unknown component")?;
        }
        put(&mut bad, FEATURES, &known.to_le_bytes())?;
        put(&mut bad, COMPACTION, &(known | 1 << 63).to_le_bytes())?;
        refused(&bad, "compacted")?;
        put(&mut bad, COMPACTION, &[0; 8])?;
        for byte in [RESERVED.start, RESERVED.end.saturating_sub(1)] {
            let one = byte..byte.saturating_add(1);
            put(&mut bad, one.clone(), &[1])?;
            refused(&bad, "a reserved byte")?;
            put(&mut bad, one, &[0])?;
        }
        put(&mut bad, MXCSR, &(ROUND_DOWN | 1 << 31).to_le_bytes())?;
        refused(&bad, "a reserved bit of MXCSR")?;

        // What was only refused for these is taken without them.
        put(&mut bad, MXCSR, &ROUND_DOWN.to_le_bytes())?;
        own.set_extended_state(&bad)?;
        check(own.extended_state()?.as_slice() == good.as_slice(), "taken")
    })
}

/// What was set is what a program finds, and what the program then has is what is read.
fn user_mode() -> Result {
    const FS_WORD: u64 = 0x6261_6e79_616e_2066;
    const GS_WORD: u64 = 0x6261_6e79_616e_2067;
    let child = Child::start()?;
    let old = child.until_waiting()?;
    let data = child.room + DATA;
    let (fs, gs) = (data + 0x100, data + 0x200);
    let mut new = new_registers(&child, &old);
    new[at::IP] = child.room + PROBE.start;
    new[at::DI] = data;
    new[at::FS_BASE] = fs;
    new[at::GS_BASE] = gs;
    let extended = machine::xfeatures() != 0;
    child.ask(Notify::Interrupt, move |own| {
        set_user(data, &[0; 48])?;
        set_user(fs, &FS_WORD.to_le_bytes())?;
        set_user(gs, &GS_WORD.to_le_bytes())?;
        if extended {
            let mut state = own.extended_state()?;
            fill(&mut state)?;
            own.set_extended_state(&state)?;
        }
        own.set_segment_bases(&new)?;
        own.set_general_registers(&new);
        Ok(())
    })?;
    let read = child.until_behind(PROBE)?;
    // What the program and its system call change.
    new[at::BX] = new[at::BX].wrapping_add(1);
    for changed in [at::AX, at::CX, at::R11, at::ORIG_AX, at::IP, at::FLAGS] {
        new[changed] = read[changed];
    }
    check(read == new, "registers after the program")?;
    check(read[at::R12] == pattern(at::R12), "r12")?;
    check(read[at::ORIG_AX] == PAUSE, "its system call")?;
    check(read[at::FLAGS] & (CARRY | IO_LEVEL) == CARRY, "its flags")?;
    child.ask(Notify::Interrupt, move |own| {
        check(user_word(data + 32)? == FS_WORD, "it read at its fs base")?;
        check(user_word(data + 40)? == GS_WORD, "it read at its gs base")?;
        if !extended {
            return Ok(());
        }
        let state = own.extended_state()?;
        let mut wanted = KVVec::from_elem(0u8, state.len(), GFP_KERNEL)?;
        fill(&mut wanted)?;
        let word = |state: &[u8], at: usize| -> Result<u64> {
            let bytes = part(state, at..at.saturating_add(8))?;
            Ok(u64::from_le_bytes(bytes.try_into().map_err(|_| EINVAL)?))
        };
        for (i, at) in [0usize, 8, 240, 248].into_iter().enumerate() {
            check(
                user_word(data + i as u64 * 8)? == word(&wanted, XMM.start + at)?,
                "it stored xmm0 and xmm15",
            )?;
        }
        let cleared = XMM.start + 7 * 16..XMM.start + 8 * 16;
        put(&mut wanted, cleared, &[0; 16])?;
        check(
            part(&state, XMM)? == part(&wanted, XMM)?,
            "vector registers",
        )?;
        check(mxcsr(&state)? == ROUND_DOWN, "rounding mode")?;
        if let Some(avx) = avx() {
            check(
                part(&state, avx.clone())? == part(&wanted, avx)?,
                "upper halves",
            )?;
        }
        Ok(())
    })
}
