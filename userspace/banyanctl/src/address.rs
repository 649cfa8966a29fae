// SPDX-License-Identifier: GPL-2.0
//! The address at which this node is reached, when no setting says it.
//!
//! It is the source address that the kernel would use towards the server of the root file system, else towards the first
//! member to join, else towards the default gateway. Nothing is sent: connecting a UDP socket only looks up the route.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket}, //
};

/// The address of the NFS server of the file system mounted at `/`, out of the text of /proc/mounts.
fn root_server(mounts: &str) -> Option<Ipv4Addr> {
    // The last line for `/` is the mount that is seen.
    let line = mounts
        .lines()
        .rev()
        .find(|line| line.split_whitespace().nth(1) == Some("/"))?;
    let mut words = line.split_whitespace().skip(2);
    let kind = words.next()?;
    if kind != "nfs" && kind != "nfs4" {
        return None;
    }
    words
        .next()?
        .split(',')
        .find_map(|option| option.strip_prefix("addr="))?
        .parse()
        .ok()
}

/// The gateway of the default route with the lowest metric, out of the text of /proc/net/route.
fn gateway(routes: &str) -> Option<Ipv4Addr> {
    const GATEWAY: u32 = 2;
    routes
        .lines()
        .skip(1)
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let hex = |index: usize| u32::from_str_radix(words.get(index)?, 16).ok();
            let is_default = hex(1)? == 0 && hex(7)? == 0 && hex(3)? & GATEWAY != 0;
            let metric = words.get(6)?.parse::<u32>().ok()?;
            // The file prints the word as it lies in memory.
            is_default.then(|| hex(2).map(|word| (metric, Ipv4Addr::from(word.to_ne_bytes()))))?
        })
        .min_by_key(|(metric, _)| *metric)
        .map(|(_, address)| address)
}

/// The source address towards `target`.
fn source(target: Ipv4Addr) -> Option<Ipv4Addr> {
    const ANY_PORT: u16 = 7227;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((target, ANY_PORT)).ok()?;
    match socket.local_addr().ok()? {
        SocketAddr::V4(address) => Some(*address.ip())
            .filter(|address| !address.is_unspecified() && !address.is_loopback()),
        SocketAddr::V6(_) => None,
    }
}

/// This node's address, as far as it can be told; `member` is the first one of those to join.
pub fn local(member: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    [
        root_server(&read("/proc/self/mounts")),
        member,
        gateway(&read("/proc/net/route")),
    ]
    .into_iter()
    .flatten()
    .find_map(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_of_the_root() {
        let mounts = "rootfs / rootfs rw 0 0\nproc /proc proc rw 0 0\n\
            10.77.0.254:/export / nfs4 ro,relatime,vers=4.2,clientaddr=10.77.0.2,addr=10.77.0.254 0 0\n\
            10.77.0.9:/home /home nfs4 rw,addr=10.77.0.9 0 0\n";
        assert_eq!(root_server(mounts), Some(Ipv4Addr::new(10, 77, 0, 254)));
        assert_eq!(root_server("/dev/vda / ext4 rw,addr=1.2.3.4 0 0\n"), None);
        assert_eq!(root_server(""), None);
    }

    #[test]
    fn default_gateway() {
        let routes =
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
            eth1\t00000000\tFE004D0A\t0003\t0\t0\t50\t00000000\t0\t0\t0\n\
            eth1\t00004D0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        assert_eq!(gateway(routes), Some(Ipv4Addr::new(10, 77, 0, 254)));
        assert_eq!(gateway("Iface\n"), None);
    }

    #[test]
    fn loopback_is_no_address_for_others() {
        assert_eq!(source(Ipv4Addr::LOCALHOST), None);
    }
}
