// SPDX-License-Identifier: GPL-2.0
/*
 * state SECONDS: sets everything about itself that a program can set, then looks for that long whether it is still so, however often it
 * is moved meanwhile. What fails is printed, one line each; the last line is "state: N looks, M differ". Exit status 0 if none differs.
 *
 * The looking is done inside a signal handler on an alternate stack. As root it changes its credentials as well.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>
#include <time.h>
#include <unistd.h>

static double seconds;
static long looks, different;
static volatile sig_atomic_t ticks, alarms, profs, held_ticks, held_overruns;
static timer_t tick_timer, held_timer, cpu_timer, far_timer;
static struct timespec begun;
static char stack[65536];

#define TICK_MS 50
#define ALARM_MS 70
#define HELD_MS 20

static int sig_tick, sig_held, sig_queued, sig_cpu;

#define CHECK(what, condition)									\
	do {											\
		looks++;									\
		if (!(condition) && different++ < 50)						\
			printf("differs after %.1f s: %s (%s, line %d)\n", since(), what, #condition, __LINE__); \
	} while (0)

static double at(clockid_t clock)
{
	struct timespec t;

	if (clock_gettime(clock, &t))
		return -1;
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double since(void)
{
	return at(CLOCK_MONOTONIC) - ((double)begun.tv_sec + (double)begun.tv_nsec / 1e9);
}

static void on_tick(int sig, siginfo_t *info, void *context)
{
	ticks += 1 + info->si_overrun;
}

static void on_held(int sig, siginfo_t *info, void *context)
{
	held_ticks++;
	held_overruns += info->si_overrun;
}

static void on_alarm(int sig)
{
	alarms++;
}

static void on_prof(int sig)
{
	profs++;
}

static void other(int sig)
{
}

/* Everything that must be as it was, gathered into one block that is compared as bytes. */
struct snapshot {
	/* Handler, flags, restorer and mask, as the kernel gives them. */
	uint64_t actions[65][4];
	uint64_t blocked;
	stack_t stack;
	mode_t umask;
	int personality, dumpable, slack, subreaper, no_new_privs, securebits, keepcaps, mce, thp;
	char name[16];
	int nice, policy, io_priority, oom;
	struct rlimit limits[RLIM_NLIMITS];
	uid_t uids[3];
	gid_t gids[3], groups[64];
	int group_count;
	struct __user_cap_data_struct caps[2];
	uint64_t bounding, ambient;
	void *robust;
	size_t robust_size;
	pid_t pid, group, session, tid;
};

static int read_oom(void)
{
	char text[32] = "";
	int fd = open("/proc/self/oom_score_adj", O_RDONLY);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		return -9999;
	close(fd);
	return atoi(text);
}

static void take(struct snapshot *s)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };

	memset(s, 0, sizeof(*s));
	for (int sig = 1; sig <= 64; sig++)
		syscall(SYS_rt_sigaction, sig, NULL, s->actions[sig], 8);
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &s->blocked, 8);
	sigaltstack(NULL, &s->stack);
	s->umask = umask(0);
	umask(s->umask);
	s->personality = personality(0xffffffff);
	s->dumpable = prctl(PR_GET_DUMPABLE);
	s->slack = prctl(PR_GET_TIMERSLACK);
	prctl(PR_GET_CHILD_SUBREAPER, &s->subreaper);
	s->no_new_privs = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
	s->securebits = prctl(PR_GET_SECUREBITS);
	s->keepcaps = prctl(PR_GET_KEEPCAPS);
	s->mce = prctl(PR_MCE_KILL_GET, 0, 0, 0, 0);
	s->thp = prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0);
	prctl(PR_GET_NAME, s->name);
	s->nice = getpriority(PRIO_PROCESS, 0);
	s->policy = sched_getscheduler(0);
	s->io_priority = syscall(SYS_ioprio_get, 1, 0);
	s->oom = read_oom();
	for (int i = 0; i < RLIM_NLIMITS; i++)
		getrlimit(i, &s->limits[i]);
	getresuid(&s->uids[0], &s->uids[1], &s->uids[2]);
	getresgid(&s->gids[0], &s->gids[1], &s->gids[2]);
	s->group_count = getgroups(64, s->groups);
	syscall(SYS_capget, &header, s->caps);
	for (int cap = 0; cap < 41; cap++) {
		s->bounding |= (uint64_t)(prctl(PR_CAPBSET_READ, cap) == 1) << cap;
		s->ambient |= (uint64_t)(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) == 1) << cap;
	}
	syscall(SYS_get_robust_list, 0, &s->robust, &s->robust_size);
	s->pid = getpid();
	s->tid = gettid();
	s->group = getpgrp();
	s->session = getsid(0);
}

static void compare(const struct snapshot *a, const struct snapshot *b)
{
	for (int sig = 1; sig <= 64; sig++)
		CHECK(strsignal(sig), !memcmp(&a->actions[sig], &b->actions[sig], sizeof(a->actions[sig])));
#define SAME(field) CHECK(#field, !memcmp(&a->field, &b->field, sizeof(a->field)))
	SAME(blocked);
	SAME(stack);
	SAME(umask);
	SAME(personality);
	SAME(dumpable);
	SAME(slack);
	SAME(subreaper);
	SAME(no_new_privs);
	SAME(securebits);
	SAME(keepcaps);
	SAME(mce);
	SAME(thp);
	SAME(name);
	SAME(nice);
	SAME(policy);
	SAME(io_priority);
	SAME(oom);
	SAME(limits);
	SAME(uids);
	SAME(gids);
	SAME(groups);
	SAME(group_count);
	SAME(caps);
	SAME(bounding);
	SAME(ambient);
	SAME(robust);
	SAME(robust_size);
	SAME(pid);
	SAME(tid);
	SAME(group);
	SAME(session);
}

/* The clocks of used time and of time go on and never back. */
struct used {
	double monotonic, boottime, process, thread;
	struct rusage self, children;
	clock_t ticks;
};

static double tv(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void look_at_time(struct used *last)
{
	struct used now = {
		.monotonic = at(CLOCK_MONOTONIC),
		.boottime = at(CLOCK_BOOTTIME),
		.process = at(CLOCK_PROCESS_CPUTIME_ID),
		.thread = at(CLOCK_THREAD_CPUTIME_ID),
	};
	struct tms tms;

	getrusage(RUSAGE_SELF, &now.self);
	getrusage(RUSAGE_CHILDREN, &now.children);
	times(&tms);
	now.ticks = tms.tms_utime + tms.tms_stime;
	if (last->monotonic) {
		CHECK("CLOCK_MONOTONIC", now.monotonic >= last->monotonic && now.monotonic < last->monotonic + 20);
		CHECK("CLOCK_BOOTTIME", now.boottime >= last->boottime && now.boottime < last->boottime + 20);
		CHECK("CLOCK_PROCESS_CPUTIME_ID", now.process >= last->process && now.process < last->process + 20);
		CHECK("CLOCK_THREAD_CPUTIME_ID", now.thread >= last->thread && now.thread < last->thread + 20);
		CHECK("user time", tv(now.self.ru_utime) >= tv(last->self.ru_utime));
		CHECK("system time", tv(now.self.ru_stime) >= tv(last->self.ru_stime));
		CHECK("faults", now.self.ru_minflt >= last->self.ru_minflt && now.self.ru_majflt >= last->self.ru_majflt);
		CHECK("switches", now.self.ru_nvcsw >= last->self.ru_nvcsw);
		CHECK("largest set", now.self.ru_maxrss >= last->self.ru_maxrss);
		CHECK("children", tv(now.children.ru_utime) == tv(last->children.ru_utime));
		CHECK("times", now.ticks >= last->ticks);
	}
	*last = now;
}

static void look_at_rseq(void)
{
#ifdef RSEQ_SIG
	if (__rseq_size) {
		struct rseq *area = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);

		CHECK("rseq", (int)area->cpu_id >= 0 && area->cpu_id < (unsigned int)sysconf(_SC_NPROCESSORS_CONF));
	}
#endif
}

static void look(int sig)
{
	static struct snapshot first, now;
	struct used used = {};
	sigset_t waiting;

	take(&first);
	CHECK("on the alternate stack", first.stack.ss_flags & SS_ONSTACK);
	while (since() < seconds) {
		struct itimerspec spec;
		struct itimerval value;
		struct timespec pause = { .tv_nsec = 30000000 };
		volatile double burn = 1;

		for (int i = 0; i < 200000; i++)
			burn = burn * 1.0000001 + 1e-9;
		take(&now);
		compare(&first, &now);
		look_at_time(&used);
		look_at_rseq();
		sigpending(&waiting);
		CHECK("waiting", sigismember(&waiting, sig_queued) == 1 && sigismember(&waiting, SIGWINCH) == 1);
		CHECK("far timer", !timer_gettime(far_timer, &spec) && spec.it_interval.tv_sec == 7 &&
		      spec.it_value.tv_sec + since() > 4998 && spec.it_value.tv_sec + since() < 5002);
		CHECK("virtual timer", !getitimer(ITIMER_VIRTUAL, &value) && value.it_value.tv_sec > 900 &&
		      value.it_value.tv_sec <= 1001);
		nanosleep(&pause, NULL);
	}
}

static void limit(int which, rlim_t soft)
{
	struct rlimit limit;

	getrlimit(which, &limit);
	limit.rlim_cur = soft;
	if (setrlimit(which, &limit))
		perror("setrlimit");
}

static void make_timer(timer_t *timer, clockid_t clock, int sig, long ms, long first_s, long interval_s)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = sig, .sigev_value.sival_int = 77 };
	struct itimerspec spec = {
		.it_value = { first_s, ms % 1000 * 1000000 },
		.it_interval = { interval_s, ms % 1000 * 1000000 },
	};

	if (timer_create(clock, &event, timer) || timer_settime(*timer, 0, &spec, NULL))
		perror("timer");
}

static void handle(int sig, void (*handler)(int), void (*action)(int, siginfo_t *, void *), int flags)
{
	struct sigaction act = { .sa_flags = flags };

	if (action) {
		act.sa_sigaction = action;
		act.sa_flags |= SA_SIGINFO;
	} else {
		act.sa_handler = handler;
	}
	sigaddset(&act.sa_mask, SIGUSR2);
	sigaction(sig, &act, NULL);
}

int main(int argc, char **argv)
{
	stack_t alternate = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct itimerval alarm = { { 0, ALARM_MS * 1000 }, { 0, ALARM_MS * 1000 } };
	struct itimerval prof = { { 0, 100000 }, { 0, 100000 } }, virtual = { { 0, 0 }, { 1000, 0 } };
	cpu_set_t cpus;
	siginfo_t info;
	sigset_t set;
	double elapsed;

	seconds = argc > 1 ? atof(argv[1]) : 20;
	setvbuf(stdout, NULL, _IOLBF, 0);
	clock_gettime(CLOCK_MONOTONIC, &begun);
	sig_tick = SIGRTMIN + 2;
	sig_held = SIGRTMIN + 3;
	sig_queued = SIGRTMIN + 5;
	sig_cpu = SIGRTMIN + 6;

	prctl(PR_SET_NAME, "a state");
	prctl(PR_SET_TIMERSLACK, 123456);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	personality(ADDR_NO_RANDOMIZE | STICKY_TIMEOUTS);
	umask(0137);
	setpriority(PRIO_PROCESS, 0, 7);
	sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){});
	syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 6);
	limit(RLIMIT_NOFILE, 333);
	limit(RLIMIT_MEMLOCK, 65536);
	limit(RLIMIT_STACK, 6 << 20);
	limit(RLIMIT_CPU, 100000);
	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	if (geteuid() == 0) {
		gid_t groups[3] = { 50, 4, 7000 };
		FILE *oom = fopen("/proc/self/oom_score_adj", "w");

		if (oom) {
			fprintf(oom, "-123");
			fclose(oom);
		}
		setgroups(3, groups);
		prctl(PR_CAPBSET_DROP, CAP_SYS_BOOT);
		prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS | SECBIT_NO_SETUID_FIXUP);
		if (setresgid(1001, 1002, 1003) || setresuid(1001, 1002, 1003))
			perror("ids");
	}
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 1);

	sigaltstack(&alternate, NULL);
	handle(SIGUSR1, look, NULL, SA_ONSTACK);
	handle(SIGUSR2, other, NULL, SA_RESTART | SA_NODEFER);
	handle(SIGALRM, on_alarm, NULL, SA_RESTART);
	handle(SIGPROF, on_prof, NULL, SA_RESTART);
	handle(SIGWINCH, other, NULL, 0);
	handle(sig_tick, NULL, on_tick, SA_RESTART);
	handle(sig_held, NULL, on_held, SA_RESTART);
	handle(sig_cpu, other, NULL, SA_RESETHAND);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTTOU, SIG_IGN);

	sigemptyset(&set);
	sigaddset(&set, sig_held);
	sigaddset(&set, sig_queued);
	sigaddset(&set, sig_cpu);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (int i = 0; i < 5; i++)
		sigqueue(getpid(), sig_queued, (union sigval){ .sival_int = 1000 + i });
	raise(SIGWINCH);
	make_timer(&tick_timer, CLOCK_MONOTONIC, sig_tick, TICK_MS, 0, 0);
	make_timer(&held_timer, CLOCK_BOOTTIME, sig_held, HELD_MS, 0, 0);
	make_timer(&cpu_timer, CLOCK_PROCESS_CPUTIME_ID, sig_cpu, 100, 0, 0);
	make_timer(&far_timer, CLOCK_REALTIME, SIGUSR2, 0, 5000, 7);
	setitimer(ITIMER_REAL, &alarm, NULL);
	setitimer(ITIMER_PROF, &prof, NULL);
	setitimer(ITIMER_VIRTUAL, &virtual, NULL);

	printf("state: ready\n");
	raise(SIGUSR1);
	elapsed = since();

	for (int i = 0; i < 5; i++) {
		struct timespec none = {};

		CHECK("queued signal", sigtimedwait(&(sigset_t){ { 1ul << (sig_queued - 1) } }, &info, &none) == sig_queued);
		CHECK("its information", info.si_code == SI_QUEUE && info.si_value.sival_int == 1000 + i && info.si_pid == getpid());
	}
	CHECK("WINCH", sigtimedwait(&(sigset_t){ { 1ul << (SIGWINCH - 1) } }, &info, &(struct timespec){}) == SIGWINCH &&
	      (info.si_code == SI_TKILL || info.si_code == SI_USER));
	CHECK("cpu timer", sigtimedwait(&(sigset_t){ { 1ul << (sig_cpu - 1) } }, &info, &(struct timespec){}) == sig_cpu &&
	      info.si_code == SI_TIMER && info.si_value.sival_int == 77);
	sigprocmask(SIG_UNBLOCK, &(sigset_t){ { 1ul << (sig_held - 1) } }, NULL);
	sigprocmask(SIG_BLOCK, &(sigset_t){ { 1ul << (sig_held - 1) } }, NULL);
	CHECK("held timer comes once", held_ticks == 1);
	CHECK("its overruns", held_overruns > elapsed * 1000 / HELD_MS - 10 && held_overruns < elapsed * 1000 / HELD_MS + 10);
	CHECK("ticks", ticks > elapsed * 1000 / TICK_MS - 5 && ticks < elapsed * 1000 / TICK_MS + 5);
	/* An interval timer does not count what it misses while it waits to be delivered. */
	CHECK("alarms", alarms > elapsed * 1000 / ALARM_MS / 5 && alarms < elapsed * 1000 / ALARM_MS + 5);
	CHECK("profs", profs >= 1);
	printf("ticks %d, held %d, alarms %d, profs %d in %.1f s\n", ticks, held_overruns, alarms, profs, elapsed);
	printf("state: %ld looks, %ld differ\n", looks, different);
	return different != 0;
}
