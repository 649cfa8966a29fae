// SPDX-License-Identifier: GPL-2.0
/* A parked task: being interrupted without a signal, and standing for one that runs elsewhere. */
#include <linux/cgroup.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/sched/cputime.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/task_io_accounting_ops.h>

#include "deputy.h"
#include "ksym.h"

void banyan_set_notify_signal(struct task_struct *task)
{
	/* As set_notify_signal() does, whose wake-up is not exported. */
	if (!test_and_set_tsk_thread_flag(task, TIF_NOTIFY_SIGNAL) &&
	    !banyan_ksym_wake_up_state(task, TASK_INTERRUPTIBLE))
		kick_process(task);
}

void banyan_clear_notify_signal(void)
{
	clear_notify_signal();
}

bool banyan_freezing(void)
{
	return banyan_held(current);
}

bool banyan_frozen(struct task_struct *task)
{
	return cgroup_task_frozen(task);
}

static bool cgroup_wants_frozen(void)
{
	bool wants;

	rcu_read_lock();
	wants = test_bit(CGRP_FREEZE, &task_dfl_cgroup(current)->flags);
	rcu_read_unlock();
	return wants;
}

void banyan_hold(bool hold)
{
	spin_lock_irq(&current->sighand->siglock);
	/* A cgroup that is being frozen or thawed sets or clears the bit after its own flag, under the same lock: it has the last word. */
	if (hold || cgroup_wants_frozen()) {
		current->jobctl |= JOBCTL_TRAP_FREEZE;
		set_thread_flag(TIF_SIGPENDING);
	} else {
		current->jobctl &= ~JOBCTL_TRAP_FREEZE;
	}
	spin_unlock_irq(&current->sighand->siglock);
}

bool banyan_held(struct task_struct *task)
{
	return READ_ONCE(task->jobctl) & JOBCTL_TRAP_FREEZE;
}

void banyan_leave_frozen(void)
{
	if (cgroup_task_frozen(current))
		banyan_ksym_cgroup_leave_frozen(true);
}

void banyan_usage_of(struct task_struct *task, struct banyan_usage *usage)
{
	struct signal_struct *signal = task->signal;
	struct mm_struct *mm = get_task_mm(task);

	usage->utime_ns = task->utime + signal->utime;
	usage->stime_ns = task->stime + signal->stime;
	usage->minflt = task->min_flt + signal->min_flt;
	usage->majflt = task->maj_flt + signal->maj_flt;
	usage->nvcsw = task->nvcsw + signal->nvcsw;
	usage->nivcsw = task->nivcsw + signal->nivcsw;
	usage->inblock = task_io_get_inblock(task) + signal->inblock;
	usage->oublock = task_io_get_oublock(task) + signal->oublock;
	usage->maxrss_kib = signal->maxrss << (PAGE_SHIFT - 10);
	usage->rss_kib = 0;
	usage->vsize_kib = 0;
	if (mm) {
		usage->rss_kib = get_mm_rss(mm) << (PAGE_SHIFT - 10);
		usage->vsize_kib = mm->total_vm << (PAGE_SHIFT - 10);
		usage->maxrss_kib = max_t(u64, usage->maxrss_kib, get_mm_hiwater_rss(mm) << (PAGE_SHIFT - 10));
		mmput_async(mm);
	}
}

void banyan_set_usage(const struct banyan_usage *usage)
{
	struct signal_struct *signal = current->signal;
	u64 utime, stime, run;
	unsigned long flags;

	write_seqlock_irqsave(&signal->stats_lock, flags);
	/* The task's own part goes on counting; the rest is kept where that of ended threads is. */
	utime = usage->utime_ns > current->utime ? usage->utime_ns - current->utime : 0;
	stime = usage->stime_ns > current->stime ? usage->stime_ns - current->stime : 0;
	run = usage->utime_ns + usage->stime_ns;
	run = run > current->se.sum_exec_runtime ? run - current->se.sum_exec_runtime : 0;
	signal->utime = max(signal->utime, utime);
	signal->stime = max(signal->stime, stime);
	signal->sum_sched_runtime = max_t(u64, signal->sum_sched_runtime, run);
	signal->min_flt = max_t(u64, signal->min_flt, usage->minflt);
	signal->maj_flt = max_t(u64, signal->maj_flt, usage->majflt);
	signal->nvcsw = max_t(u64, signal->nvcsw, usage->nvcsw);
	signal->nivcsw = max_t(u64, signal->nivcsw, usage->nivcsw);
	signal->inblock = max_t(u64, signal->inblock, usage->inblock);
	signal->oublock = max_t(u64, signal->oublock, usage->oublock);
	signal->maxrss = max_t(u64, signal->maxrss, usage->maxrss_kib >> (PAGE_SHIFT - 10));
	write_sequnlock_irqrestore(&signal->stats_lock, flags);
}

struct mm_struct *banyan_hold_mm(void)
{
	mmgrab(current->mm);
	return current->mm;
}

void banyan_show_pages(struct mm_struct *mm, long change)
{
	/* As add_mm_counter() does, whose tracepoint is not exported. */
	percpu_counter_add(&mm->rss_stat[MM_ANONPAGES], change);
}

void banyan_spare_mm(struct mm_struct *mm, bool spare)
{
	if (spare)
		mm_flags_set(MMF_OOM_SKIP, mm);
	else
		mm_flags_clear(MMF_OOM_SKIP, mm);
}

void banyan_drop_mm(struct mm_struct *mm)
{
	mmdrop(mm);
}
