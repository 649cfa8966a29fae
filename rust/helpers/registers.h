/* SPDX-License-Identifier: GPL-2.0 */
/* Registers of the current task: inline functions and macros of the kernel. */
#ifndef BANYAN_REGISTERS_H
#define BANYAN_REGISTERS_H

#include <linux/types.h>

/* Number of words in the kernel's user_regs_struct. */
#define BANYAN_GENERAL_REGISTERS 27

/*
 * Sets the registers with which the current task goes on in user mode, all but the segment bases and selectors. Selectors of code and
 * stack become those of a 64-bit program, and of the flags only those are taken that a program may set.
 */
void banyan_set_user_registers(const u64 *registers);

/*
 * Sets the current task's extended state from one in the standard XSAVE layout, of the size that the kernel gives to debuggers. The task
 * must be in process context. -EINVAL if it is not a state that this CPU can have, -ENOSYS if this kernel lacks the function for it.
 */
int banyan_set_extended_state(const void *state);

/* Whether the registers are those of a 64-bit program. */
bool banyan_user_64bit(void);

#endif
