// SPDX-License-Identifier: GPL-2.0

//! The kinds of process state: one file each, and the one table of them.
//!
//! A kind says whether its part of a process can move and why not, captures it, rebuilds it elsewhere, and lets go of it at the source
//! after the move. The order of the table is the order of capture, and of everything else. The table is a whitelist: state that no kind
//! carries is refused by the kind that knows of it. `docs/what-moves.md` is made from the table.

use crate::{
    capture::Capture,
    reasons::Reasons, //
    rebuild::Rebuild,
};
use kernel::prelude::*;
use kernel_ext::{
    own::Own,
    subject::Subject, //
};

pub mod credentials;
pub mod files;
pub mod identity;
pub mod memory;
mod memory_check;
pub mod registers;
pub mod scheduling;
pub mod signals;
pub mod task;
pub mod timers;

/// One kind of process state.
pub struct Kind {
    /// Its name, as in the documentation.
    pub name: &'static str,
    /// What of it is carried, in a sentence.
    pub carried: &'static str,
    /// What of it is refused, in a sentence with the reasons' names.
    pub refused: &'static str,
    /// Adds every reason why the process cannot move now. Called from another context while the process runs.
    pub check: fn(&Subject, &mut Reasons),
    /// Writes its records. Called in the process's context at the border to user mode; must leave it able to go on.
    pub capture: fn(&Own, &mut Capture) -> Result,
    /// Undoes what capturing did to the process. Called if the move fails, for every kind, captured or not.
    pub undo: fn(&Own, &mut Capture),
    /// Takes a record (its type, version and payload) if it is one of its own, and says whether it was.
    pub restore: fn(&Own, &mut Rebuild, u16, u16, &[u8]) -> Result<bool>,
    /// Called after the last record, with all memory in place. The last chance to fail.
    pub finish: fn(&Own, &mut Rebuild) -> Result,
    /// Called after the commit, just before user mode. Cannot fail.
    pub committed: fn(&Own, &mut Rebuild),
    /// Lets go of what the old process holds. Called at the source after the commit.
    pub leave: fn(&Own, &mut Capture),
}

impl Kind {
    /// A kind that does nothing: the base of the others.
    pub const NOTHING: Self = Self {
        name: "",
        carried: "",
        refused: "",
        check: |_, _| (),
        capture: |_, _| Ok(()),
        undo: |_, _| (),
        restore: |_, _, _, _, _| Ok(false),
        finish: |_, _| Ok(()),
        committed: |_, _| (),
        leave: |_, _| (),
    };
}

/// All kinds.
pub static KINDS: &[&Kind] = &[
    &task::KIND,
    &memory::KIND,
    &registers::KIND,
    &files::FILES,
    &files::DIRECTORIES,
    &files::PROGRAM,
    &timers::KIND,
    &signals::KIND,
    &identity::KIND,
    &scheduling::KIND,
    &credentials::KIND,
];
