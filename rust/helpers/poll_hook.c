// SPDX-License-Identifier: GPL-2.0
/*
 * Hooks on the wait queues of files, so that readiness is told and not asked for. One for each forwarded file that was polled. See
 * files.h.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include "files.h"

/* Wait queues that a file may have: a terminal and a pipe have two. */
#define QUEUES 8

struct hooked_queue {
	struct wait_queue_entry entry;
	struct wait_queue_head *head;
	struct banyan_poll_hook *hook;
};

struct banyan_poll_hook {
	poll_table table;
	struct file *file;
	void (*wake)(void *data);
	void *data;
	atomic_t armed;
	unsigned int used;
	struct hooked_queue queues[QUEUES];
};

static int hook_woken(struct wait_queue_entry *entry, unsigned int mode, int flags, void *key)
{
	struct banyan_poll_hook *hook = container_of(entry, struct hooked_queue, entry)->hook;

	if (atomic_xchg(&hook->armed, 0))
		hook->wake(hook->data);
	return 0;
}

static void hook_queue(struct file *file, wait_queue_head_t *head, poll_table *table)
{
	struct banyan_poll_hook *hook = container_of(table, struct banyan_poll_hook, table);
	struct hooked_queue *queue;

	if (hook->used == QUEUES)
		return;
	queue = &hook->queues[hook->used++];
	queue->hook = hook;
	queue->head = head;
	init_waitqueue_func_entry(&queue->entry, hook_woken);
	add_wait_queue(head, &queue->entry);
}

struct banyan_poll_hook *banyan_poll_hook_new(struct file *file, void (*wake)(void *), void *data)
{
	struct banyan_poll_hook *hook = kzalloc(sizeof(*hook), GFP_KERNEL);

	if (!hook)
		return NULL;
	hook->file = get_file(file);
	hook->wake = wake;
	hook->data = data;
	init_poll_funcptr(&hook->table, hook_queue);
	return hook;
}

unsigned int banyan_poll_hook_check(struct banyan_poll_hook *hook, unsigned int events)
{
	unsigned int ready;

	/* Armed before looking: what changes after the look wakes, what changed before is seen. */
	atomic_set(&hook->armed, 1);
	smp_mb__after_atomic();
	hook->table._key = (__force __poll_t)events;
	ready = (__force unsigned int)vfs_poll(hook->file, &hook->table);
	/* The queues are hooked once; later looks only look. */
	if (hook->used)
		hook->table._qproc = NULL;
	return ready;
}

void banyan_poll_hook_free(struct banyan_poll_hook *hook)
{
	unsigned int i;

	/* Takes each queue's lock, under which hook_woken() runs. */
	for (i = 0; i < hook->used; i++)
		remove_wait_queue(hook->queues[i].head, &hook->queues[i].entry);
	fput(hook->file);
	kfree(hook);
}
