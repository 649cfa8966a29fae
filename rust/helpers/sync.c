// SPDX-License-Identifier: GPL-2.0
/* Waiting, signals and the one lock that exists before any module state does: inline functions and macros of the kernel. */
#include <linux/kthread.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "sync.h"

static DEFINE_SPINLOCK(global_lock);

bool banyan_fatal_signal_pending(void)
{
	return fatal_signal_pending(current);
}

bool banyan_should_stop(void)
{
	return (current->flags & PF_KTHREAD) && kthread_should_stop();
}

bool banyan_wait_must_end(enum banyan_wait how)
{
	if (current->flags & PF_KTHREAD)
		return kthread_should_stop();
	if (how == BANYAN_WAIT_INTERRUPTIBLE)
		return signal_pending(current);
	return fatal_signal_pending(current);
}

unsigned int banyan_wait_state(enum banyan_wait how)
{
	if (how == BANYAN_WAIT_INTERRUPTIBLE || (current->flags & PF_KTHREAD))
		return TASK_INTERRUPTIBLE;
	return TASK_KILLABLE;
}

/* Sockets wake only interruptible sleepers (TASK_INTERRUPTIBLE in @mode); ours may be killable ones. */
static int wake_any_state(struct wait_queue_entry *entry, unsigned int mode, int sync, void *key)
{
	return woken_wake_function(entry, TASK_NORMAL, sync, key);
}

void banyan_wait_init(struct wait_queue_entry *entry)
{
	init_waitqueue_func_entry(entry, wake_any_state);
	entry->private = current;
	INIT_LIST_HEAD(&entry->entry);
}

void banyan_global_lock(void)
{
	spin_lock(&global_lock);
}

void banyan_global_unlock(void)
{
	spin_unlock(&global_lock);
}
