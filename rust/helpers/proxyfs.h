/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The pseudo file system of files that stand for files of other nodes: one mount, made and unmade by who uses it. An inode of it looks
 * like the true file: type, device, owner, times.
 */
#ifndef BANYAN_PROXYFS_H
#define BANYAN_PROXYFS_H

#include <linux/types.h>

struct file;
struct file_operations;
struct vfsmount;

/* What fstat() tells of such a file. */
struct banyan_proxy_stat {
	u64 ino;
	u64 size;
	u64 blocks;
	s64 atime;		/* ns since 1970 */
	s64 mtime;
	s64 ctime;
	u32 dev;		/* as new_encode_dev() */
	u32 rdev;		/* as new_encode_dev() */
	u32 mode;
	u32 links;
	u32 uid;		/* in the initial user namespace */
	u32 gid;
	u32 block_bits;
};

/* Returns an ERR_PTR on failure. */
struct vfsmount *banyan_proxyfs_mount(void);
void banyan_proxyfs_unmount(struct vfsmount *mount);

/*
 * A file with these operations, whose owner it keeps loaded. Returns an ERR_PTR on failure; private is not touched then. `name` is what
 * /proc/PID/fd shows.
 */
struct file *banyan_proxyfs_open(struct vfsmount *mount, const char *name, const struct banyan_proxy_stat *stat, unsigned int flags,
				 const struct file_operations *operations, void *private);

/* Sets the size that fstat() tells. */
void banyan_proxyfs_set_size(struct file *file, u64 size);

#endif
