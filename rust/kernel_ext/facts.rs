// SPDX-License-Identifier: GPL-2.0

//! What a task is entangled with, seen from outside: one [`Facts`] is a snapshot of a running task.

use crate::subject::Subject;
use kernel::bindings;

/// Namespaces, as bits of [`Facts::namespaces`].
pub mod namespaces {
    /// Mounts.
    pub const MOUNT: u32 = banyan_bindings::banyan_namespace_BANYAN_NS_MNT;
    /// Pids, its own or its children's.
    pub const PID: u32 = banyan_bindings::banyan_namespace_BANYAN_NS_PID;
    /// Network.
    pub const NETWORK: u32 = banyan_bindings::banyan_namespace_BANYAN_NS_NET;
    /// System V IPC and POSIX message queues.
    pub const IPC: u32 = banyan_bindings::banyan_namespace_BANYAN_NS_IPC;
    /// Host name.
    pub const UTS: u32 = banyan_bindings::banyan_namespace_BANYAN_NS_UTS;
    /// Control groups.
    pub const CGROUP: u32 = banyan_bindings::banyan_namespace_BANYAN_NS_CGROUP;
    /// Time, its own or its children's.
    pub const TIME: u32 = banyan_bindings::banyan_namespace_BANYAN_NS_TIME;
    /// Users.
    pub const USER: u32 = banyan_bindings::banyan_namespace_BANYAN_NS_USER;
}

/// A snapshot of what a task is entangled with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// Number of threads.
    pub threads: u32,
    /// A kernel thread, or a thread of the kernel's in a process.
    pub kernel_thread: bool,
    /// It has begun to exit.
    pub exiting: bool,
    /// It writes a core dump.
    pub core_dump: bool,
    /// It is the init of a pid namespace.
    pub init: bool,
    /// It is traced.
    pub traced: bool,
    /// It traces another.
    pub tracing: bool,
    /// It has children, living or waiting to be reaped.
    pub children: bool,
    /// A parent waits until it calls `execve` or ends.
    pub vfork: bool,
    /// It is stopped by job control, or about to.
    pub stopped: bool,
    /// Its cgroup is frozen.
    pub frozen: bool,
    /// Seccomp is on.
    pub seccomp: bool,
    /// It dispatches system calls by itself.
    pub syscall_dispatch: bool,
    /// It has used io_uring.
    pub io_uring: bool,
    /// It has set up asynchronous input and output.
    pub aio: bool,
    /// It has performance events.
    pub perf: bool,
    /// Uprobes are or were set in it.
    pub uprobes: bool,
    /// It has undo values on System V semaphores.
    pub sem_undo: bool,
    /// It holds a priority-inheriting futex.
    pub pi_futex: bool,
    /// It runs or ran 32-bit code.
    pub compat: bool,
    /// It may use input and output ports.
    pub io_ports: bool,
    /// It has a NUMA memory policy.
    pub memory_policy: bool,
    /// It has utilization clamps.
    pub clamps: bool,
    /// It has restrictions of speculation or of CPU instructions of its own (`prctl`, `arch_prctl`).
    pub cpu_mode: bool,
    /// It has flags of the kind of `PR_SET_IO_FLUSHER`.
    pub io_flusher: bool,
    /// It runs with a shadow stack.
    pub shadow_stack: bool,
    /// Its umask and directories are shared with another task.
    pub shared_fs: bool,
    /// Its signal handlers are shared with another process.
    pub shared_handlers: bool,
    /// Which of its namespaces are not those of the first process: [`namespaces`] bits.
    pub namespaces: u32,
    /// `SCHED_*`.
    pub policy: u32,
}

/// Bit of `jobctl`: the cgroup freezer wants it to stand still. (`frozen` is set for a stopped task, too.)
const TRAP_FREEZE: usize = bindings::JOBCTL_TRAP_FREEZE as usize;

/// Bits of `atomic_flags` that are carried or harmless: "no new privileges", and where the page cache is put.
const PLAIN_ATOMIC_FLAGS: usize = 1 << bindings::PFA_NO_NEW_PRIVS | 1 << bindings::PFA_SPREAD_PAGE;

/// Thread flags: no time stamp counter, no CPUID, 32-bit addresses.
const CPU_MODE_FLAGS: usize = 1 << bindings::TIF_NOTSC | 1 << bindings::TIF_NOCPUID;
const COMPAT_FLAGS: usize = 1 << bindings::TIF_ADDR32;

/// Bits of `thread_info::syscall_work` that stand for a process's own doing.
const SYSCALL_DISPATCH: usize =
    1 << bindings::syscall_work_bit_SYSCALL_WORK_BIT_SYSCALL_USER_DISPATCH;

impl Subject {
    /// Takes the snapshot.
    pub fn facts(&self) -> Facts {
        let raw = self.raw();
        // SAFETY: A reference to the task is held, which keeps it and its `signal_struct`. Everything else that is dereferenced is so
        // under RCU, which keeps `sighand`, or by helpers with the proper locks; `mm` is taken by `get_task_mm`. The rest is plain words
        // that may change while they are read.
        unsafe {
            let task = &*raw;
            let signal = &*task.signal;
            let empty = |head: *const bindings::list_head| {
                core::ptr::eq((&raw const (*head).next).read_volatile(), head)
            };
            let mut facts = Facts {
                threads: (&raw const signal.nr_threads).read_volatile().max(0) as u32,
                kernel_thread: task.flags
                    & (bindings::PF_KTHREAD | bindings::PF_USER_WORKER | bindings::PF_IO_WORKER)
                    != 0,
                exiting: task.flags & bindings::PF_EXITING != 0
                    || signal.flags & bindings::SIGNAL_GROUP_EXIT != 0,
                core_dump: !signal.core_state.is_null() || task.flags & bindings::PF_DUMPCORE != 0,
                init: signal.flags & bindings::SIGNAL_UNKILLABLE != 0,
                traced: task.ptrace != 0,
                tracing: !empty(&raw const task.ptraced),
                children: !empty(&raw const task.children),
                vfork: !task.vfork_done.is_null(),
                stopped: signal.flags & bindings::SIGNAL_STOP_STOPPED != 0
                    || signal.group_stop_count != 0,
                frozen: task.jobctl & TRAP_FREEZE != 0,
                seccomp: task.seccomp.mode != 0,
                syscall_dispatch: task.thread_info.syscall_work & SYSCALL_DISPATCH != 0,
                io_uring: !task.io_uring.is_null(),
                perf: !task.perf_event_ctxp.is_null(),
                uprobes: !task.utask.is_null(),
                sem_undo: banyan_bindings::banyan_sem_undo(raw),
                pi_futex: !empty(&raw const task.futex.pi_state_list),
                compat: task.thread_info.flags & COMPAT_FLAGS != 0
                    || !task.futex.compat_robust_list.is_null(),
                io_ports: !task.thread.io_bitmap.is_null() || task.thread.iopl_emul != 0,
                memory_policy: !task.mempolicy.is_null(),
                clamps: task
                    .uclamp_req
                    .iter()
                    .any(|clamp| clamp.user_defined() != 0),
                cpu_mode: task.atomic_flags & !PLAIN_ATOMIC_FLAGS != 0
                    || task.thread_info.flags & CPU_MODE_FLAGS != 0,
                io_flusher: task.flags & (bindings::PF_MEMALLOC_NOIO | bindings::PF_LOCAL_THROTTLE)
                    != 0,
                shadow_stack: banyan_bindings::banyan_shadow_stack(raw),
                shared_fs: banyan_bindings::banyan_fs_shared(raw),
                namespaces: banyan_bindings::banyan_other_namespaces(raw),
                policy: task.policy,
                ..Facts::default()
            };
            bindings::rcu_read_lock();
            let sighand = (&raw const (*raw).sighand).read_volatile();
            if !sighand.is_null() {
                facts.shared_handlers = (*sighand).count.refs.counter > 1 && facts.threads <= 1;
            }
            bindings::rcu_read_unlock();
            let mm = bindings::get_task_mm(raw);
            if !mm.is_null() {
                facts.aio = !(*mm).__bindgen_anon_1.ioctx_table.is_null();
                bindings::mmput(mm);
            }
            facts
        }
    }
}
