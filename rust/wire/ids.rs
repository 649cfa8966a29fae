// SPDX-License-Identifier: GPL-2.0

//! Names of nodes and of membership versions, and the arithmetic of pids.
//!
//! A node has one [`NodeId`] for its whole membership. Every pid between `id << 15` and
//! `(id + 1) << 15` was born on that node: a pid names its home.

use crate::codec::{Reader, Result, Wire, WireError, Writer};
use core::fmt;
use core::num::NonZeroU8;

/// Highest node id.
pub const MAX_NODE: u8 = 127;

/// Bits of a pid below the node id.
pub const PID_BITS: u32 = 15;

/// One past the highest pid (the `pid_max` that systemd sets).
pub const PID_LIMIT: i32 = 1 << 22;

/// A node of the cluster: 1 to 127. `Option<NodeId>` is one byte, 0 stands for none on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(NonZeroU8);

impl NodeId {
    /// The node `id`, if that is 1 to 127.
    pub const fn new(id: u8) -> Option<Self> {
        if id > MAX_NODE {
            return None;
        }
        match NonZeroU8::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The node `id`, if that is 1 to 127; for the `u32` fields of the device interface.
    pub const fn from_u32(id: u32) -> Option<Self> {
        if id > MAX_NODE as u32 {
            return None;
        }
        Self::new(id as u8)
    }

    /// The id that a node takes if none is set: the low 7 bits of its IPv4 address (as a number whose
    /// top byte is the address's first). `None` if they are 0: then the operator must set one.
    pub const fn from_ipv4(addr: u32) -> Option<Self> {
        Self::new((addr & MAX_NODE as u32) as u8)
    }

    /// Its number, 1 to 127.
    pub const fn get(self) -> u8 {
        self.0.get()
    }

    /// Its number as an index, 1 to 127.
    pub const fn index(self) -> usize {
        self.0.get() as usize
    }

    /// All ids, in order.
    pub fn all() -> impl Iterator<Item = NodeId> {
        (1..=MAX_NODE).filter_map(NodeId::new)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.get(), f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.get())
    }
}

impl Wire for NodeId {
    const SIZE: usize = 1;

    fn put(&self, w: &mut Writer<'_>) -> Result<()> {
        self.get().put(w)
    }

    fn get(r: &mut Reader<'_>) -> Result<Self> {
        Self::new(u8::get(r)?).ok_or(WireError::BadValue)
    }
}

impl Wire for Option<NodeId> {
    const SIZE: usize = 1;

    fn put(&self, w: &mut Writer<'_>) -> Result<()> {
        self.map_or(0, NodeId::get).put(w)
    }

    fn get(r: &mut Reader<'_>) -> Result<Self> {
        match u8::get(r)? {
            0 => Ok(None),
            id => Ok(Some(NodeId::new(id).ok_or(WireError::BadValue)?)),
        }
    }
}

/// Version of the membership: grows by one or more with every change. 0 before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The one after it (stays at the end of the range, which 2^32 changes never reach).
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Wire for Epoch {
    const SIZE: usize = 4;

    fn put(&self, w: &mut Writer<'_>) -> Result<()> {
        self.0.put(w)
    }

    fn get(r: &mut Reader<'_>) -> Result<Self> {
        Ok(Self(u32::get(r)?))
    }
}

/// The pids that `node` gives out: from the first (inclusive) to the second (exclusive).
pub const fn pid_range(node: NodeId) -> (i32, i32) {
    let id = node.get() as i32;
    (id << PID_BITS, id.saturating_add(1) << PID_BITS)
}

/// The node where `pid` was born. `None` for a pid below every range (born before its node joined)
/// and for one that cannot be.
pub const fn home_of(pid: i32) -> Option<NodeId> {
    if pid < 0 || pid >= PID_LIMIT {
        return None;
    }
    NodeId::new((pid >> PID_BITS) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_tile_the_pid_space() {
        let mut end = 1 << PID_BITS;
        for node in NodeId::all() {
            let (first, last) = pid_range(node);
            assert_eq!(first, end);
            assert_eq!(home_of(first), Some(node));
            assert_eq!(home_of(last - 1), Some(node));
            end = last;
        }
        assert_eq!(end, PID_LIMIT);
    }

    #[test]
    fn no_home() {
        assert_eq!(home_of(1), None);
        assert_eq!(home_of(32767), None);
        assert_eq!(home_of(-1), None);
        assert_eq!(home_of(i32::MIN), None);
        assert_eq!(home_of(PID_LIMIT), None);
        assert_eq!(home_of(i32::MAX), None);
    }

    #[test]
    fn option_is_one_byte() {
        assert_eq!(core::mem::size_of::<Option<NodeId>>(), 1);
        assert_eq!(NodeId::from_ipv4(0x0a00_0083), NodeId::new(3));
        assert_eq!(NodeId::from_ipv4(0x0a00_0080), None);
        assert_eq!(NodeId::from_u32(256 + 3), None);
    }
}
