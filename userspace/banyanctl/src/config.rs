// SPDX-License-Identifier: GPL-2.0
//! The settings of this node: `/etc/banyan/banyan.conf`, overruled by `banyan.*` words of the kernel command line.
//!
//! One [`Settings`] per start of the daemon (and per reload), owned by it. The file has lines `NAME = VALUE`, comments start with
//! `#`; several `join` lines add up. A name that is not known is told and skipped, so that a newer file does not keep a node from
//! starting; a value that makes no sense is an error.

use std::{
    fs,
    io,
    net::{Ipv4Addr, ToSocketAddrs},
    path::{Path, PathBuf},
    str::FromStr, //
};

use anyhow::{bail, Context, Result};
use banyan_sys::wire::{handshake::MAX_CLUSTER_NAME as MAX_CLUSTER, NodeId};

/// The file with the settings.
pub const CONFIG_FILE: &str = "/etc/banyan/banyan.conf";
/// The file with the cluster's key, unless a setting names another.
pub const KEY_FILE: &str = "/etc/banyan/key";
/// The kernel's command line.
pub const COMMAND_LINE: &str = "/proc/cmdline";
/// Words `banyan.NAME=` that are meant for the network boot's first stage.
const FOR_OTHERS: [&str; 2] = ["home", "coldplug"];

/// Addresses at which members may be found: one, or all from one to another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Range {
    pub first: Ipv4Addr,
    pub last: Ipv4Addr,
}

/// Most addresses in one range: a whole network of 8 bits.
const MAX_RANGE: u32 = 256;

impl Range {
    /// A single address.
    pub fn one(address: Ipv4Addr) -> Self {
        Self {
            first: address,
            last: address,
        }
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl FromStr for Range {
    type Err = anyhow::Error;

    /// `ADDRESS`, `ADDRESS-ADDRESS`, `ADDRESS-LASTBYTE`, or a host name.
    fn from_str(text: &str) -> Result<Self> {
        if let Ok(address) = text.parse() {
            return Ok(Self::one(address));
        }
        let split = text
            .split_once('-')
            .and_then(|(first, last)| Some((first.parse::<Ipv4Addr>().ok()?, last)));
        let Some((first, last)) = split else {
            return resolve(text).map(Self::one);
        };
        let last = match last.parse::<u8>() {
            Ok(byte) => {
                let [a, b, c, _] = first.octets();
                Ipv4Addr::new(a, b, c, byte)
            }
            Err(_) => last.parse().with_context(|| {
                format!("\"{text}\" does not end in an address or its last byte")
            })?,
        };
        match u32::from(last).checked_sub(u32::from(first)) {
            Some(count) if count < MAX_RANGE => Ok(Self { first, last }),
            Some(_) => bail!("\"{text}\" names more than {MAX_RANGE} addresses"),
            None => bail!("\"{text}\" ends before it begins"),
        }
    }
}

/// The first IPv4 address of a host name.
fn resolve(name: &str) -> Result<Ipv4Addr> {
    let found = (name, 0)
        .to_socket_addrs()
        .with_context(|| format!("\"{name}\" is no address and no name that can be found"))?;
    for address in found {
        if let std::net::SocketAddr::V4(address) = address {
            return Ok(*address.ip());
        }
    }
    bail!("\"{name}\" has no IPv4 address")
}

/// The list in a `join` setting: ranges separated by commas or blanks.
///
/// # Errors
///
/// When an item is no address, range or known name.
pub fn parse_join(text: &str) -> Result<Vec<Range>> {
    text.split(|c: char| c == ',' || c.is_whitespace())
        .filter(|item| !item.is_empty())
        .map(str::parse)
        .collect()
}

/// Where the key is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeySource {
    File(PathBuf),
    /// In the setting itself, as hexadecimal digits.
    Text(String),
}

/// What this node was told about itself and its cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    pub cluster: Option<String>,
    pub node: Option<NodeId>,
    pub address: Option<Ipv4Addr>,
    pub port: Option<u16>,
    pub join: Vec<Range>,
    pub key: KeySource,
    /// Mount points that are the same file system on every node, beside those that show it themselves.
    pub shared_mounts: Vec<PathBuf>,
    /// Settings that were skipped, and why, one line each: for the log.
    pub notices: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cluster: None,
            node: None,
            address: None,
            port: None,
            join: Vec::new(),
            key: KeySource::File(PathBuf::from(KEY_FILE)),
            shared_mounts: Vec::new(),
            notices: Vec::new(),
        }
    }
}

impl Settings {
    /// Reads both sources. A settings file that is not there is empty.
    ///
    /// # Errors
    ///
    /// When one cannot be read, or a value makes no sense: the message names the file, the line and the setting.
    pub fn load(file: &Path, command_line: &Path) -> Result<Self> {
        let mut settings = Self::default();
        match fs::read_to_string(file) {
            Ok(text) => settings
                .read_file(&text)
                .with_context(|| format!("in {}", file.display()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => (),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", file.display()))
            }
        }
        let text = fs::read_to_string(command_line)
            .with_context(|| format!("cannot read {}", command_line.display()))?;
        settings
            .read_command_line(&text)
            .context("on the kernel command line")?;
        Ok(settings)
    }

    /// Takes the lines of a settings file.
    ///
    /// # Errors
    ///
    /// When a line is no setting or its value makes no sense.
    pub fn read_file(&mut self, text: &str) -> Result<()> {
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or("").trim();
            if line.is_empty() {
                continue;
            }
            let number = number + 1;
            let (name, value) = line.split_once('=').with_context(|| {
                format!("line {number} is not of the form NAME = VALUE: \"{line}\"")
            })?;
            let known = self
                .set(name.trim(), value.trim())
                .with_context(|| format!("line {number}"))?;
            if !known {
                self.notices.push(format!(
                    "line {number}: there is no setting \"{}\"",
                    name.trim()
                ));
            }
        }
        Ok(())
    }

    /// Takes the words `banyan.NAME=VALUE` of a kernel command line; they overrule what was there.
    ///
    /// # Errors
    ///
    /// When a value makes no sense.
    pub fn read_command_line(&mut self, text: &str) -> Result<()> {
        let mut join = Vec::new();
        for word in text.split_whitespace() {
            let Some((name, value)) = word
                .strip_prefix("banyan.")
                .and_then(|word| word.split_once('='))
            else {
                continue;
            };
            let value = value.trim_matches('"');
            if FOR_OTHERS.contains(&name) {
                continue;
            }
            if name == "join" {
                join.extend(parse_join(value).context("banyan.join")?);
                continue;
            }
            if name == "key" {
                self.notices.push("the key on the kernel command line can be read by every user of this node: better a file".into());
            }
            if !self
                .set(name, value)
                .with_context(|| format!("banyan.{name}"))?
            {
                self.notices.push(format!(
                    "the kernel command line has an unknown setting banyan.{name}"
                ));
            }
        }
        if !join.is_empty() {
            self.join = join;
        }
        Ok(())
    }

    /// Sets one; `false` when there is no setting of that name. `join` adds to what is there.
    fn set(&mut self, name: &str, value: &str) -> Result<bool> {
        match name {
            "cluster" => {
                let fits = !value.is_empty()
                    && value.len() <= MAX_CLUSTER
                    && value.chars().all(|c| c.is_ascii_graphic());
                if !fits {
                    bail!("cluster: the name must have 1 to {MAX_CLUSTER} visible ASCII characters, and not \"{value}\"");
                }
                self.cluster = Some(value.into());
            }
            "node" => {
                let id = value.parse().ok().and_then(NodeId::new);
                self.node = Some(id.with_context(|| {
                    format!("node: must be a number from 1 to 127, and not \"{value}\"")
                })?);
            }
            "address" => {
                self.address = Some(value.parse().with_context(|| {
                    format!("address: must be an IPv4 address, and not \"{value}\"")
                })?);
            }
            "port" => {
                let port = value.parse().ok().filter(|port| *port != 0);
                self.port = Some(port.with_context(|| {
                    format!("port: must be a number from 1 to 65535, and not \"{value}\"")
                })?);
            }
            "join" => self.join.extend(parse_join(value).context("join")?),
            "shared_mount" => {
                if !value.starts_with('/') {
                    bail!("shared_mount: must be a path from the root, and not \"{value}\"");
                }
                self.shared_mounts.push(PathBuf::from(value));
            }
            "key" => self.key = KeySource::Text(value.into()),
            "key_file" => self.key = KeySource::File(PathBuf::from(value)),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: [u8; 4], last: [u8; 4]) -> Range {
        Range {
            first: first.into(),
            last: last.into(),
        }
    }

    #[test]
    fn file_and_command_line() {
        let mut settings = Settings::default();
        settings
            .read_file("# a comment\n\ncluster = grove\nnode=7 # me\njoin = 10.0.0.1, 10.0.0.5-9\njoin = 10.0.1.1\nshade = yes\n")
            .unwrap();
        assert_eq!(settings.cluster.as_deref(), Some("grove"));
        assert_eq!(settings.node, NodeId::new(7));
        assert_eq!(
            settings.join,
            [
                range([10, 0, 0, 1], [10, 0, 0, 1]),
                range([10, 0, 0, 5], [10, 0, 0, 9]),
                range([10, 0, 1, 1], [10, 0, 1, 1])
            ]
        );
        assert!(settings.notices[0].contains("line 7") && settings.notices[0].contains("shade"));

        settings
            .read_command_line("BOOT_IMAGE=/vmlinuz ro banyan.home=10.0.0.9:/home banyan.join=10.77.0.1 banyan.node=3 banyan.join=10.77.0.2 banyan.port=7000\n")
            .unwrap();
        assert_eq!(settings.node, NodeId::new(3));
        assert_eq!(settings.port, Some(7000));
        assert_eq!(
            settings.join,
            [
                range([10, 77, 0, 1], [10, 77, 0, 1]),
                range([10, 77, 0, 2], [10, 77, 0, 2])
            ]
        );
        assert_eq!(settings.cluster.as_deref(), Some("grove"));
        assert_eq!(settings.key, KeySource::File(KEY_FILE.into()));
        assert_eq!(settings.notices.len(), 1);
    }

    #[test]
    fn ranges() {
        let parse = |text: &str| text.parse::<Range>();
        assert_eq!(
            parse("10.0.0.1-20").unwrap(),
            range([10, 0, 0, 1], [10, 0, 0, 20])
        );
        assert_eq!(
            parse("10.0.0.250-10.0.1.5").unwrap(),
            range([10, 0, 0, 250], [10, 0, 1, 5])
        );
        assert_eq!(
            parse("localhost").unwrap(),
            range([127, 0, 0, 1], [127, 0, 0, 1])
        );
        for bad in [
            "10.0.0.9-1",
            "10.0.0.1-10.0.9.1",
            "10.0.0.1-x",
            "10.0.0.1-256",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            range([10, 0, 0, 1], [10, 0, 0, 20]).to_string(),
            "10.0.0.1-10.0.0.20"
        );
    }

    #[test]
    fn bad_values_name_line_and_setting() {
        for (text, words) in [
            ("node = 0", "line 1: node:"),
            ("\nnode = 128", "line 2: node:"),
            ("port = 0", "port:"),
            ("cluster =", "cluster:"),
            ("cluster = two words", "cluster:"),
            ("address = fe80::1", "address:"),
            ("nonsense", "NAME = VALUE"),
            ("join = 10.0.0.9-1", "join:"),
        ] {
            let error = Settings::default().read_file(text).unwrap_err();
            assert!(format!("{error:#}").contains(words), "{text}: {error:#}");
        }
    }

    #[test]
    fn sample_file_is_valid_and_sets_nothing() {
        let mut settings = Settings::default();
        let sample = include_str!("../../packaging/banyan.conf");
        settings.read_file(sample).unwrap();
        assert_eq!(settings, Settings::default());

        // With its comment signs taken away every example line must be a known setting.
        let examples: String = sample
            .lines()
            .filter_map(|line| line.strip_prefix('#'))
            .filter(|line| !line.starts_with(' ') && line.contains(" = "))
            .fold(String::new(), |text, line| text + line + "\n");
        settings.read_file(&examples).unwrap();
        assert_eq!(settings.notices, Vec::<String>::new());
        assert!(
            settings.cluster.is_some()
                && settings.node.is_some()
                && settings.address.is_some()
                && settings.port.is_some()
        );
        assert!(!settings.join.is_empty() && !settings.shared_mounts.is_empty());
    }
}
