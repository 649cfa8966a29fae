// SPDX-License-Identifier: GPL-2.0
//! The supervisor: the parent of the waiters, of the helpers and of all guests.
//!
//! One per node. It takes signals one by one, reaps children, and tells the kernel when a guest stopped, went on or ended. It
//! never waits for anything but the next signal, and for that a second at most.

use std::{
    fs::File,
    io,
    time::{Duration, Instant}, //
};

use anyhow::Result;
use banyan_sys::{
    process::{self, Change, ChildEvent, Forked},
    wire::uapi::child_state, //
};

use super::{
    log,
    notify,
    waiter::{self, End},
    Server, //
};
use crate::failure::libc_errno;

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;
const SIGCHLD: i32 = 17;
const SIGNALS: [i32; 4] = [SIGHUP, SIGINT, SIGTERM, SIGCHLD];

/// Longest time between two looks at the module.
const TICK: Duration = Duration::from_secs(1);
/// Shortest time between the end of a waiter and the start of another.
const PAUSE: Duration = Duration::from_millis(200);
/// The same where something failed.
const RETRY: Duration = Duration::from_secs(2);

/// Blocks the signals that [`Supervisor::run`] takes one by one.
///
/// # Errors
///
/// None in practice.
pub fn prepare_signals() -> io::Result<()> {
    process::block_signals(&SIGNALS)
}

/// What the supervisor knows of its children: guests it need not remember, the kernel does.
pub struct Supervisor<'a, S> {
    open: &'a dyn Fn() -> io::Result<S>,
    guests: Option<File>,
    /// Pids of the waiters.
    waiters: Vec<i32>,
    /// Not before then may a waiter be started.
    not_before: Instant,
    /// How the last waiter ended, until all wait again: to log each trouble once.
    trouble: Option<End>,
    /// Whether the module has been given its settings.
    configured: bool,
}

/// What the supervisor looks after beside its children: the kernel module of this node.
pub trait Module {
    /// Whether it is loaded.
    fn is_loaded(&self) -> bool;
    /// Whether the node is in its cluster.
    fn is_online(&self) -> bool;
    /// Gives a module that was loaded anew its settings and has the node join.
    ///
    /// # Errors
    ///
    /// When settings make no sense or are not taken.
    fn configure(&mut self) -> Result<()>;
    /// Reads the settings again.
    ///
    /// # Errors
    ///
    /// When they make no sense or are not taken.
    fn reload(&mut self) -> Result<()>;
    /// Tells it what changed on this node since last time; everything when `anew`. Called every second.
    fn refresh(&mut self, anew: bool);
}

impl<'a, S: Server> Supervisor<'a, S> {
    /// A supervisor of a node whose module has its settings. `open` opens the device, `guests` is the control group of guests.
    pub fn new(open: &'a dyn Fn() -> io::Result<S>, guests: Option<File>) -> Self {
        Self {
            open,
            guests,
            waiters: Vec::new(),
            not_before: Instant::now(),
            trouble: None,
            configured: true,
        }
    }

    /// Runs until SIGTERM or SIGINT.
    ///
    /// # Errors
    ///
    /// When signals or children cannot be waited for, which does not happen.
    pub fn run(&mut self, module: &mut dyn Module) -> Result<()> {
        loop {
            self.reap()?;
            if !self.waiters.is_empty() {
                module.refresh(false);
            }
            if self.waiters.len() < waiter::COUNT && Instant::now() >= self.not_before {
                self.look_after(module);
            }
            match process::next_signal(&SIGNALS, TICK)? {
                None if self.waiters.len() == waiter::COUNT => self.trouble = None,
                Some(SIGTERM | SIGINT) => break,
                Some(SIGHUP) => {
                    if let Err(error) = module.reload() {
                        log::error(&format!("the settings were not read again: {error:#}"));
                    }
                }
                _ => (),
            }
        }
        notify::send("STOPPING=1");
        for waiter in self.waiters.drain(..) {
            process::send_signal(waiter, SIGTERM)?;
            process::wait_for_end(waiter)?;
        }
        Ok(())
    }

    /// Starts waiters when the node is online, and gives a module that was unloaded and loaded again its settings.
    fn look_after(&mut self, module: &mut dyn Module) {
        if !module.is_loaded() {
            self.configured = false;
            return;
        }
        if !self.configured {
            self.configured = true;
            if let Err(error) = module.configure() {
                log::error(&format!(
                    "the module was loaded again, but this node could not join: {error:#}"
                ));
            }
        }
        if module.is_online() {
            if self.waiters.is_empty() {
                module.refresh(true);
            }
            while self.waiters.len() < waiter::COUNT {
                if let Err(error) = self.start_waiter() {
                    log::error(&format!("cannot wait for arrivals: {error}"));
                    self.not_before = Instant::now() + RETRY;
                    break;
                }
            }
        }
    }

    fn start_waiter(&mut self) -> io::Result<()> {
        let server = (self.open)()?;
        let supervisor = std::process::id() as i32;
        match process::fork()? {
            Forked::Parent(pid) => self.waiters.push(pid),
            Forked::Child => {
                process::reset_signals();
                waiter::run(&server, self.guests.as_ref(), supervisor)
            }
        }
        Ok(())
    }

    /// Takes all that happened to children. What a guest did is told to the kernel before its pid is free again.
    fn reap(&mut self) -> Result<()> {
        while let Some(event) = process::peek_child()? {
            let is_waiter = self.waiters.contains(&event.pid);
            if !is_waiter {
                self.tell(event);
            }
            let consumed = process::consume_child(event)?;
            match consumed {
                Some(newer) if newer.change != event.change => self.tell(newer),
                _ => (),
            }
            if is_waiter && event.change.is_end() {
                self.waiters.retain(|pid| *pid != event.pid);
                self.waiter_ended(event.change);
            }
        }
        Ok(())
    }

    fn waiter_ended(&mut self, change: Change) {
        let end = match change {
            Change::Exited(status) => End::from_status(status),
            _ => End::Failed,
        };
        // With a pause, so that a lasting trouble, or a module that takes its time to go, does not keep a CPU busy.
        let pause = if end == End::Offline { PAUSE } else { RETRY };
        self.not_before = Instant::now() + pause;
        if self.trouble != Some(end) {
            match end {
                End::Offline => log::info("this node is offline: no processes can arrive"),
                End::NoService => {
                    log::warning("no processes can arrive until banyan_migrate is loaded")
                }
                End::Failed => {
                    log::error(&format!("the waiter ended ({change:?}): starting another"))
                }
            }
        }
        self.trouble = Some(end);
    }

    /// Tells the kernel what a child did. Helpers are children too: the kernel knows that they are no guests.
    fn tell(&self, event: ChildEvent) {
        let (what, status) = match event.change {
            Change::Stopped(signal) => (child_state::STOPPED, signal),
            Change::Continued => (child_state::CONTINUED, 0),
            Change::Exited(_) | Change::Killed(..) => {
                (child_state::EXITED, event.change.status_word())
            }
        };
        let told = (self.open)().and_then(|server| server.state(event.pid, what, status));
        if let Err(error) = told {
            let expected = [
                libc_errno::ESRCH,
                libc_errno::ENOTTY,
                libc_errno::ENOENT,
                libc_errno::ENOTCONN,
            ];
            if !error
                .raw_os_error()
                .is_some_and(|code| expected.contains(&code))
            {
                log::warning(&format!(
                    "the kernel was not told that process {} changed ({:?}): {error}",
                    event.pid, event.change
                ));
            }
        }
    }
}
