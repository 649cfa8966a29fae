// SPDX-License-Identifier: GPL-2.0
/* Waiting and signals: inline functions and macros of the kernel. */
#include <linux/sched/signal.h>

#include "sync.h"

bool banyan_fatal_signal_pending(void)
{
	return fatal_signal_pending(current);
}
