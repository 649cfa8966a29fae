/* SPDX-License-Identifier: GPL-2.0 */
/* Timers and used time of the current task, which has one thread: inline functions and locks of the kernel. */
#ifndef BANYAN_TIMERS_H
#define BANYAN_TIMERS_H

#include <linux/types.h>

struct task_struct;

/* A timer made by timer_create(2). Times are nanoseconds on the node's clocks. */
struct banyan_timer {
	s32 id;
	s32 clock;
	u32 notify;
	u32 signal;
	u64 value;
	/* 0 = it is not armed, and its signal does not wait. */
	s64 expires;
	s64 interval;
	s64 overrun_last;
	/* The signal waits to be delivered, or is ignored. */
	u32 pending;
	/* expires is on CLOCK_MONOTONIC, though the timer's clock is CLOCK_REALTIME. */
	u32 relative;
};

/* Copies the timers. Returns their number, of which no more than max were copied. */
unsigned int banyan_timers(struct banyan_timer *timers, unsigned int max);
/*
 * Whether any timer of a task is on a clock other than CLOCK_REALTIME, MONOTONIC, BOOTTIME, TAI and those of its own CPU time. If so, its
 * id is stored.
 */
bool banyan_odd_timer(struct task_struct *task, s32 *id);
/* Whether a timer of the process pid on this clock is none of those. */
bool banyan_odd_clock(s32 clock, s32 pid);
/* Sets what timer_getoverrun(2) returns for a timer. */
void banyan_set_overrun(s32 id, s64 overrun);

/* An interval timer. expires is on CLOCK_MONOTONIC of the node for the real one, CPU time used for the others; 0 = not running. */
struct banyan_interval_timer {
	s64 expires;
	s64 interval;
	/* Of the real one: it has an interval and has expired, and goes on when its signal is delivered. */
	u64 waits;
};

/* Reads ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF. */
void banyan_interval_timers(struct banyan_interval_timer timers[3]);
/* Puts the real one, stopped before, into the state in which it waits for its signal to be delivered. */
void banyan_set_waiting_timer(s64 expires, s64 interval);

/* What a process has used, exactly as the kernel keeps it: of pairs, the first is the thread's and the second that of ended threads. */
struct banyan_account {
	/* On the node's clocks. */
	u64 start;
	u64 start_boottime;
	u64 utime[2];
	u64 stime[2];
	u64 run[2];
	/* User and system time last reported: of the thread, of the process. */
	u64 reported[4];
	u64 children_time[2];
	u64 nvcsw[2];
	u64 nivcsw[2];
	u64 children_switches[2];
	u64 minor_faults[2];
	u64 major_faults[2];
	u64 children_faults[2];
	/* Blocks read and written: by ended threads, by children. */
	u64 blocks[4];
	/* Largest resident set: of the process, of children. */
	u64 largest[2];
	/* Input and output: of the thread, of ended threads. */
	u64 io[14];
};

void banyan_get_account(struct banyan_account *account);
void banyan_set_account(const struct banyan_account *account);

#endif
