// SPDX-License-Identifier: GPL-2.0

//! What the node is told by its operator: one [`Settings`], owned by the module, set through sysfs while the node is offline or
//! for the next time that it joins.

use banyan_wire::{
    handshake::MAX_CLUSTER_NAME,
    NodeId, //
};
use kernel::prelude::*;
use kernel_ext::{
    crypto::Secret,
    parameter::{
        self,
        Parameter, //
    },
    socket::Address, //
};

/// Port unless told otherwise.
pub(crate) const DEFAULT_PORT: u16 = 7227;
/// Most addresses to join by.
const MAX_SEEDS: usize = 256;
/// Bytes of the cluster key.
pub(crate) const KEY_LEN: usize = 32;

/// The settings.
pub(crate) struct Settings {
    /// Name of the cluster.
    pub(crate) cluster: KVec<u8>,
    /// The node id; from the address if none is set.
    pub(crate) node: Option<NodeId>,
    /// The own IPv4 address; that of an interface if none is set.
    pub(crate) address: Option<u32>,
    /// The TCP port to listen on.
    pub(crate) port: u16,
    /// Addresses to join by.
    pub(crate) seeds: KVec<Address>,
    /// They as they were written.
    pub(crate) join: KVec<u8>,
    /// The cluster key.
    pub(crate) key: Option<Secret<KEY_LEN>>,
}

impl Settings {
    pub(crate) const fn new() -> Self {
        Self {
            cluster: KVec::new(),
            node: None,
            address: None,
            port: DEFAULT_PORT,
            seeds: KVec::new(),
            join: KVec::new(),
            key: None,
        }
    }

    /// The settings that the module was loaded with: modprobe takes them from the kernel command line. One that makes no sense is
    /// left out, with a line in the log.
    pub(crate) fn from_parameters() -> Self {
        let mut settings = Self::new();
        for which in [
            Parameter::Cluster,
            Parameter::Node,
            Parameter::Address,
            Parameter::Port,
            Parameter::Join,
        ] {
            let Some(value) = parameter::get(which) else {
                continue;
            };
            if settings.set(which, value).is_err() {
                pr_warn!("the module parameter {which:?} makes no sense and is left out\n");
            }
        }
        settings
    }

    fn set(&mut self, which: Parameter, value: &[u8]) -> Result {
        match which {
            Parameter::Cluster => self.cluster = parse_cluster(value)?,
            Parameter::Node => self.node = parse_node(value)?,
            Parameter::Address => self.address = parse_address(value)?,
            Parameter::Port => self.port = parse_port(value)?,
            Parameter::Join => self.set_join(value)?,
        }
        Ok(())
    }

    /// Sets the addresses to join by.
    pub(crate) fn set_join(&mut self, value: &[u8]) -> Result {
        let seeds = parse_join(value, self.port)?;
        let mut join = KVec::new();
        join.extend_from_slice(trim(value), GFP_KERNEL)?;
        self.seeds = seeds;
        self.join = join;
        Ok(())
    }
}

/// Drops white space at both ends.
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii()
}

fn text(bytes: &[u8]) -> Result<&str> {
    core::str::from_utf8(trim(bytes)).map_err(|_| EINVAL)
}

fn number<T: core::str::FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| EINVAL)
}

/// Reads the name of a cluster: 1 to 31 printable characters without blanks.
pub(crate) fn parse_cluster(bytes: &[u8]) -> Result<KVec<u8>> {
    let name = trim(bytes);
    if name.is_empty() || name.len() > MAX_CLUSTER_NAME || !name.iter().all(u8::is_ascii_graphic) {
        return Err(EINVAL);
    }
    let mut copy = KVec::new();
    copy.extend_from_slice(name, GFP_KERNEL)?;
    Ok(copy)
}

/// Reads a node id; 0 or nothing: none.
pub(crate) fn parse_node(bytes: &[u8]) -> Result<Option<NodeId>> {
    match text(bytes)? {
        "" | "0" => Ok(None),
        id => NodeId::from_u32(number::<u32>(id)?).map(Some).ok_or(ERANGE),
    }
}

/// Reads a TCP port.
pub(crate) fn parse_port(bytes: &[u8]) -> Result<u16> {
    match number::<u16>(text(bytes)?)? {
        0 => Err(ERANGE),
        port => Ok(port),
    }
}

/// Reads a dotted IPv4 address.
pub(crate) fn parse_ip(text: &str) -> Result<u32> {
    let mut ip = 0u32;
    let mut count = 0;
    for part in text.split('.') {
        ip = (ip << 8) | u32::from(number::<u8>(part)?);
        count += 1;
    }
    if count == 4 {
        Ok(ip)
    } else {
        Err(EINVAL)
    }
}

/// Reads the own address; nothing or 0.0.0.0: none.
pub(crate) fn parse_address(bytes: &[u8]) -> Result<Option<u32>> {
    match text(bytes)? {
        "" => Ok(None),
        address => Ok(Some(parse_ip(address)?).filter(|ip| *ip != 0)),
    }
}

/// Reads `ADDR[:PORT][,ADDR[:PORT]|ADDR-LAST]...`, where LAST is an address or the last number of one.
fn parse_join(bytes: &[u8], default_port: u16) -> Result<KVec<Address>> {
    let mut seeds = KVec::new();
    let items = text(bytes)?.split([',', ' ']);
    for item in items.filter(|item| !item.is_empty()) {
        let (first, last, port) = match (item.split_once('-'), item.split_once(':')) {
            (Some((first, last)), _) => {
                let first = parse_ip(first)?;
                let last = match last.contains('.') {
                    true => parse_ip(last)?,
                    false => (first & !0xff) | u32::from(number::<u8>(last)?),
                };
                (first, last, default_port)
            }
            (None, Some((ip, port))) => (parse_ip(ip)?, parse_ip(ip)?, number::<u16>(port)?),
            (None, None) => (parse_ip(item)?, parse_ip(item)?, default_port),
        };
        if last < first || (last - first) as usize >= MAX_SEEDS - seeds.len().min(MAX_SEEDS) {
            return Err(E2BIG);
        }
        for ip in first..=last {
            seeds.push(Address { ip, port }, GFP_KERNEL)?;
        }
    }
    Ok(seeds)
}

/// Reads a key: 32 bytes, or 64 hexadecimal digits.
pub(crate) fn parse_key(bytes: &[u8]) -> Result<Secret<KEY_LEN>> {
    if let Ok(raw) = <[u8; KEY_LEN]>::try_from(bytes) {
        return Ok(Secret(raw));
    }
    let digits = trim(bytes);
    let mut key = Secret([0; KEY_LEN]);
    if digits.len() != 2 * KEY_LEN {
        return Err(EINVAL);
    }
    for (byte, pair) in key.0.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = char::from(*digit).to_digit(16).ok_or(EINVAL)?;
            *byte = (*byte << 4) | value as u8;
        }
    }
    Ok(key)
}
