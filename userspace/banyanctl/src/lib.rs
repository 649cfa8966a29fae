// SPDX-License-Identifier: GPL-2.0
//! The control tool of a Banyan cluster: commands for people and scripts, and the daemon that receives arriving processes.
//!
//! One process per command, plus one daemon (`banyanctl serve`) per node. Commands speak to the kernel through [`device::Control`]
//! (the ioctl device) and [`sysfs::Sysfs`]; both can be replaced by test doubles.

#![deny(unsafe_code)]

pub mod address;
pub mod cli;
pub mod commands;
pub mod config;
pub mod device;
pub mod failure;
pub mod generate;
pub mod key;
pub mod mounts;
pub mod node;
pub mod serve;
pub mod sysfs;
pub mod table;

use std::process::ExitCode;

use clap::Parser;

use crate::failure::{Failure, Status};

/// Reads the command line, does what it says, and turns the result into an exit status (see [`Status`]).
pub fn run() -> ExitCode {
    let arguments = cli::Arguments::parse();
    match commands::run(arguments) {
        Ok(status) => status.into(),
        Err(error) => {
            eprintln!("banyanctl: {error:#}");
            let failure = error.downcast_ref::<Failure>();
            if let Some(advice) = failure.and_then(|failure| failure.advice.as_deref()) {
                eprintln!("  {advice}");
            }
            failure
                .map_or(Status::Failed, |failure| failure.status)
                .into()
        }
    }
}
