/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Kernel functions that are not exported: the one table of them, and a wrapper for each.
 *
 * They are resolved once, when banyan.ko loads. A wrapper of a function that this kernel lacks returns -ENOSYS (or does nothing);
 * what needs it asks banyan_ksym_available() beforehand and refuses with the function's name.
 *
 * To add one: a line in BANYAN_KSYMS, a prototype here, and in ksym.c the wrapper. The prototype in the kernel's own header is what
 * the compiler checks the call against.
 */
#ifndef BANYAN_KSYM_H
#define BANYAN_KSYM_H

#include <linux/types.h>
#include <linux/uidgid_types.h>

struct file;
struct fpstate;
struct cred;
struct files_struct;
struct fs_struct;
struct itimerspec64;
struct kernel_siginfo;
struct mm_struct;
struct mm_walk_ops;
struct path;
struct pid;
struct pid_namespace;
struct pt_regs;
struct task_struct;
struct user_struct;
enum pid_type;

#define BANYAN_KSYMS(X)		\
	X(__set_task_comm)	\
	X(alloc_pid)	\
	X(alloc_uid)	\
	X(cgroup_leave_frozen)	\
	X(change_pid)	\
	X(close_fd)	\
	X(copy_uabi_from_kernel_to_xstate)	\
	X(d_absolute_path)	\
	X(do_arch_prctl_64)	\
	X(do_send_sig_info)	\
	X(do_setitimer)	\
	X(do_timer_settime)	\
	X(free_pid)	\
	X(group_send_sig_info)	\
	X(put_files_struct)	\
	X(replace_fd)	\
	X(replace_mm_exe_file)	\
	X(set_cred_ucounts)	\
	X(set_fs_pwd)	\
	X(set_fs_root)	\
	X(set_mm_exe_file)	\
	X(task_exec_state_set_dumpable)	\
	X(wake_up_state)	\
	X(walk_page_range)	\
	X(x64_sys_call)

#define BANYAN_KSYM_ENUM(name) BANYAN_KSYM_##name,
enum banyan_ksym {
	BANYAN_KSYMS(BANYAN_KSYM_ENUM)
	BANYAN_KSYM_COUNT,
};

/* Resolves the table. Returns the number of functions that are missing, or an error if none can be resolved. */
int banyan_ksym_resolve(void);
bool banyan_ksym_available(enum banyan_ksym which);
/* Returns the function's name, or NULL if there is no such entry. */
const char *banyan_ksym_name(enum banyan_ksym which);

/* The address of any symbol of the kernel, or 0. For data, and for functions that the kernel itself calls by pointer. */
unsigned long banyan_ksym_lookup(const char *name);

/* Does nothing if missing. */
void banyan_ksym___set_task_comm(struct task_struct *task, const char *name, bool exec);
/* Returns an ERR_PTR if it fails or is missing. */
struct pid *banyan_ksym_alloc_pid(struct pid_namespace *ns, pid_t *wanted, size_t count);
/* Returns NULL without memory, or if missing. */
struct user_struct *banyan_ksym_alloc_uid(kuid_t uid);
/* Does nothing if missing: the count of frozen tasks of the task's cgroup is then one too high. */
void banyan_ksym_cgroup_leave_frozen(bool always_leave);
/* The next two do nothing if missing: ask first. */
void banyan_ksym_change_pid(struct pid **former, struct task_struct *task, enum pid_type type, struct pid *pid);
void banyan_ksym_free_pid(struct pid *pid);
int banyan_ksym_close_fd(unsigned int fd);
int banyan_ksym_copy_uabi_from_kernel_to_xstate(struct fpstate *fpstate, const void *state, u32 *pkru);
/* Returns an ERR_PTR or the start of the path within buf. */
char *banyan_ksym_d_absolute_path(const struct path *path, char *buf, int len);
long banyan_ksym_do_arch_prctl_64(struct task_struct *task, int option, unsigned long arg);
int banyan_ksym_do_send_sig_info(int sig, struct kernel_siginfo *info, struct task_struct *task, enum pid_type type);
int banyan_ksym_do_setitimer(int which, struct itimerspec64 *value, struct itimerspec64 *old);
/* timer_id is an id that timer_create gave. Times are absolute if flags says so. */
int banyan_ksym_do_timer_settime(int timer_id, int flags, struct itimerspec64 *value, struct itimerspec64 *old);
int banyan_ksym_group_send_sig_info(int sig, struct kernel_siginfo *info, struct task_struct *task, enum pid_type type);
/* Does nothing if missing: the files_struct then leaks, so ask first. */
void banyan_ksym_put_files_struct(struct files_struct *files);
int banyan_ksym_replace_fd(unsigned int fd, struct file *file, unsigned int flags);
int banyan_ksym_replace_mm_exe_file(struct mm_struct *mm, struct file *file);
int banyan_ksym_set_cred_ucounts(struct cred *cred);
int banyan_ksym_set_fs_pwd(struct fs_struct *fs, const struct path *path);
int banyan_ksym_set_fs_root(struct fs_struct *fs, const struct path *path);
int banyan_ksym_set_mm_exe_file(struct mm_struct *mm, struct file *file);
/* Does nothing if missing. */
void banyan_ksym_task_exec_state_set_dumpable(unsigned int dumpable);
/* Returns whether the task was woken; false if the function is missing. */
bool banyan_ksym_wake_up_state(struct task_struct *task, unsigned int state);
int banyan_ksym_walk_page_range(struct mm_struct *mm, unsigned long start, unsigned long end, const struct mm_walk_ops *ops,
				void *private);
/* The kernel's own dispatcher of 64-bit system calls: what the call returns. */
long banyan_ksym_x64_sys_call(const struct pt_regs *regs, unsigned int number);

#endif
