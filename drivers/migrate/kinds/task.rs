// SPDX-License-Identifier: GPL-2.0

//! The task as a whole: what it is entangled with, and what its C library registered with the kernel.
//!
//! Holds the checks that belong to no other kind. It stands first in the table, because a restartable sequence is left before registers
//! and memory are captured.

use super::Kind;
use crate::{
    capture::Capture,
    reasons::Reasons, //
    rebuild::Rebuild,
};
use banyan_wire::{
    ids,
    image_state as records,
    Reason,
    Wire, //
};
use kernel::prelude::*;
use kernel_ext::{
    attributes::Userland,
    facts::{
        namespaces,
        Facts, //
    },
    own::Own,
    subject::Subject,
    syscalls::Syscalls, //
};

/// This kind.
pub static KIND: Kind = Kind {
    name: "task",
    carried: "robust list of futexes, word cleared at the end of the thread, registration for restartable sequences (a sequence under \
              way is aborted, as by a preemption)",
    refused: "more threads than one (threads), shared handlers, directories or memory (shared-sighand, shared-fs, shared-mm), tracing \
              (ptraced, tracing), children (children), namespaces of its own (nested-namespace, timens), seccomp (seccomp), io_uring \
              (io-uring), asynchronous I/O (aio), performance events (perf-events), uprobes (uprobes), semaphore undo (sysv-sem), \
              priority-inheriting futexes (pi-futex), 32-bit code (compat32), port access (io-permissions), shadow stack \
              (shadow-stack), system call dispatch (syscall-user-dispatch), CPU modes (cpu-mode), NUMA policy (memory-policy), clamps and \
              I/O flushers (not-carried), stopped or frozen processes (stopped, cgroup-frozen), core dumps and exits under way \
              (core-dump, exiting), kernel threads and inits (kthread, init-process)",
    check,
    capture,
    restore,
    finish,
    leave,
    ..Kind::NOTHING
};

/// What is kept until the memory is there.
#[derive(Default)]
pub struct Rebuilt {
    userland: Option<records::Userland>,
}

/// What [`Reason::NotCarried`] is about, from this kind.
mod not_carried {
    pub(super) const CLAMPS: u32 = 2;
    pub(super) const IO_FLUSHER: u32 = 3;
}

fn check(subject: &Subject, reasons: &mut Reasons) {
    let facts = subject.facts();
    let about = |yes: bool, reason: Reason, number: u32, reasons: &mut Reasons| {
        if yes {
            reasons.push(reason, number);
        }
    };
    about(facts.threads != 1, Reason::Threads, facts.threads, reasons);
    for (yes, reason) in plain_reasons(&facts) {
        about(yes, reason, 0, reasons);
    }
    about(facts.memory_policy, Reason::MemoryPolicy, 0, reasons);
    about(
        facts.clamps,
        Reason::NotCarried,
        not_carried::CLAMPS,
        reasons,
    );
    about(
        facts.io_flusher,
        Reason::NotCarried,
        not_carried::IO_FLUSHER,
        reasons,
    );

    // A guest lives in the time and host-name namespaces that were made for its home.
    let mut others = facts.namespaces;
    if ids::home_of(subject.pid()) != banyan::this_node() {
        others &= !(namespaces::TIME | namespaces::UTS);
    }
    about(others & namespaces::TIME != 0, Reason::Timens, 0, reasons);
    others &= !namespaces::TIME;
    about(others != 0, Reason::NestedNamespace, others, reasons);
}

fn plain_reasons(facts: &Facts) -> [(bool, Reason); 24] {
    [
        (facts.kernel_thread, Reason::Kthread),
        (facts.init, Reason::InitProcess),
        (facts.exiting, Reason::Exiting),
        (facts.core_dump, Reason::CoreDump),
        (facts.traced, Reason::Ptraced),
        (facts.tracing, Reason::Tracing),
        (facts.children, Reason::Children),
        (facts.vfork, Reason::SharedMm),
        (facts.shared_fs, Reason::SharedFs),
        (facts.shared_handlers, Reason::SharedSighand),
        (facts.stopped, Reason::Stopped),
        (facts.frozen, Reason::CgroupFrozen),
        (facts.seccomp, Reason::Seccomp),
        (facts.syscall_dispatch, Reason::SyscallUserDispatch),
        (facts.io_uring, Reason::IoUring),
        (facts.aio, Reason::Aio),
        (facts.perf, Reason::PerfEvents),
        (facts.uprobes, Reason::Uprobes),
        (facts.sem_undo, Reason::SysvSem),
        (facts.pi_futex, Reason::PiFutex),
        (facts.compat, Reason::Compat32),
        (facts.io_ports, Reason::IoPermissions),
        (facts.shadow_stack, Reason::ShadowStack),
        (facts.cpu_mode, Reason::CpuMode),
    ]
}

fn capture(own: &Own, capture: &mut Capture) -> Result {
    // All is checked again, now that the process stands still: it may have made a thread or a child since.
    let mut reasons = Reasons::new();
    let this = Subject::current();
    check(&this, &mut reasons);
    for kind in [
        &super::timers::KIND,
        &super::signals::KIND,
        &super::scheduling::KIND,
        &super::credentials::KIND,
    ] {
        (kind.check)(&this, &mut reasons);
    }
    if let Some(reason) = reasons.first() {
        pr_info!("{} has changed: {}\n", own.pid(), reason.text());
        return Err(EBUSY);
    }
    own.settle_wait();
    own.leave_sequence().map_err(|_| EOPNOTSUPP)?;
    let Userland {
        robust_list,
        clear_child_tid,
        rseq,
        rseq_size,
        rseq_signature,
    } = own.userland();
    capture.value(
        records::USERLAND,
        records::VERSION,
        &records::Userland {
            robust_list,
            clear_child_tid,
            rseq,
            rseq_size,
            rseq_signature,
        },
    )
}

fn restore(
    _own: &Own,
    rebuild: &mut Rebuild,
    rtype: u16,
    version: u16,
    payload: &[u8],
) -> Result<bool> {
    if (rtype, version) != (records::USERLAND, records::VERSION) {
        return Ok(false);
    }
    rebuild.task.userland = Some(records::Userland::decode(payload).map_err(|_| EBADMSG)?);
    Ok(true)
}

fn finish(own: &Own, rebuild: &mut Rebuild) -> Result {
    let userland = rebuild.task.userland.take().ok_or(EBADMSG)?;
    let calls = Syscalls::new(own, rebuild.scratch(own)?);
    // What the task had before it became the process.
    own.forget_userland();
    if userland.robust_list != 0 {
        calls.set_robust_list(userland.robust_list)?;
    }
    calls.set_clear_child_tid(userland.clear_child_tid)?;
    if userland.rseq != 0 {
        calls.set_rseq(userland.rseq, userland.rseq_size, userland.rseq_signature)?;
    }
    Ok(())
}

fn leave(own: &Own, _capture: &mut Capture) {
    own.forget_system_call();
    own.forget_userland();
}
