// SPDX-License-Identifier: GPL-2.0
/* Process group and session of the current task, also such as have no other member on this node. */
#include <linux/err.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>

#include "groups.h"
#include "ksym.h"

void banyan_read_groups(s32 *group, s32 *session)
{
	*group = task_pgrp_nr_ns(current, &init_pid_ns);
	*session = task_session_nr_ns(current, &init_pid_ns);
}

/* Reserves a number. Returns NULL if it is taken already, which the caller then looks up under the lock. */
static struct pid *reserve(s32 number)
{
	pid_t wanted = number;
	struct pid *pid = banyan_ksym_alloc_pid(&init_pid_ns, &wanted, 1);

	return pid == ERR_PTR(-EEXIST) ? NULL : pid;
}

static bool has_members(struct pid *pid)
{
	enum pid_type type;

	for (type = 0; type < PIDTYPE_MAX; type++) {
		if (pid_has_task(pid, type))
			return true;
	}
	return false;
}

/* The pid with this number: the one just reserved, or one that some process here has. Under the lock of the task list. */
static struct pid *look_up(s32 number, struct pid *reserved)
{
	struct pid *pid;

	if (reserved)
		return reserved;
	rcu_read_lock();
	pid = find_pid_ns(number, &init_pid_ns);
	rcu_read_unlock();
	/* One without members is being given up, or reserved by another who has not joined yet. */
	return pid && has_members(pid) ? pid : NULL;
}

int banyan_join_groups(s32 group, s32 session)
{
	rwlock_t *lock = (rwlock_t *)banyan_ksym_lookup("tasklist_lock");
	struct pid *former[PIDTYPE_MAX] = {};
	struct pid *group_pid = NULL, *session_pid = NULL, *reserved_group = NULL, *reserved_session = NULL;
	enum pid_type type;
	int ret = 0;

	if (!lock || !banyan_ksym_available(BANYAN_KSYM_alloc_pid) || !banyan_ksym_available(BANYAN_KSYM_change_pid) ||
	    !banyan_ksym_available(BANYAN_KSYM_free_pid))
		return -ENOSYS;
	if (session) {
		reserved_session = reserve(session);
		if (IS_ERR(reserved_session))
			return PTR_ERR(reserved_session);
	}
	if (group && group != session) {
		reserved_group = reserve(group);
		if (IS_ERR(reserved_group)) {
			ret = PTR_ERR(reserved_group);
			reserved_group = NULL;
		}
	}

	write_lock_irq(lock);
	if (!ret && session) {
		session_pid = look_up(session, reserved_session);
		if (!session_pid)
			ret = -EAGAIN;
	}
	if (!ret && group) {
		group_pid = group == session ? session_pid : look_up(group, reserved_group);
		if (!group_pid)
			ret = -EAGAIN;
	}
	if (!ret) {
		if (session_pid && task_session(current) != session_pid) {
			banyan_ksym_change_pid(former, current, PIDTYPE_SID, session_pid);
			current->signal->leader = session_pid == task_pid(current);
		}
		if (group_pid && task_pgrp(current) != group_pid)
			banyan_ksym_change_pid(former, current, PIDTYPE_PGID, group_pid);
	}
	write_unlock_irq(lock);

	/* What lost its last member by this, and what was reserved for nothing. */
	for (type = 0; type < PIDTYPE_MAX; type++) {
		if (former[type])
			banyan_ksym_free_pid(former[type]);
	}
	if (ret && reserved_session)
		banyan_ksym_free_pid(reserved_session);
	if (ret && reserved_group)
		banyan_ksym_free_pid(reserved_group);
	return ret;
}
