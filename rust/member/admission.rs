// SPDX-License-Identifier: GPL-2.0

//! Whether a node that has proven the key may connect: the answer to `Next::Decide` of the handshake.

use crate::event::Opener;
use crate::row::Row;
use crate::table::{Membership, Rows};
use banyan_wire::handshake::{Features, Refusal};
use banyan_wire::NodeId;

/// Who wants a control connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub node: NodeId,
    /// Its incarnation.
    pub incarnation: u64,
    /// Its IPv4 address, network order.
    pub addr_be: u32,
    /// Members in its view.
    pub members: u16,
    /// Lowest id in its view.
    pub lowest: u8,
    /// Who dialled.
    pub opener: Opener,
}

impl Candidate {
    /// From what the peer said of itself.
    pub fn new(node: NodeId, features: &Features, opener: Opener) -> Self {
        Self {
            node,
            incarnation: features.incarnation,
            addr_be: features.addr_be,
            members: features.members,
            lowest: features.lowest,
            opener,
        }
    }
}

/// What to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Accept it.
    Accept,
    /// Refuse it; the number goes with [`Refusal::DeclaredDead`].
    Refuse(Refusal, u64),
    /// Refuse it with [`Refusal::Fencing`], then hand in
    /// [`Event::MustFence`](crate::Event::MustFence) with this number: this side gives way.
    Fence(u64),
}

impl<T: Rows> Membership<T> {
    /// Decides over a candidate.
    pub fn admit(&self, now: u64, who: &Candidate) -> Admission {
        if self.is_fencing() {
            return Admission::Refuse(Refusal::Fencing, 0);
        }
        if who.node == self.me() {
            return Admission::Refuse(Refusal::SelfConnection, 0);
        }
        let row = self.row(who.node);
        if row.is_gone(who.incarnation) {
            // Both sides may think so of each other: the smaller view gives way.
            let ours = (self.members(), core::cmp::Reverse(self.lowest()));
            let theirs = (who.members, core::cmp::Reverse(who.lowest));
            return if row.state == Some(crate::State::Dead) && theirs > ours {
                Admission::Fence(self.incarnation())
            } else {
                Admission::Refuse(Refusal::DeclaredDead, row.incarnation)
            };
        }
        if row.is_member() && row.incarnation != who.incarnation {
            return self.admit_other(now, &row, who);
        }
        match row.link {
            // Both dialled at once, and ours is the one that stays.
            Some(Opener::Us) if who.opener == Opener::Peer && self.me() > who.node => {
                Admission::Refuse(Refusal::AlreadyConnected, 0)
            }
            // The same dialler again: it has lost the old connection, and says so by this one.
            _ => Admission::Accept,
        }
    }

    /// The id is in use by another incarnation: the same machine started again, or two machines.
    fn admit_other(&self, now: u64, row: &Row, who: &Candidate) -> Admission {
        if row.addr_be == who.addr_be {
            return if who.incarnation > row.incarnation {
                Admission::Accept
            } else {
                Admission::Refuse(Refusal::DeclaredDead, row.incarnation)
            };
        }
        if now.saturating_sub(row.heard) < crate::DEAD_MS {
            return Admission::Refuse(Refusal::DuplicateNode, 0);
        }
        if who.incarnation > row.incarnation {
            Admission::Accept
        } else {
            Admission::Refuse(Refusal::DeclaredDead, row.incarnation)
        }
    }
}
