/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Open files, descriptor tables and directories: what of them is inline, a macro, or in structs that kernel::bindings knows only by
 * name. Nothing here keeps state, but for the poll hooks, which belong to who made them.
 */
#ifndef BANYAN_FILES_H
#define BANYAN_FILES_H

#include <linux/types.h>

struct cred;
struct file;
struct path;
struct task_struct;

/* What can be read of an open file without asking its file system. */
struct banyan_file_facts {
	u64 ino;
	u64 size;
	u64 blocks;
	u64 references;		/* to the struct file, the caller's own included */
	s64 position;
	s64 atime_seconds;
	s64 mtime_seconds;
	s64 ctime_seconds;
	u32 atime_nanoseconds;
	u32 mtime_nanoseconds;
	u32 ctime_nanoseconds;
	u32 generation;
	u32 dev;		/* of the superblock, as new_encode_dev() */
	u32 rdev;		/* as new_encode_dev() */
	u32 mode;
	u32 links;
	u32 uid;		/* in the initial user namespace */
	u32 gid;
	u32 block_bits;
	u32 flags;		/* f_flags */
	u32 opener_uid;		/* fsuid of f_cred */
	u32 opener_gid;
	u32 magic;		/* of the file system */
	bool path_only;		/* opened with O_PATH */
	bool unlinked;		/* has no name any more (or only the one that NFS gave it) */
	bool can_read_iter;
	bool can_write_iter;
	bool anonymous;		/* an anon_inode; name says which */
	char name[24];		/* of the dentry, cut, zero at the end */
};

void banyan_file_facts(struct file *file, struct banyan_file_facts *facts);
/*
 * What the current task finds under a path: only what banyan_path_facts() sets, and rdev. A relative path starts at an open directory, or
 * at the working directory if that is AT_FDCWD. `follow`: through the last part, too, if that is a link.
 */
int banyan_look_up(int directory, const char *name, bool follow, struct banyan_file_facts *facts);
/* Has the file system ask its server what the file is now, so that the facts are no older than this call. */
int banyan_file_refresh(struct file *file);

/* Locks of a file: bits of the result of banyan_file_locks(). */
enum banyan_file_locked {
	BANYAN_FILE_HAS_LOCK = 1,
	BANYAN_FILE_HAS_LEASE = 2,
};

/* The locks that this open file or a process with this descriptor table (may be a stale pointer: only compared) holds. */
unsigned int banyan_file_locks(struct file *file, const void *files);

/* The task's descriptor table as a value to compare with, and whether another task shares it. */
const void *banyan_task_files(struct task_struct *task, bool *shared);

/* Whether a descriptor of the current task closes on exec. */
bool banyan_close_on_exec(unsigned int fd);

/* Installs a file under a number in the current task, whatever RLIMIT_NOFILE says now. Takes a reference of its own. */
int banyan_install_fd(unsigned int fd, struct file *file, unsigned int flags);

/*
 * Lets go of what this machine remembers of the file's data and attributes, after writing back what it has to: what another machine wrote
 * before this is seen, and no stale page is written over it.
 */
int banyan_file_revalidate(struct file *file);

/* References to the task's directories. False if it has none any more. The caller puts both paths. */
bool banyan_task_directories(struct task_struct *task, struct path *root, struct path *pwd);
/* Whether this is the root directory that the node's init has. */
bool banyan_is_init_root(const struct path *path);
/* What a path names, as banyan_file_facts() tells of a file. Only dev, ino, mode, magic, links and unlinked are set. */
void banyan_path_facts(const struct path *path, struct banyan_file_facts *facts);

int banyan_set_pwd(const struct path *path);

/* The file that the task executes, with a reference for the caller, or NULL. */
struct file *banyan_task_exe(struct task_struct *task);

/* Lets the current task act with another file-system uid and gid. Returns what banyan_unborrow() needs, or an ERR_PTR. */
const struct cred *banyan_borrow_identity(u32 uid, u32 gid);
void banyan_unborrow(const struct cred *former);

/* f_flags that fcntl(F_SETFL) may change, set to these. */
void banyan_set_file_flags(struct file *file, unsigned int flags);

/*
 * Reads or writes, as the system call would, kernel memory. A position below 0 stands for the file's own offset, which then moves. A
 * broken pipe raises no SIGPIPE. Returns the number of bytes or a negative errno, also the kernel's own such as -ERESTARTSYS.
 */
ssize_t banyan_file_transfer(struct file *file, void *memory, size_t size, s64 position, bool write);
s64 banyan_file_seek(struct file *file, s64 offset, int whence);

/* Calls the file's ioctl. -ENOTTY if it has none. */
long banyan_file_ioctl(struct file *file, unsigned int command, unsigned long argument);

/* The references to this file that the task's address space holds: its mappings, and as its program file. */
unsigned long banyan_mapped_references(struct task_struct *task, struct file *file);

/*
 * A hook on the wait queues of one file: wake() is called, in atomic context, at the first event after each banyan_poll_hook_check().
 * The hook holds a reference to the file.
 */
struct banyan_poll_hook;
struct banyan_poll_hook *banyan_poll_hook_new(struct file *file, void (*wake)(void *), void *data);
/* The events that are ready; arms the hook. May sleep. Not to be called by two tasks at once. */
unsigned int banyan_poll_hook_check(struct banyan_poll_hook *hook, unsigned int events);
/* Afterwards wake() is not running and not called any more. */
void banyan_poll_hook_free(struct banyan_poll_hook *hook);

#endif
