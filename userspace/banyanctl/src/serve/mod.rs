// SPDX-License-Identifier: GPL-2.0
//! `banyanctl serve`: the daemon that puts its node into the cluster and makes the processes that arrive.
//!
//! One per node, started by banyan.service. It is a small family of single-threaded processes, because namespaces and a chosen
//! pid can only be given to a child by a process that has one thread:
//!
//! ```text
//! serve ── supervisor (this file): settings, signals, reaps all the others and tells the kernel what became of guests
//!  ├─ waiters (waiter.rs): wait in the kernel for arrivals and pass each to the helper of its home node
//!  ├─ helpers (helper.rs): one for each waiter and home node, with that node's name and clocks; clone guests
//!  └─ guests: clones of a helper that became, in the kernel, the process that arrived
//! ```
//!
//! Helpers and guests are made with CLONE_PARENT, so they are all children of the supervisor. When it ends, the waiters and the
//! helpers end too; guests run on, and become children of init.

mod cgroup;
mod helper;
mod log;
mod notify;
mod supervisor;
mod waiter;

use std::{
    fs,
    io,
    net::Ipv4Addr,
    os::fd::AsFd,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant}, //
};

use anyhow::Result;
use banyan_sys::{
    wire::{
        uapi::{MountRecord, ServeWait},
        NodeId,
    },
    Device, //
};

pub use supervisor::{prepare_signals, Module, Supervisor};

use crate::{
    address,
    cli,
    config::{Range, Settings},
    failure::{libc_errno, Failure, Status},
    key::Key,
    mounts,
    sysfs::Sysfs, //
};

/// What the daemon asks of the kernel; the real one is [`Device`].
pub trait Server: AsFd {
    /// Waits for an arrival.
    ///
    /// # Errors
    ///
    /// EINTR; ESHUTDOWN when the node has left; ENOTTY without banyan_migrate.
    fn wait(&self) -> io::Result<ServeWait>;
    /// Becomes the process that arrived; returns only when that failed.
    fn enter(&self, arrival: u64) -> io::Error;
    /// Tells that no child could be made.
    ///
    /// # Errors
    ///
    /// ENOENT when the arrival was given up meanwhile.
    fn failed(&self, arrival: u64, errno: i32) -> io::Result<()>;
    /// Tells what became of a child: `what` is one of `child_state`.
    ///
    /// # Errors
    ///
    /// ESRCH when it is no guest.
    fn state(&self, pid: i32, what: u32, status: i32) -> io::Result<()>;
}

impl Server for Device {
    fn wait(&self) -> io::Result<ServeWait> {
        self.serve_wait()
    }

    fn enter(&self, arrival: u64) -> io::Error {
        self.serve_enter(arrival)
    }

    fn failed(&self, arrival: u64, errno: i32) -> io::Result<()> {
        self.serve_failed(arrival, errno)
    }

    fn state(&self, pid: i32, what: u32, status: i32) -> io::Result<()> {
        self.serve_state(pid, what, status)
    }
}

/// The value of the attribute `join`: ranges separated by blanks.
pub fn join_text(ranges: &[Range]) -> String {
    ranges
        .iter()
        .map(Range::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

/// What is written to sysfs, in this order.
fn attributes(
    settings: &Settings,
    key: Option<&Key>,
    found: Option<Ipv4Addr>,
) -> Result<Vec<(&'static str, String)>, Failure> {
    let address = settings.address.or(found).ok_or_else(|| {
        Failure::new(Status::Failed, "this node has no IPv4 address that leads to a member or to a gateway")
            .advise("Set one: `address = A.B.C.D` in /etc/banyan/banyan.conf, or banyan.address= on the kernel command line")
    })?;
    let node = settings.node.or_else(|| NodeId::from_ipv4(u32::from(address))).ok_or_else(|| {
        Failure::new(Status::Failed, format!("the low 7 bits of the address {address} are 0, which is no node id"))
            .advise("Set one: `node = N` (1 to 127) in /etc/banyan/banyan.conf, or banyan.node= on the kernel command line")
    })?;
    let mut list = Vec::new();
    if let Some(cluster) = &settings.cluster {
        list.push(("cluster", cluster.clone()));
    }
    list.push(("node", node.to_string()));
    list.push(("address", address.to_string()));
    if let Some(port) = settings.port {
        list.push(("port", port.to_string()));
    }
    list.push(("join", join_text(&settings.join)));
    if let Some(key) = key {
        list.push(("key", key.digits()));
    }
    Ok(list)
}

/// The module of this node, as the daemon has it.
struct Node<'a> {
    arguments: &'a cli::Serve,
    command_line: &'a Path,
    sysfs: &'a Sysfs,
    /// Mount points that the settings say are shared.
    declared: Vec<PathBuf>,
    /// The text of /proc/self/mountinfo at the last look, and the shared mounts that the kernel was told of then.
    told: Option<(String, Vec<MountRecord>)>,
}

impl Node<'_> {
    fn settings(&mut self) -> Result<Settings> {
        let settings = Settings::load(&self.arguments.config, self.command_line)?;
        for notice in &settings.notices {
            log::warning(notice);
        }
        if self.declared != settings.shared_mounts {
            self.declared.clone_from(&settings.shared_mounts);
            self.told = None;
        }
        Ok(settings)
    }

    fn tell_mounts(&mut self, text: String, anew: bool) -> io::Result<()> {
        let shared = mounts::shared(&text, &self.declared);
        let is_known = self.told.as_ref().is_some_and(|(_, told)| *told == shared);
        if anew || !is_known {
            Device::open()?.tell_mounts(&shared)?;
            log::info(&format!(
                "{} mounts are shared with other nodes",
                shared.len()
            ));
        }
        self.told = Some((text, shared));
        Ok(())
    }
}

impl Module for Node<'_> {
    fn is_loaded(&self) -> bool {
        self.sysfs.exists()
    }

    fn is_online(&self) -> bool {
        self.sysfs.is_online()
    }

    /// A node that is online keeps its settings: a daemon that was started again takes over as things are.
    fn configure(&mut self) -> Result<()> {
        let settings = self.settings()?;
        if self.is_online() {
            log::info("this node is online already: its settings stay as they are");
            return Ok(());
        }
        let key = Key::load(&settings.key)?;
        let member = settings.join.first().map(|range| range.first);
        let found = settings.address.or_else(|| address::local(member));
        for (name, value) in attributes(&settings, Some(&key), found)? {
            self.sysfs.set(name, &value)?;
            if name != "key" {
                log::info(&format!("{name} = {value}"));
            }
        }
        self.sysfs.set("online", "1")?;
        Ok(())
    }

    /// What other nodes rely on, such as the id, stays until the daemon is started again.
    fn reload(&mut self) -> Result<()> {
        let settings = self.settings()?;
        self.sysfs.set("join", &join_text(&settings.join))?;
        log::info("read the settings again: shared_mount counts now, join when this node joins next, others after a restart");
        Ok(())
    }

    fn refresh(&mut self, anew: bool) {
        let Ok(text) = fs::read_to_string(mounts::MOUNTS) else {
            return;
        };
        let is_seen = self.told.as_ref().is_some_and(|(seen, _)| *seen == text);
        if anew || !is_seen {
            match self.tell_mounts(text, anew) {
                // Without banyan_migrate nobody needs to know.
                Err(error) if error.raw_os_error() != Some(libc_errno::ENOTTY) => {
                    log::warning(&format!(
                        "the kernel was not told which mounts are shared: {error}"
                    ));
                }
                _ => (),
            }
        }
    }
}

/// `banyanctl serve`: runs until SIGTERM or SIGINT.
///
/// # Errors
///
/// When the module does not come, settings make no sense or the module does not take them.
pub fn run(arguments: &cli::Serve, command_line: &Path, sysfs: &Sysfs) -> Result<Status> {
    // Before anything else, so that no signal is lost and no child is made without it.
    prepare_signals()?;
    let limit = Instant::now() + Duration::from_secs(arguments.wait_module);
    while !sysfs.exists() {
        if Instant::now() >= limit {
            return Err(Failure::not_loaded().into());
        }
        thread::sleep(Duration::from_millis(100));
    }
    let mut node = Node {
        arguments,
        command_line,
        sysfs,
        declared: Vec::new(),
        told: None,
    };
    node.configure()?;
    let guests = cgroup::prepare();
    let open = || Device::open();
    let mut supervisor = Supervisor::new(&open, guests);
    notify::send("READY=1\nSTATUS=Waiting for processes that arrive");
    supervisor.run(&mut node)?;
    Ok(Status::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_have_defaults() {
        let mut settings = Settings::default();
        settings
            .read_file("cluster = grove\njoin = 10.77.0.1-3, 10.77.1.1")
            .unwrap();
        let key = Key::parse(&[7; 32]).unwrap();
        let list = attributes(&settings, Some(&key), Some(Ipv4Addr::new(10, 77, 0, 130))).unwrap();
        let expected = [
            ("cluster", "grove"),
            ("node", "2"),
            ("address", "10.77.0.130"),
            ("join", "10.77.0.1-10.77.0.3 10.77.1.1"),
            ("key", &"07".repeat(32)),
        ];
        assert_eq!(list, expected.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn a_node_without_an_id_is_told_how_to_get_one() {
        let settings = Settings::default();
        let failure = attributes(&settings, None, Some(Ipv4Addr::new(10, 77, 0, 128))).unwrap_err();
        assert!(failure.advice.unwrap().contains("banyan.node="));
        let failure = attributes(&settings, None, None).unwrap_err();
        assert!(failure.advice.unwrap().contains("banyan.address="));
    }
}
