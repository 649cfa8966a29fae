/* SPDX-License-Identifier: GPL-2.0 */
/* Memory that files stand for: shared memory without a name (memfd, MAP_SHARED | MAP_ANONYMOUS, removed files of a tmpfs). */
#ifndef BANYAN_SHARED_MEMORY_H
#define BANYAN_SHARED_MEMORY_H

#include <linux/types.h>

struct file;
struct mm_struct;

/* Most bytes of the name of shared memory, with the zero at the end. */
#define BANYAN_OBJECT_NAME 256

/* What can be read of shared memory, by one of the open files that stand for it. */
struct banyan_object_facts {
	const void *inode;	/* only to be compared */
	const void *dentry;	/* only to be compared */
	u64 ino;
	u64 size;
	s64 atime;		/* nanoseconds since 1970 */
	s64 mtime;
	s64 ctime;
	u64 file_users;		/* references to this open file */
	u64 dentry_users;	/* references to its name, one of them for each open file */
	u64 inode_users;	/* references to the memory, one of them for each name */
	u32 mode;
	u32 uid;		/* in the initial user namespace */
	u32 gid;
	u32 seals;
	bool removed;		/* has no name any more */
	bool linkable;		/* has none yet, and may be given one */
	bool internal;		/* on the kernel's own mount: not made by open() */
	bool secret;		/* hidden from security modules: MAP_SHARED | MAP_ANONYMOUS, System V */
	bool sysv;		/* a segment of System V shared memory */
	bool no_reserve;	/* no memory is reserved for it */
	bool policy;		/* under a NUMA policy */
	bool extras;		/* with extended attributes or inode flags */
};

/* Whether a file stands for memory of that kind: a regular file of a tmpfs. */
bool banyan_is_shared_memory(struct file *file);
/* To be called only if it does. */
void banyan_object_facts(struct file *file, struct banyan_object_facts *facts);

/*
 * Makes shared memory with these properties, all of it zeros, and an open file for it. Of the facts those that are no counts or pointers
 * are used. Seals are set by banyan_object_seal(). Returns an ERR_PTR if it fails.
 */
struct file *banyan_object_make(const struct banyan_object_facts *facts, const char *name);

/* Sets which seals are in force. That writing is sealed fails with -EBUSY if it is mapped shared and may be written to. */
int banyan_object_seal(struct file *file, u32 seals);

/* Frees what is in shared memory without a name. To be called only by who alone has it, and needs it no more. */
void banyan_object_empty(struct file *file);

/* Another open file for what this one stands for, as the current task. Returns an ERR_PTR if it fails. */
struct file *banyan_open_again(struct file *file, unsigned int flags);

/* Who else maps a file: bits of the result of banyan_other_mappers(). */
enum banyan_mappers {
	BANYAN_MAPPED_ELSEWHERE = 1,	/* by another address space */
	BANYAN_WRITTEN_ELSEWHERE = 2,	/* one that may write to it so that others see it */
};

/* Whether others than mm, which is only compared, map the file. May sleep. */
unsigned int banyan_other_mappers(struct file *file, const struct mm_struct *mm);

#endif
