// SPDX-License-Identifier: GPL-2.0
//! Which mounts of this node other nodes have too: only files there can be opened again where a process moves to.
//!
//! The daemon keeps one list and tells it to the kernel whenever it changes. A mount is shared when its source names a server
//! (NFS, CephFS, sshfs, ...: `SERVER:/PATH`, `//SERVER/SHARE`), whatever the kind of file system; or when a setting `shared_mount`
//! names it. Its identity is a hash of what is equal on every node: kind, server and path there.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf}, //
};

use banyan_sys::wire::uapi::{MountRecord, MAX_MOUNTS};

/// The mounts of this process's mount namespace, which is that of the node.
pub const MOUNTS: &str = "/proc/self/mountinfo";

/// A line of /proc/self/mountinfo, as far as it matters.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Mount {
    device: u32,
    /// Which directory of the file system is mounted.
    root: String,
    place: PathBuf,
    kind: String,
    source: String,
    /// The address of the server, where the file system tells it.
    address: Option<String>,
}

/// Undoes the escapes of the kernel: `\040` for a blank, and so on.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(3..).unwrap_or(&[]);
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(2);
        let mut after = after.split(' ');
        let (major, minor) = before.next()?.split_once(':')?;
        let (major, minor) = (major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?);
        Some(Self {
            device: (major << 20) | minor,
            root: unescape(before.next()?),
            place: PathBuf::from(unescape(before.next()?)),
            kind: unescape(after.next()?),
            source: unescape(after.next()?),
            address: after.next().and_then(|options| {
                let address = options
                    .split(',')
                    .find_map(|option| option.strip_prefix("addr="));
                address.map(str::to_owned)
            }),
        })
    }

    /// What is equal on every node that has this mount, and differs between mounts; `None` when its source names no server.
    fn identity(&self) -> Option<String> {
        let family = match self.kind.as_str() {
            "nfs" | "nfs4" => "nfs",
            other => other,
        };
        if family == "ceph" || self.source.starts_with("//") {
            return Some(format!("{family}\0{}", trimmed(&self.source)));
        }
        let (server, path) = self.source.split_once(":/")?;
        // Nodes may write the same server as a name or as an address.
        let server = self.address.as_deref().unwrap_or(server);
        let host = server.rsplit('@').next().unwrap_or("");
        let is_own = host == "localhost"
            || host
                .parse()
                .is_ok_and(|address: IpAddr| address.is_loopback());
        if host.is_empty() || is_own {
            return None;
        }
        let server = server.to_ascii_lowercase();
        Some(format!(
            "{family}\0{server}:{}",
            trimmed(&format!("/{path}"))
        ))
    }
}

/// A path without slashes at its end; `/` itself stays.
fn trimmed(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => path.get(..1).unwrap_or(""),
        path => path,
    }
}

/// FNV-1a of 128 bits: the same on every node and in every version. Not against an adversary: mounts are root's.
fn hash(text: &str) -> [u8; 16] {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    text.bytes()
        .fold(BASIS, |hash, byte| {
            (hash ^ u128::from(byte)).wrapping_mul(PRIME)
        })
        .to_be_bytes()
}

/// The shared mounts in the text of /proc/self/mountinfo, by device; `declared` are those that a setting names.
pub fn shared(mountinfo: &str, declared: &[PathBuf]) -> Vec<MountRecord> {
    let mounts: Vec<Mount> = mountinfo.lines().filter_map(Mount::parse).collect();
    let mut found: BTreeMap<u32, String> = BTreeMap::new();
    // The source names the directory at the root of the file system, so a line that mounts that root is preferred.
    for is_root in [true, false] {
        for mount in mounts.iter().filter(|mount| (mount.root == "/") == is_root) {
            if let std::collections::btree_map::Entry::Vacant(entry) = found.entry(mount.device) {
                if let Some(identity) = mount.identity() {
                    entry.insert(identity);
                }
            }
        }
    }
    for place in declared {
        // The last one mounted there is the one that is seen.
        if let Some(mount) = mounts
            .iter()
            .rev()
            .find(|mount| same_place(&mount.place, place))
        {
            found.insert(
                mount.device,
                format!("declared\0{}", trimmed(&place.to_string_lossy())),
            );
        }
    }
    found
        .into_iter()
        .take(MAX_MOUNTS as usize)
        .map(|(dev, identity)| MountRecord {
            dev,
            _pad: 0,
            id: hash(&identity),
        })
        .collect()
}

fn same_place(one: &Path, other: &Path) -> bool {
    one.components().eq(other.components())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "\
22 1 0:20 / / ro,relatime - nfs 10.77.0.126:/srv/banyan ro,vers=3,addr=10.77.0.126
30 22 0:35 / /home rw,relatime shared:5 - nfs4 server:/home/ rw,vers=4.2,addr=10.0.0.1
31 22 0:36 / /tmp rw - tmpfs tmpfs rw
32 22 0:35 /me /mnt/with\\040blank rw - nfs4 server:/home/me rw,addr=10.0.0.1
33 22 254:1 / /data rw - ext4 /dev/vda1 rw
34 22 0:40 / /ssh rw - fuse.sshfs me@Server:/x rw
35 22 0:41 / /own rw - nfs localhost:/x rw
36 22 0:42 / /cifs rw - cifs //server/share rw
37 22 0:43 / /proc rw - proc proc rw
";

    fn of(text: &str, declared: &[PathBuf]) -> Vec<(u32, [u8; 16])> {
        shared(text, declared)
            .into_iter()
            .map(|record| (record.dev, record.id))
            .collect()
    }

    #[test]
    fn mounts_of_servers_are_shared() {
        let found = of(NODE, &[]);
        let expected = [
            (20, hash("nfs\x0010.77.0.126:/srv/banyan")),
            (35, hash("nfs\x0010.0.0.1:/home")),
            (40, hash("fuse.sshfs\0me@server:/x")),
            (42, hash("cifs\0//server/share")),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn the_same_server_by_name_and_by_address_is_one() {
        let one = of(
            "30 22 0:35 / /home rw - nfs4 server:/home rw,addr=10.0.0.1\n",
            &[],
        );
        let other = of("99 22 0:77 / /elsewhere rw - nfs 10.0.0.1:/home/ rw\n", &[]);
        assert_eq!(one[0].1, other[0].1);
        let root = of("99 22 0:77 / / rw - nfs 10.0.0.1:/ rw\n", &[]);
        assert_eq!(root[0].1, hash("nfs\x0010.0.0.1:/"));
    }

    #[test]
    fn mounts_that_are_declared_are_shared() {
        let found = of(NODE, &[PathBuf::from("/data/"), PathBuf::from("/nowhere")]);
        assert!(found.contains(&((254 << 20) | 1, hash("declared\0/data"))));
        assert_eq!(found.len(), 5);
    }

    #[test]
    fn hashes_stay_what_they_are() {
        // The published value for the empty string, and one that other nodes rely on.
        assert_eq!(
            hash(""),
            0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128.to_be_bytes()
        );
        assert_eq!(
            hash("a"),
            0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964_u128.to_be_bytes()
        );
    }

    #[test]
    fn lines_that_make_no_sense_are_skipped() {
        assert_eq!(
            of("\nx\n1 2 3 4 - \n1 2 a:b / / rw - nfs a:/b rw\n", &[]),
            []
        );
        assert_eq!(unescape("a\\040b\\\\040"), "a b\\ ");
    }
}
