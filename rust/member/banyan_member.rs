// SPDX-License-Identifier: GPL-2.0

//! Who belongs to the cluster, as one node sees it: the rules, without input, output, time or memory.
//!
//! One [`Membership`] per node, owned by `drivers/core`, which feeds it events with the time in
//! milliseconds (any clock that does not jump back) and carries out the [`Action`]s that come back. Nothing
//! here can panic, whatever peers say.
//!
//! ```text
//!            learned              connected
//!  (unknown) ------> Joining ----------------> Up <------> Suspect
//!      ^                |                       |   frame     |
//!      |  nobody there  |                leave  |             | silent for 3 s, or heard so
//!      +----------------+                 v     |             v
//!      |                                Left <--+---------> Dead
//!      |                                  |    newer        |
//!      +----------------------------------+--- incarnation -+
//! ```
//!
//! The rules:
//! - A member that sends no frame for [`DEAD_MS`] is declared dead; the declaration goes to all.
//! - A dead or left incarnation never comes back; the node may, with a greater incarnation.
//! - Whoever learns that it was declared dead itself *fences*: it ends what it holds for others (guests
//!   and deputies), then joins anew under a greater incarnation ([`Membership::rejoin`]).
//! - When two halves of a cluster that each declared the other dead meet again, the half with fewer
//!   members fences; of equal halves the one without the lowest id.
//! - [`LEASE_MS`] after the last frame of a dead node its guests must have ended ([`Action::LeaseOver`]);
//!   by the same rule its own guests elsewhere and ours there end without a message.
//! - The higher id dials the lower; a node dials its seeds each second while it is alone, seldom
//!   afterwards.

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

mod admission;
mod event;
mod row;
mod table;

pub use admission::{Admission, Candidate};
pub use banyan_wire::member::State;
pub use event::{Action, Cause, Event, Opener};
pub use row::{Node, Row};
pub use table::{Membership, Rows, ROWS};

/// Time between heartbeats on each control connection.
pub const HEARTBEAT_MS: u64 = 500;
/// Silence after which a member is suspected.
pub const SUSPECT_MS: u64 = 1_500;
/// Silence after which a member is declared dead.
pub const DEAD_MS: u64 = 3_000;
/// Silence after which what a dead node held must have ended.
pub const LEASE_MS: u64 = 5_000;
/// Time between calls of [`Event::Tick`]: at most this.
pub const TICK_MS: u64 = 250;
/// A gap between ticks from which on the silence may be this node's own fault (it was paused).
pub const STALL_MS: u64 = 1_500;
/// Time without declarations after such a gap, so that waiting frames are read first.
pub const GRACE_MS: u64 = 1_000;
/// Time between two dials of a node.
pub const DIAL_MS: u64 = 500;
/// Time between two rounds over the seeds while this node is alone.
pub const SEEDS_MS: u64 = 1_000;
/// The same while it is not: two groups that started apart find each other so.
pub const SEEDS_SLOW_MS: u64 = 15_000;
/// Time after which a node that was only heard of is forgotten.
pub const JOINING_MS: u64 = 10_000;
/// Time between two dials of a dead node, at first; doubled up to [`HEAL_MAX_MS`].
pub const HEAL_MS: u64 = 2_000;
/// Longest time between two dials of a dead node.
pub const HEAL_MAX_MS: u64 = 30_000;
/// Farthest that another node's epoch may be ahead to be believed.
pub const EPOCH_JUMP: u32 = 1 << 24;
