// SPDX-License-Identifier: GPL-2.0
//! A helper: the process that clones the guests of one home node.
//!
//! One per home node and waiter, a child of the supervisor, steered by the waiter through a socket. It lives in a
//! UTS namespace with its home's name, and its children start in a time namespace with its home's clocks. It ends when the waiter
//! closes the socket, or when the supervisor ends.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    thread,
    time::Duration, //
};

use banyan_sys::{
    process::{self, Forked},
    wire::uapi::ServeWait, //
};

use super::{log, Server};
use crate::failure::libc_errno;

const SIGTERM: i32 = 15;
/// Exit status of a child that did not become a guest.
const NOT_A_GUEST: i32 = 127;

/// Difference of clocks, in nanoseconds, that counts as none: that of two measurements, and less than any move takes, so that no
/// guest sees its time jump back.
const SAME_TIME: u64 = 500_000;

/// What guests of one helper have in common.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct World {
    /// Node id of the home.
    pub home: u32,
    /// What is added to CLOCK_MONOTONIC, nanoseconds.
    pub monotonic: i64,
    /// What is added to CLOCK_BOOTTIME, nanoseconds.
    pub boottime: i64,
    /// Host name of the home, NUL-padded.
    pub name: [u8; 72],
}

impl From<&ServeWait> for World {
    fn from(arrival: &ServeWait) -> Self {
        Self {
            home: arrival.home,
            monotonic: arrival.monotonic_offset,
            boottime: arrival.boottime_offset,
            name: arrival.nodename,
        }
    }
}

impl World {
    /// Whether a guest of `other` may live in this one.
    pub fn is_like(&self, other: &Self) -> bool {
        let near = |one: i64, other: i64| one.abs_diff(other) <= SAME_TIME;
        self.home == other.home
            && self.name == other.name
            && near(self.monotonic, other.monotonic)
            && near(self.boottime, other.boottime)
    }

    /// The bytes of the name.
    fn name(&self) -> &[u8] {
        let end = self
            .name
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(self.name.len());
        self.name.get(..end).unwrap_or(&[])
    }

    /// The lines for /proc/self/timens_offsets.
    fn clock_lines(&self) -> String {
        const NANOSECONDS: i64 = 1_000_000_000;
        let line = |clock: &str, offset: i64| {
            format!(
                "{clock} {} {}\n",
                offset.div_euclid(NANOSECONDS),
                offset.rem_euclid(NANOSECONDS)
            )
        };
        line("monotonic", self.monotonic) + &line("boottime", self.boottime)
    }

    /// Makes this process's namespaces.
    fn enter(&self) -> io::Result<()> {
        process::unshare_uts_and_time()?;
        // No process is in the new time namespace yet: until then its clocks may be set.
        fs::write("/proc/self/timens_offsets", self.clock_lines())?;
        match self.name() {
            [] => Ok(()),
            name => process::set_node_name(name),
        }
    }
}

/// One guest to be made, as it goes through the socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Order {
    pub arrival: u64,
    pub pid: i32,
}

impl Order {
    const LENGTH: usize = 12;

    fn bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..8].copy_from_slice(&self.arrival.to_le_bytes());
        bytes[8..].copy_from_slice(&self.pid.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8; Self::LENGTH]) -> Self {
        let (arrival, pid) = bytes.split_at(8);
        Self {
            arrival: arrival.try_into().map_or(0, u64::from_le_bytes),
            pid: pid.try_into().map_or(0, i32::from_le_bytes),
        }
    }

    /// Passes it to a helper.
    ///
    /// # Errors
    ///
    /// EPIPE when the helper is gone.
    pub fn send(self, mut socket: &UnixStream) -> io::Result<()> {
        socket.write_all(&self.bytes())
    }

    /// Takes the next one; `None` when there will be no more.
    fn receive(mut socket: &UnixStream) -> io::Result<Option<Self>> {
        let mut bytes = [0; Self::LENGTH];
        match socket.read_exact(&mut bytes) {
            Ok(()) => Ok(Some(Self::parse(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Times to try again while the pid is taken: the process may have left this node a moment ago and not be reaped yet.
const ATTEMPTS: u32 = 50;
/// Time between two attempts.
const PAUSE: Duration = Duration::from_millis(5);

/// Clones one guest. Returns in the helper only.
fn make_guest<S: Server>(server: &S, order: Order, guests: Option<&File>) -> io::Result<()> {
    let mut attempt = 0;
    let forked = loop {
        match process::clone_sibling(Some(order.pid), guests.map(AsFd::as_fd)) {
            Err(error)
                if error.raw_os_error() == Some(libc_errno::EEXIST) && attempt < ATTEMPTS =>
            {
                attempt += 1;
                thread::sleep(PAUSE);
            }
            result => break result?,
        }
    };
    if forked == Forked::Child {
        process::reset_signals();
        // The guest's own descriptors will be at these numbers.
        if process::close_all_but(server.as_fd()).is_ok() {
            server.enter(order.arrival);
        }
        process::exit_now(NOT_A_GUEST);
    }
    Ok(())
}

/// The helper's life. `supervisor` is its parent's pid.
pub fn run<S: Server>(
    server: &S,
    world: &World,
    socket: &UnixStream,
    guests: Option<&File>,
    supervisor: i32,
) -> ! {
    let ready = process::signal_on_parent_death(SIGTERM)
        .and_then(|()| process::new_session())
        .and_then(|()| world.enter())
        .map_err(|error| {
            log::error(&format!(
                "no namespaces can be made for guests of node {}: {error}",
                world.home
            ));
            error.raw_os_error().unwrap_or(libc_errno::EINVAL)
        });
    // A parent that ended before the first call above would not have been noticed.
    while process::parent_pid() == supervisor {
        let order = match Order::receive(socket) {
            Ok(Some(order)) => order,
            Ok(None) => break,
            Err(error) => {
                log::error(&format!("a helper lost its socket: {error}"));
                break;
            }
        };
        let made = ready.and_then(|()| {
            make_guest(server, order, guests).map_err(|error| {
                log::warning(&format!(
                    "no process could be made with the pid {}: {error}",
                    order.pid
                ));
                error.raw_os_error().unwrap_or(libc_errno::EINVAL)
            })
        });
        if let Err(errno) = made {
            // ENOENT: it was given up meanwhile, so nobody waits for the answer.
            let _ = server.failed(order.arrival, errno);
        }
    }
    process::exit_now(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(monotonic: i64, boottime: i64) -> World {
        World {
            home: 1,
            monotonic,
            boottime,
            name: [0; 72],
        }
    }

    #[test]
    fn offsets_are_whole_seconds_and_positive_rests() {
        assert_eq!(
            world(1_500_000_000, 0).clock_lines(),
            "monotonic 1 500000000\nboottime 0 0\n"
        );
        assert_eq!(
            world(-1, -1_500_000_000).clock_lines(),
            "monotonic -1 999999999\nboottime -2 500000000\n"
        );
    }

    #[test]
    fn worlds_are_alike_within_the_error_of_measurement() {
        assert!(world(0, 0).is_like(&world(400_000, -400_000)));
        assert!(!world(0, 0).is_like(&world(0, 600_000)));
        assert!(!world(i64::MIN, 0).is_like(&world(i64::MAX, 0)));
        assert!(!world(0, 0).is_like(&World {
            home: 2,
            ..world(0, 0)
        }));
    }

    #[test]
    fn names_end_at_the_first_nul() {
        let mut world = world(0, 0);
        world.name[..3].copy_from_slice(b"ash");
        assert_eq!(world.name(), b"ash");
        assert_eq!(
            World {
                name: [b'a'; 72],
                ..world
            }
            .name()
            .len(),
            72
        );
    }

    #[test]
    fn orders_go_through_the_socket() {
        let (one, other) = UnixStream::pair().unwrap();
        let order = Order {
            arrival: u64::MAX - 5,
            pid: 98304,
        };
        order.send(&one).unwrap();
        assert_eq!(Order::receive(&other).unwrap(), Some(order));
        drop(one);
        assert_eq!(Order::receive(&other).unwrap(), None);
    }
}
