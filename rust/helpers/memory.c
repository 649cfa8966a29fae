// SPDX-License-Identifier: GPL-2.0
/* Address spaces: page table entries and inline functions of the kernel. */
#include <linux/highmem.h>
#include <linux/huge_mm.h>
#include <linux/leafops.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/mmap_lock.h>
#include <linux/pagewalk.h>
#include <linux/sched/mm.h>
#include <linux/string.h>
#include <asm/mmu_context.h>

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
	if (softleaf_is_guard_marker(softleaf_from_pte(entry)))
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

static int guard_pte(pte_t *pte, unsigned long addr, unsigned long next, struct mm_walk *walk)
{
	if (softleaf_is_guard_marker(softleaf_from_pte(ptep_get(pte))))
		mark(walk->private, addr, next);
	return 0;
}

static int guard_pmd(pmd_t *pmd, unsigned long addr, unsigned long next, struct mm_walk *walk)
{
	pmd_t entry = pmdp_get_lockless(pmd);

	/* A huge page has no guards within; it is not to be split for that. */
	if (!pmd_present(entry) || pmd_trans_huge(entry))
		walk->action = ACTION_CONTINUE;
	return 0;
}

static const struct mm_walk_ops guard_ops = {
	.pmd_entry = guard_pmd,
	.pte_entry = guard_pte,
	.walk_lock = PGWALK_RDLOCK,
};

int banyan_scan_guards(struct mm_struct *mm, unsigned long start, unsigned long end, unsigned long *map)
{
	struct scan scan = { .start = start, .map = map };

	return banyan_ksym_walk_page_range(mm, start, end, &guard_ops, &scan);
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

unsigned int banyan_mapping_extras(struct vm_area_struct *vma)
{
	unsigned int extras = 0;

	if (vma_policy(vma))
		extras |= BANYAN_MAPPING_POLICY;
	/* Never, where the kernel is built without such names. */
	if (anon_vma_name(vma))
		extras |= BANYAN_MAPPING_NAMED;
	return extras;
}

unsigned int banyan_mm_state(struct mm_struct *mm)
{
	unsigned int state = 0;

	if (mm->def_flags & VM_LOCKED_MASK)
		state |= BANYAN_MM_LOCKS_FUTURE;
#ifdef CONFIG_MODIFY_LDT_SYSCALL
	if (READ_ONCE(mm->context.ldt))
		state |= BANYAN_MM_LDT;
#endif
#ifdef CONFIG_X86_INTEL_MEMORY_PROTECTION_KEYS
	/* Key 0 is everybody's. */
	if (mm->context.pkey_allocation_map & ~1)
		state |= BANYAN_MM_PKEYS;
#endif
	if (mm_flags_test(MMF_VM_MERGE_ANY, mm))
		state |= BANYAN_MM_MERGES;
	if (mm_flags_test(MMF_HAS_MDWE, mm))
		state |= BANYAN_MM_DENIES_EXEC_GAIN;
	if (mm_flags_test(MMF_HAS_UPROBES, mm))
		state |= BANYAN_MM_UPROBES;
	if (mm_lam_cr3_mask(mm))
		state |= BANYAN_MM_TAGGED;
	return state;
}

unsigned int banyan_dump_filter(const struct mm_struct *mm)
{
	unsigned int filter = 0;
	int bit;

	for (bit = 0; bit < MMF_DUMP_FILTER_BITS; bit++)
		if (mm_flags_test(bit + MMF_DUMP_FILTER_SHIFT, mm))
			filter |= 1U << bit;
	return filter;
}

void banyan_set_dump_filter(struct mm_struct *mm, unsigned int filter)
{
	int bit;

	for (bit = 0; bit < MMF_DUMP_FILTER_BITS; bit++) {
		if (filter & (1U << bit))
			mm_flags_set(bit + MMF_DUMP_FILTER_SHIFT, mm);
		else
			mm_flags_clear(bit + MMF_DUMP_FILTER_SHIFT, mm);
	}
}

unsigned int banyan_membarrier_state(struct mm_struct *mm)
{
	return atomic_read(&mm->membarrier_state);
}
