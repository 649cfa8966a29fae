// SPDX-License-Identifier: GPL-2.0
/* State of a process that is neither memory nor files: inline functions, and structs that kernel::bindings knows only by name. */
#include <linux/cpumask.h>
#include <linux/cred.h>
#include <linux/fs_struct.h>
#include <linux/ipc_namespace.h>
#include <linux/lsm_hooks.h>
#include <linux/mm.h>
#include <linux/nsproxy.h>
#include <linux/pid_namespace.h>
#include <linux/rseq.h>
#include <linux/sched.h>
#include <linux/sched/exec_state.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <linux/security.h>
#include <linux/time_namespace.h>
#include <linux/uaccess.h>
#include <linux/user_namespace.h>
#include <uapi/linux/landlock.h>
#include <uapi/linux/rseq.h>
#include <uapi/linux/sched/types.h>
#include <asm/prctl.h>
#include <asm/ptrace.h>
#include <asm/shstk.h>
#include <asm/unistd.h>

#include "ksym.h"
#include "state.h"

void banyan_siglock(void)
{
	spin_lock_irq(&current->sighand->siglock);
}

void banyan_sigunlock(void)
{
	spin_unlock_irq(&current->sighand->siglock);
}

long banyan_system_call(const struct pt_regs *registers, unsigned int number)
{
	struct pt_regs *own = task_pt_regs(current);
	unsigned long former = own->orig_ax;
	long ret;

	own->orig_ax = number;
	ret = banyan_ksym_x64_sys_call(registers, number);
	own->orig_ax = former;
	return ret;
}

void banyan_forget_system_call(void)
{
	struct pt_regs *own = task_pt_regs(current);

	own->orig_ax = 0;
	own->ax = 0;
}

bool banyan_siglock_of(struct task_struct *task)
{
	struct sighand_struct *handlers = rcu_dereference(task->sighand);

	if (!handlers)
		return false;
	spin_lock_irq(&handlers->siglock);
	if (likely(handlers == rcu_access_pointer(task->sighand)))
		return true;
	/* They were replaced meanwhile: it executes or exits, and what is asked about it is soon asked again. */
	spin_unlock_irq(&handlers->siglock);
	return false;
}

void banyan_sigunlock_of(struct task_struct *task)
{
	spin_unlock_irq(&task->sighand->siglock);
}

unsigned int banyan_count_signals(struct task_struct *task)
{
	unsigned int count = 0;
	struct list_head *at;

	rcu_read_lock();
	if (banyan_siglock_of(task)) {
		list_for_each(at, &task->pending.list)
			count++;
		list_for_each(at, &task->signal->shared_pending.list)
			count++;
		banyan_sigunlock_of(task);
	}
	rcu_read_unlock();
	return count;
}

bool banyan_fs_shared(struct task_struct *task)
{
	bool shared = false;

	task_lock(task);
	if (task->fs)
		shared = task->fs->users != 1 || task->fs != task->real_fs;
	task_unlock(task);
	return shared;
}

u32 banyan_umask(void)
{
	return current->fs->umask;
}

u32 banyan_huge_pages(void)
{
	if (mm_flags_test(MMF_DISABLE_THP_COMPLETELY, current->mm))
		return 1;
	return mm_flags_test(MMF_DISABLE_THP_EXCEPT_ADVISED, current->mm) ? 2 : 0;
}

u32 banyan_dumpable(struct task_struct *task)
{
	struct task_exec_state *state;
	u32 dumpable = 0;

	rcu_read_lock();
	state = rcu_dereference(task->exec_state);
	if (state)
		dumpable = READ_ONCE(state->dumpable);
	rcu_read_unlock();
	return dumpable;
}

int banyan_set_policy(u32 policy, bool reset_on_fork, s32 nice, u64 slice, u32 rt_priority)
{
	struct sched_attr attr = {
		.size = sizeof(attr),
		.sched_policy = policy,
		.sched_flags = reset_on_fork ? SCHED_FLAG_RESET_ON_FORK : 0,
		.sched_nice = nice,
		.sched_priority = rt_priority,
		.sched_runtime = slice,
	};

	/* A real-time task keeps its nice value for later, which the second call does not set. */
	set_user_nice(current, nice);
	return sched_setattr_nocheck(current, &attr);
}

unsigned int banyan_cpu_words(void)
{
	return BITS_TO_LONGS(nr_cpu_ids) * (BITS_PER_LONG / 32);
}

int banyan_requested_cpus(struct task_struct *task, u32 *words, unsigned int max)
{
	unsigned int i, count = banyan_cpu_words();
	int ret = 0;

	if (count > max)
		return -E2BIG;
	raw_spin_lock_irq(&task->pi_lock);
	if (task->user_cpus_ptr) {
		/* Whole words: the last may hold CPUs that are not on this node, but where the process came from. */
		for (i = 0; i < count; i++)
			words[i] = cpumask_bits(task->user_cpus_ptr)[i / 2] >> (i % 2 * 32);
		ret = count;
	}
	raw_spin_unlock_irq(&task->pi_lock);
	return ret;
}

bool banyan_any_cpu_here(const u32 *words, unsigned int count)
{
	unsigned int cpu;

	for_each_online_cpu(cpu) {
		if (cpu / 32 < count && words[cpu / 32] & (1U << (cpu % 32)))
			return true;
	}
	return false;
}

void banyan_put_group_info(struct group_info *groups)
{
	put_group_info(groups);
}

void banyan_set_limits(const u64 *pairs)
{
	struct rlimit *limit = current->signal->rlim;
	unsigned int i;

	static_assert(BANYAN_LIMITS == RLIM_NLIMITS);
	task_lock(current->group_leader);
	for (i = 0; i < RLIM_NLIMITS; i++) {
		limit[i].rlim_cur = pairs[2 * i];
		limit[i].rlim_max = pairs[2 * i + 1];
	}
	task_unlock(current->group_leader);
}

void banyan_rseq_forget(void)
{
	rseq_reset(current);
}

int banyan_rseq_settle(void)
{
	struct pt_regs *regs = task_pt_regs(current);
	struct rseq __user *area = current->rseq.usrptr;
	struct rseq_cs sequence;
	u64 address;
	u32 signature;

	if (!current->rseq.event.has_rseq)
		return 0;
	if (get_user(address, &area->rseq_cs))
		return -EFAULT;
	if (!address)
		return 0;
	if (address >= TASK_SIZE || copy_from_user(&sequence, (void __user *)address, sizeof(sequence)))
		return -EFAULT;
	if (regs->ip - sequence.start_ip >= sequence.post_commit_offset)
		return 0;
	/* A system call inside of a sequence: the kernel promises nothing then. */
	if (!current->rseq.event.user_irq)
		return -EINVAL;
	if (sequence.abort_ip >= TASK_SIZE || sequence.abort_ip < sizeof(signature))
		return -EINVAL;
	if (get_user(signature, (u32 __user *)(sequence.abort_ip - sizeof(signature))))
		return -EFAULT;
	if (signature != current->rseq.sig)
		return -EINVAL;
	if (put_user(0ULL, &area->rseq_cs))
		return -EFAULT;
	regs->ip = sequence.abort_ip;
	return 0;
}

void banyan_settle_wait(void)
{
	struct pt_regs *regs = task_pt_regs(current);

	if (regs->orig_ax == __NR_rt_sigtimedwait && (long)regs->ax == -EINTR && !regs->dx)
		regs->ax = -ERESTARTNOHAND;
}

/* Offsets of Landlock's parts in the security blobs of credentials and of open files, or negative numbers if there is no Landlock. */
static int landlock_offset = -1, landlock_file_offset = -1;

bool banyan_labelled(struct task_struct *task)
{
	struct lsm_prop own, first;
	struct task_struct *init;
	bool labelled = false;

	rcu_read_lock();
	init = pid_task(find_pid_ns(1, &init_pid_ns), PIDTYPE_TGID);
	if (init && init != task) {
		security_task_getlsmprop_obj(task, &own);
		security_task_getlsmprop_obj(init, &first);
		labelled = memcmp(&own, &first, sizeof(own)) != 0;
	}
	rcu_read_unlock();
	return labelled;
}

/* The domain is the first field of Landlock's part. */
static bool has_domain(const struct cred *cred)
{
	return landlock_offset >= 0 && cred->security && *(void **)(cred->security + landlock_offset);
}

bool banyan_landlocked(struct task_struct *task)
{
	bool landlocked;

	rcu_read_lock();
	landlocked = has_domain(__task_cred(task));
	rcu_read_unlock();
	return landlocked;
}

bool banyan_truncation_denied(struct file *file)
{
	/* What Landlock allowed when it was opened, of which only this and ioctl() on devices matter later, is the first field. */
	if (landlock_file_offset < 0 || !file->f_security)
		return false;
	return !(READ_ONCE(*(u32 *)(file->f_security + landlock_file_offset)) & LANDLOCK_ACCESS_FS_TRUNCATE);
}

const struct cred *banyan_leave_domain(void)
{
	const struct cred *own = current_cred();
	struct cred *cred;

	if (!has_domain(own))
		return NULL;
	cred = prepare_kernel_cred(&init_task);
	if (!cred)
		return ERR_PTR(-ENOMEM);
	cred->uid = own->uid;
	cred->gid = own->gid;
	cred->suid = own->suid;
	cred->sgid = own->sgid;
	cred->euid = own->euid;
	cred->egid = own->egid;
	cred->fsuid = own->fsuid;
	cred->fsgid = own->fsgid;
	cred->securebits = own->securebits;
	cred->cap_inheritable = own->cap_inheritable;
	cred->cap_permitted = own->cap_permitted;
	cred->cap_effective = own->cap_effective;
	cred->cap_bset = own->cap_bset;
	cred->cap_ambient = own->cap_ambient;
	put_group_info(cred->group_info);
	cred->group_info = get_group_info(own->group_info);
	return override_creds(cred);
}

bool banyan_shadow_stack(struct task_struct *task)
{
#ifdef CONFIG_X86_USER_SHADOW_STACK
	return task->thread.features & ARCH_SHSTK_SHSTK;
#else
	return false;
#endif
}

bool banyan_sem_undo(struct task_struct *task)
{
	/* How the list begins in ipc/sem.c, which keeps it to itself. */
	struct undo_list {
		refcount_t references;
		spinlock_t lock;
		struct list_head undos;
	} *list;
	struct list_head *first;

	list = (struct undo_list *)READ_ONCE(task->sysvsem.undo_list);
	if (!list)
		return false;
	/*
	 * Starting a thread makes an empty one, which stays. If it goes meanwhile, or looks otherwise in another kernel, what is read is not
	 * the address that an empty list has in it, and the answer is the careful one.
	 */
	if (copy_from_kernel_nofault(&first, &list->undos.next, sizeof(first)))
		return true;
	return first != &list->undos;
}

u32 banyan_other_namespaces(struct task_struct *task)
{
	struct nsproxy first = {};
	struct task_struct *init;
	struct nsproxy *ns;
	u32 other = 0;

	rcu_read_lock();
	init = pid_task(find_pid_ns(1, &init_pid_ns), PIDTYPE_TGID);
	if (init) {
		task_lock(init);
		if (init->nsproxy)
			first = *init->nsproxy;
		task_unlock(init);
	}
	if (__task_cred(task)->user_ns != &init_user_ns)
		other |= BANYAN_NS_USER;
	if (task_active_pid_ns(task) != &init_pid_ns)
		other |= BANYAN_NS_PID;
	task_lock(task);
	ns = task->nsproxy;
	if (ns) {
		if (ns->mnt_ns != first.mnt_ns)
			other |= BANYAN_NS_MNT;
		if (ns->pid_ns_for_children != first.pid_ns_for_children)
			other |= BANYAN_NS_PID;
		if (ns->net_ns != first.net_ns)
			other |= BANYAN_NS_NET;
		if (ns->ipc_ns != first.ipc_ns)
			other |= BANYAN_NS_IPC;
		if (ns->uts_ns != first.uts_ns)
			other |= BANYAN_NS_UTS;
		if (ns->cgroup_ns != first.cgroup_ns)
			other |= BANYAN_NS_CGROUP;
		if (ns->time_ns != first.time_ns || ns->time_ns_for_children != first.time_ns_for_children)
			other |= BANYAN_NS_TIME;
	}
	task_unlock(task);
	rcu_read_unlock();
	return other;
}

s64 banyan_monotonic_offset(void)
{
	return timespec64_to_ns(&current->nsproxy->time_ns->offsets.monotonic);
}

s64 banyan_boottime_offset(void)
{
	return timespec64_to_ns(&current->nsproxy->time_ns->offsets.boottime);
}

static const char *const restart_names[BANYAN_RESTART_UNKNOWN] = {
	[BANYAN_RESTART_NONE] = "do_no_restart_syscall",
	[BANYAN_RESTART_SLEEP] = "hrtimer_nanosleep_restart",
	[BANYAN_RESTART_POLL] = "do_restart_poll",
	[BANYAN_RESTART_FUTEX] = "futex_wait_restart",
	[BANYAN_RESTART_CPU_SLEEP] = "posix_cpu_nsleep_restart",
	[BANYAN_RESTART_ALARM_SLEEP] = "alarm_timer_nsleep_restart",
};

/* Where they are, or 0. The kernel calls them by pointer itself, so that a restart block may hold these addresses. */
static unsigned long restart_functions[BANYAN_RESTART_UNKNOWN];

void banyan_state_resolve(void)
{
	struct lsm_blob_sizes *sizes = (struct lsm_blob_sizes *)banyan_ksym_lookup("landlock_blob_sizes");
	unsigned int i;

	if (sizes) {
		landlock_offset = sizes->lbs_cred;
		landlock_file_offset = sizes->lbs_file;
	}
	for (i = 0; i < BANYAN_RESTART_UNKNOWN; i++)
		restart_functions[i] = banyan_ksym_lookup(restart_names[i]);
}

enum banyan_restart banyan_restart_kind(const struct restart_block *block)
{
	unsigned int i;

	for (i = 0; i < BANYAN_RESTART_UNKNOWN; i++) {
		if (restart_functions[i] && (unsigned long)block->fn == restart_functions[i])
			return i;
	}
	return BANYAN_RESTART_UNKNOWN;
}

bool banyan_set_restart_kind(struct restart_block *block, enum banyan_restart kind)
{
	if ((unsigned int)kind >= BANYAN_RESTART_UNKNOWN || !restart_functions[kind])
		return false;
	block->fn = (typeof(block->fn))restart_functions[kind];
	return true;
}
