// SPDX-License-Identifier: GPL-2.0
//! What the control tool asks of the kernel, behind safe functions: the Banyan device, and processes.
//!
//! The tool itself (`userspace/banyanctl`) says `#![deny(unsafe_code)]`. One [`Device`] per open of `/dev/banyan`, owned by the
//! command that opened it. The structures that cross the device are those of `rust/wire/uapi.rs`, shared with the kernel.

#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

mod device;
pub mod process;

pub use banyan_wire as wire;
pub use device::{Answer, Device};
