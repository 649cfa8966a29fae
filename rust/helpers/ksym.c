// SPDX-License-Identifier: GPL-2.0
/*
 * Calls of unexported kernel functions, through static_call only.
 *
 * The kernel seals the ENDBR of functions whose address is never taken, so that a call by pointer is a crash on a CPU with
 * indirect branch tracking. A static call is patched into a direct call, which is not checked. That holds for
 * kallsyms_lookup_name itself, too. The types are those of the kernel's headers: a changed prototype breaks the build, not the
 * machine. Only do_setitimer, do_timer_settime and x64_sys_call are static in the kernel and have their prototypes here.
 */
#include <linux/cgroup.h>
#include <linux/cred.h>
#include <linux/dcache.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/fs_struct.h>
#include <linux/kallsyms.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/pagewalk.h>
#include <linux/path.h>
#include <linux/pid.h>
#include <linux/sched.h>
#include <linux/sched/exec_state.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/static_call.h>
#include <linux/time64.h>
#include <asm/proto.h>

#include "ksym.h"

/* In a header of the FPU code's own. */
int copy_uabi_from_kernel_to_xstate(struct fpstate *fpstate, const void *kbuf, u32 *pkru);
int do_setitimer(int which, struct itimerspec64 *value, struct itimerspec64 *ovalue);
int do_timer_settime(timer_t timer_id, int tmr_flags, struct itimerspec64 *new_spec64, struct itimerspec64 *old_spec64);
long x64_sys_call(const struct pt_regs *regs, unsigned int nr);

#define BANYAN_KSYM_DEFINE(name) DEFINE_STATIC_CALL_NULL(banyan_ksc_##name, name);
BANYAN_KSYMS(BANYAN_KSYM_DEFINE)

DEFINE_STATIC_CALL_NULL(banyan_ksc_lookup, kallsyms_lookup_name);

/* What was found. Written by banyan_ksym_resolve() before anything can ask. */
static bool found[BANYAN_KSYM_COUNT];

#define BANYAN_KSYM_NAME(name) [BANYAN_KSYM_##name] = #name,
static const char *const names[BANYAN_KSYM_COUNT] = { BANYAN_KSYMS(BANYAN_KSYM_NAME) };

int banyan_ksym_resolve(void)
{
	struct kprobe probe = { .symbol_name = "kallsyms_lookup_name" };
	unsigned long addr;
	int missing = 0;
	int ret;

	/* A probe is the way to learn one address. It lies after the ENDBR, which suits a direct call as well. */
	ret = register_kprobe(&probe);
	if (ret)
		return ret;
	addr = (unsigned long)probe.addr;
	unregister_kprobe(&probe);
	static_call_update(banyan_ksc_lookup, (typeof(&kallsyms_lookup_name))addr);

#define BANYAN_KSYM_RESOLVE(name)								\
	addr = static_call(banyan_ksc_lookup)(#name);						\
	if (addr) {										\
		static_call_update(banyan_ksc_##name, (typeof(&name))addr);			\
		found[BANYAN_KSYM_##name] = true;						\
	} else {										\
		pr_warn("banyan: this kernel has no %s; what needs it is off\n", #name);	\
		missing++;									\
	}
	BANYAN_KSYMS(BANYAN_KSYM_RESOLVE)
	return missing;
}

bool banyan_ksym_available(enum banyan_ksym which)
{
	return (unsigned int)which < BANYAN_KSYM_COUNT && found[which];
}

const char *banyan_ksym_name(enum banyan_ksym which)
{
	return (unsigned int)which < BANYAN_KSYM_COUNT ? names[which] : NULL;
}

/* A static call that was never updated does nothing and returns garbage: every wrapper asks first. */
#define CALL(name, ...) (found[BANYAN_KSYM_##name] ? static_call(banyan_ksc_##name)(__VA_ARGS__) : -ENOSYS)

unsigned long banyan_ksym_lookup(const char *name)
{
	return static_call_query(banyan_ksc_lookup) ? static_call(banyan_ksc_lookup)(name) : 0;
}

void banyan_ksym___set_task_comm(struct task_struct *task, const char *name, bool exec)
{
	static_call_cond(banyan_ksc___set_task_comm)(task, name, exec);
}

struct pid *banyan_ksym_alloc_pid(struct pid_namespace *ns, pid_t *wanted, size_t count)
{
	if (!found[BANYAN_KSYM_alloc_pid])
		return ERR_PTR(-ENOSYS);
	return static_call(banyan_ksc_alloc_pid)(ns, wanted, count);
}

struct user_struct *banyan_ksym_alloc_uid(kuid_t uid)
{
	return found[BANYAN_KSYM_alloc_uid] ? static_call(banyan_ksc_alloc_uid)(uid) : NULL;
}

void banyan_ksym_cgroup_leave_frozen(bool always_leave)
{
	static_call_cond(banyan_ksc_cgroup_leave_frozen)(always_leave);
}

void banyan_ksym_change_pid(struct pid **former, struct task_struct *task, enum pid_type type, struct pid *pid)
{
	static_call_cond(banyan_ksc_change_pid)(former, task, type, pid);
}

void banyan_ksym_free_pid(struct pid *pid)
{
	static_call_cond(banyan_ksc_free_pid)(pid);
}

int banyan_ksym_close_fd(unsigned int fd)
{
	return CALL(close_fd, fd);
}

int banyan_ksym_copy_uabi_from_kernel_to_xstate(struct fpstate *fpstate, const void *state, u32 *pkru)
{
	return CALL(copy_uabi_from_kernel_to_xstate, fpstate, state, pkru);
}

char *banyan_ksym_d_absolute_path(const struct path *path, char *buf, int len)
{
	if (!found[BANYAN_KSYM_d_absolute_path])
		return ERR_PTR(-ENOSYS);
	return static_call(banyan_ksc_d_absolute_path)(path, buf, len);
}

long banyan_ksym_do_arch_prctl_64(struct task_struct *task, int option, unsigned long arg)
{
	return CALL(do_arch_prctl_64, task, option, arg);
}

int banyan_ksym_do_send_sig_info(int sig, struct kernel_siginfo *info, struct task_struct *task, enum pid_type type)
{
	return CALL(do_send_sig_info, sig, info, task, type);
}

int banyan_ksym_do_setitimer(int which, struct itimerspec64 *value, struct itimerspec64 *old)
{
	return CALL(do_setitimer, which, value, old);
}

int banyan_ksym_do_timer_settime(int timer_id, int flags, struct itimerspec64 *value, struct itimerspec64 *old)
{
	return CALL(do_timer_settime, timer_id, flags, value, old);
}

int banyan_ksym_group_send_sig_info(int sig, struct kernel_siginfo *info, struct task_struct *task, enum pid_type type)
{
	return CALL(group_send_sig_info, sig, info, task, type);
}

void banyan_ksym_put_files_struct(struct files_struct *files)
{
	static_call_cond(banyan_ksc_put_files_struct)(files);
}

int banyan_ksym_replace_fd(unsigned int fd, struct file *file, unsigned int flags)
{
	return CALL(replace_fd, fd, file, flags);
}

int banyan_ksym_replace_mm_exe_file(struct mm_struct *mm, struct file *file)
{
	return CALL(replace_mm_exe_file, mm, file);
}

int banyan_ksym_set_cred_ucounts(struct cred *cred)
{
	return CALL(set_cred_ucounts, cred);
}

int banyan_ksym_set_fs_pwd(struct fs_struct *fs, const struct path *path)
{
	if (!found[BANYAN_KSYM_set_fs_pwd])
		return -ENOSYS;
	static_call(banyan_ksc_set_fs_pwd)(fs, path);
	return 0;
}

int banyan_ksym_set_fs_root(struct fs_struct *fs, const struct path *path)
{
	if (!found[BANYAN_KSYM_set_fs_root])
		return -ENOSYS;
	static_call(banyan_ksc_set_fs_root)(fs, path);
	return 0;
}

int banyan_ksym_set_mm_exe_file(struct mm_struct *mm, struct file *file)
{
	return CALL(set_mm_exe_file, mm, file);
}

void banyan_ksym_task_exec_state_set_dumpable(unsigned int dumpable)
{
	static_call_cond(banyan_ksc_task_exec_state_set_dumpable)(dumpable);
}

bool banyan_ksym_wake_up_state(struct task_struct *task, unsigned int state)
{
	return found[BANYAN_KSYM_wake_up_state] && static_call(banyan_ksc_wake_up_state)(task, state);
}

int banyan_ksym_walk_page_range(struct mm_struct *mm, unsigned long start, unsigned long end, const struct mm_walk_ops *ops,
				void *private)
{
	return CALL(walk_page_range, mm, start, end, ops, private);
}

long banyan_ksym_x64_sys_call(const struct pt_regs *regs, unsigned int number)
{
	return CALL(x64_sys_call, regs, number);
}
