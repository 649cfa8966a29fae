// SPDX-License-Identifier: GPL-2.0
/* Address spaces: page table entries and inline functions of the kernel. */
#include <linux/highmem.h>
#include <linux/huge_mm.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/pagewalk.h>
#include <linux/string.h>

#include "ksym.h"
#include "memory.h"

int banyan_mmap_write_lock_killable(struct mm_struct *mm)
{
	return mmap_write_lock_killable(mm);
}

void banyan_mmap_write_unlock(struct mm_struct *mm)
{
	mmap_write_unlock(mm);
}

unsigned long banyan_task_size(void)
{
	return TASK_SIZE;
}

struct scan {
	unsigned long start;
	unsigned long *map;
};

static void mark(struct scan *scan, unsigned long from, unsigned long to)
{
	bitmap_set(scan->map, (from - scan->start) >> PAGE_SHIFT, (to - from) >> PAGE_SHIFT);
}

static bool own_page(struct page *page)
{
	return folio_test_anon(page_folio(page));
}

static int scan_pte(pte_t *pte, unsigned long addr, unsigned long next, struct mm_walk *walk)
{
	pte_t entry = ptep_get(pte);
	struct scan *scan = walk->private;

	if (pte_none(entry))
		return 0;
	if (pte_present(entry)) {
		/* The shared zero page and page cache read as what the target maps anyway. */
		if (pte_special(entry) || !own_page(pte_page(entry)))
			return 0;
	}
	mark(scan, addr, next);
	return 0;
}

static int scan_pmd(pmd_t *pmd, unsigned long addr, unsigned long next, struct mm_walk *walk)
{
	struct scan *scan = walk->private;
	spinlock_t *lock = pmd_lock(walk->mm, pmd);
	pmd_t entry = pmdp_get(pmd);

	if (pmd_present(entry)) {
		if (!pmd_trans_huge(entry)) {
			/* A table of entries: they are looked at one by one. */
			spin_unlock(lock);
			return 0;
		}
		if (own_page(pmd_page(entry)))
			mark(scan, addr, next);
	} else if (!pmd_none(entry)) {
		mark(scan, addr, next);
	}
	spin_unlock(lock);
	walk->action = ACTION_CONTINUE;
	return 0;
}

static const struct mm_walk_ops scan_ops = {
	.pte_entry = scan_pte,
	.pmd_entry = scan_pmd,
	.walk_lock = PGWALK_RDLOCK,
};

int banyan_scan_pages(struct mm_struct *mm, unsigned long start, unsigned long end, unsigned long *map)
{
	struct scan scan = { .start = start, .map = map };

	return banyan_ksym_walk_page_range(mm, start, end, &scan_ops, &scan);
}

bool banyan_page_is_zero(struct page *page)
{
	void *data = kmap_local_page(page);
	bool zero = !memchr_inv(data, 0, PAGE_SIZE);

	kunmap_local(data);
	return zero;
}

const char *banyan_special_mapping_name(struct vm_area_struct *vma)
{
	if (!vma->vm_ops || !vma->vm_ops->name)
		return NULL;
	return vma->vm_ops->name(vma);
}
