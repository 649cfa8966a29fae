// SPDX-License-Identifier: GPL-2.0
//! What went wrong, in words, with what to do next and the exit status that scripts may rely on.
//!
//! One [`Failure`] ends a command. It is made where the meaning of an errno is known, and printed by `lib.rs` alone.

use std::{
    fmt,
    io,
    process::ExitCode, //
};

/// Exit statuses of every command. They are part of the interface: documented in the manual page, never given another meaning.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Status {
    /// Done; for `explain`: it can move.
    Done = 0,
    /// Something else went wrong.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The modules are not loaded, or this node is not in a cluster.
    NotRunning = 3,
    /// The caller may not do this.
    NotPermitted = 4,
    /// The process cannot move, or did not; it runs on where it was.
    Refused = 5,
    /// No such process or node.
    NotFound = 6,
    /// A process holds this node: it cannot leave now.
    Held = 7,
}

impl Status {
    /// Every status with its meaning, for the manual page.
    pub const ALL: [(Status, &'static str); 8] = [
        (Status::Done, "Done. For explain: the process can move."),
        (
            Status::Failed,
            "Something went wrong that none of the others names; the message says what.",
        ),
        (Status::Usage, "The command line is wrong."),
        (
            Status::NotRunning,
            "The kernel modules are not loaded, or this node is not in a cluster.",
        ),
        (
            Status::NotPermitted,
            "The caller may not do this: the rule is that of kill(2), or root.",
        ),
        (
            Status::Refused,
            "The process cannot move, or the move was given up. It runs on where it was.",
        ),
        (
            Status::NotFound,
            "There is no such process, or no such node.",
        ),
        (
            Status::Held,
            "A process cannot be moved away, so the node cannot be drained or leave.",
        ),
    ];
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        ExitCode::from(status as u8)
    }
}

/// Why a command failed, and what its user can do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// Exit status.
    pub status: Status,
    /// One line without the program's name.
    pub what: String,
    /// What to do next, when there is something to do.
    pub advice: Option<String>,
}

impl Failure {
    /// A failure without advice.
    pub fn new(status: Status, what: impl Into<String>) -> Self {
        Self {
            status,
            what: what.into(),
            advice: None,
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// The meaning of an error of the device for a command that is about `subject` (such as "process 4711").
    pub fn from_device(error: &io::Error, subject: &str) -> Self {
        let code = error.raw_os_error().unwrap_or(0);
        match code {
            libc_errno::ENOENT | libc_errno::ENXIO | libc_errno::ENODEV => Self::not_loaded(),
            libc_errno::ENOTTY => Self::new(Status::NotRunning, "the kernel module banyan_migrate is not loaded")
                .advise("Load it: modprobe banyan_migrate"),
            libc_errno::ENOTCONN | libc_errno::ESHUTDOWN => {
                Self::new(Status::NotRunning, "this node is not in a cluster").advise("Join one: banyanctl join [ADDRESS]")
            }
            libc_errno::EPERM | libc_errno::EACCES => Self::new(Status::NotPermitted, format!("{subject}: not permitted"))
                .advise("The owner of a process may move it, as with kill; root may move and drain all."),
            libc_errno::ESRCH => Self::new(Status::NotFound, format!("{subject}: there is no such process"))
                .advise("Pids name the same process on every node; see `ps` there, or `banyanctl ps`."),
            libc_errno::EHOSTUNREACH => Self::new(Status::NotFound, format!("{subject}: the node is not up"))
                .advise("See which nodes are: banyanctl nodes"),
            libc_errno::EBUSY => Self::new(Status::Refused, format!("{subject}: it is being moved already"))
                .advise("Try again in a moment; `banyanctl where PID` says where it is."),
            libc_errno::EINTR => Self::new(Status::Failed, format!("{subject}: interrupted")),
            libc_errno::E2BIG | libc_errno::EINVAL => {
                Self::new(Status::Failed, format!("{subject}: the kernel module did not understand this request: {error}"))
                    .advise("The tool and the modules may be of different versions: banyanctl --version, modinfo banyan")
            }
            _ => Self::new(Status::Failed, format!("{subject}: {error}")),
        }
    }

    /// The module `banyan` is not there.
    pub fn not_loaded() -> Self {
        Self::new(Status::NotRunning, "the kernel module banyan is not loaded").advise(
            "Start everything: systemctl start banyan   (the module alone: modprobe banyan)",
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Failure {}

/// Error numbers of Linux on x86-64, those that the device uses (`rust/wire/uapi.rs` says for what).
pub mod libc_errno {
    pub const EPERM: i32 = 1;
    pub const ENOENT: i32 = 2;
    pub const ESRCH: i32 = 3;
    pub const EINTR: i32 = 4;
    pub const ENXIO: i32 = 6;
    pub const E2BIG: i32 = 7;
    pub const EACCES: i32 = 13;
    pub const EBUSY: i32 = 16;
    pub const EEXIST: i32 = 17;
    pub const ENODEV: i32 = 19;
    pub const EINVAL: i32 = 22;
    pub const ENOTTY: i32 = 25;
    pub const EOPNOTSUPP: i32 = 95;
    pub const ENOTCONN: i32 = 107;
    pub const ESHUTDOWN: i32 = 108;
    pub const EHOSTUNREACH: i32 = 113;
    pub const ECANCELED: i32 = 125;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: i32) -> Failure {
        Failure::from_device(&io::Error::from_raw_os_error(code), "process 4711")
    }

    #[test]
    fn errors_say_what_to_do() {
        for (code, status, advice) in [
            (
                libc_errno::ENOENT,
                Status::NotRunning,
                "systemctl start banyan",
            ),
            (
                libc_errno::ENOTTY,
                Status::NotRunning,
                "modprobe banyan_migrate",
            ),
            (libc_errno::ENOTCONN, Status::NotRunning, "banyanctl join"),
            (libc_errno::EPERM, Status::NotPermitted, "owner"),
            (libc_errno::ESRCH, Status::NotFound, "ps"),
            (
                libc_errno::EHOSTUNREACH,
                Status::NotFound,
                "banyanctl nodes",
            ),
        ] {
            let failure = of(code);
            assert_eq!(failure.status, status, "errno {code}");
            assert!(
                failure.advice.is_some_and(|text| text.contains(advice)),
                "errno {code}"
            );
        }
    }

    #[test]
    fn error_numbers_are_those_of_linux() {
        for (code, kind) in [
            (libc_errno::EPERM, io::ErrorKind::PermissionDenied),
            (libc_errno::ENOENT, io::ErrorKind::NotFound),
            (libc_errno::EINTR, io::ErrorKind::Interrupted),
            (libc_errno::EEXIST, io::ErrorKind::AlreadyExists),
            (libc_errno::EBUSY, io::ErrorKind::ResourceBusy),
            (libc_errno::ENOTCONN, io::ErrorKind::NotConnected),
            (libc_errno::EHOSTUNREACH, io::ErrorKind::HostUnreachable),
        ] {
            assert_eq!(io::Error::from_raw_os_error(code).kind(), kind);
        }
    }
}
