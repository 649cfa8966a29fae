/* SPDX-License-Identifier: GPL-2.0 */
/* Address spaces: page table entries and inline functions of the kernel. */
#ifndef BANYAN_MEMORY_H
#define BANYAN_MEMORY_H

#include <linux/types.h>

struct mm_struct;
struct page;
struct vm_area_struct;

/* Takes and gives back the write lock of an address space; the first fails with -EINTR on a fatal signal. */
int banyan_mmap_write_lock_killable(struct mm_struct *mm);
void banyan_mmap_write_unlock(struct mm_struct *mm);

/* The end of user addresses of the current task. */
unsigned long banyan_task_size(void);

/*
 * Sets a bit in map for every page from start on, up to end, that holds data of its own: present or swapped out and, if it is present,
 * not a page of a file's page cache. Bit 0 stands for the page at start. A huge page counts whole. Call with the mmap lock held, the
 * range inside one mapping, and map cleared.
 */
int banyan_scan_pages(struct mm_struct *mm, unsigned long start, unsigned long end, unsigned long *map);

/* The same for pages that MADV_GUARD_INSTALL guards, which banyan_scan_pages() leaves out. */
int banyan_scan_guards(struct mm_struct *mm, unsigned long start, unsigned long end, unsigned long *map);

/* Whether the page is all zeros. */
bool banyan_page_is_zero(struct page *page);

/* The name of a special mapping ("[vdso]", "[vvar]", ...), or NULL if it is not one. Call with the mmap lock held. */
const char *banyan_special_mapping_name(struct vm_area_struct *vma);

/* What a mapping has beyond range, flags and file: bits. */
enum banyan_mapping_extras {
	BANYAN_MAPPING_POLICY = 1,	/* a NUMA policy (mbind) */
	BANYAN_MAPPING_NAMED = 2,	/* a name (PR_SET_VMA_ANON_NAME) */
};

/* Call with the mmap lock held. */
unsigned int banyan_mapping_extras(struct vm_area_struct *vma);

/* What is set for an address space as a whole: bits. */
enum banyan_mm_state {
	BANYAN_MM_LOCKS_FUTURE = 1,	/* mlockall(MCL_FUTURE) */
	BANYAN_MM_LDT = 2,		/* a local descriptor table */
	BANYAN_MM_PKEYS = 4,		/* protection keys are allocated */
	BANYAN_MM_MERGES = 8,		/* PR_SET_MEMORY_MERGE */
	BANYAN_MM_DENIES_EXEC_GAIN = 16,	/* PR_SET_MDWE */
	BANYAN_MM_UPROBES = 32,		/* uprobes may be set in its text */
	BANYAN_MM_TAGGED = 64,		/* linear address masking */
};

unsigned int banyan_mm_state(struct mm_struct *mm);

/* Which mappings go into a core dump, as /proc/PID/coredump_filter shows it. */
unsigned int banyan_dump_filter(const struct mm_struct *mm);
void banyan_set_dump_filter(struct mm_struct *mm, unsigned int filter);

/* MEMBARRIER_STATE_*: the barriers that the process has registered for. */
unsigned int banyan_membarrier_state(struct mm_struct *mm);

#endif
