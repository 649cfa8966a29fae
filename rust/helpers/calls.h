/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Hooks on system calls, for marked tasks only: one set of hooks for the machine, put on and taken off as a whole.
 *
 * The hooks are of ftrace. A task without a mark goes through a hooked call as ever, at the cost of a look into a small hash table.
 */
#ifndef BANYAN_CALLS_H
#define BANYAN_CALLS_H

#include <linux/types.h>

struct banyan_call_mark;
struct pt_regs;
struct task_struct;

/*
 * What is called instead of a hooked call, in the context of a marked task, as the call would be. Returns what the call shall return;
 * banyan_call_through() makes the call itself.
 */
typedef long (*banyan_call_instead_fn)(const struct pt_regs *registers, unsigned int number);

/*
 * Hooks the calls with these names (as in __x64_sys_NAME). Those that this kernel lacks are left out, and counted in *missing. May sleep;
 * one caller at a time. Returns 0, -EBUSY if another has hooked one of them in a way that excludes ours, or another error; then none
 * is hooked.
 */
int banyan_calls_hook(const char *const *names, unsigned int count, banyan_call_instead_fn instead, unsigned int *missing);
/* Takes the hooks off. On return nobody is on the way from a hook to the function given. May sleep; one caller at a time. */
void banyan_calls_unhook(void);

/*
 * Marks the current task, without effect before banyan_call_mark_activate(). Returns NULL without memory. The task stays referenced by the
 * caller until the mark is taken off.
 */
struct banyan_call_mark *banyan_call_mark(void);
void banyan_call_mark_activate(struct banyan_call_mark *mark);
/* Takes a mark off. Any context that may wait for a spinlock. */
void banyan_call_unmark(struct banyan_call_mark *mark);

/* Makes a hooked call, past its hook. Only from the function given to banyan_calls_hook(), with its arguments. */
long banyan_call_through(const struct pt_regs *registers, unsigned int number);
/* Sees to it that the current system call, which returns this value, is begun anew before user mode goes on. */
long banyan_call_restart(void);

#endif
