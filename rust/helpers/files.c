// SPDX-License-Identifier: GPL-2.0
/* Open files, descriptor tables and directories. See files.h. */
#include <linux/fcntl.h>
#include <linux/pagemap.h>
#include <linux/cred.h>
#include <linux/dcache.h>
#include <linux/err.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/filelock.h>
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/kdev_t.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/namei.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/stat.h>
#include <linux/uidgid.h>
#include <linux/uio.h>

#include "files.h"
#include "ksym.h"

static void dentry_facts(const struct dentry *dentry, struct banyan_file_facts *facts)
{
	const struct inode *inode = d_inode(dentry);

	facts->ino = inode->i_ino;
	facts->dev = new_encode_dev(inode->i_sb->s_dev);
	facts->mode = inode->i_mode;
	facts->links = inode->i_nlink;
	facts->magic = inode->i_sb->s_magic;
	/* NFS keeps an open file that was removed under a name of its own until it is closed. */
	facts->unlinked = d_unlinked(dentry) || !inode->i_nlink || (READ_ONCE(dentry->d_flags) & DCACHE_NFSFS_RENAMED);
}

void banyan_file_facts(struct file *file, struct banyan_file_facts *facts)
{
	struct inode *inode = file_inode(file);
	struct dentry *dentry = file->f_path.dentry;

	memset(facts, 0, sizeof(*facts));
	dentry_facts(dentry, facts);
	facts->ino = inode->i_ino;
	facts->mode = inode->i_mode;
	facts->size = i_size_read(inode);
	facts->blocks = inode->i_blocks;
	facts->references = file_count(file);
	facts->position = file->f_pos;
	facts->atime_seconds = inode_get_atime_sec(inode);
	facts->atime_nanoseconds = inode_get_atime_nsec(inode);
	facts->mtime_seconds = inode_get_mtime_sec(inode);
	facts->mtime_nanoseconds = inode_get_mtime_nsec(inode);
	facts->ctime_seconds = inode_get_ctime_sec(inode);
	facts->ctime_nanoseconds = inode_get_ctime_nsec(inode);
	facts->generation = inode->i_generation;
	facts->rdev = new_encode_dev(inode->i_rdev);
	facts->uid = from_kuid_munged(&init_user_ns, inode->i_uid);
	facts->gid = from_kgid_munged(&init_user_ns, inode->i_gid);
	facts->block_bits = inode->i_blkbits;
	facts->flags = file->f_flags;
	facts->opener_uid = from_kuid_munged(&init_user_ns, file->f_cred->fsuid);
	facts->opener_gid = from_kgid_munged(&init_user_ns, file->f_cred->fsgid);
	facts->path_only = file->f_mode & FMODE_PATH;
	facts->can_read_iter = file->f_op->read_iter;
	facts->can_write_iter = file->f_op->write_iter;
	facts->anonymous = facts->magic == ANON_INODE_FS_MAGIC;
	spin_lock(&dentry->d_lock);
	strscpy(facts->name, dentry->d_name.name, sizeof(facts->name));
	spin_unlock(&dentry->d_lock);
}

int banyan_file_refresh(struct file *file)
{
	struct kstat stat;

	return vfs_getattr(&file->f_path, &stat, STATX_BASIC_STATS, AT_STATX_FORCE_SYNC);
}

unsigned int banyan_file_locks(struct file *file, const void *files)
{
	struct file_lock_context *context = locks_inode_context(file_inode(file));
	struct file_lock_core *lock;
	unsigned int found = 0;

	if (!context)
		return 0;
	spin_lock(&context->flc_lock);
	list_for_each_entry(lock, &context->flc_posix, flc_list)
		if (lock->flc_owner == files || lock->flc_owner == file)
			found |= BANYAN_FILE_HAS_LOCK;
	list_for_each_entry(lock, &context->flc_flock, flc_list)
		if (lock->flc_file == file)
			found |= BANYAN_FILE_HAS_LOCK;
	list_for_each_entry(lock, &context->flc_lease, flc_list)
		if (lock->flc_file == file)
			found |= BANYAN_FILE_HAS_LEASE;
	spin_unlock(&context->flc_lock);
	return found;
}

const void *banyan_task_files(struct task_struct *task, bool *shared)
{
	const struct files_struct *files;

	task_lock(task);
	files = task->files;
	*shared = files && atomic_read(&files->count) > 1;
	task_unlock(task);
	return files;
}

bool banyan_close_on_exec(unsigned int fd)
{
	struct files_struct *files = current->files;
	bool set = false;

	rcu_read_lock();
	if (fd < files_fdtable(files)->max_fds)
		set = close_on_exec(fd, files);
	rcu_read_unlock();
	return set;
}

int banyan_install_fd(unsigned int fd, struct file *file, unsigned int flags)
{
	struct rlimit *limit = &current->signal->rlim[RLIMIT_NOFILE];
	unsigned long former;
	int ret;

	task_lock(current->group_leader);
	former = limit->rlim_cur;
	if (limit->rlim_cur <= fd)
		limit->rlim_cur = (unsigned long)fd + 1;
	task_unlock(current->group_leader);

	ret = banyan_ksym_replace_fd(fd, file, flags);

	task_lock(current->group_leader);
	limit->rlim_cur = former;
	task_unlock(current->group_leader);
	return ret;
}

bool banyan_task_directories(struct task_struct *task, struct path *root, struct path *pwd)
{
	struct fs_struct *fs;

	task_lock(task);
	fs = task->real_fs;
	if (fs) {
		get_fs_root(fs, root);
		get_fs_pwd(fs, pwd);
	}
	task_unlock(task);
	return fs;
}

bool banyan_is_init_root(const struct path *path)
{
	struct path root;
	bool same;

	get_fs_root(userspace_init_fs, &root);
	same = path_equal(path, &root);
	path_put(&root);
	return same;
}

void banyan_path_facts(const struct path *path, struct banyan_file_facts *facts)
{
	memset(facts, 0, sizeof(*facts));
	dentry_facts(path->dentry, facts);
}

int banyan_look_up(int directory, const char *name, bool follow, struct banyan_file_facts *facts)
{
	unsigned int flags = follow ? LOOKUP_FOLLOW : 0;
	struct path path;
	int ret;

	if (*name == '/' || directory == AT_FDCWD) {
		ret = kern_path(name, flags, &path);
	} else {
		struct file *base = fget_raw(directory);

		if (!base)
			return -EBADF;
		ret = vfs_path_lookup(base->f_path.dentry, base->f_path.mnt, name, flags, &path);
		fput(base);
	}
	if (ret)
		return ret;
	banyan_path_facts(&path, facts);
	facts->rdev = new_encode_dev(d_inode(path.dentry)->i_rdev);
	path_put(&path);
	return 0;
}

int banyan_set_pwd(const struct path *path)
{
	if (!banyan_ksym_available(BANYAN_KSYM_set_fs_pwd))
		return -ENOSYS;
	return banyan_ksym_set_fs_pwd(current->fs, path);
}

const struct cred *banyan_borrow_identity(u32 uid, u32 gid)
{
	kuid_t kuid = make_kuid(&init_user_ns, uid);
	kgid_t kgid = make_kgid(&init_user_ns, gid);
	struct cred *cred;

	if (!uid_valid(kuid) || !gid_valid(kgid))
		return ERR_PTR(-EINVAL);
	cred = prepare_creds();
	if (!cred)
		return ERR_PTR(-ENOMEM);
	cred->fsuid = kuid;
	cred->fsgid = kgid;
	return override_creds(cred);
}

void banyan_unborrow(const struct cred *former)
{
	put_cred(revert_creds(former));
}

void banyan_set_file_flags(struct file *file, unsigned int flags)
{
	const unsigned int settable = O_APPEND | O_NONBLOCK | O_NDELAY | O_DIRECT | O_NOATIME;

	spin_lock(&file->f_lock);
	file->f_flags = (file->f_flags & ~settable) | (flags & settable);
	file->f_iocb_flags = iocb_flags(file);
	spin_unlock(&file->f_lock);
}

ssize_t banyan_file_transfer(struct file *file, void *memory, size_t size, s64 position, bool write)
{
	struct kvec vector = { .iov_base = memory, .iov_len = size };
	bool own = position < 0;
	struct iov_iter iter;
	loff_t at = position;
	bool locked = false;
	loff_t *offset = &at;
	ssize_t ret;

	if (own && (file->f_mode & FMODE_STREAM)) {
		offset = NULL;
	} else if (own) {
		locked = file->f_mode & FMODE_ATOMIC_POS;
		if (locked)
			mutex_lock(&file->f_pos_lock);
		at = file->f_pos;
	}

	iov_iter_kvec(&iter, write ? ITER_SOURCE : ITER_DEST, &vector, 1, size);
	if (write) {
		bool regular = S_ISREG(file_inode(file)->i_mode);

		if (regular)
			file_start_write(file);
		ret = vfs_iter_write(file, &iter, offset, RWF_NOSIGNAL);
		if (regular)
			file_end_write(file);
	} else {
		ret = vfs_iter_read(file, &iter, offset, 0);
	}

	if (own && offset)
		file->f_pos = at;
	if (locked)
		mutex_unlock(&file->f_pos_lock);
	return ret;
}

s64 banyan_file_seek(struct file *file, s64 offset, int whence)
{
	bool locked = file->f_mode & FMODE_ATOMIC_POS;
	s64 ret;

	if (locked)
		mutex_lock(&file->f_pos_lock);
	ret = vfs_llseek(file, offset, whence);
	if (locked)
		mutex_unlock(&file->f_pos_lock);
	return ret;
}

struct file *banyan_task_exe(struct task_struct *task)
{
	struct file *file = NULL;

	task_lock(task);
	if (task->mm && !(task->flags & PF_KTHREAD)) {
		rcu_read_lock();
		file = get_file_rcu(&task->mm->exe_file);
		rcu_read_unlock();
	}
	task_unlock(task);
	return file;
}

long banyan_file_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	long ret;

	if (!file->f_op->unlocked_ioctl)
		return -ENOTTY;
	ret = file->f_op->unlocked_ioctl(file, command, argument);
	return ret == -ENOIOCTLCMD ? -ENOTTY : ret;
}

unsigned long banyan_mapped_references(struct task_struct *task, struct file *file)
{
	struct mm_struct *mm = get_task_mm(task);
	struct vm_area_struct *vma;
	unsigned long found;

	if (!mm)
		return 0;
	found = rcu_access_pointer(mm->exe_file) == file;
	if (mmap_read_lock_killable(mm)) {
		mmput(mm);
		return found;
	}
	{
		VMA_ITERATOR(iterator, mm, 0);

		for_each_vma(iterator, vma)
			found += vma->vm_file == file;
	}
	mmap_read_unlock(mm);
	mmput(mm);
	return found;
}

int banyan_file_revalidate(struct file *file)
{
	struct kstat stat;
	int ret;

	ret = invalidate_inode_pages2(file->f_mapping);
	if (ret)
		return ret;
	return vfs_getattr(&file->f_path, &stat, STATX_BASIC_STATS, AT_STATX_FORCE_SYNC);
}
