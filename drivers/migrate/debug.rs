// SPDX-License-Identifier: GPL-2.0

//! Files under `/sys/kernel/debug/banyan_migrate`, for developers: one [`DebugFiles`], while the module is loaded.
//!
//! | file | what |
//! |---|---|
//! | `faults` | faults on purpose: see [`faults`](crate::faults) |
//! | `calls` | system calls of guests: whether they are hooked, how many are not, how many went home or failed |
//! | `kinds` | the kinds of process state: what of each is carried, what is refused |

use crate::{
    faults,
    kinds::KINDS,
    state, //
};
use kernel::{
    debugfs::{
        Dir,
        File, //
    },
    fmt,
    prelude::*, //
};

/// The files, while they exist.
#[pin_data]
pub struct DebugFiles {
    #[pin]
    faults: File<()>,
    #[pin]
    calls: File<()>,
    #[pin]
    kinds: File<()>,
    // After the files: it goes last.
    directory: Dir,
}

impl DebugFiles {
    /// Makes them.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. Without debugfs in the kernel, they are missing, and that is all.
    pub fn new() -> Result<Pin<KBox<Self>>> {
        let directory = Dir::new(c"banyan_migrate");
        let parent = directory.clone();
        KBox::pin_init(
            pin_init!(Self {
                faults <- parent.read_write_callback_file(c"faults", (), &faults::show, &faults::store),
                calls <- parent.read_callback_file(c"calls", (), &show_calls),
                kinds <- parent.read_callback_file(c"kinds", (), &show_kinds),
                directory,
            }),
            GFP_KERNEL,
        )
    }
}

fn show_calls(_: &(), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match state::get() {
        Ok(state) => state.calls.show(f),
        Err(_) => Ok(()),
    }
}

fn show_kinds(_: &(), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for kind in KINDS {
        f.write_fmt(fmt!(
            "{}\n  carried: {}\n  refused: {}\n",
            kind.name,
            kind.carried,
            kind.refused
        ))?;
    }
    Ok(())
}
