// SPDX-License-Identifier: GPL-2.0

//! The device `/dev/banyan`: its ioctl numbers and the structs that they carry.
//!
//! One device per node, mode 0666: each call checks its caller. `banyan.ko` answers the numbers below
//! [`FIRST_SERVICE_NR`], the module that registered as service answers the others. The structs are
//! `repr(C)` without padding; each argument struct opens with its own `size` in bytes. A kernel that
//! knows a longer struct takes a shorter one and reads zeros for the rest; one that knows a shorter
//! struct takes a longer one if the rest is zero. Dispatch is therefore by [`nr`], not by the
//! whole command word, whose size bits differ between versions of a struct.
//!
//! Fields say who sets them: *in* = the caller, *out* = the kernel. Every `_pad` is zero.
//!
//! # Errors of every call
//!
//! | errno | cause |
//! |---|---|
//! | `ENOTTY` | unknown number, or its module is not loaded |
//! | `EINVAL` | `size` below the first version's, a `_pad` not zero, a flag without meaning |
//! | `E2BIG` | `size` above this kernel's and the rest not zero |
//! | `EFAULT` | the argument or a buffer is not accessible |
//! | `ENOTCONN` | this node is not in a cluster |
//! | `EPERM` | the caller may not (see each call) |
//! | `EINTR` | a signal ended the wait |
//!
//! Every struct also has [`Wire`](crate::codec::Wire): `encode` and `decode` make the bytes that cross the
//! boundary without unsafe code (little endian = native on x86-64).

use crate::codec::Wire;

/// Path of the device.
pub const DEVICE: &str = "/dev/banyan";

/// Name of the device.
pub const DEVICE_NAME: &str = "banyan";

/// The `type` byte of all numbers: `B`.
pub const MAGIC: u8 = b'B';

/// First number that belongs to a registered service (`banyan_migrate.ko`), not to `banyan.ko`.
pub const FIRST_SERVICE_NR: u8 = 0x20;

/// The number `_IOWR(MAGIC, nr, size)` of `asm-generic/ioctl.h` (the layout of x86-64).
pub const fn iowr(nr: u8, size: usize) -> u32 {
    const READ_WRITE: u32 = 3;
    (READ_WRITE << 30) | ((size as u32 & 0x3fff) << 16) | ((MAGIC as u32) << 8) | nr as u32
}

/// The `nr` byte of a command word.
pub const fn nr(cmd: u32) -> u8 {
    (cmd & 0xff) as u8
}

/// The `type` byte of a command word; another than [`MAGIC`] is `ENOTTY`.
pub const fn magic(cmd: u32) -> u8 {
    ((cmd >> 8) & 0xff) as u8
}

/// The `size` bits of a command word, in bytes.
pub const fn size(cmd: u32) -> usize {
    ((cmd >> 16) & 0x3fff) as usize
}

/// Declares device structs: `repr(C)`, [`Wire`], `Default` by zeros, `SIZE` checked against the memory layout.
macro_rules! uapi_struct {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$fmeta:meta])* pub $field:ident: $ty:ty,)*
        }
    )*) => {
        $crate::wire_struct! {$(
            $(#[$meta])*
            #[repr(C)]
            pub struct $name {
                $($(#[$fmeta])* pub $field: $ty,)*
            }
        )*}
        $(
            impl $name {
                /// All zero: the start for a caller, who then sets what is *in*.
                pub const ZERO: Self = Self { $($field: <$ty as Zero>::ZERO,)* };
            }

            impl Default for $name {
                fn default() -> Self {
                    Self::ZERO
                }
            }

            // No hidden padding: the memory form and the wire form are one.
            const _: () = assert!(core::mem::size_of::<$name>() == <$name as Wire>::SIZE);
        )*
    };
}

/// Types of fields, all with an all-zero value.
trait Zero {
    const ZERO: Self;
}

macro_rules! zero {
    ($($int:ty),*) => {$(
        impl Zero for $int {
            const ZERO: Self = 0;
        }
    )*};
}

zero!(u8, u16, u32, u64, i32, i64);

impl<const N: usize> Zero for [u8; N] {
    const ZERO: Self = [0; N];
}

/// Number of [`Nodes`].
pub const NODES: u32 = iowr(0x01, Nodes::SIZE);
/// Number of [`Migrate`].
pub const MIGRATE: u32 = iowr(0x20, Migrate::SIZE);
/// Number of [`Explain`].
pub const EXPLAIN: u32 = iowr(0x21, Explain::SIZE);
/// Number of [`Where`].
pub const WHERE: u32 = iowr(0x22, Where::SIZE);
/// Number of [`ServeWait`].
pub const SERVE_WAIT: u32 = iowr(0x23, ServeWait::SIZE);
/// Number of [`ServeEnter`].
pub const SERVE_ENTER: u32 = iowr(0x24, ServeEnter::SIZE);
/// Number of [`ServeFailed`].
pub const SERVE_FAILED: u32 = iowr(0x25, ServeFailed::SIZE);
/// Number of [`ServeState`].
pub const SERVE_STATE: u32 = iowr(0x26, ServeState::SIZE);
/// Number of [`List`].
pub const LIST: u32 = iowr(0x27, List::SIZE);
/// Number of [`Drain`].
pub const DRAIN: u32 = iowr(0x28, Drain::SIZE);
/// Number of [`Mounts`].
pub const MOUNTS: u32 = iowr(0x29, Mounts::SIZE);

/// [`Migrate::flags`]: return when the process runs at its target or will not; without it the call
/// returns when the move was asked for, with the out fields zero.
pub const MIGRATE_WAIT: u32 = 1;

/// [`NodeRecord::flags`]: the node that answers.
pub const NODE_FLAG_SELF: u16 = 1;
/// [`NodeRecord::flags`]: `banyan_migrate.ko` is loaded there: it takes guests.
pub const NODE_FLAG_MIGRATE: u16 = 2;
/// [`NodeRecord::flags`]: it is draining: it takes no guests.
pub const NODE_FLAG_DRAINING: u16 = 4;

/// States of a node in [`NodeRecord::state`]: the codes of `banyan_member::State`.
pub mod node_state {
    /// Authenticated, not yet in the membership.
    pub const JOINING: u8 = 1;
    /// A member that is heard.
    pub const UP: u8 = 2;
    /// A member not heard for some time; not yet given up.
    pub const SUSPECT: u8 = 3;
    /// Declared dead.
    pub const DEAD: u8 = 4;
    /// Left by its own will.
    pub const LEFT: u8 = 5;

    /// A short name for people and for `--json`.
    pub const fn name(state: u8) -> &'static str {
        match state {
            JOINING => "joining",
            UP => "up",
            SUSPECT => "suspect",
            DEAD => "dead",
            LEFT => "left",
            _ => "unknown",
        }
    }
}

/// Where a process is in its life, in [`Where::state`] and [`ProcRecord::state`].
pub mod proc_state {
    /// At home, never moved or home again: nothing of Banyan in it.
    pub const HOME: u32 = 0;
    /// It is being moved away from here.
    pub const LEAVING: u32 = 1;
    /// A deputy is here, the guest runs elsewhere.
    pub const AWAY: u32 = 2;
    /// A guest from elsewhere runs here.
    pub const GUEST: u32 = 3;
    /// It is being restored here.
    pub const ARRIVING: u32 = 4;
    /// It ended; what remains is being cleared.
    pub const ENDING: u32 = 5;

    /// A short name for people and for `--json`.
    pub const fn name(state: u32) -> &'static str {
        match state {
            HOME => "home",
            LEAVING => "leaving",
            AWAY => "away",
            GUEST => "guest",
            ARRIVING => "arriving",
            ENDING => "ending",
            _ => "unknown",
        }
    }
}

/// What happened to a child, in [`ServeState::what`].
pub mod child_state {
    /// It stopped; `status` is the signal.
    pub const STOPPED: u32 = 1;
    /// It goes on; `status` is 0.
    pub const CONTINUED: u32 = 2;
    /// It ended; `status` is the wait status as `waitpid` gives it.
    pub const EXITED: u32 = 3;
}

uapi_struct! {
    /// `NODES`: all nodes that this node knows, itself included, by ascending id. Anyone may ask.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if the buffer is too small: `count` then says how many records there are.
    pub struct Nodes {
        /// in: bytes of this struct.
        pub size: u32,
        /// in: room in `buf`, in records. out: number of records (also with `ENOSPC`).
        pub count: u32,
        /// in: address of an array of [`NodeRecord`].
        pub buf: u64,
    }

    /// One node, as the answering node knows it (figures of others are those of their last heartbeat).
    pub struct NodeRecord {
        /// Node id, 1 to 127.
        pub id: u8,
        /// One of [`node_state`].
        pub state: u8,
        /// `NODE_FLAG_*`.
        pub flags: u16,
        /// Membership epoch that the node is at.
        pub epoch: u32,
        /// IPv4 address, the address's bytes in order (network order).
        pub addr_be: u32,
        /// TCP port, host order.
        pub port: u16,
        /// Number of online CPUs.
        pub cpus: u16,
        /// Memory in all, KiB.
        pub mem_total_kib: u64,
        /// Memory available to a new program (`MemAvailable`), KiB.
        pub mem_free_kib: u64,
        /// Load average of one minute, in 1/100.
        pub load1: u32,
        /// Time since boot, seconds.
        pub uptime_s: u32,
        /// Processes homed elsewhere that run there.
        pub guests_in: u32,
        /// Processes homed there that run elsewhere.
        pub guests_out: u32,
        /// Host name, NUL-padded.
        pub name: [u8; 64],
    }

    /// `MIGRATE`: moves a process to a node, wherever it now is. The caller needs the permission to
    /// signal it; for others' processes `CAP_SYS_PTRACE`.
    ///
    /// # Errors
    ///
    /// `ESRCH` no such process; `EHOSTUNREACH` the node is not a member or died on the way; `EBUSY` it is
    /// being moved already; `EOPNOTSUPP` it cannot move: `reason` says why (more by [`Explain`]);
    /// `ECANCELED` the move was given up, the process runs where it was: `reason` says why.
    pub struct Migrate {
        /// in: bytes of this struct.
        pub size: u32,
        /// in: pid, as at the caller's node.
        pub pid: i32,
        /// in: node id to go to; its home brings it home.
        pub node: u32,
        /// in: [`MIGRATE_WAIT`].
        pub flags: u32,
        /// out: a [`Reason`](crate::Reason) code, 0 if it moved.
        pub reason: u32,
        /// Zero.
        pub _pad: u32,
        /// out: time during which the program stood still, microseconds.
        pub freeze_us: u64,
        /// out: time from the request to the commit, microseconds.
        pub total_us: u64,
        /// out: bytes sent.
        pub bytes: u64,
    }

    /// `EXPLAIN`: every reason why a process cannot move: what lies in the process, and what the node has against it, which is asked.
    /// No record: it can. The process is not touched. Same permission as [`Migrate`].
    ///
    /// # Errors
    ///
    /// `ESRCH`; `ENOSPC` as for [`Nodes`].
    pub struct Explain {
        /// in: bytes of this struct.
        pub size: u32,
        /// in: pid.
        pub pid: i32,
        /// in: node id; 0 = any node: only what lies in the process itself.
        pub node: u32,
        /// in: room in `buf`, in records. out: number of reasons.
        pub count: u32,
        /// in: address of an array of [`ReasonRecord`].
        pub buf: u64,
    }

    /// One reason.
    pub struct ReasonRecord {
        /// A [`Reason`](crate::Reason) code.
        pub code: u16,
        /// Zero.
        pub _pad: u16,
        /// What it is about: a descriptor, an address's page number, a pid, the kernel's number of a CPU feature, an XSAVE component,
        /// MiB of memory; by the reason. 0 if nothing.
        pub a: u32,
        /// Detail for people (a path, a name), NUL-padded UTF-8; may be empty.
        pub text: [u8; 120],
    }

    /// `WHERE`: where a process runs. Anyone may ask.
    ///
    /// # Errors
    ///
    /// `ESRCH`; `EHOSTUNREACH` if its home cannot be asked.
    pub struct Where {
        /// in: bytes of this struct.
        pub size: u32,
        /// in: pid.
        pub pid: i32,
        /// out: node id of its home.
        pub home: u32,
        /// out: node id where it runs.
        pub node: u32,
        /// out: one of [`proc_state`], as at the node that answers.
        pub state: u32,
        /// out: times it has moved.
        pub moves: u32,
    }

    /// `SERVE_WAIT`: waits until a process arrives that needs a child made for it. Needs `CAP_SYS_ADMIN`.
    ///
    /// # Errors
    ///
    /// `EINTR`; `ESHUTDOWN` the node has left or the module goes: the server must end.
    pub struct ServeWait {
        /// in: bytes of this struct.
        pub size: u32,
        /// out: pid that the child must have (`clone3` `set_tid`).
        pub pid: i32,
        /// out: name of this arrival, for the calls below.
        pub arrival: u64,
        /// out: node id of the process's home.
        pub home: u32,
        /// Zero.
        pub _pad: u32,
        /// out: what the child's time namespace must add to `CLOCK_MONOTONIC`, nanoseconds.
        pub monotonic_offset: i64,
        /// out: what it must add to `CLOCK_BOOTTIME`, nanoseconds.
        pub boottime_offset: i64,
        /// out: host name of the home, for the child's UTS namespace; NUL-padded, at most 64 bytes.
        pub nodename: [u8; 72],
    }

    /// `SERVE_ENTER`: called by the child made for an arrival; on success it does not return to the
    /// caller: the caller becomes the process that arrived. Needs `CAP_SYS_ADMIN`.
    ///
    /// # Errors
    ///
    /// `ENOENT` no such arrival (it was given up meanwhile); `EINVAL` the caller's pid is another one;
    /// `ECANCELED` the move was given up: the child must exit.
    pub struct ServeEnter {
        /// in: bytes of this struct.
        pub size: u32,
        /// Zero.
        pub _pad: u32,
        /// in: the arrival, from [`ServeWait`].
        pub arrival: u64,
    }

    /// `SERVE_FAILED`: the child for an arrival could not be made: the process stays where it is.
    /// Needs `CAP_SYS_ADMIN`.
    ///
    /// # Errors
    ///
    /// `ENOENT` no such arrival.
    pub struct ServeFailed {
        /// in: bytes of this struct.
        pub size: u32,
        /// in: the errno, positive; `EEXIST` = the pid is taken.
        pub errno: i32,
        /// in: the arrival.
        pub arrival: u64,
    }

    /// `SERVE_STATE`: what `waitid` told the server about a child that became a guest. Needs `CAP_SYS_ADMIN`.
    ///
    /// # Errors
    ///
    /// `ESRCH` it is no guest of this node.
    pub struct ServeState {
        /// in: bytes of this struct.
        pub size: u32,
        /// in: pid of the child.
        pub pid: i32,
        /// in: one of [`child_state`].
        pub what: u32,
        /// in: by `what`.
        pub status: i32,
    }

    /// `LIST`: the processes of this node that are away, on their way, or guests. Anyone may ask.
    ///
    /// # Errors
    ///
    /// `ENOSPC` as for [`Nodes`].
    pub struct List {
        /// in: bytes of this struct.
        pub size: u32,
        /// in: room in `buf`, in records. out: number of records.
        pub count: u32,
        /// in: address of an array of [`ProcRecord`].
        pub buf: u64,
    }

    /// One process of [`List`].
    pub struct ProcRecord {
        /// Pid, the same on every node.
        pub pid: i32,
        /// Node id of its home.
        pub home: u32,
        /// Node id where it runs, as far as this node knows.
        pub node: u32,
        /// One of [`proc_state`], as at this node.
        pub state: u32,
        /// Real user id at home (initial user namespace).
        pub uid: u32,
        /// Times it has moved.
        pub moves: u32,
        /// CPU time used, user and system, nanoseconds; of an away process: as last reported.
        pub cpu_ns: u64,
        /// Resident memory, KiB; of an away process: as last reported.
        pub rss_kib: u64,
        /// Time since it came here (guest) or left (deputy), milliseconds.
        pub since_ms: u64,
        /// Command name, NUL-padded.
        pub comm: [u8; 16],
    }

    /// `DRAIN`: brings every process homed here home and sends every guest home; returns when none is
    /// left. Needs `CAP_SYS_ADMIN`.
    ///
    /// # Errors
    ///
    /// `EBUSY` a process could not be moved: `pid` and `reason` say which and why.
    pub struct Drain {
        /// in: bytes of this struct.
        pub size: u32,
        /// in: [`DRAIN_KEEP_OUT`].
        pub flags: u32,
        /// out: the process that holds the node, 0 if none.
        pub pid: i32,
        /// out: a [`Reason`](crate::Reason) code for it, 0 if none.
        pub reason: u32,
        /// out: processes moved by this call.
        pub moved: u32,
        /// Zero.
        pub _pad: u32,
    }

    /// Tells which mounts of this node other nodes have too. Replaces what was told before. Root.
    ///
    /// # Errors
    ///
    /// `E2BIG` more than [`MAX_MOUNTS`].
    pub struct Mounts {
        /// in: bytes of this struct.
        pub size: u32,
        /// in: number of records.
        pub count: u32,
        /// in: address of an array of [`MountRecord`].
        pub buf: u64,
    }

    /// A mount whose files are the same at every node that has a mount with the same identity.
    pub struct MountRecord {
        /// in: device of its file system, `major << 20 | minor` (the numbers of `/proc/self/mountinfo`).
        pub dev: u32,
        /// Zero.
        pub _pad: u32,
        /// in: its identity: equal for the same server and export, different for others. All zeros is none.
        pub id: [u8; 16],
    }
}

/// Most records in one [`Mounts`].
pub const MAX_MOUNTS: u32 = 1024;

/// [`Drain::flags`]: refuse new guests from now on, until the node joins again.
pub const DRAIN_KEEP_OUT: u32 = 1;

// The sizes are the interface: a change here breaks every binary of the tool.
const _: () = {
    assert!(Nodes::SIZE == 16);
    assert!(NodeRecord::SIZE == 112);
    assert!(Migrate::SIZE == 48);
    assert!(Explain::SIZE == 24);
    assert!(ReasonRecord::SIZE == 128);
    assert!(Where::SIZE == 24);
    assert!(ServeWait::SIZE == 112);
    assert!(ServeEnter::SIZE == 16);
    assert!(ServeFailed::SIZE == 16);
    assert!(ServeState::SIZE == 16);
    assert!(List::SIZE == 16);
    assert!(ProcRecord::SIZE == 64);
    assert!(Drain::SIZE == 24);
    assert!(Mounts::SIZE == 16);
    assert!(MountRecord::SIZE == 24);
    assert!(NODES == 0xc010_4201);
    assert!(MIGRATE == 0xc030_4220);
};
