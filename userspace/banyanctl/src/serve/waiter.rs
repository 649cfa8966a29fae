// SPDX-License-Identifier: GPL-2.0
//! The waiter: the process that waits in the kernel for arrivals and hands each to the helper of its home node.
//!
//! A few while the node is online ([`COUNT`]), children of the supervisor. Each owns the sockets to its helpers; it does nothing
//! slow itself, so many processes may arrive at once.

use std::{
    fs::File,
    io,
    os::unix::net::UnixStream,
    time::{Duration, Instant}, //
};

use banyan_sys::{
    process::{self, Forked},
    wire::uapi::ServeWait, //
};

use super::{
    helper::{self, Order, World},
    log,
    Server, //
};
use crate::failure::libc_errno;

const SIGTERM: i32 = 15;

/// How a waiter ended, as its exit status.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(i32)]
pub enum End {
    /// The node left, or the module is going.
    Offline = 0,
    /// Something failed: see the log.
    Failed = 1,
    /// banyan_migrate is not loaded.
    NoService = 2,
}

impl End {
    /// The end that an exit status means.
    pub fn from_status(status: i32) -> Self {
        match status {
            0 => Self::Offline,
            2 => Self::NoService,
            _ => Self::Failed,
        }
    }
}

/// Waiters of a node. A node with nobody in the kernel's wait refuses guests, so while one hands an arrival on, others wait.
pub const COUNT: usize = 3;

/// A helper, as the waiter has it.
struct Helper {
    world: World,
    socket: UnixStream,
    made: Instant,
}

/// How long a helper's clocks are taken to be those of its home: no two clocks run alike.
const FRESH: Duration = Duration::from_secs(30);

/// The waiter's state.
struct Waiter<'a, S> {
    server: &'a S,
    guests: Option<&'a File>,
    supervisor: i32,
    /// One for each home.
    helpers: Vec<Helper>,
}

impl<S: Server> Waiter<'_, S> {
    fn start_helper(&mut self, world: World) -> io::Result<Helper> {
        let (ours, theirs) = UnixStream::pair()?;
        match process::clone_sibling(None, None)? {
            Forked::Parent(_) => Ok(Helper {
                world,
                socket: ours,
                made: Instant::now(),
            }),
            Forked::Child => {
                // The child must not hold the ends by which others notice that the waiter is gone.
                drop(ours);
                self.helpers.clear();
                helper::run(self.server, &world, &theirs, self.guests, self.supervisor)
            }
        }
    }

    /// Hands an arrival to the helper of its home, or to a new one where there is none that still keeps its time.
    fn pass(&mut self, arrival: &ServeWait) -> io::Result<()> {
        let world = World::from(arrival);
        let order = Order {
            arrival: arrival.arrival,
            pid: arrival.pid,
        };
        let found = self
            .helpers
            .iter()
            .find(|helper| helper.world.home == world.home);
        if let Some(helper) = found {
            let fits = helper.world.is_like(&world) && helper.made.elapsed() < FRESH;
            if fits && order.send(&helper.socket).is_ok() {
                return Ok(());
            }
            // It does what it was asked for before, then finds its socket closed and ends.
            self.helpers
                .retain(|helper| helper.world.home != world.home);
        }
        let helper = self.start_helper(world)?;
        order.send(&helper.socket)?;
        self.helpers.push(helper);
        Ok(())
    }
}

/// The waiter's life. `supervisor` is its parent's pid.
pub fn run<S: Server>(server: &S, guests: Option<&File>, supervisor: i32) -> ! {
    let end = match process::signal_on_parent_death(SIGTERM) {
        Ok(()) => wait_for_arrivals(server, guests, supervisor),
        Err(_) => End::Failed,
    };
    process::exit_now(end as i32)
}

fn wait_for_arrivals<S: Server>(server: &S, guests: Option<&File>, supervisor: i32) -> End {
    let mut waiter = Waiter {
        server,
        guests,
        supervisor,
        helpers: Vec::new(),
    };
    while process::parent_pid() == supervisor {
        let arrival = match server.wait() {
            Ok(arrival) => arrival,
            Err(error) => match error.raw_os_error() {
                Some(libc_errno::EINTR) => continue,
                Some(libc_errno::ESHUTDOWN | libc_errno::ENOTCONN | libc_errno::ENODEV) => {
                    return End::Offline
                }
                Some(libc_errno::ENOTTY) => return End::NoService,
                _ => {
                    log::error(&format!("cannot wait for arrivals: {error}"));
                    return End::Failed;
                }
            },
        };
        if let Err(error) = waiter.pass(&arrival) {
            log::error(&format!(
                "no helper could be made for process {}: {error}",
                arrival.pid
            ));
            // ENOENT: it was given up meanwhile.
            let _ = server.failed(
                arrival.arrival,
                error.raw_os_error().unwrap_or(libc_errno::EINVAL),
            );
        }
    }
    End::Offline
}
