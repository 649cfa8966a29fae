/* SPDX-License-Identifier: GPL-2.0 */
/* Waiting, signals and the one lock that exists before any module state does: inline functions and macros of the kernel. */
#ifndef BANYAN_SYNC_H
#define BANYAN_SYNC_H

#include <linux/types.h>

struct wait_queue_entry;
struct wait_queue_head;

/* How a wait ends early. */
enum banyan_wait {
	BANYAN_WAIT_KILLABLE,		/* by a fatal signal; by kthread_stop() for a kernel thread */
	BANYAN_WAIT_INTERRUPTIBLE,	/* by any signal; by kthread_stop() for a kernel thread */
};

/* Whether a fatal signal waits for the current task. */
bool banyan_fatal_signal_pending(void);

/* Whether the current task is a kernel thread that was asked to stop. */
bool banyan_should_stop(void);

/* Whether the current task's wait is to end now. */
bool banyan_wait_must_end(enum banyan_wait how);

/*
 * The state to sleep in for such a wait. A kernel thread, which has no signals, sleeps interruptibly in either case, so that it
 * counts neither as load nor as hung.
 */
unsigned int banyan_wait_state(enum banyan_wait how);

/* As wait_woken(), for an entry set up by banyan_wait_init(): wakes whatever state the sleeper chose. */
void banyan_wait_init(struct wait_queue_entry *entry);

/* Guards the pointers of kernel_ext's Global. Held for a few instructions, never across anything that sleeps. */
void banyan_global_lock(void);
void banyan_global_unlock(void);

#endif
