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

/* Whether the page is all zeros. */
bool banyan_page_is_zero(struct page *page);

/* The name of a special mapping ("[vdso]", "[vvar]", ...), or NULL if it is not one. Call with the mmap lock held. */
const char *banyan_special_mapping_name(struct vm_area_struct *vma);

#endif
