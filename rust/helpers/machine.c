// SPDX-License-Identifier: GPL-2.0
/* What this machine is and how busy: CPU features, load, memory, pid allocation. */
#include <linux/cpufeature.h>
#include <linux/cpumask.h>
#include <linux/idr.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/pid_namespace.h>
#include <linux/sched/loadavg.h>
#include <linux/string.h>
#include <linux/utsname.h>
#include <asm/cpuid/api.h>
#include <asm/fpu/xcr.h>
#include <asm/processor.h>

#include "machine.h"

#define CPUID_LEAF_XSAVE	0xd
/* Components 0 and 1 (x87 and SSE) lie in the legacy area and have no leaf of their own. */
#define XSAVE_FIRST_EXTENDED	2
/* Of ecx of such a leaf. */
#define XSAVE_COMPONENT_ALIGNED	BIT(1)

unsigned int banyan_cpu_capabilities(__u32 *words, unsigned int count)
{
	memcpy(words, boot_cpu_data.x86_capability, min_t(unsigned int, count, NCAPINTS) * sizeof(*words));
	return NCAPINTS;
}

__u64 banyan_xfeatures(void)
{
	if (!boot_cpu_has(X86_FEATURE_OSXSAVE))
		return 0;
	return xgetbv(XCR_XFEATURE_ENABLED_MASK);
}

__u32 banyan_xsave_size(void)
{
	u32 eax, ebx, ecx, edx;

	if (!boot_cpu_has(X86_FEATURE_OSXSAVE))
		return 0;
	cpuid_count(CPUID_LEAF_XSAVE, 0, &eax, &ebx, &ecx, &edx);
	return ebx;
}

bool banyan_xsave_component(unsigned int i, __u32 *offset, __u32 *size)
{
	u32 eax, ebx, ecx, edx;

	*offset = 0;
	*size = 0;
	if (i < XSAVE_FIRST_EXTENDED || i >= 64 || !(banyan_xfeatures() & BIT_ULL(i)))
		return false;
	cpuid_count(CPUID_LEAF_XSAVE, i, &eax, &ebx, &ecx, &edx);
	*offset = ebx;
	*size = eax;
	return ecx & XSAVE_COMPONENT_ALIGNED;
}

unsigned int banyan_online_cpus(void)
{
	return num_online_cpus();
}

__u32 banyan_load1(void)
{
	unsigned long load = READ_ONCE(avenrun[0]) + FIXED_1 / 200;

	return LOAD_INT(load) * 100 + LOAD_FRAC(load);
}

void banyan_memory(__u64 *total_kib, __u64 *available_kib)
{
	struct sysinfo info;

	si_meminfo(&info);
	*total_kib = (u64)info.totalram << (PAGE_SHIFT - 10);
	*available_kib = (u64)max(si_mem_available(), 0L) << (PAGE_SHIFT - 10);
}

unsigned int banyan_pid_cursor(void)
{
	return idr_get_cursor(&init_pid_ns.idr);
}

void banyan_pid_set_cursor(unsigned int next)
{
	idr_set_cursor(&init_pid_ns.idr, next);
}

int banyan_pid_max(void)
{
	return READ_ONCE(init_pid_ns.pid_max);
}

void banyan_host_name(char *buf, unsigned int size)
{
	/* Not locked against sethostname(): a torn name is still terminated, and only people read it. */
	strscpy(buf, init_uts_ns.name.nodename, size);
}

void banyan_kernel_release(char *buf, unsigned int size)
{
	strscpy(buf, init_uts_ns.name.release, size);
}
