// SPDX-License-Identifier: GPL-2.0

//! System calls of guests that go home: a guest that makes one moves home with it, and makes it there.
//!
//! Which calls these are says the table in [`banyan_wire::calls`]. One set of hooks for the node, owned by [`State`](crate::state::State);
//! on from the first guest until none has been here for [`IDLE_MS`].
//!
//! Lock order: `CallsHome::hooks` is outermost and held while hooks are put on or taken off; the calls themselves do not take it.

use crate::{
    files,
    guest::Guest,
    handover,
    state::{
        self,
        State, //
    },
};
use banyan_wire::{
    call_table::CALLS,
    calls::{
        self as table,
        PathArgument,
        Rule, //
    },
    Reason, //
};
use kernel::{
    fmt,
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};
use kernel_ext::{
    call_hooks::{
        Asked,
        CallHooks,
        Decide,
        Verdict, //
    },
    caller,
    clock,
    file::{
        self,
        Facts, //
    },
    file_numbers::{
        S_IFBLK,
        S_IFCHR,
        S_IFIFO,
        S_IFMT,
        S_IFREG,
        S_IFSOCK, //
    },
    paths,
    subject::Subject,
    wait::{
        self,
        Interrupt, //
    }, //
};

/// How long the hooks stay when the last guest has gone, milliseconds.
pub const IDLE_MS: u64 = 10_000;
/// How often a call is tried to be taken home, and the pause between two tries, milliseconds.
const TRIES: u32 = 5;
const PAUSE_MS: u32 = 200;
/// The same while another move of the process is under way: longer than its offer and connection may take.
const BUSY_TRIES: u32 = 1_000;
const BUSY_PAUSE_MS: u32 = 20;
/// Moves home that may fail, after they had begun, before the call itself fails.
const FAILED_MOVES: u32 = 5;
/// Longest path, with its end.
const PATH_MAX: usize = 4096;

/// The hooks of this node.
#[pin_data]
pub struct CallsHome {
    #[pin]
    hooks: Mutex<Option<CallHooks<GuestCalls>>>,
    /// Guests, and arrivals that become guests.
    users: Atomic<u32>,
    /// Whether they are on, for a look without the lock.
    on: Atomic<bool>,
    /// Since when they are not needed, milliseconds of `CLOCK_MONOTONIC`; 0 if they are.
    idle_since: Atomic<u64>,
    /// Calls of the table that could not be hooked.
    missing: Atomic<u32>,
    /// Calls that have taken their process home.
    went_home: Atomic<u64>,
    /// Calls that failed because their process could not go home.
    failed: Atomic<u64>,
}

impl CallsHome {
    /// With no hooks on.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            hooks <- new_mutex!(None, "banyan call hooks"),
            users: Atomic::new(0),
            on: Atomic::new(false),
            idle_since: Atomic::new(0),
            missing: Atomic::new(0),
            went_home: Atomic::new(0),
            failed: Atomic::new(0),
        })
    }

    /// Puts the hooks on, if they are not; they stay while the value lives.
    ///
    /// # Errors
    ///
    /// `CallHooks` if another tool holds one of the calls, `NoMemory`.
    pub fn hook(self: &Arc<Self>) -> Result<Hooked, Reason> {
        self.users.fetch_add(1, Full);
        // From here on the drop of this counts it out.
        let hooked = Hooked(self.clone());
        let mut hooks = self.hooks.lock();
        if hooks.is_some() {
            return Ok(hooked);
        }
        let begun = clock::monotonic_ns();
        let names = CALLS
            .iter()
            .filter(|call| call.rule != Rule::Local)
            .map(|call| call.name);
        let (new, missing) = CallHooks::new(names).map_err(|error| {
            pr_warn!("system calls cannot be hooked: {:?}\n", error);
            if error == ENOMEM {
                Reason::NoMemory
            } else {
                Reason::CallHooks
            }
        })?;
        self.missing.store(missing, Relaxed);
        *hooks = Some(new);
        self.on.store(true, Relaxed);
        pr_debug!(
            "system calls hooked in {} us\n",
            clock::monotonic_ns().saturating_sub(begun) / 1000
        );
        Ok(hooked)
    }

    /// Takes them off, unless somebody needs them. May take a while.
    pub fn unhook(&self) {
        let mut hooks = self.hooks.lock();
        // Whoever counts himself in from here on waits for the lock, and puts them on again.
        if self.users.load(Acquire) == 0 {
            *hooks = None;
            self.on.store(false, Relaxed);
        }
    }

    /// Takes them off for good. To be called when there are no guests any more.
    pub fn stop(&self) {
        *self.hooks.lock() = None;
    }

    /// Whether they have not been needed for so long that they should go. To be asked now and then.
    pub fn have_rested(&self) -> bool {
        if self.users.load(Relaxed) != 0 || !self.on.load(Relaxed) {
            self.idle_since.store(0, Relaxed);
            return false;
        }
        let now = clock::monotonic_ms();
        match self.idle_since.load(Relaxed) {
            0 => {
                self.idle_since.store(now, Relaxed);
                false
            }
            since => now.saturating_sub(since) > IDLE_MS,
        }
    }

    /// Figures for developers.
    pub fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(fmt!(
            "hooked {}\nmissing {}\nwent_home {}\nfailed {}\n",
            u32::from(self.on.load(Relaxed)),
            self.missing.load(Relaxed),
            self.went_home.load(Relaxed),
            self.failed.load(Relaxed)
        ))
    }
}

/// Keeps the hooks on: one for each guest, from before it is rebuilt until it has gone.
pub struct Hooked(Arc<CallsHome>);

impl Drop for Hooked {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, Full);
    }
}

/// Decides about the calls of guests.
pub struct GuestCalls;

impl Decide for GuestCalls {
    fn decide(asked: &Asked) -> Verdict {
        let Ok(state) = state::get() else {
            return Verdict::Through;
        };
        let pid = Subject::current().pid();
        let Some(guest) = state.guests.get(pid) else {
            return Verdict::Through;
        };
        if goes_home(asked, pid, guest.landlocked) {
            go_home(&state, &guest, asked)
        } else {
            Verdict::Through
        }
    }
}

/// `landlocked`: what it wants of paths is judged at home.
fn goes_home(asked: &Asked, pid: i32, landlocked: bool) -> bool {
    let own = |place: u8| asked.argument(place) as i32 == pid;
    let own_or_zero = |place: u8| own(place) || asked.argument(place) as i32 == 0;
    match table::rule(asked.number) {
        Rule::Local => false,
        Rule::Home => true,
        Rule::Own(place) => !own_or_zero(place),
        Rule::OwnOnly(place) => !own(place),
        Rule::OwnOfKind { kind, process, id } => {
            asked.argument(kind) as u32 != process || !own_or_zero(id)
        }
        Rule::Prctl => !table::prctl_is_local(asked.argument(0) as u32),
        Rule::Proxied(place) => stands_for(asked, place, |_| true),
        Rule::ProxiedFile(place) => stands_for(asked, place, |mode| mode & S_IFMT == S_IFREG),
        Rule::Fcntl => {
            !table::fcntl_is_local(asked.argument(1) as u32) && stands_for(asked, 0, |_| true)
        }
        Rule::Path(_) | Rule::Paths(..) if landlocked && !table::only_looks(asked.number) => true,
        Rule::Path(path) => leads_home(asked, path, pid),
        Rule::Paths(first, second) => {
            leads_home(asked, first, pid) || leads_home(asked, second, pid)
        }
    }
}

/// Whether this argument is a descriptor that stands for a file of the home, of a mode that counts.
fn stands_for(asked: &Asked, place: u8, counts: impl FnOnce(u32) -> bool) -> bool {
    let Some(file) = file::of_descriptor(asked.argument(place) as u32) else {
        return false;
    };
    files::files().is_ok_and(|files| {
        let proxy = files.proxies.behind(&file);
        proxy.is_some_and(|proxy| counts(proxy.there.stat.mode))
    })
}

/// Whether a path leads to what only the home has. One that cannot be read, or cannot be walked for a reason that is the same on every
/// node, does not.
fn leads_home(asked: &Asked, argument: PathArgument, pid: i32) -> bool {
    let address = asked.argument(argument.path) as usize;
    // Without a path it is about the descriptor itself.
    let about_descriptor = || {
        let directory = argument.directory;
        directory.is_some_and(|place| stands_for(asked, place, |_| true))
    };
    if address == 0 {
        return about_descriptor();
    }
    let Ok(mut buffer) = KVec::from_elem(0u8, PATH_MAX, GFP_KERNEL) else {
        return true;
    };
    let Ok(text) = UserSlice::new(UserPtr::from_addr(address), PATH_MAX)
        .reader()
        .strcpy_into_buf(&mut buffer)
    else {
        return false;
    };
    let length = text.to_bytes().len();
    if length == 0 {
        return about_descriptor() && !table::only_looks(asked.number);
    }
    let opens = table::opens(asked.number);
    if length >= PATH_MAX - 1 || table::is_of_the_machine(text.to_bytes(), pid, opens) {
        return false;
    }
    let directory = argument
        .directory
        .map(|place| asked.argument(place) as i32)
        .filter(|&fd| fd != paths::WORKING_DIRECTORY);
    let Some(path) = buffer.get_mut(..=length) else {
        return true;
    };
    walk(directory, path)
}

/// Looks at each directory on the way: as long as all are on shared mounts, every node goes the same way. `path` ends with a zero.
fn walk(directory: Option<i32>, path: &mut [u8]) -> bool {
    let start = if path.first() == Some(&b'/') {
        c"/"
    } else {
        c"."
    };
    let mut before = paths::look_up(directory, start, true);
    let last = path.len().saturating_sub(1);
    for end in 1..=last {
        let part_ends = end == last || path.get(end) == Some(&b'/');
        if !part_ends || path.get(end.saturating_sub(1)) == Some(&b'/') {
            continue;
        }
        let former = path.get_mut(end).map(|byte| core::mem::replace(byte, 0));
        let (found, link) = match path.get(..=end).map(CStr::from_bytes_with_nul) {
            Some(Ok(name)) => {
                let found = paths::look_up(directory, name, true);
                // What a link leads to may be there at home.
                let link = matches!(found, Err(e) if e == ENOENT)
                    && paths::look_up(directory, name, false).is_ok();
                (found, link)
            }
            _ => return true,
        };
        if let (Some(byte), Some(former)) = (path.get_mut(end), former) {
            *byte = former;
        }
        match &found {
            Ok(facts) if end == last => return !is_everywhere(facts),
            Ok(facts) if !is_shared(facts) => return true,
            Ok(_) => before = found,
            Err(_) if link => return true,
            Err(error) if *error == ENOENT => return !before.is_ok_and(|facts| is_shared(&facts)),
            Err(_) => return false,
        }
    }
    // Nothing but slashes.
    !before.is_ok_and(|facts| is_shared(&facts))
}

fn is_shared(facts: &Facts) -> bool {
    files::files().is_ok_and(|files| files.mounts.of(facts).is_some())
}

/// Whether what a path leads to is the same on every node.
fn is_everywhere(facts: &Facts) -> bool {
    match facts.mode & S_IFMT {
        S_IFCHR => files::classify::is_stateless_device(facts.rdev),
        S_IFIFO | S_IFSOCK | S_IFBLK => false,
        _ => is_shared(facts),
    }
}

/// Moves the guest home with its call.
fn go_home(state: &Arc<State>, guest: &Arc<Guest>, asked: &Asked) -> Verdict {
    let (mut tries, mut busy) = (0, 0);
    let reason = loop {
        // A move that is under way, or a signal: the call begins anew after it, wherever that is.
        if caller::signal_pending() {
            return Verdict::Restart;
        }
        if guest.failed_moves_home() > FAILED_MOVES {
            guest.forgive_moves_home(FAILED_MOVES);
            break Reason::TargetFailed;
        }
        let reason = match handover::bring_home(state, guest) {
            Ok(()) => {
                guest.count_move_home();
                state.calls.went_home.fetch_add(1, Relaxed);
                pr_debug!("{} goes home for call {}\n", guest.pid, asked.number);
                return Verdict::Restart;
            }
            Err(reason) => reason,
        };
        let pause = if reason == Reason::Busy {
            busy += 1;
            BUSY_PAUSE_MS
        } else {
            tries += 1;
            PAUSE_MS
        };
        if tries >= TRIES || busy >= BUSY_TRIES {
            break reason;
        }
        let _ = wait::sleep(Interrupt::Any, pause);
    };
    state.calls.failed.fetch_add(1, Relaxed);
    pr_info!(
        "{} cannot go home for call {}: {}\n",
        guest.pid,
        asked.number,
        reason.text()
    );
    Verdict::Fail(if is_fork(asked.number) {
        EAGAIN
    } else {
        EREMOTEIO
    })
}

/// A call for which programs expect that it may fail for the moment.
fn is_fork(number: u16) -> bool {
    matches!(number, 56 | 57 | 58 | 435)
}
