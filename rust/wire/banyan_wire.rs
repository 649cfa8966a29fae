// SPDX-License-Identifier: GPL-2.0

//! Everything that Banyan writes to a socket, to an image or over its device, and reads back.
//!
//! One copy of this crate is linked into `banyan.ko`, one into `banyanctl`, one into the host tests.
//! It uses `core` alone, allocates nothing, owns nothing: encoders write into the caller's slice and
//! return a length, decoders borrow from the caller's slice. Nothing here can panic, whatever a peer
//! sends: every read is checked, every sum is checked, every enum has a `from_code`.
//!
//! All integers are little endian on the wire. The words are those of DESIGN.md section 3.

#![deny(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::panic
    )
)]

pub mod call_table;
pub mod calls;
pub mod codec;

pub mod cpu;
pub mod file_ops;
pub mod frame;
pub mod guest;
pub mod handshake;
pub mod ids;
pub mod image;
pub mod image_files;
pub mod image_memory;
pub mod image_state;
pub mod member;
pub mod migrate;
pub mod op;
pub mod reason;
pub mod uapi;

pub use codec::{Reader, Wire, WireError, Writer};
pub use ids::{Epoch, NodeId};
pub use reason::Reason;
