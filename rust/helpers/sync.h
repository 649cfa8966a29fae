/* SPDX-License-Identifier: GPL-2.0 */
/* Waiting and signals: inline functions and macros of the kernel. */
#ifndef BANYAN_SYNC_H
#define BANYAN_SYNC_H

#include <linux/types.h>

/* Whether a fatal signal waits for the current task. */
bool banyan_fatal_signal_pending(void);

#endif
