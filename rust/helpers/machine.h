/* SPDX-License-Identifier: GPL-2.0 */
/* What this machine is and how busy: CPU features, load, memory, pid allocation. */
#ifndef BANYAN_MACHINE_H
#define BANYAN_MACHINE_H

#include <linux/types.h>

/* Copies up to count of the kernel's CPU capability words; returns how many there are. */
unsigned int banyan_cpu_capabilities(__u32 *words, unsigned int count);

/* The XSAVE components that the kernel has enabled for user state (XCR0), and the size of the standard area that holds them. */
__u64 banyan_xfeatures(void);
__u32 banyan_xsave_size(void);
/* Offset and size of component number i in the standard area; both 0 if the CPU does not have it. */
bool banyan_xsave_component(unsigned int i, __u32 *offset, __u32 *size);

unsigned int banyan_online_cpus(void);
/* Load average of the last minute, in hundredths. */
__u32 banyan_load1(void);
/* All memory, and what is available to a new process, in KiB. */
void banyan_memory(__u64 *total_kib, __u64 *available_kib);

/*
 * The pid that the next process gets, if it is free, and the end of the pid space. Setting the cursor does what writing
 * ns_last_pid does.
 */
unsigned int banyan_pid_cursor(void);
void banyan_pid_set_cursor(unsigned int next);
int banyan_pid_max(void);

/* Copies a name of the machine into buf, NUL-terminated. */
void banyan_host_name(char *buf, unsigned int size);
void banyan_kernel_release(char *buf, unsigned int size);

#endif
