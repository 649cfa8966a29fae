// SPDX-License-Identifier: GPL-2.0
//! `join`, `leave`, `drain` and `unload`: this node comes into the cluster and goes out of it.

use std::{io::Write, path::Path, process::Command, sync::mpsc, thread, time::Duration};

use anyhow::{Context, Result};
use banyan_sys::{
    wire::{
        uapi::{node_state, NodeRecord, DRAIN_KEEP_OUT},
        Reason, //
    },
    Device, //
};
use serde::Serialize;

use super::print_json;
use crate::{
    cli::Output,
    config,
    device::{self, Control},
    failure::{libc_errno, Failure, Status},
    serve::join_text,
    sysfs::Sysfs, //
};

/// `banyanctl join [MEMBER]...`. A node that is online but alone joins anew, so that it asks the new members.
pub fn join(
    control: &impl Control,
    sysfs: &Sysfs,
    members: &[String],
    out: &mut dyn Write,
) -> Result<Status> {
    if !members.is_empty() {
        let ranges = config::parse_join(&members.join(" "))?;
        sysfs.set("join", &join_text(&ranges))?;
    }
    if sysfs.is_online() {
        let up = |node: &&NodeRecord| node.state == node_state::UP;
        let others = control
            .nodes()
            .map_or(0, |nodes| nodes.iter().filter(up).count().saturating_sub(1));
        if members.is_empty() || others > 0 {
            writeln!(out, "This node is online already, with {others} others; members to ask count from its next join on.")?;
            return Ok(Status::Done);
        }
        sysfs.set("online", "0")?;
    }
    sysfs.set("online", "1")?;
    writeln!(out, "Joining. See: banyanctl nodes")?;
    Ok(Status::Done)
}

/// What `drain` tells, in JSON.
#[derive(Serialize)]
struct DrainJson {
    moved: u32,
    held_by: Option<i32>,
    reason: Option<&'static str>,
    reason_code: u32,
}

/// Time between two lines of [`Progress`].
const PROGRESS: Duration = Duration::from_secs(2);

/// Tells on standard error, now and then, how many processes are left while this node is emptied; until it is dropped.
struct Progress {
    end: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Progress {
    fn start() -> Self {
        let (end, ended) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            // Without the device there is nothing to tell, and the caller says why.
            let Ok(device) = Device::open() else {
                return;
            };
            while ended.recv_timeout(PROGRESS) == Err(mpsc::RecvTimeoutError::Timeout) {
                if let Ok(processes) = device.processes() {
                    eprintln!("draining: {} processes are left", processes.len());
                }
            }
        });
        Self {
            end: Some(end),
            thread: Some(thread),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say but what it has printed.
            let _ = thread.join();
        }
    }
}

/// Empties this node; `Ok` holds the number of processes that moved, `Err` which one holds it.
fn empty(control: &impl Control, flags: u32) -> (DrainJson, Result<(), Failure>) {
    let answer = control.drain(flags);
    let value = answer.value;
    let code = u16::try_from(value.reason).unwrap_or(u16::MAX);
    let held = value.pid != 0;
    let json = DrainJson {
        moved: value.moved,
        held_by: held.then_some(value.pid),
        reason: held.then(|| Reason::name_of_code(code)),
        reason_code: value.reason,
    };
    let result = answer.result.map_err(|error| {
        if error.raw_os_error() == Some(libc_errno::EBUSY) && held {
            let pid = value.pid;
            let why = Reason::text_of_code(code);
            return Failure::new(
                Status::Held,
                format!("process {pid} holds this node: {why} [{}, {code}]", Reason::name_of_code(code)),
            )
            .advise(format!("Let it end (kill {pid}), or make it movable: banyanctl explain {pid}; then try again."));
        }
        Failure::from_device(&error, "draining this node")
    });
    (json, result)
}

/// `banyanctl drain`: [`Status::Held`] when a process cannot be moved.
pub fn drain(
    control: &impl Control,
    keep_out: bool,
    output: Output,
    out: &mut dyn Write,
) -> Result<Status> {
    let progress = Progress::start();
    let (json, result) = empty(control, if keep_out { DRAIN_KEEP_OUT } else { 0 });
    drop(progress);
    if output.json {
        print_json(&json, out)?;
    }
    result?;
    if !output.json {
        writeln!(
            out,
            "Drained: {} processes moved, none is left.",
            json.moved
        )?;
    }
    Ok(Status::Done)
}

/// Drains this node and takes it offline. A node that is offline, or has no banyan_migrate, has nothing to drain.
fn go_offline(control: &impl Control, sysfs: &Sysfs) -> Result<bool, Failure> {
    const ATTEMPTS: u32 = 5;
    if !sysfs.is_online() {
        return Ok(false);
    }
    for attempt in 1..=ATTEMPTS {
        match empty(control, 0).1 {
            Err(failure) if failure.status != Status::NotRunning => return Err(failure),
            _ => (),
        }
        match sysfs.set("online", "0") {
            // A process came meanwhile.
            Err(failure) if failure.status == Status::Held && attempt < ATTEMPTS => (),
            result => return result.map(|()| true),
        }
    }
    Ok(true)
}

/// `banyanctl leave`.
pub fn leave(control: &impl Control, sysfs: &Sysfs, out: &mut dyn Write) -> Result<Status> {
    if go_offline(control, sysfs)? {
        writeln!(
            out,
            "This node has left. It joins again with: banyanctl join"
        )?;
    } else {
        writeln!(out, "This node is offline already.")?;
    }
    Ok(Status::Done)
}

fn is_loaded(module: &str) -> bool {
    Path::new("/sys/module").join(module).exists()
}

/// Removes a module. The daemon closes the device a moment after the node went offline, so a refusal is tried again.
fn remove(module: &str) -> Result<()> {
    const ATTEMPTS: u32 = 20;
    for attempt in 1..=ATTEMPTS {
        let output = Command::new("modprobe")
            .args(["--remove", "--ignore-remove", module])
            .output()
            .context("cannot run modprobe")?;
        if output.status.success() {
            return Ok(());
        }
        if attempt == ATTEMPTS {
            let words = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::new(Status::Held, format!("the module {module} was not removed: {}", words.trim()))
                .advise("It may be in use by a process (banyanctl ps) or by another module (lsmod | grep banyan).")
                .into());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// `banyanctl unload MODULE`: what modprobe.d has `modprobe -r MODULE` do.
pub fn unload(sysfs: &Sysfs, module: &str) -> Result<Status> {
    match module {
        // The device may be closed to others already; then the module says itself whether it is free.
        "banyan_migrate" => {
            if let Ok(device) = device::open() {
                match empty(&device, 0).1 {
                    Err(failure) if failure.status != Status::NotRunning => {
                        return Err(failure.into())
                    }
                    _ => (),
                }
            }
        }
        "banyan" => {
            if let Ok(device) = device::open() {
                go_offline(&device, sysfs)?;
            }
        }
        _ => (),
    }
    let modules: &[&str] = if module == "banyan" {
        &["banyan_migrate", "banyan"]
    } else {
        &[module]
    };
    for module in modules.iter().filter(|module| is_loaded(module)) {
        remove(module)?;
    }
    Ok(Status::Done)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use banyan_sys::wire::uapi::Drain;

    use super::{super::fake::Fake, *};

    fn sysfs(name: &str, online: &str) -> (PathBuf, Sysfs) {
        let directory =
            std::env::temp_dir().join(format!("banyanctl-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("online"), online).unwrap();
        fs::write(directory.join("join"), "").unwrap();
        let sysfs = Sysfs::at(&directory);
        (directory, sysfs)
    }

    fn held() -> Fake {
        Fake {
            drain: Drain {
                pid: 41,
                reason: Reason::Socket.code().into(),
                moved: 2,
                ..Drain::ZERO
            },
            drain_errno: libc_errno::EBUSY,
            ..Fake::default()
        }
    }

    #[test]
    fn join_writes_members_then_online() {
        let (directory, sysfs) = sysfs("join", "0\n");
        let members = ["10.0.0.1-3".into(), "10.0.1.1".into()];
        let run = |fake: &Fake| {
            let mut out = Vec::new();
            join(fake, &sysfs, &members, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert!(run(&Fake::default()).starts_with("Joining"));
        assert_eq!(sysfs.get("join").unwrap(), "10.0.0.1-10.0.0.3 10.0.1.1");
        assert!(sysfs.is_online());
        // Online among others: nothing is torn. Online and alone: it joins anew.
        assert!(run(&Fake::default()).contains("already, with 2 others"));
        let alone = Fake {
            nodes: crate::node::samples::three()[1..2].to_vec(),
            ..Fake::default()
        };
        assert!(run(&alone).starts_with("Joining"));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn leave_drains_first() {
        let (directory, sysfs) = sysfs("leave", "1\n");
        let error = leave(&held(), &sysfs, &mut Vec::new()).unwrap_err();
        let failure: &Failure = error.downcast_ref().unwrap();
        assert_eq!(failure.status, Status::Held);
        assert!(failure.what.contains("process 41") && failure.what.contains("[socket, 20]"));
        assert!(sysfs.is_online());

        // Without banyan_migrate there is nothing to drain.
        let bare = Fake {
            drain_errno: libc_errno::ENOTTY,
            ..Fake::default()
        };
        leave(&bare, &sysfs, &mut Vec::new()).unwrap();
        assert!(!sysfs.is_online());
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn drain_names_the_holder() {
        let mut out = Vec::new();
        assert!(drain(&held(), false, Output { json: true }, &mut out).is_err());
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            (&json["held_by"], &json["reason"], &json["moved"]),
            (&41.into(), &"socket".into(), &2.into())
        );
    }
}
