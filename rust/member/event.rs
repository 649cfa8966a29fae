// SPDX-License-Identifier: GPL-2.0

//! What goes into a [`Membership`](crate::Membership) and what comes out.

use banyan_wire::member::{Dead, Members};
use banyan_wire::{Epoch, NodeId};

/// Which end opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opener {
    /// This node dialled.
    Us,
    /// The peer did.
    Peer,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// Time went on; at least every [`TICK_MS`](crate::TICK_MS).
    Tick,
    /// A control connection is open: the handshake is done, both sides accepted.
    Connected {
        /// The peer.
        node: NodeId,
        /// Its incarnation.
        incarnation: u64,
        /// Its IPv4 address, network order.
        addr_be: u32,
        /// Its port.
        port: u16,
        /// Who dialled.
        opener: Opener,
    },
    /// The control connection in use with this node is gone.
    Lost {
        /// The peer.
        node: NodeId,
    },
    /// A frame of this node was read, with this epoch in its header.
    Heard {
        /// The peer.
        node: NodeId,
        /// Its epoch.
        epoch: Epoch,
    },
    /// A DEAD message.
    Dead {
        /// The sender.
        from: NodeId,
        /// What it says.
        dead: Dead,
    },
    /// A LEAVE message.
    Leave {
        /// The sender.
        from: NodeId,
        /// Its incarnation.
        incarnation: u64,
    },
    /// A MEMBERS message.
    Members {
        /// The sender.
        from: NodeId,
        /// What it says.
        members: Members<'a>,
    },
    /// [`Admission::Fence`](crate::Admission::Fence), or a peer refused this node as declared dead.
    MustFence {
        /// The incarnation that the others take for dead; the next must be greater.
        dead: u64,
    },
}

/// Why a node is a member no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// This node declared it dead: it was silent too long.
    Silent,
    /// Another node declared it dead.
    Told,
    /// It came back under a new incarnation: the old one is dead.
    Replaced,
    /// It left by its own will.
    Left,
}

/// What the owner must do, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a control connection to this node, unless that is under way.
    Dial {
        /// The node that is expected there.
        node: NodeId,
        /// Its IPv4 address, network order.
        addr_be: u32,
        /// Its port.
        port: u16,
    },
    /// Open control connections to the seeds from the configuration, but for addresses of connected nodes.
    DialSeeds,
    /// Close the control connection with this node and drop what waits on it; no `Lost` is expected.
    Close(NodeId),
    /// Two connections with this node were opened at once: close the older, use the newer.
    UseNewer(NodeId),
    /// Two connections with this node were opened at once: close the newer.
    UseOlder(NodeId),
    /// This node is a member now.
    Up {
        /// Who.
        node: NodeId,
        /// Its incarnation.
        incarnation: u64,
    },
    /// This node is a member no longer: end every wait that names it; then deputies whose guests ran there.
    Down {
        /// Who.
        node: NodeId,
        /// Its incarnation.
        incarnation: u64,
        /// Why.
        cause: Cause,
    },
    /// Send this DEAD message to all connected nodes.
    BroadcastDead(Dead),
    /// Send this DEAD message to one node.
    TellDead {
        /// The receiver.
        to: NodeId,
        /// The message.
        dead: Dead,
    },
    /// Send a MEMBERS message ([`Membership::entries`](crate::Membership::entries)) to all connected nodes.
    BroadcastMembers,
    /// The lease of a dead node is over: guests homed there must have ended by now.
    LeaseOver {
        /// The dead node.
        node: NodeId,
        /// Its incarnation.
        incarnation: u64,
    },
    /// The membership has a new version.
    EpochChanged(Epoch),
    /// This node was declared dead, or must give way: end all guests and deputies, close all connections,
    /// then call [`Membership::rejoin`](crate::Membership::rejoin) with an incarnation above this one.
    Fence {
        /// The incarnation that must be exceeded.
        above: u64,
    },
}
