/* SPDX-License-Identifier: GPL-2.0 */
/* A parked task: being interrupted without a signal, and standing for one that runs elsewhere. */
#ifndef BANYAN_DEPUTY_H
#define BANYAN_DEPUTY_H

#include <linux/types.h>

struct mm_struct;
struct task_struct;

/* Makes the task leave an interruptible wait, now or at its next one, until it calls the second. */
void banyan_set_notify_signal(struct task_struct *task);
void banyan_clear_notify_signal(void);

/* Whether the cgroup freezer wants the current task to stand still. */
bool banyan_freezing(void);
/* Whether a task stands still by the cgroup freezer or a stop, as its cgroup counts it. */
bool banyan_frozen(struct task_struct *task);
/*
 * Lets the cgroup freezer's trap hold the current task from now on, or no longer unless its own cgroup is frozen. It stands still when
 * it leaves the border, killable and freezable as any frozen task.
 */
void banyan_hold(bool hold);
/* Whether that trap is set for a task. */
bool banyan_held(struct task_struct *task);
/* The current task ends: takes it out of the count of frozen tasks of its cgroup. */
void banyan_leave_frozen(void);

/* What a process has used, as wait tells it. */
struct banyan_usage {
	u64 utime_ns;
	u64 stime_ns;
	u64 maxrss_kib;
	u64 rss_kib;
	u64 vsize_kib;
	u64 minflt;
	u64 majflt;
	u64 nvcsw;
	u64 nivcsw;
	u64 inblock;
	u64 oublock;
};

/* Reads the usage of a process with one thread, living or ended. */
void banyan_usage_of(struct task_struct *task, struct banyan_usage *usage);

/* Makes the current task, which has one thread, appear to have used this and no more. Figures do not fall. */
void banyan_set_usage(const struct banyan_usage *usage);

/*
 * Takes a reference to the address space of the current task, which keeps its counters from being checked and freed. Then changes the
 * resident pages that it appears to have, and says whether the OOM killer passes it over, which would free nothing by ending its tasks.
 */
struct mm_struct *banyan_hold_mm(void);
void banyan_show_pages(struct mm_struct *mm, long change);
void banyan_spare_mm(struct mm_struct *mm, bool spare);
void banyan_drop_mm(struct mm_struct *mm);

#endif
