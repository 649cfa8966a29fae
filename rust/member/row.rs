// SPDX-License-Identifier: GPL-2.0

//! What is known of one node: [`ROWS`](crate::ROWS) of them in a [`Membership`](crate::Membership), by id.

use crate::event::Opener;
use crate::State;
use banyan_wire::member::Member;
use banyan_wire::NodeId;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// `None` for an id that nobody has.
    pub(crate) state: Option<State>,
    /// Who opened the control connection in use, if there is one.
    pub(crate) link: Option<Opener>,
    /// The dead incarnation whose lease still runs; 0 = none. A still later one may have died since.
    pub(crate) lease: u64,
    /// This node dials it, whatever the ids.
    pub(crate) eager: bool,
    /// Dials of the dead node so far, for the back-off.
    pub(crate) heals: u8,
    pub(crate) port: u16,
    pub(crate) addr_be: u32,
    pub(crate) incarnation: u64,
    /// When the last frame came; of a node only heard of: when that was.
    pub(crate) heard: u64,
    /// When to dial it next.
    pub(crate) dial: u64,
}

impl Row {
    /// Of an id that nobody has.
    pub const EMPTY: Self = Self {
        state: None,
        link: None,
        lease: 0,
        eager: false,
        heals: 0,
        port: 0,
        addr_be: 0,
        incarnation: 0,
        heard: 0,
        dial: 0,
    };

    pub(crate) fn is_member(&self) -> bool {
        self.state.is_some_and(State::is_member)
    }

    /// Whether this incarnation is known to be gone.
    pub(crate) fn is_gone(&self, incarnation: u64) -> bool {
        matches!(self.state, Some(State::Dead | State::Left)) && incarnation <= self.incarnation
    }

    pub(crate) fn entry(&self, node: NodeId) -> Option<Member> {
        Some(Member {
            node,
            state: self.state?,
            port: self.port,
            addr_be: self.addr_be,
            incarnation: self.incarnation,
        })
    }
}

/// What is known of one node, for the control interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub node: NodeId,
    /// Its state.
    pub state: State,
    /// Its incarnation.
    pub incarnation: u64,
    /// Its IPv4 address, network order.
    pub addr_be: u32,
    /// Its port.
    pub port: u16,
    /// Whether a control connection with it is open.
    pub connected: bool,
    /// Milliseconds since its last frame; 0 for this node itself.
    pub silent_ms: u64,
}
