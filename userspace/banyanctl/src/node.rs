// SPDX-License-Identifier: GPL-2.0
//! Finding the node that a user means: by id, by name or by address. And how a node is written.
//!
//! The list of nodes is fetched anew for each command; the records are owned by it.

use std::net::Ipv4Addr;

use banyan_sys::wire::{
    codec::text_of,
    uapi::{node_state, NodeRecord, NODE_FLAG_SELF}, //
};

use crate::failure::{Failure, Status};

/// The name of a node, or nothing when it did not tell one.
pub fn name(node: &NodeRecord) -> &str {
    text_of(&node.name)
}

/// The IPv4 address of a node.
pub fn address(node: &NodeRecord) -> Ipv4Addr {
    // The four bytes lie in memory in the order of the address.
    Ipv4Addr::from(node.addr_be.to_ne_bytes())
}

/// `2 (beech)`, or `2` without a name.
pub fn title(nodes: &[NodeRecord], id: u32) -> String {
    match nodes.iter().find(|node| u32::from(node.id) == id).map(name) {
        Some(name) if !name.is_empty() => format!("node {id} ({name})"),
        _ => format!("node {id}"),
    }
}

/// The node that answers.
pub fn this(nodes: &[NodeRecord]) -> Option<&NodeRecord> {
    nodes.iter().find(|node| node.flags & NODE_FLAG_SELF != 0)
}

/// Finds the node that `wanted` means: an id, an address, `self`, or a name (whole, or up to its first dot, whatever its case).
///
/// # Errors
///
/// [`Status::NotFound`] with the nodes that there are; [`Status::Usage`] when several have that name.
pub fn find<'a>(nodes: &'a [NodeRecord], wanted: &str) -> Result<&'a NodeRecord, Failure> {
    let none = |what: String| {
        let known: Vec<String> = nodes
            .iter()
            .filter(|node| node.state == node_state::UP)
            .map(|node| format!("{} ({})", node.id, name(node)))
            .collect();
        Failure::new(Status::NotFound, what)
            .advise(format!("Nodes that are up: {}", known.join(", ")))
    };
    if wanted == "self" {
        return this(nodes).ok_or_else(|| none("this node is not in the list of nodes".into()));
    }
    if let Ok(id) = wanted.parse::<u32>() {
        return nodes
            .iter()
            .find(|node| u32::from(node.id) == id)
            .ok_or_else(|| none(format!("there is no node {id}")));
    }
    if let Ok(wanted) = wanted.parse::<Ipv4Addr>() {
        return nodes
            .iter()
            .find(|node| address(node) == wanted)
            .ok_or_else(|| none(format!("no node has the address {wanted}")));
    }
    let short = |name: &str| name.split('.').next().unwrap_or("").to_ascii_lowercase();
    let whole: Vec<&NodeRecord> = nodes
        .iter()
        .filter(|node| name(node).eq_ignore_ascii_case(wanted))
        .collect();
    let found = if whole.is_empty() {
        nodes
            .iter()
            .filter(|node| {
                !name(node).is_empty() && short(name(node)) == wanted.to_ascii_lowercase()
            })
            .collect()
    } else {
        whole
    };
    match found.as_slice() {
        [node] => Ok(node),
        [] => Err(none(format!("no node is called {wanted}"))),
        several => {
            let ids: Vec<String> = several.iter().map(|node| node.id.to_string()).collect();
            Err(
                Failure::new(Status::Usage, format!("several nodes are called {wanted}"))
                    .advise(format!("Give one of their ids: {}", ids.join(", "))),
            )
        }
    }
}

/// Records for tests of this crate.
#[cfg(test)]
pub mod samples {
    use banyan_sys::wire::codec::text_field;

    use super::*;

    /// A node that is up, at 10.77.0.ID.
    pub fn node(id: u8, name: &str, flags: u16) -> NodeRecord {
        NodeRecord {
            id,
            state: node_state::UP,
            flags,
            epoch: 5,
            addr_be: u32::from_ne_bytes([10, 77, 0, id]),
            port: 7227,
            cpus: 2,
            mem_total_kib: 786_432,
            mem_free_kib: 524_288,
            load1: 125,
            uptime_s: 3725,
            guests_in: 1,
            guests_out: 0,
            name: text_field(name.as_bytes()),
        }
    }

    /// Three nodes; the second is this one.
    pub fn three() -> Vec<NodeRecord> {
        vec![
            node(1, "ash", 0),
            node(2, "beech.example", NODE_FLAG_SELF),
            node(3, "cedar", 0),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_id_name_and_address() {
        let nodes = samples::three();
        for (wanted, id) in [
            ("1", 1),
            ("cedar", 3),
            ("CEDAR", 3),
            ("beech", 2),
            ("beech.example", 2),
            ("10.77.0.3", 3),
            ("self", 2),
        ] {
            assert_eq!(find(&nodes, wanted).expect(wanted).id, id);
        }
        assert_eq!(address(&nodes[0]), Ipv4Addr::new(10, 77, 0, 1));
        assert_eq!(title(&nodes, 3), "node 3 (cedar)");
        assert_eq!(title(&nodes, 9), "node 9");
    }

    #[test]
    fn unknown_and_ambiguous() {
        let mut nodes = samples::three();
        for wanted in ["9", "oak", "10.0.0.1", ""] {
            let failure = find(&nodes, wanted).unwrap_err();
            assert_eq!(failure.status, Status::NotFound, "{wanted}");
            assert!(failure
                .advice
                .is_some_and(|advice| advice.contains("1 (ash)")));
        }
        nodes.push(samples::node(4, "ash", 0));
        assert_eq!(find(&nodes, "ash").unwrap_err().status, Status::Usage);
    }
}
