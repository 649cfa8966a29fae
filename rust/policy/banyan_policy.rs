// SPDX-License-Identifier: GPL-2.0

//! Where processes run: the rules of the scheduler, without input, output, time or memory.
//!
//! One copy of this crate is linked into the host tests and the simulator; `banyan_sched.ko` is to be its
//! third user. It uses `core` alone, allocates nothing, uses no floating point and cannot panic. What a node
//! owns: one [`Table`] of what it knows of the others, fed by one [`Gossip`]; one [`Policy`]; one [`Limits`]
//! with the filters; one set of [`Reservations`]; one [`Lives`]. The owner brings time (milliseconds of any clock that
//! does not jump back), random numbers, the memory of the tables, and carries out the [`Decision`]s.
//!
//! ```text
//!   probes -> Record -> Gossip ~~~~> Table of the others
//!                                      |
//!   Task (of a process) ----> Policy --+--> Decision -> Request ~~~~> Reservations of the target
//!                               ^                                       | Granted, or Refused with
//!                            Limits                                     v its newest Record
//! ```
//!
//! Units: processor load in thousandths of a task that is always runnable; speed in MHz of one CPU; memory in
//! KiB; time in ms; costs are [`Fixed`].

#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::panic,
        clippy::float_arithmetic
    )
)]

mod decision;
mod filters;
mod fixed;
mod gossip;
mod legacy;
mod lives;
mod opportunity;
mod policy;
mod probes;
mod random;
mod rbt;
mod record;
mod reservations;
mod round_robin;
mod table;
mod view;

pub use decision::{Decision, Inputs, Reason, Verdict};
pub use filters::{Blacklist, Limits, BLACKLIST};
pub use fixed::{scale, Fixed};
pub use gossip::{Entry, Gossip, GossipLimits, MAX_WINDOW};
pub use legacy::Legacy;
pub use lives::{Life, Lives};
pub use opportunity::{CpuCost, OpportunityCost};
pub use policy::Policy;
pub use probes::{Link, LoadMean, NodeProbe, ShareMean, Task};
pub use random::Random;
pub use rbt::Rbt;
pub use record::{Node, Record, TASK};
pub use reservations::{Answer, Request, Reservation, Reservations};
pub use round_robin::RoundRobin;
pub use table::{Known, Merge, Row, Table};
pub use view::View;
