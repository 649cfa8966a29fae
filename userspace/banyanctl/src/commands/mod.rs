// SPDX-License-Identifier: GPL-2.0
//! The commands for people and scripts: one file for each group, and the table that calls them.

mod cluster;
mod membership;
mod moving;
mod processes;

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;

use crate::{
    cli::{Arguments, Command},
    config,
    device,
    failure::Status,
    generate,
    key::Key,
    serve,
    sysfs::Sysfs, //
};

/// Does what the command line says.
///
/// # Errors
///
/// A [`crate::failure::Failure`] where an exit status other than 1 is meant.
pub fn run(arguments: Arguments) -> Result<Status> {
    let out = &mut io::stdout().lock();
    match arguments.command {
        Command::Status { output } => {
            cluster::status(&device::open()?, &Sysfs::default(), output, out)
        }
        Command::Nodes { output } => cluster::nodes(&device::open()?, output, out),
        Command::Ps { output } => processes::ps(&device::open()?, output, out),
        Command::Where { pid, output } => processes::locate(&device::open()?, pid, output, out),
        Command::Migrate {
            pid,
            node,
            wait,
            output,
        } => moving::migrate(&device::open()?, pid, &node, wait, output, out),
        Command::Explain { pid, node, output } => {
            moving::explain(&device::open()?, pid, node.as_deref(), output, out)
        }
        Command::Join { members } => {
            membership::join(&device::open()?, &Sysfs::default(), &members, out)
        }
        Command::Leave => membership::leave(&device::open()?, &Sysfs::default(), out),
        Command::Drain { keep_out, output } => {
            membership::drain(&device::open()?, keep_out, output, out)
        }
        Command::Unload { module } => membership::unload(&Sysfs::default(), &module),
        Command::MakeKey { file } => {
            Key::generate()?.save(&file)?;
            writeln!(
                out,
                "Made {}. Copy it to the same place on every node of the cluster.",
                file.display()
            )?;
            Ok(Status::Done)
        }
        Command::Serve(arguments) => {
            serve::run(&arguments, config::COMMAND_LINE.as_ref(), &Sysfs::default())
        }
        Command::Generate { directory } => generate::all(&directory).map(|()| Status::Done),
    }
}

/// Prints a value as JSON.
fn print_json<T: Serialize>(value: &T, out: &mut dyn Write) -> Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)?;
    Ok(())
}

/// A test double of the device, with answers set beforehand.
#[cfg(test)]
pub mod fake {
    use std::{cell::RefCell, io};

    use banyan_sys::{
        wire::uapi::{Drain, Migrate, NodeRecord, ProcRecord, ReasonRecord, Where},
        Answer, //
    };

    use crate::{
        device::Control,
        failure::libc_errno,
        node::samples, //
    };

    /// Answers of the device; an error number other than 0 makes the call fail with it.
    pub struct Fake {
        pub nodes: Vec<NodeRecord>,
        pub processes: Vec<ProcRecord>,
        pub reasons: Vec<ReasonRecord>,
        pub migrate: Migrate,
        pub migrate_errno: i32,
        pub place: Option<Where>,
        pub drain: Drain,
        pub drain_errno: i32,
        /// Calls of `migrate`: pid, node, flags.
        pub moves: RefCell<Vec<(i32, u32, u32)>>,
    }

    impl Default for Fake {
        fn default() -> Self {
            Self {
                nodes: samples::three(),
                processes: Vec::new(),
                reasons: Vec::new(),
                migrate: Migrate::ZERO,
                migrate_errno: 0,
                place: None,
                drain: Drain::ZERO,
                drain_errno: 0,
                moves: RefCell::new(Vec::new()),
            }
        }
    }

    fn result(errno: i32) -> io::Result<()> {
        match errno {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    impl Control for Fake {
        fn nodes(&self) -> io::Result<Vec<NodeRecord>> {
            Ok(self.nodes.clone())
        }

        fn processes(&self) -> io::Result<Vec<ProcRecord>> {
            Ok(self.processes.clone())
        }

        fn explain(&self, _pid: i32, _node: u32) -> io::Result<Vec<ReasonRecord>> {
            Ok(self.reasons.clone())
        }

        fn migrate(&self, pid: i32, node: u32, flags: u32) -> Answer<Migrate> {
            self.moves.borrow_mut().push((pid, node, flags));
            Answer {
                value: Migrate {
                    pid,
                    node,
                    flags,
                    ..self.migrate
                },
                result: result(self.migrate_errno),
            }
        }

        fn locate(&self, pid: i32) -> io::Result<Where> {
            self.place
                .map(|place| Where { pid, ..place })
                .ok_or_else(|| io::Error::from_raw_os_error(libc_errno::ESRCH))
        }

        fn drain(&self, _flags: u32) -> Answer<Drain> {
            Answer {
                value: self.drain,
                result: result(self.drain_errno),
            }
        }
    }
}
