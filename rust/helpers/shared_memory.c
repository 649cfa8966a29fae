// SPDX-License-Identifier: GPL-2.0
/* Shared memory that files of a tmpfs stand for, and who else maps a file. See shared_memory.h. */
#include <linux/cred.h>
#include <linux/dcache.h>
#include <linux/err.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rbtree.h>
#include <linux/shmem_fs.h>
#include <linux/stat.h>
#include <linux/string.h>
#include <linux/time64.h>
#include <linux/uidgid.h>

#include "shared_memory.h"

bool banyan_is_shared_memory(struct file *file)
{
	struct inode *inode = file_inode(file);

	return S_ISREG(inode->i_mode) && shmem_mapping(inode->i_mapping);
}

static s64 nanoseconds(struct timespec64 time)
{
	return timespec64_to_ns(&time);
}

void banyan_object_facts(struct file *file, struct banyan_object_facts *facts)
{
	struct dentry *dentry = file->f_path.dentry;
	struct inode *inode = file_inode(file);
	struct shmem_inode_info *info = SHMEM_I(inode);

	memset(facts, 0, sizeof(*facts));
	facts->inode = inode;
	facts->dentry = dentry;
	facts->ino = inode->i_ino;
	facts->size = i_size_read(inode);
	facts->atime = nanoseconds(inode_get_atime(inode));
	facts->mtime = nanoseconds(inode_get_mtime(inode));
	facts->ctime = nanoseconds(inode_get_ctime(inode));
	facts->file_users = file_count(file);
	facts->dentry_users = d_count(dentry);
	facts->inode_users = icount_read_once(inode);
	facts->mode = inode->i_mode & 07777;
	facts->uid = from_kuid_munged(&init_user_ns, inode->i_uid);
	facts->gid = from_kgid_munged(&init_user_ns, inode->i_gid);
	facts->seals = READ_ONCE(info->seals);
	facts->removed = !inode->i_nlink;
	facts->linkable = inode_state_read_once(inode) & I_LINKABLE;
	facts->internal = inode->i_sb->s_flags & SB_KERNMOUNT;
	facts->secret = IS_PRIVATE(inode);
	facts->no_reserve = info->flags & SHMEM_F_NORESERVE;
	facts->policy = READ_ONCE(info->policy.root.rb_node);
	facts->extras = !list_empty(&info->xattrs) || info->fsflags;
	spin_lock(&dentry->d_lock);
	facts->sysv = facts->internal && !strncmp(dentry->d_name.name, "SYSV", 4);
	spin_unlock(&dentry->d_lock);
}

struct file *banyan_object_make(const struct banyan_object_facts *facts, const char *name)
{
	vma_flags_t flags = facts->no_reserve ? mk_vma_flags(VMA_NORESERVE_BIT) : EMPTY_VMA_FLAGS;
	kuid_t uid = make_kuid(&init_user_ns, facts->uid);
	kgid_t gid = make_kgid(&init_user_ns, facts->gid);
	struct inode *inode;
	struct file *file;

	if (!uid_valid(uid) || !gid_valid(gid) || facts->size > MAX_LFS_FILESIZE)
		return ERR_PTR(-EINVAL);
	if (facts->secret)
		file = shmem_kernel_file_setup(name, facts->size, flags);
	else
		file = shmem_file_setup(name, facts->size, flags);
	if (IS_ERR(file))
		return file;
	/* Nobody else knows it yet. The numbers of inodes of that mount are for fstat() only. */
	inode = file_inode(file);
	inode->i_ino = facts->ino;
	inode->i_mode = S_IFREG | (facts->mode & 07777);
	inode->i_uid = uid;
	inode->i_gid = gid;
	inode_set_atime_to_ts(inode, ns_to_timespec64(facts->atime));
	inode_set_mtime_to_ts(inode, ns_to_timespec64(facts->mtime));
	inode_set_ctime_to_ts(inode, ns_to_timespec64(facts->ctime));
	SHMEM_I(inode)->seals = 0;
	file->f_mode |= FMODE_LSEEK | FMODE_PREAD | FMODE_PWRITE;
	file->f_flags |= O_LARGEFILE;
	return file;
}

int banyan_object_seal(struct file *file, u32 seals)
{
	struct inode *inode = file_inode(file);
	struct shmem_inode_info *info;
	int ret = 0;

	if (!banyan_is_shared_memory(file))
		return -EINVAL;
	info = SHMEM_I(inode);
	inode_lock(inode);
	if ((seals & F_SEAL_WRITE) && !(info->seals & F_SEAL_WRITE))
		ret = mapping_deny_writable(file->f_mapping);
	else if (!(seals & F_SEAL_WRITE) && (info->seals & F_SEAL_WRITE))
		mapping_allow_writable(file->f_mapping);
	if (!ret)
		info->seals = seals;
	inode_unlock(inode);
	return ret;
}

void banyan_object_empty(struct file *file)
{
	if (banyan_is_shared_memory(file) && !file_inode(file)->i_nlink)
		shmem_truncate_range(file_inode(file), 0, -1);
}

struct file *banyan_open_again(struct file *file, unsigned int flags)
{
	return dentry_open(&file->f_path, flags, current_cred());
}

unsigned int banyan_other_mappers(struct file *file, const struct mm_struct *mm)
{
	struct address_space *mapping = file->f_mapping;
	unsigned int found = 0;
	struct rb_node *node;

	i_mmap_lock_read(mapping);
	for (node = rb_first_cached(&mapping->i_mmap); node; node = rb_next(node)) {
		struct vm_area_struct *vma = rb_entry(node, struct vm_area_struct, shared.rb);

		if (vma->vm_mm == mm)
			continue;
		found |= BANYAN_MAPPED_ELSEWHERE;
		if (vma->vm_flags & VM_SHARED)
			found |= BANYAN_WRITTEN_ELSEWHERE;
	}
	i_mmap_unlock_read(mapping);
	return found;
}
