// SPDX-License-Identifier: GPL-2.0

//! The one table of system calls: which of them a guest makes where it runs, and which go home.
//!
//! Most calls mean the same on every node, since memory, descriptors, signals, clocks and credentials of a guest are there. A call goes
//! home if its answer depends on where the process was born: on its parent, children and group, on other processes, on names and objects
//! that only its home has. Whoever looks calls up decides by [`Rule`]; a call that is not in the table goes home.
//!
//! The table has a row for each number that this kernel's x86-64 table has; `tests/host` compares the two.

/// A directory argument and a path argument: the numbers of the call's arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathArgument {
    /// The argument with the descriptor that the path is relative to; `None` is the working directory.
    pub directory: Option<u8>,
    /// The argument with the address of the path.
    pub path: u8,
}

use crate::call_table::{CALLS, GONE};
use Rule::{Home, Local};

/// Where a call of a guest is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Where the guest runs.
    Local,
    /// At home.
    Home,
    /// Locally if this argument is a process id that is 0 or its own.
    Own(u8),
    /// Locally if this argument is its own process id; 0 is another thing there.
    OwnOnly(u8),
    /// Locally if the argument `kind` is `process` and the argument `id` is 0 or its own process id.
    OwnOfKind {
        /// The argument that says what the number stands for.
        kind: u8,
        /// Its value for "a process".
        process: u32,
        /// The argument with the number.
        id: u8,
    },
    /// Locally if the first argument is an option of `prctl` whose effect is carried along.
    Prctl,
    /// Locally if this argument is a descriptor of a file that is where the guest runs, and does not stand for one of its home.
    Proxied(u8),
    /// The same, but only what stands for a regular file goes home: on a pipe or a terminal the call is the same everywhere, or fails.
    ProxiedFile(u8),
    /// As [`Proxied`](Self::Proxied) for the first argument, but for commands of `fcntl` that concern the descriptor alone.
    Fcntl,
    /// Locally if the path leads to a mount that the nodes share.
    Path(PathArgument),
    /// Locally if both paths do.
    Paths(PathArgument, PathArgument),
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its number on x86-64.
    pub number: u16,
    /// Its name, as in `__x64_sys_NAME`.
    pub name: &'static str,
    /// Where it is made.
    pub rule: Rule,
}

/// A path relative to the working directory.
pub(crate) const fn at_cwd(path: u8) -> PathArgument {
    PathArgument {
        directory: None,
        path,
    }
}

/// A path relative to a descriptor, which is the argument before it.
pub(crate) const fn at(directory: u8) -> PathArgument {
    PathArgument {
        directory: Some(directory),
        path: directory.saturating_add(1),
    }
}

/// The rule for a call, by its number. One that is not known goes home.
pub fn rule(number: u16) -> Rule {
    match CALLS.binary_search_by_key(&number, |call| call.number) {
        Ok(at) => CALLS.get(at).map_or(Home, |call| call.rule),
        Err(_) if GONE.contains(&number) => Local,
        Err(_) => Home,
    }
}

/// Options of `prctl` whose effect moves along, or that only ask.
const CARRIED_OPTIONS: &[u32] = &[
    2,           // PR_GET_PDEATHSIG
    3,           // PR_GET_DUMPABLE
    4,           // PR_SET_DUMPABLE
    7,           // PR_GET_KEEPCAPS
    8,           // PR_SET_KEEPCAPS
    15,          // PR_SET_NAME
    16,          // PR_GET_NAME
    21,          // PR_GET_SECCOMP
    23,          // PR_CAPBSET_READ
    24,          // PR_CAPBSET_DROP
    25,          // PR_GET_TSC
    27,          // PR_GET_SECUREBITS
    28,          // PR_SET_SECUREBITS
    29,          // PR_SET_TIMERSLACK
    30,          // PR_GET_TIMERSLACK
    37,          // PR_GET_CHILD_SUBREAPER
    38,          // PR_SET_NO_NEW_PRIVS
    39,          // PR_GET_NO_NEW_PRIVS
    40,          // PR_GET_TID_ADDRESS
    42,          // PR_GET_THP_DISABLE
    47,          // PR_CAP_AMBIENT
    52,          // PR_GET_SPECULATION_CTRL
    58,          // PR_GET_IO_FLUSHER
    66,          // PR_GET_MDWE
    68,          // PR_GET_MEMORY_MERGE
    0x4155_5856, // PR_GET_AUXV
    0x5356_4d41, // PR_SET_VMA
];

/// Commands of `fcntl` that concern the descriptor, or status flags, which proxies pass on.
const DESCRIPTOR_COMMANDS: &[u32] = &[
    0,    // F_DUPFD
    1,    // F_GETFD
    2,    // F_SETFD
    3,    // F_GETFL
    4,    // F_SETFL
    1027, // F_DUPFD_QUERY
    1028, // F_CREATED_QUERY
    1030, // F_DUPFD_CLOEXEC
];

/// Whether `fcntl` with this command is made where the guest runs, whatever the descriptor.
pub fn fcntl_is_local(command: u32) -> bool {
    DESCRIPTOR_COMMANDS.contains(&command)
}

/// Whether a call opens the file that its path names.
pub fn opens(number: u16) -> bool {
    matches!(number, 2 | 85 | 257 | 437)
}

/// Whether a call only tells what is under a path: `stat` and its kind, `access`, `readlink`. Landlock does not judge these.
pub fn only_looks(number: u16) -> bool {
    matches!(number, 4 | 6 | 21 | 89 | 262 | 267 | 269 | 332 | 439)
}

/// Whether `prctl` with this option is made where the guest runs.
pub fn prctl_is_local(option: u32) -> bool {
    CARRIED_OPTIONS.contains(&option)
}

/// Whether a path names something that is opened where the guest runs although it is not on a shared mount: devices that are alike
/// everywhere, its own directory in `/proc`, and what says how many CPUs and how much memory the machine has, as `sched_getaffinity` and
/// `getcpu` do. `opens`: the call opens it, and does not only ask for what it is.
pub fn is_of_the_machine(path: &[u8], own_pid: i32, opens: bool) -> bool {
    const DEVICES: &[&[u8]] = &[
        b"/dev/null",
        b"/dev/zero",
        b"/dev/full",
        b"/dev/random",
        b"/dev/urandom",
    ];
    const FIGURES: &[&[u8]] = &[
        b"/proc/cpuinfo",
        b"/proc/meminfo",
        b"/proc/stat",
        b"/proc/loadavg",
        b"/proc/uptime",
        b"/proc/sys/vm/overcommit_memory",
        b"/sys/devices/system/cpu",
        b"/sys/devices/system/node",
        b"/sys/kernel/mm/transparent_hugepage",
    ];
    if path.windows(2).any(|pair| pair == b"..") {
        return false;
    }
    let below = |prefix: &[u8]| {
        path.strip_prefix(prefix)
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
    };
    if DEVICES.contains(&path) || FIGURES.iter().any(|figure| below(figure)) {
        return true;
    }
    let Some(rest) = path.strip_prefix(b"/proc/") else {
        return false;
    };
    let first = rest.split(|&byte| byte == b'/').next().unwrap_or(rest);
    // Its name spaces are those of its home. Its descriptors have the same names everywhere, but opening one anew is for the owner.
    let carried = match second_part(rest) {
        b"ns" | b"root" | b"cgroup" | b"mountinfo" | b"mounts" | b"map_files" => false,
        b"fd" => !opens,
        _ => true,
    };
    carried && (first == b"self" || first == b"thread-self" || number(first) == Some(own_pid))
}

/// What is between the first slash of a path and the next.
fn second_part(path: &[u8]) -> &[u8] {
    path.split(|&byte| byte == b'/').nth(1).unwrap_or(b"")
}

/// A decimal number without anything around it.
fn number(text: &[u8]) -> Option<i32> {
    let text = core::str::from_utf8(text).ok()?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_names_are_unique() {
        for pair in CALLS.windows(2) {
            assert!(pair[0].number < pair[1].number);
        }
        for (i, a) in CALLS.iter().enumerate() {
            assert!(CALLS[i + 1..].iter().all(|b| a.name != b.name));
            assert!(!GONE.contains(&a.number));
        }
    }

    #[test]
    fn rules() {
        assert_eq!(rule(0), Local);
        assert_eq!(rule(57), Home);
        assert_eq!(rule(60), Local);
        assert_eq!(rule(62), Rule::OwnOnly(0));
        assert_eq!(rule(257), Rule::Path(at(0)));
        assert_eq!(rule(17), Rule::ProxiedFile(0));
        assert_eq!(rule(72), Rule::Fcntl);
        assert!(fcntl_is_local(1) && !fcntl_is_local(6));
        assert_eq!(rule(156), Local);
        assert_eq!(rule(399), Home);
        assert_eq!(rule(u16::MAX), Home);
    }

    #[test]
    fn what_is_of_the_machine() {
        for path in [
            "/proc/self/status",
            "/proc/7/maps",
            "/proc/cpuinfo",
            "/sys/devices/system/cpu/online",
            "/proc/self",
            "/dev/null",
        ] {
            assert!(is_of_the_machine(path.as_bytes(), 7, true), "{path}");
        }
        for path in [
            "/proc/8/maps",
            "/proc",
            "/proc/self/ns/time",
            "/proc/cpuinfo2",
            "/proc/self/../1/maps",
            "/tmp/proc/self/maps",
            "",
            "/proc/self/cgroup",
            "/proc/self/fd/0",
        ] {
            assert!(!is_of_the_machine(path.as_bytes(), 7, true), "{path}");
        }
        assert!(is_of_the_machine(b"/proc/self/fd/0", 7, false));
        assert!(!is_of_the_machine(b"/proc/self/ns/time", 7, false));
    }
}
