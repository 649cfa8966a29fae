// SPDX-License-Identifier: GPL-2.0
/* Hooks on system calls, for marked tasks only. See calls.h. */
#include <linux/ftrace.h>
#include <linux/hashtable.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#include "calls.h"
#include "ksym.h"

struct banyan_call_mark {
	struct hlist_node node;
	struct task_struct *task;
	struct rcu_head rcu;
	bool active;
	/* The next hooked call of the task is made as it is. Only the task itself touches this. */
	bool through;
};

static DEFINE_HASHTABLE(marks, 8);
static DEFINE_SPINLOCK(marks_lock);
/* Written before the hooks are on. */
static banyan_call_instead_fn instead_of_call;

/* The mark of the current task. Under rcu_read_lock or with preemption off. */
static struct banyan_call_mark *find_mark(void)
{
	struct banyan_call_mark *mark;

	hash_for_each_possible_rcu(marks, mark, node, (unsigned long)current) {
		if (mark->task == current)
			return mark;
	}
	return NULL;
}

static long instead(const struct pt_regs *registers)
{
	return instead_of_call(registers, (unsigned int)registers->orig_ax);
}

/* A mark stays while its task is in a call, so it is safe to look at it until the call returns. */
static void notrace hooked(unsigned long ip, unsigned long parent, struct ftrace_ops *ops, struct ftrace_regs *fregs)
{
	struct banyan_call_mark *mark;

	rcu_read_lock();
	mark = find_mark();
	if (mark && READ_ONCE(mark->active)) {
		if (mark->through)
			mark->through = false;
		else
			ftrace_regs_set_instruction_pointer(fregs, (unsigned long)instead);
	}
	rcu_read_unlock();
}

static struct ftrace_ops hooks = {
	.func = hooked,
	.flags = FTRACE_OPS_FL_DYNAMIC | FTRACE_OPS_FL_IPMODIFY,
};

int banyan_calls_hook(const char *const *names, unsigned int count, banyan_call_instead_fn fn, unsigned int *missing)
{
	char symbol[64];
	unsigned long address;
	unsigned int i, set = 0;
	int ret = 0;

	*missing = 0;
	for (i = 0; i < count; i++) {
		snprintf(symbol, sizeof(symbol), "__x64_sys_%s", names[i]);
		address = banyan_ksym_lookup(symbol);
		if (!address) {
			(*missing)++;
			continue;
		}
		ret = ftrace_set_filter_ip(&hooks, address, 0, 0);
		if (ret) {
			pr_info("banyan: %s cannot be hooked: %d\n", symbol, ret);
			(*missing)++;
			continue;
		}
		set++;
	}
	/* Without a filter all functions would be meant. */
	ret = -ENOENT;
	if (set) {
		instead_of_call = fn;
		ret = register_ftrace_function(&hooks);
	}
	if (ret)
		ftrace_free_filter(&hooks);
	return ret;
}

void banyan_calls_unhook(void)
{
	unregister_ftrace_function(&hooks);
	ftrace_free_filter(&hooks);
	/* Whoever a hook sent on its way has arrived, or was never preempted in between. */
	synchronize_rcu_tasks();
}

struct banyan_call_mark *banyan_call_mark(void)
{
	struct banyan_call_mark *mark = kzalloc(sizeof(*mark), GFP_KERNEL);

	if (!mark)
		return NULL;
	mark->task = current;
	spin_lock(&marks_lock);
	hash_add_rcu(marks, &mark->node, (unsigned long)current);
	spin_unlock(&marks_lock);
	return mark;
}

void banyan_call_mark_activate(struct banyan_call_mark *mark)
{
	WRITE_ONCE(mark->active, true);
}

void banyan_call_unmark(struct banyan_call_mark *mark)
{
	spin_lock(&marks_lock);
	hash_del_rcu(&mark->node);
	spin_unlock(&marks_lock);
	kfree_rcu(mark, rcu);
}

long banyan_call_through(const struct pt_regs *registers, unsigned int number)
{
	struct banyan_call_mark *mark;
	long ret;

	rcu_read_lock();
	mark = find_mark();
	if (mark)
		mark->through = true;
	rcu_read_unlock();
	ret = banyan_ksym_x64_sys_call(registers, number);
	/* Still set if the call was no longer hooked. */
	rcu_read_lock();
	mark = find_mark();
	if (mark)
		mark->through = false;
	rcu_read_unlock();
	return ret;
}

long banyan_call_restart(void)
{
	/* The kernel looks at the result of a call only on its way through the handling of signals. */
	set_thread_flag(TIF_SIGPENDING);
	return -ERESTARTNOINTR;
}
