// SPDX-License-Identifier: GPL-2.0
/* Registers of the current task: inline functions and macros of the kernel. */
#include <linux/build_bug.h>
#include <linux/sched/task_stack.h>
#include <linux/user.h>
#include <asm/fpu/api.h>
#include <asm/fpu/types.h>
#include <asm/ptrace.h>
#include <asm/segment.h>
#include <asm/processor-flags.h>

#include "ksym.h"
#include "registers.h"

static_assert(sizeof(struct user_regs_struct) == BANYAN_GENERAL_REGISTERS * sizeof(u64));

/* The flags that a program may have: the arithmetic ones, direction, nested task, resume, alignment check, trap, identification. */
#define USER_FLAGS (X86_EFLAGS_CF | X86_EFLAGS_PF | X86_EFLAGS_AF | X86_EFLAGS_ZF | X86_EFLAGS_SF | X86_EFLAGS_TF | X86_EFLAGS_DF | \
		    X86_EFLAGS_OF | X86_EFLAGS_NT | X86_EFLAGS_RF | X86_EFLAGS_AC | X86_EFLAGS_ID)

void banyan_set_user_registers(const u64 *registers)
{
	const struct user_regs_struct *from = (const struct user_regs_struct *)registers;
	struct pt_regs *to = task_pt_regs(current);

	to->r15 = from->r15;
	to->r14 = from->r14;
	to->r13 = from->r13;
	to->r12 = from->r12;
	to->bp = from->bp;
	to->bx = from->bx;
	to->r11 = from->r11;
	to->r10 = from->r10;
	to->r9 = from->r9;
	to->r8 = from->r8;
	to->ax = from->ax;
	to->cx = from->cx;
	to->dx = from->dx;
	to->si = from->si;
	to->di = from->di;
	to->orig_ax = from->orig_ax;
	to->ip = from->ip;
	to->cs = __USER_CS;
	to->flags = (from->flags & USER_FLAGS) | X86_EFLAGS_IF | X86_EFLAGS_FIXED;
	to->sp = from->sp;
	to->ss = __USER_DS;
}

int banyan_set_extended_state(const void *state)
{
	/* As x86_task_fpu(), which debug builds of the kernel do not export. */
	struct fpu *fpu = (void *)current + sizeof(*current);

	/*
	 * From here on the state in memory is the true one: it is not saved again, and is loaded on the way to user mode. The kernel lets
	 * no task set its own registers through its register sets, and a kernel thread may not do it either, hence the function below them.
	 */
	kernel_fpu_begin();
	kernel_fpu_end();
	fpu->last_cpu = -1;
	return banyan_ksym_copy_uabi_from_kernel_to_xstate(fpu->fpstate, state, &current->thread.pkru);
}

bool banyan_user_64bit(void)
{
	return user_64bit_mode(task_pt_regs(current));
}
