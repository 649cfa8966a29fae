// SPDX-License-Identifier: GPL-2.0

//! Files under `/sys/kernel/debug/banyan_migrate`, for developers: one [`DebugFiles`], while the module is loaded.
//!
//! | file | what |
//! |---|---|
//! | `faults` | faults on purpose: see [`faults`](crate::faults) |
//! | `calls` | system calls of guests: whether they are hooked, how many are not, how many went home or failed |
//! | `kinds` | the kinds of process state: what of each is carried, what is refused |
//! | `tables` | how much is in each table of processes and files; all are 0 when nothing is away, here as a guest, or on its way |

use crate::{
    faults,
    files,
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
    #[pin]
    tables: File<()>,
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
                tables <- parent.read_callback_file(c"tables", (), &show_tables),
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

fn show_tables(_: &(), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Ok(state) = state::get() else {
        return Ok(());
    };
    // Those that have ended are remembered for a while, for a source that asks.
    let arrivals = state
        .arrivals
        .snapshot()
        .iter()
        .filter(|arrival| arrival.is_open())
        .count();
    let (owned, proxies, calls) = files::files().map_or((0, 0, 0), |files| {
        (files.owned.count(), files.list.count(), files.calls.count())
    });
    let unserved = state.unserved.lock().len();
    f.write_fmt(fmt!(
        "deputies {}\nguests {}\ndepartures {}\narrivals {}\nunserved {}\nowned-files {}\nproxies {}\nfile-calls {}\n",
        state.deputies.len(),
        state.guests.len(),
        state.departures.len(),
        arrivals,
        unserved,
        owned,
        proxies,
        calls
    ))
}
