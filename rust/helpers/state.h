/* SPDX-License-Identifier: GPL-2.0 */
/* State of a process that is neither memory nor files: inline functions, and structs that kernel::bindings knows only by name. */
#ifndef BANYAN_STATE_H
#define BANYAN_STATE_H

#include <linux/types.h>

struct group_info;
struct pt_regs;
struct restart_block;
struct task_struct;

/* Locks and unlocks what all signal state of the current task is under, with interrupts off. */
void banyan_siglock(void);
void banyan_sigunlock(void);
/* The same for another task; the first returns false if it has no signals any more. In an RCU section. */
bool banyan_siglock_of(struct task_struct *task);
void banyan_sigunlock_of(struct task_struct *task);

/*
 * Makes a 64-bit system call for the current task, with the arguments where they are at the entry of one. Many calls look at the number
 * in the task's own saved registers for the ABI of the caller: an interrupted program, whose number is -1, would be taken for an x32 one.
 */
long banyan_system_call(const struct pt_regs *registers, unsigned int number);
/* Makes the current task, which will not return to user mode as it is, appear to be in a 64-bit system call. */
void banyan_forget_system_call(void);

/* Number of entries in the signal queues of a task. */
unsigned int banyan_count_signals(struct task_struct *task);

/* Whether any file-system state (umask, directories) is shared with another task. */
bool banyan_fs_shared(struct task_struct *task);
/* The file mode creation mask of the current task. */
u32 banyan_umask(void);

/* Which transparent huge pages prctl(PR_SET_THP_DISABLE) left the current task: 0 all, 1 none, 2 those that it asks for. */
u32 banyan_huge_pages(void);

/* One of TASK_DUMPABLE_*. */
u32 banyan_dumpable(struct task_struct *task);

/*
 * Sets policy, nice value, time slice (0 = the default) and real-time priority of the current task without asking whether it may have
 * them. Returns an error of
 * sched_setattr(2).
 */
int banyan_set_policy(u32 policy, bool reset_on_fork, s32 nice, u64 slice, u32 rt_priority);

/*
 * Copies the CPUs that the task asked for, 32 to a word. Returns the number of words, 0 if it never asked, or -E2BIG if max are too
 * few.
 */
int banyan_requested_cpus(struct task_struct *task, u32 *words, unsigned int max);
/* Number of words that cover all CPUs that this kernel can have, a multiple of two. */
unsigned int banyan_cpu_words(void);
/* Whether any of these CPUs is here and in use. */
bool banyan_any_cpu_here(const u32 *words, unsigned int count);

/* Gives a reference to groups back. */
void banyan_put_group_info(struct group_info *groups);

/* Sets the resource limits of the current task. pairs holds BANYAN_LIMITS times soft and hard. */
#define BANYAN_LIMITS 16
void banyan_set_limits(const u64 *pairs);

/* Forgets the registration for restartable sequences of the current task. */
void banyan_rseq_forget(void);

/*
 * Does what the kernel does to a restartable sequence that is preempted: if the current task was interrupted inside of one, its next
 * instruction becomes the abort handler. Returns 0, or -EFAULT or -EINVAL if the kernel would kill the task for it.
 */
int banyan_rseq_settle(void);

/*
 * Makes an interrupted sigwaitinfo(2) of the current task one that is restarted, unless a handler runs: the kernel itself ends it with
 * EINTR for any interruption. One with a timeout is left alone, since it would wait for the whole time again.
 */
void banyan_settle_wait(void);

/* Whether a task has a security label of its own, other than that of the first process. */
bool banyan_labelled(struct task_struct *task);

/* Whether a Landlock domain confines a task. */
bool banyan_landlocked(struct task_struct *task);

/* Whether Landlock denies that a file be truncated through this open file, which was opened in a domain. */
bool banyan_truncation_denied(struct file *file);

/*
 * Lets the current task act with its ids, groups and capabilities, but outside of its Landlock domain, until banyan_unborrow() gets what
 * this returned: its credentials. NULL if there is no domain, -ENOMEM.
 */
const struct cred *banyan_leave_domain(void);

/* Whether a task runs with a user shadow stack. */
bool banyan_shadow_stack(struct task_struct *task);

/* Whether a task has, or may have, values to undo on System V semaphores. */
bool banyan_sem_undo(struct task_struct *task);

enum banyan_namespace {
	BANYAN_NS_MNT = 1,
	BANYAN_NS_PID = 2,
	BANYAN_NS_NET = 4,
	BANYAN_NS_IPC = 8,
	BANYAN_NS_UTS = 16,
	BANYAN_NS_CGROUP = 32,
	BANYAN_NS_TIME = 64,
	BANYAN_NS_USER = 128,
};
/* The namespaces of a task that are not those of the first process, as bits. */
u32 banyan_other_namespaces(struct task_struct *task);

/* How far the clocks of the current task's time namespace are ahead of the node's, in nanoseconds. */
s64 banyan_monotonic_offset(void);
s64 banyan_boottime_offset(void);

/* How a system call of the current task is restarted by restart_syscall(2). */
enum banyan_restart {
	BANYAN_RESTART_NONE,
	BANYAN_RESTART_SLEEP,
	BANYAN_RESTART_POLL,
	BANYAN_RESTART_FUTEX,
	BANYAN_RESTART_CPU_SLEEP,
	BANYAN_RESTART_ALARM_SLEEP,
	BANYAN_RESTART_UNKNOWN,
};
enum banyan_restart banyan_restart_kind(const struct restart_block *block);
/* Sets the function of a restart block. Returns false if this kernel lacks it. */
bool banyan_set_restart_kind(struct restart_block *block, enum banyan_restart kind);

/* Looks up the functions that the above compares with. Called when banyan.ko loads, after the table of unexported functions. */
void banyan_state_resolve(void);

#endif
