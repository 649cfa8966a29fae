// SPDX-License-Identifier: GPL-2.0
/*
 * waits SECONDS [ROUNDS]: waits in every system call that waits for a time, for SECONDS each, and says how long each took. However often
 * it is moved meanwhile, none may end early, fail, or start anew. Last line "waits: N waited, M wrong"; exit status 0 if none was wrong.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static double seconds;
static int waited, wrong;
static volatile sig_atomic_t alarms;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct timespec span(double s)
{
	return (struct timespec){ .tv_sec = (time_t)s, .tv_nsec = (long)((s - (double)(time_t)s) * 1e9) };
}

static void report(const char *what, double begun, long result, int error, long want, int want_error)
{
	double took = now() - begun;
	/* Half a second for a slow machine, and the time of the moves. */
	int bad = took < seconds - 0.002 || took > seconds + 2 || result != want || (want == -1 && error != want_error);

	waited++;
	wrong += bad;
	printf("%-28s %.3f s, result %ld%s%s%s\n", what, took, result, result == -1 ? ": " : "",
	       result == -1 ? strerror(error) : "", bad ? "   WRONG" : "");
}

#define WAIT(what, call, want, want_error)				\
	do {								\
		double begun = now();					\
		long result;						\
		errno = 0;						\
		result = (call);					\
		report(what, begun, result, errno, want, want_error);	\
	} while (0)

static void on_alarm(int sig)
{
	alarms++;
}

static int absolute(clockid_t clock)
{
	struct timespec t, add = span(seconds);

	clock_gettime(clock, &t);
	t.tv_sec += add.tv_sec;
	t.tv_nsec += add.tv_nsec;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	return clock_nanosleep(clock, TIMER_ABSTIME, &t, NULL);
}

/* As signal(7) says, sigtimedwait ends with EINTR even without a handler; then the rest of the time is waited. */
static int patient_wait(const sigset_t *set)
{
	double until = now() + seconds;

	for (;;) {
		double left = until - now();
		struct timespec time = span(left > 0 ? left : 0);
		int sig = sigtimedwait(set, NULL, &time);

		if (sig != -1 || errno != EINTR)
			return sig;
	}
}

int main(int argc, char **argv)
{
	int rounds = argc > 2 ? atoi(argv[2]) : 1;
	struct sigaction action = { .sa_handler = on_alarm };
	uint32_t word = 5;
	int pipes[2];
	sigset_t set, all, alarm;

	seconds = argc > 1 ? atof(argv[1]) : 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaction(SIGALRM, &action, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigemptyset(&all);
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	printf("waits: ready\n");

	for (int round = 0; round < rounds; round++) {
		struct timespec time = span(seconds), rest;
		struct timeval tv = { time.tv_sec, time.tv_nsec / 1000 };
		struct itimerval once = { { 0, 0 }, tv };

		WAIT("nanosleep", nanosleep(&time, &rest), 0, 0);
		WAIT("nanosleep without rest", nanosleep(&time, NULL), 0, 0);
		WAIT("clock_nanosleep boottime", clock_nanosleep(CLOCK_BOOTTIME, 0, &time, NULL), 0, 0);
		WAIT("clock_nanosleep realtime", clock_nanosleep(CLOCK_REALTIME, 0, &time, NULL), 0, 0);
		WAIT("... until, monotonic", absolute(CLOCK_MONOTONIC), 0, 0);
		WAIT("... until, boottime", absolute(CLOCK_BOOTTIME), 0, 0);
		WAIT("poll", poll(NULL, 0, (int)(seconds * 1000)), 0, 0);
		WAIT("ppoll", ppoll(NULL, 0, &time, &all), 0, 0);
		WAIT("select", select(0, NULL, NULL, NULL, &tv), 0, 0);
		WAIT("pselect", pselect(0, NULL, NULL, NULL, &time, &all), 0, 0);
		WAIT("sigtimedwait", patient_wait(&set), -1, EAGAIN);
		WAIT("futex wait", syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 5, &time, NULL, 0), -1, ETIMEDOUT);
		setitimer(ITIMER_REAL, &once, NULL);
		sigprocmask(SIG_BLOCK, &alarm, NULL);
		WAIT("sigwaitinfo of an alarm", sigwaitinfo(&alarm, NULL), SIGALRM, 0);
		sigprocmask(SIG_UNBLOCK, &alarm, NULL);
		setitimer(ITIMER_REAL, &once, NULL);
		WAIT("pause until an alarm", pause(), -1, EINTR);
		setitimer(ITIMER_REAL, &once, NULL);
		WAIT("sigsuspend until an alarm", sigsuspend(&all), -1, EINTR);
		if (!pipe(pipes)) {
			struct pollfd poller = { .fd = pipes[0], .events = POLLIN };

			WAIT("poll of a pipe", poll(&poller, 1, (int)(seconds * 1000)), 0, 0);
			close(pipes[0]);
			close(pipes[1]);
		}
	}
	if (alarms != 2 * rounds)
		wrong++;
	printf("waits: %d waited, %d wrong\n", waited, wrong);
	return wrong != 0;
}
