// SPDX-License-Identifier: GPL-2.0
//! Making, naming and reaping processes: clone3 with a chosen pid, namespaces, signals and waitid.
//!
//! Used by `banyanctl serve` alone, which is made of single-threaded processes. All `unsafe` of the control tool is in this
//! file and in `device.rs`. A process that has more than one thread is refused by [`fork`] and [`clone_sibling`]: only thus is
//! the child a full, usable copy of it (a lock held by another thread would stay locked in the child for ever).

use std::{
    fs,
    io,
    mem,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
    time::Duration, //
};

/// `CLONE_INTO_CGROUP` of include/uapi/linux/sched.h; libc's constant has too few bits.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which of the two processes returned from a fork.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Forked {
    /// The caller, with the child's pid.
    Parent(i32),
    /// The new process.
    Child,
}

/// What a child of this process did, as `waitid` tells it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// It ended by itself with this exit code.
    Exited(i32),
    /// A signal ended it; `true` when a core was dumped.
    Killed(i32, bool),
    /// A signal stopped it.
    Stopped(i32),
    /// SIGCONT set it going again.
    Continued,
}

impl Change {
    /// The status word that `wait(2)` would store for this change.
    pub fn status_word(self) -> i32 {
        match self {
            Change::Exited(code) => (code & 0xff) << 8,
            Change::Killed(signal, core) => (signal & 0x7f) | if core { 0x80 } else { 0 },
            Change::Stopped(signal) => ((signal & 0xff) << 8) | 0x7f,
            Change::Continued => 0xffff,
        }
    }

    /// Whether the child is gone and only its pid is left to be reaped.
    pub fn is_end(self) -> bool {
        matches!(self, Change::Exited(_) | Change::Killed(..))
    }
}

/// One change of one child, not yet consumed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ChildEvent {
    pub pid: i32,
    pub change: Change,
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// Fails with EBUSY when this process has more threads than the caller.
fn require_single_thread() -> io::Result<()> {
    if fs::read_dir("/proc/self/task")?.count() == 1 {
        return Ok(());
    }
    Err(io::Error::from_raw_os_error(libc::EBUSY))
}

fn clone3(mut args: libc::clone_args) -> io::Result<Forked> {
    require_single_thread()?;
    // SAFETY:
    // - `args` is a valid `clone_args` of the size given, without CLONE_VM and without a stack, so the child runs on its own copy
    //   of this address space, like after `fork`.
    // - this process has one thread (checked above), so no lock of libc or of the standard library is held by another.
    let pid = check(unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &mut args,
            mem::size_of::<libc::clone_args>(),
        )
    })?;
    Ok(if pid == 0 {
        Forked::Child
    } else {
        Forked::Parent(pid as i32)
    })
}

fn no_args() -> libc::clone_args {
    // SAFETY: `clone_args` is a plain structure of integers, for which all zeroes is valid.
    unsafe { mem::zeroed() }
}

/// Forks this process; the child's end is told to the caller by SIGCHLD.
///
/// # Errors
///
/// EBUSY when this process has more than one thread; what `clone3` says.
pub fn fork() -> io::Result<Forked> {
    clone3(libc::clone_args {
        exit_signal: libc::SIGCHLD as u64,
        ..no_args()
    })
}

/// Forks this process into a *sibling*: the child's parent is the caller's parent, which gets the SIGCHLD and must reap it.
///
/// With `pid` the child has that pid in the caller's pid namespace; with `cgroup` (an open cgroup directory) it starts there.
///
/// # Errors
///
/// EEXIST when the pid is taken, EPERM without CAP_CHECKPOINT_RESTORE, EINVAL for a pid above pid_max, EBUSY when this process has
/// more than one thread; what else `clone3` says.
pub fn clone_sibling(pid: Option<i32>, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Forked> {
    let mut args = libc::clone_args {
        flags: libc::CLONE_PARENT as u64,
        ..no_args()
    };
    let pids = [pid.unwrap_or(0)];
    if pid.is_some() {
        args.set_tid = pids.as_ptr() as u64;
        args.set_tid_size = 1;
    }
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    clone3(args)
}

/// Gives this process new UTS names, and its later children a new time namespace whose clocks may still be set.
///
/// # Errors
///
/// EPERM without CAP_SYS_ADMIN, ENOSPC when the limit of namespaces is reached.
pub fn unshare_uts_and_time() -> io::Result<()> {
    const CLONE_NEWTIME: libc::c_int = 0x80;
    // SAFETY: `unshare` takes no pointer; neither flag takes memory or files away from running code.
    check(unsafe { libc::unshare(libc::CLONE_NEWUTS | CLONE_NEWTIME) }.into()).map(drop)
}

/// Sets the name of the node in this UTS namespace.
///
/// # Errors
///
/// EPERM without CAP_SYS_ADMIN, EINVAL for more than 64 bytes.
pub fn set_node_name(name: &[u8]) -> io::Result<()> {
    // SAFETY: pointer and length are those of a live slice, which the kernel only reads.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }.into()).map(drop)
}

/// Starts a session of its own, away from any terminal.
///
/// # Errors
///
/// EPERM when this process leads a process group already.
pub fn new_session() -> io::Result<()> {
    // SAFETY: `setsid` takes no argument.
    check(unsafe { libc::setsid() }.into()).map(drop)
}

/// Has the kernel send `signal` to this process when its parent ends. Not inherited by children.
///
/// # Errors
///
/// EINVAL when `signal` is none.
pub fn signal_on_parent_death(signal: i32) -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes one integer.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong) }.into()).map(drop)
}

/// The pid of this process's parent.
pub fn parent_pid() -> i32 {
    // SAFETY: `getppid` takes no argument and cannot fail.
    unsafe { libc::getppid() }
}

/// The effective user of this process.
pub fn effective_uid() -> u32 {
    // SAFETY: `geteuid` takes no argument and cannot fail.
    unsafe { libc::geteuid() }
}

/// Closes every file descriptor of this process but `kept`.
///
/// Meant for a process that is about to become another: the owners of the closed descriptors must not run any more.
///
/// # Errors
///
/// What `close_range` says; ENOSYS before Linux 5.9.
pub fn close_all_but(kept: BorrowedFd<'_>) -> io::Result<()> {
    let kept = kept.as_raw_fd() as libc::c_uint;
    let close = |first: libc::c_uint, last: libc::c_uint| {
        // SAFETY: `close_range` takes no pointer.
        check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })
    };
    if kept > 0 {
        close(0, kept - 1)?;
    }
    close(kept + 1, libc::c_uint::MAX).map(drop)
}

fn signal_set(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: a `sigset_t` of zeroes is valid storage, and both functions are given a pointer to it that lives long enough.
    // An invalid signal number makes `sigaddset` fail and leaves the set as it was.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in signals {
            libc::sigaddset(&mut set, *signal);
        }
        set
    }
}

/// Blocks `signals` in this thread, so that [`next_signal`] can take them one by one.
///
/// # Errors
///
/// None in practice.
pub fn block_signals(signals: &[i32]) -> io::Result<()> {
    let set = signal_set(signals);
    // SAFETY: `set` is an initialised set that outlives the call; the old mask is not asked for.
    check(unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set, ptr::null_mut()) }.into()).map(drop)
}

/// Waits at most `timeout` for one of `signals`, which must be blocked. `None` when none came.
///
/// # Errors
///
/// None in practice.
pub fn next_signal(signals: &[i32], timeout: Duration) -> io::Result<Option<i32>> {
    let set = signal_set(signals);
    let limit = libc::timespec {
        tv_sec: timeout.as_secs().min(i32::MAX as u64) as libc::time_t,
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: `set` and `limit` are initialised and outlive the call; no siginfo is asked for.
    match check(unsafe { libc::sigtimedwait(&set, ptr::null_mut(), &limit) }.into()) {
        Ok(signal) => Ok(Some(signal as i32)),
        Err(error) => match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR) => Ok(None),
            _ => Err(error),
        },
    }
}

/// Puts all signal dispositions back to their defaults, unblocks all signals and gives up the alternate stack: the state of a
/// fresh program.
pub fn reset_signals() {
    let none = signal_set(&[]);
    let no_stack = libc::stack_t {
        ss_sp: ptr::null_mut(),
        ss_flags: libc::SS_DISABLE,
        ss_size: 0,
    };
    // SAFETY: `no_stack` outlives the call, and no handler is running on the alternate stack: this is ordinary code.
    unsafe { libc::sigaltstack(&no_stack, ptr::null_mut()) };
    for signal in 1..=64 {
        // SAFETY: the default disposition runs no code of this process. For SIGKILL, SIGSTOP and the C library's own signals
        // the call fails and changes nothing.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: `none` is an initialised set that outlives the call.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &none, ptr::null_mut()) };
}

/// Sends `signal` to the process `pid`.
///
/// # Errors
///
/// ESRCH when there is none, EPERM.
pub fn send_signal(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: `kill` takes no pointer.
    check(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}

fn waitid(
    kind: libc::idtype_t,
    id: libc::id_t,
    flags: libc::c_int,
) -> io::Result<Option<ChildEvent>> {
    // SAFETY: a `siginfo_t` of zeroes is valid; waitid fills it, or leaves the pid zero when nothing was there to tell.
    let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
    loop {
        // SAFETY: `info` is writable and outlives the call.
        match check(unsafe { libc::waitid(kind, id, &mut info, flags) }.into()) {
            Ok(_) => break,
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => continue,
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    // SAFETY: waitid filled `info` as for SIGCHLD (or left it zero), so the pid and status members of the union are the live ones.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    let change = match info.si_code {
        libc::CLD_EXITED => Change::Exited(status),
        libc::CLD_KILLED => Change::Killed(status, false),
        libc::CLD_DUMPED => Change::Killed(status, true),
        libc::CLD_STOPPED | libc::CLD_TRAPPED => Change::Stopped(status),
        _ => Change::Continued,
    };
    Ok(Some(ChildEvent { pid, change }))
}

/// What happened to some child since last asked, without waiting and without consuming it. `None`: nothing, or no children.
///
/// # Errors
///
/// None in practice.
pub fn peek_child() -> io::Result<Option<ChildEvent>> {
    waitid(
        libc::P_ALL,
        0,
        libc::WEXITED | libc::WSTOPPED | libc::WCONTINUED | libc::WNOHANG | libc::WNOWAIT,
    )
}

/// Consumes what [`peek_child`] told: reaps a child that ended, and forgets a stop or continuation.
///
/// A child that changed again in between gives its newer change here; the caller gets it, so that nothing is lost.
///
/// # Errors
///
/// None in practice.
pub fn consume_child(event: ChildEvent) -> io::Result<Option<ChildEvent>> {
    let flags = match event.change {
        Change::Stopped(_) => libc::WSTOPPED,
        Change::Continued => libc::WCONTINUED,
        _ => libc::WEXITED,
    };
    waitid(libc::P_PID, event.pid as libc::id_t, flags | libc::WNOHANG)
}

/// Waits for the child `pid` to end and reaps it.
///
/// # Errors
///
/// None in practice; `Ok(None)` when it is no child.
pub fn wait_for_end(pid: i32) -> io::Result<Option<Change>> {
    Ok(waitid(libc::P_PID, pid as libc::id_t, libc::WEXITED)?.map(|event| event.change))
}

/// Ends this process at once, without running destructors or exit handlers: the end of a forked child.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` takes one integer and does not return.
    unsafe { libc::_exit(code) }
}
