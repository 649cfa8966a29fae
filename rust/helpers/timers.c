// SPDX-License-Identifier: GPL-2.0
/* Timers and used time of the current task, which has one thread: inline functions and locks of the kernel. */
#include <linux/hrtimer.h>
#include <linux/hrtimer_bases.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/posix-timers.h>
#include <linux/sched.h>
#include <linux/sched/cputime.h>
#include <linux/sched/signal.h>
#include <linux/time64.h>

#include "state.h"
#include "timers.h"

/* As in the kernel's enum posix_timer_state, which is private. */
#define TIMER_STATE_DISARMED 0

static_assert(sizeof(struct task_io_accounting) == 7 * sizeof(u64));

static void read_timer(struct k_itimer *timer, struct banyan_timer *to)
{
	bool none = timer->it_sigev_notify == SIGEV_NONE;

	*to = (struct banyan_timer) {
		.id = timer->it_id,
		.clock = timer->it_clock,
		.notify = timer->it_sigev_notify,
		.signal = timer->sigq.info.si_signo,
		.interval = timer->it_interval,
		.overrun_last = timer->it_overrun_last,
	};
	memcpy(&to->value, &timer->sigq.info.si_value, sizeof(to->value));
	/* Its own lock is held; the list of waiting signals has the other. */
	spin_lock(&current->sighand->siglock);
	to->pending = !list_empty(&timer->sigq.list) || !hlist_unhashed(&timer->ignored_list);
	spin_unlock(&current->sighand->siglock);
	if (timer->it_status == TIMER_STATE_DISARMED && !to->pending && !none)
		return;
	if (timer->it_clock < 0) {
		to->expires = timer->it.cpu.node.expires;
	} else {
		to->expires = hrtimer_get_expires(&timer->it.real.timer);
		to->relative = timer->it_clock == CLOCK_REALTIME &&
			       timer->it.real.timer.base->clockid == CLOCK_MONOTONIC;
	}
}

unsigned int banyan_timers(struct banyan_timer *timers, unsigned int max)
{
	struct k_itimer *timer;
	unsigned int count = 0;

	/* Only the task itself adds to the list and takes from it. */
	hlist_for_each_entry(timer, &current->signal->posix_timers, list) {
		if (count < max) {
			spin_lock_irq(&timer->it_lock);
			read_timer(timer, &timers[count]);
			spin_unlock_irq(&timer->it_lock);
		}
		count++;
	}
	return count;
}

bool banyan_odd_clock(s32 clock, s32 pid)
{
	switch (clock) {
	case CLOCK_REALTIME:
	case CLOCK_MONOTONIC:
	case CLOCK_BOOTTIME:
	case CLOCK_TAI:
		return false;
	}
	/* Clocks of devices are negative, too, and told by their low bits. */
	return clock >= 0 || (clock & CLOCKFD_MASK) == CLOCKFD || (CPUCLOCK_PID(clock) && CPUCLOCK_PID(clock) != pid);
}

bool banyan_odd_timer(struct task_struct *task, s32 *id)
{
	struct k_itimer *timer;
	bool odd = false;

	rcu_read_lock();
	if (banyan_siglock_of(task)) {
		hlist_for_each_entry(timer, &task->signal->posix_timers, list) {
			if (banyan_odd_clock(timer->it_clock, task->tgid)) {
				*id = timer->it_id;
				odd = true;
				break;
			}
		}
		banyan_sigunlock_of(task);
	}
	rcu_read_unlock();
	return odd;
}

void banyan_set_overrun(s32 id, s64 overrun)
{
	struct k_itimer *timer;

	hlist_for_each_entry(timer, &current->signal->posix_timers, list) {
		if (timer->it_id == id) {
			spin_lock_irq(&timer->it_lock);
			timer->it_overrun_last = overrun;
			spin_unlock_irq(&timer->it_lock);
			return;
		}
	}
}

void banyan_interval_timers(struct banyan_interval_timer timers[3])
{
	struct signal_struct *signal = current->signal;
	/* Virtual counts user time, prof all. */
	static const int clocks[3] = { -1, CPUCLOCK_VIRT, CPUCLOCK_PROF };
	int i;

	spin_lock_irq(&current->sighand->siglock);
	timers[0].interval = signal->it_real_incr;
	timers[0].expires = hrtimer_get_expires(&signal->real_timer);
	timers[0].waits = !hrtimer_active(&signal->real_timer) && signal->it_real_incr;
	if (!hrtimer_active(&signal->real_timer) && !signal->it_real_incr)
		timers[0].expires = 0;
	for (i = 1; i < 3; i++) {
		timers[i].expires = signal->it[clocks[i]].expires;
		timers[i].interval = signal->it[clocks[i]].incr;
		timers[i].waits = 0;
	}
	spin_unlock_irq(&current->sighand->siglock);
}

void banyan_set_waiting_timer(s64 expires, s64 interval)
{
	struct signal_struct *signal = current->signal;

	spin_lock_irq(&current->sighand->siglock);
	if (!hrtimer_active(&signal->real_timer)) {
		hrtimer_set_expires(&signal->real_timer, expires);
		signal->it_real_incr = interval;
	}
	spin_unlock_irq(&current->sighand->siglock);
}

void banyan_get_account(struct banyan_account *account)
{
	struct signal_struct *signal = current->signal;
	struct task_struct *task = current;

	*account = (struct banyan_account) {
		.start = task->start_time,
		.start_boottime = task->start_boottime,
		.utime = { task->utime, signal->utime },
		.stime = { task->stime, signal->stime },
		.run = { task->se.sum_exec_runtime, signal->sum_sched_runtime },
		.reported = { task->prev_cputime.utime, task->prev_cputime.stime, signal->prev_cputime.utime,
			      signal->prev_cputime.stime },
		.children_time = { signal->cutime, signal->cstime },
		.nvcsw = { task->nvcsw, signal->nvcsw },
		.nivcsw = { task->nivcsw, signal->nivcsw },
		.children_switches = { signal->cnvcsw, signal->cnivcsw },
		.minor_faults = { task->min_flt, signal->min_flt },
		.major_faults = { task->maj_flt, signal->maj_flt },
		.children_faults = { signal->cmin_flt, signal->cmaj_flt },
		.blocks = { signal->inblock, signal->oublock, signal->cinblock, signal->coublock },
		.largest = { max(signal->maxrss, get_mm_hiwater_rss(current->mm)), signal->cmaxrss },
	};
	memcpy(&account->io[0], &task->ioac, sizeof(task->ioac));
	memcpy(&account->io[7], &signal->ioac, sizeof(signal->ioac));
}

static void set_reported(struct prev_cputime *reported, u64 utime, u64 stime)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&reported->lock, flags);
	reported->utime = utime;
	reported->stime = stime;
	raw_spin_unlock_irqrestore(&reported->lock, flags);
}

void banyan_set_account(const struct banyan_account *account)
{
	struct signal_struct *signal = current->signal;
	struct task_struct *task = current;
	struct task_cputime_atomic *sample = &signal->cputimer.cputime_atomic;
	unsigned long flags;

	/*
	 * With interrupts off no tick comes in between on this CPU, where the task runs. The scheduler counts from the difference of two
	 * figures, which stays as it is.
	 */
	write_seqlock_irqsave(&signal->stats_lock, flags);
	task->start_time = account->start;
	task->start_boottime = account->start_boottime;
	task->utime = account->utime[0];
	task->stime = account->stime[0];
	task->se.prev_sum_exec_runtime += account->run[0] - task->se.sum_exec_runtime;
	task->se.sum_exec_runtime = account->run[0];
	task->nvcsw = account->nvcsw[0];
	task->nivcsw = account->nivcsw[0];
	task->min_flt = account->minor_faults[0];
	task->maj_flt = account->major_faults[0];
	memcpy(&task->ioac, &account->io[0], sizeof(task->ioac));

	signal->utime = account->utime[1];
	signal->stime = account->stime[1];
	signal->sum_sched_runtime = account->run[1];
	signal->cutime = account->children_time[0];
	signal->cstime = account->children_time[1];
	signal->nvcsw = account->nvcsw[1];
	signal->nivcsw = account->nivcsw[1];
	signal->cnvcsw = account->children_switches[0];
	signal->cnivcsw = account->children_switches[1];
	signal->min_flt = account->minor_faults[1];
	signal->maj_flt = account->major_faults[1];
	signal->cmin_flt = account->children_faults[0];
	signal->cmaj_flt = account->children_faults[1];
	signal->inblock = account->blocks[0];
	signal->oublock = account->blocks[1];
	signal->cinblock = account->blocks[2];
	signal->coublock = account->blocks[3];
	signal->maxrss = account->largest[0];
	signal->cmaxrss = account->largest[1];
	memcpy(&signal->ioac, &account->io[7], sizeof(signal->ioac));

	/* What CPU timers compare with, if there ever was one. */
	atomic64_set(&sample->utime, task->utime + signal->utime);
	atomic64_set(&sample->stime, task->stime + signal->stime);
	atomic64_set(&sample->sum_exec_runtime, account->run[0] + account->run[1]);
	write_sequnlock_irqrestore(&signal->stats_lock, flags);

	set_reported(&task->prev_cputime, account->reported[0], account->reported[1]);
	set_reported(&signal->prev_cputime, account->reported[2], account->reported[3]);
}
