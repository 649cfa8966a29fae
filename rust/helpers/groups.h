/* SPDX-License-Identifier: GPL-2.0 */
/* Process group and session of the current task, also such as have no other member on this node. */
#ifndef BANYAN_GROUPS_H
#define BANYAN_GROUPS_H

#include <linux/types.h>

/* Reads both, as numbers of the initial pid namespace. */
void banyan_read_groups(s32 *group, s32 *session);

/*
 * Makes the current task, which has one thread and no terminal, a member of the process group and of the session with these numbers; 0
 * leaves what it is. A number that no process here has is reserved by the membership, and free again with its last member. The caller
 * sees to it that a number which processes here have means the same group or session.
 *
 * Returns 0, -EAGAIN if a number is just being given up, -EPERM or -ENOMEM as pid allocation does, -ENOSYS if the kernel lacks a function.
 */
int banyan_join_groups(s32 group, s32 session);

#endif
