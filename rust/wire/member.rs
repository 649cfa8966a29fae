// SPDX-License-Identifier: GPL-2.0

//! Messages of membership: ops 0x0001 to 0x00ff. Made and read by `drivers/core`; the rules are in
//! the crate `banyan_member`.

use crate::codec::{Array, Reader, Result, Wire, Writer};
use crate::ids::{Epoch, NodeId, MAX_NODE};

crate::wire_enum! {
    /// What a node is in the membership. Codes are those of [`node_state`](crate::uapi::node_state).
    pub enum State: u8 {
        Joining = 1, "joining";
        Up = 2, "up";
        Suspect = 3, "suspect";
        Dead = 4, "dead";
        Left = 5, "left";
    }
}

impl State {
    /// Whether the node counts as a member: it may own processes.
    pub const fn is_member(self) -> bool {
        matches!(self, Self::Up | Self::Suspect)
    }
}

crate::wire_struct! {
    /// "I live": each 500 ms on every control connection. [`op::HEARTBEAT`](crate::op::HEARTBEAT).
    pub struct Heartbeat {
        /// The sender's incarnation.
        pub incarnation: u64,
        /// Memory in all, KiB.
        pub mem_total_kib: u64,
        /// Memory available to a new program, KiB.
        pub mem_free_kib: u64,
        /// Load average of one minute, 1/100.
        pub load1: u32,
        /// Since boot, seconds.
        pub uptime_s: u32,
        /// Guests that run at the sender.
        pub guests_in: u32,
        /// Processes of the sender that run elsewhere.
        pub guests_out: u32,
        /// Online CPUs.
        pub cpus: u16,
        /// `NODE_FLAG_*` of [`uapi`](crate::uapi).
        pub flags: u16,
        /// Zero.
        pub _pad: u32,
    }

    /// One member in [`Members`].
    pub struct Member {
        /// Its id.
        pub node: NodeId,
        /// Its state, as the sender knows it.
        pub state: State,
        /// TCP port where it takes connections.
        pub port: u16,
        /// IPv4 address, network order.
        pub addr_be: u32,
        /// Its incarnation.
        pub incarnation: u64,
    }

    /// The sender leaves: its processes are home, its guests are gone. [`op::LEAVE`](crate::op::LEAVE).
    pub struct Leave {
        /// The sender's incarnation.
        pub incarnation: u64,
    }

    /// A node is declared dead. [`op::DEAD`](crate::op::DEAD).
    pub struct Dead {
        /// Its incarnation: a later one of the same node lives on.
        pub incarnation: u64,
        /// The epoch that the declaration makes at the sender.
        pub epoch: Epoch,
        /// The dead node.
        pub node: NodeId,
        /// Zero.
        pub _pad: [u8; 3],
    }
}

/// All members that the sender knows, itself included. [`op::MEMBERS`](crate::op::MEMBERS).
#[derive(Clone, Debug)]
pub struct Members<'a> {
    /// The sender's epoch.
    pub epoch: Epoch,
    /// At most 127.
    pub members: Array<'a, Member>,
}

impl<'a> Members<'a> {
    /// Longest form, in bytes.
    pub const MAX_SIZE: usize = Member::SIZE
        .saturating_mul(MAX_NODE as usize)
        .saturating_add(8);

    /// Writes the message and returns its length.
    ///
    /// # Errors
    ///
    /// [`NoRoom`](crate::WireError::NoRoom), [`TooLong`](crate::WireError::TooLong).
    pub fn encode(epoch: Epoch, members: &[Member], out: &mut [u8]) -> Result<usize> {
        if members.len() > MAX_NODE.into() {
            return Err(crate::WireError::TooLong);
        }
        let mut w = Writer::new(out);
        w.put(&epoch)?;
        w.put(&(members.len() as u32))?;
        members.iter().try_for_each(|m| w.put(m))?;
        Ok(w.len())
    }

    /// Reads the message.
    ///
    /// # Errors
    ///
    /// [`TooLong`](crate::WireError::TooLong) for more than 127 entries; a short or long input. An entry
    /// that makes no sense is an `Err` of the iterator.
    pub fn decode(bytes: &'a [u8]) -> Result<Self> {
        let mut r = Reader::new(bytes);
        let epoch = r.get()?;
        let count = r.get::<u32>()? as usize;
        let members = Array::take(&mut r, count, MAX_NODE.into())?;
        r.finish()?;
        Ok(Self { epoch, members })
    }
}

const _: () = assert!(Heartbeat::SIZE == 48 && Member::SIZE == 16 && Dead::SIZE == 16);
