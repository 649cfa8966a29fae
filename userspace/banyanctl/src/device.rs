// SPDX-License-Identifier: GPL-2.0
//! What a command asks of the kernel, as a trait: the real device, or a test double.
//!
//! One [`Control`] per command, owned by it.

use std::io;

use banyan_sys::{
    wire::uapi::{Drain, Migrate, NodeRecord, ProcRecord, ReasonRecord, Where},
    Answer,
    Device, //
};

use crate::failure::Failure;

/// The calls of `/dev/banyan` that commands use. Errors are the kernel's; [`Failure::from_device`] gives them words.
pub trait Control {
    /// All nodes that this one knows.
    fn nodes(&self) -> io::Result<Vec<NodeRecord>>;
    /// The guests and deputies of this node.
    fn processes(&self) -> io::Result<Vec<ProcRecord>>;
    /// Why a process cannot move to a node (0: anywhere).
    fn explain(&self, pid: i32, node: u32) -> io::Result<Vec<ReasonRecord>>;
    /// Moves a process.
    fn migrate(&self, pid: i32, node: u32, flags: u32) -> Answer<Migrate>;
    /// Where a process runs.
    fn locate(&self, pid: i32) -> io::Result<Where>;
    /// Empties this node.
    fn drain(&self, flags: u32) -> Answer<Drain>;
}

impl Control for Device {
    fn nodes(&self) -> io::Result<Vec<NodeRecord>> {
        Device::nodes(self)
    }

    fn processes(&self) -> io::Result<Vec<ProcRecord>> {
        Device::processes(self)
    }

    fn explain(&self, pid: i32, node: u32) -> io::Result<Vec<ReasonRecord>> {
        Device::explain(self, pid, node)
    }

    fn migrate(&self, pid: i32, node: u32, flags: u32) -> Answer<Migrate> {
        Device::migrate(self, pid, node, flags)
    }

    fn locate(&self, pid: i32) -> io::Result<Where> {
        Device::locate(self, pid)
    }

    fn drain(&self, flags: u32) -> Answer<Drain> {
        Device::drain(self, flags)
    }
}

/// Opens the device of this node.
///
/// # Errors
///
/// A [`Failure`] that says how to load the module.
pub fn open() -> Result<Device, Failure> {
    Device::open().map_err(|error| Failure::from_device(&error, "the device /dev/banyan"))
}
