// SPDX-License-Identifier: GPL-2.0
/* The pseudo file system of files that stand for files of other nodes. See proxyfs.h. */
#include <linux/dcache.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kdev_t.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/pseudo_fs.h>
#include <linux/stat.h>
#include <linux/time64.h>
#include <linux/uidgid.h>

#include "proxyfs.h"

#define PROXYFS_MAGIC 0x42414e59

static char *proxyfs_name(struct dentry *dentry, char *buffer, int room)
{
	size_t size = strlen(dentry->d_name.name) + 1;

	if (room < 0 || size > (size_t)room)
		return ERR_PTR(-ENAMETOOLONG);
	return memcpy(buffer + room - size, dentry->d_name.name, size);
}

static const struct dentry_operations proxyfs_dentries = {
	.d_dname = proxyfs_name,
};

static int proxyfs_getattr(struct mnt_idmap *idmap, const struct path *path, struct kstat *stat, u32 request, unsigned int flags)
{
	struct inode *inode = d_inode(path->dentry);

	generic_fillattr(idmap, request, inode, stat);
	/* The device of the true file's file system: kept where no pointer of ours is. */
	stat->dev = new_decode_dev((u32)(unsigned long)inode->i_private);
	return 0;
}

static int proxyfs_setattr(struct mnt_idmap *idmap, struct dentry *dentry, struct iattr *attributes)
{
	return -EOPNOTSUPP;
}

static const struct inode_operations proxyfs_inodes = {
	.getattr = proxyfs_getattr,
	.setattr = proxyfs_setattr,
};

static int proxyfs_init(struct fs_context *context)
{
	struct pseudo_fs_context *pseudo = init_pseudo(context, PROXYFS_MAGIC);

	if (!pseudo)
		return -ENOMEM;
	pseudo->dops = &proxyfs_dentries;
	return 0;
}

static struct file_system_type proxyfs = {
	.owner = THIS_MODULE,
	.name = "banyan_proxy",
	.init_fs_context = proxyfs_init,
	.kill_sb = kill_anon_super,
};

struct vfsmount *banyan_proxyfs_mount(void)
{
	return kern_mount(&proxyfs);
}

void banyan_proxyfs_unmount(struct vfsmount *mount)
{
	kern_unmount(mount);
}

static struct timespec64 time_of(s64 ns)
{
	return ns_to_timespec64(ns);
}

struct file *banyan_proxyfs_open(struct vfsmount *mount, const char *name, const struct banyan_proxy_stat *stat, unsigned int flags,
				 const struct file_operations *operations, void *private)
{
	struct inode *inode;
	struct file *file;

	if (!try_module_get(operations->owner))
		return ERR_PTR(-ENODEV);
	inode = alloc_anon_inode(mount->mnt_sb);
	if (IS_ERR(inode)) {
		module_put(operations->owner);
		return ERR_CAST(inode);
	}
	inode->i_op = &proxyfs_inodes;
	inode->i_ino = stat->ino;
	inode->i_mode = stat->mode;
	inode->i_rdev = new_decode_dev(stat->rdev);
	inode->i_uid = make_kuid(&init_user_ns, stat->uid);
	inode->i_gid = make_kgid(&init_user_ns, stat->gid);
	inode->i_blkbits = clamp(stat->block_bits, 9, 20);
	inode->i_blocks = stat->blocks;
	i_size_write(inode, stat->size);
	set_nlink(inode, clamp(stat->links, 1, 1u << 30));
	inode_set_atime_to_ts(inode, time_of(stat->atime));
	inode_set_mtime_to_ts(inode, time_of(stat->mtime));
	inode_set_ctime_to_ts(inode, time_of(stat->ctime));
	inode->i_private = (void *)(unsigned long)stat->dev;

	file = alloc_file_pseudo(inode, mount, name, flags & (O_ACCMODE | O_NONBLOCK | O_APPEND | O_LARGEFILE), operations);
	if (IS_ERR(file)) {
		iput(inode);
		module_put(operations->owner);
		return file;
	}
	/* No offset of its own: what needs one keeps it at the owner. */
	if (S_ISREG(inode->i_mode))
		file->f_mode |= FMODE_LSEEK;
	else
		file->f_mode = (file->f_mode & ~FMODE_LSEEK) | FMODE_STREAM;
	file->private_data = private;
	return file;
}

void banyan_proxyfs_set_size(struct file *file, u64 size)
{
	struct inode *inode = file_inode(file);

	spin_lock(&inode->i_lock);
	i_size_write(inode, size);
	spin_unlock(&inode->i_lock);
}
