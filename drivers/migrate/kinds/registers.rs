// SPDX-License-Identifier: GPL-2.0

//! Registers: general, segment bases, FPU and vector state.
//!
//! They are read raw, as they are before the kernel decides whether to restart an interrupted system call, and set raw by a work at the
//! border of the rebuilt task, before the kernel of the target decides just that: so calls restart, or return `EINTR` to a handler, as
//! they would have at the source.

use super::Kind;
use crate::{
    capture::Capture,
    rebuild::Rebuild, //
};
use banyan_wire::image_memory::{
    self as records,
    MAX_EXTENDED, //
};
use kernel::prelude::*;
use kernel_ext::{
    boundary::{
        self,
        BoundaryWork,
        Notify,
        Outcome, //
    },
    own::Own,
    registers::{
        General,
        GENERAL, //
    },
    subject::Subject, //
};

/// This kind.
pub static KIND: Kind = Kind {
    name: "registers",
    carried: "general registers, fs and gs base, FPU and vector state (all of XSAVE), interrupted system calls",
    refused: "32-bit programs (compat32), segment selectors of an own descriptor table (cpu-mode)",
    capture,
    restore,
    finish,
    committed,
    ..Kind::NOTHING
};

/// What is kept until the commit.
#[derive(Default)]
pub struct Rebuilt {
    general: Option<General>,
    ready: Option<boundary::Ready<SetGeneral>>,
}

/// Sets the general registers, as the last thing before user mode.
struct SetGeneral(General);

impl BoundaryWork for SetGeneral {
    fn run(&mut self, own: &Own) -> Outcome {
        own.set_general_registers(&self.0);
        Outcome::Resume
    }

    fn abandoned(&mut self) {}
}

fn capture(own: &Own, capture: &mut Capture) -> Result {
    let general = own.general_registers()?;
    if !own.is_64bit() || !Own::plain_selectors(&general) {
        return Err(EOPNOTSUPP);
    }
    let mut bytes = [0u8; GENERAL * 8];
    let len = records::encode_words(&general, &mut bytes).map_err(|_| EINVAL)?;
    capture.record(
        records::GENERAL,
        records::VERSION,
        bytes.get(..len).ok_or(EINVAL)?,
    )?;
    let extended = own.extended_state()?;
    if extended.len() > MAX_EXTENDED {
        return Err(EOPNOTSUPP);
    }
    capture.record(records::EXTENDED, records::VERSION, &extended)
}

fn restore(
    own: &Own,
    rebuild: &mut Rebuild,
    rtype: u16,
    version: u16,
    payload: &[u8],
) -> Result<bool> {
    match (rtype, version) {
        (records::GENERAL, records::VERSION) => {
            let general = records::decode_words::<GENERAL>(payload).map_err(|_| EBADMSG)?;
            if !Own::plain_selectors(&general) {
                return Err(EBADMSG);
            }
            rebuild.registers.general = Some(general);
            Ok(true)
        }
        (records::EXTENDED, records::VERSION) => {
            own.set_extended_state(payload)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

fn finish(own: &Own, rebuild: &mut Rebuild) -> Result {
    let general = rebuild.registers.general.take().ok_or(EBADMSG)?;
    own.set_segment_bases(&general)?;
    rebuild.registers.ready = Some(boundary::prepare(rebuild.module, SetGeneral(general))?);
    Ok(())
}

fn committed(_own: &Own, rebuild: &mut Rebuild) {
    if let Some(ready) = rebuild.registers.ready.take() {
        // It fails only if the task is exiting: then it needs no registers.
        let _ = ready.post(&Subject::current(), Notify::Interrupt);
    }
}
