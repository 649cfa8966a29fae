// SPDX-License-Identifier: GPL-2.0
/*
 * calls SECONDS: how long small things take a process that is not moved. Goes round all of them in short batches for SECONDS, so that each sees the
 * same weather, and prints one line for each: its name, the shortest and the median batch in nanoseconds for one, and the number of batches.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BATCHES 40000
#define BATCH_NS 1000000.0
/* Batches of a thing that is short, for each one of a thing that is longer than a batch. */
#define MORE 4

static int zero_file, null_file;
static const char *path = "/tmp/bench-open";
static volatile uint64_t sink;

static void null_syscall(void) { syscall(SYS_getppid); }

static void read_byte(void)
{
	char byte;

	if (read(zero_file, &byte, 1) != 1)
		exit(1);
}

static void write_byte(void)
{
	if (write(null_file, "x", 1) != 1)
		exit(1);
}

static void open_close(void)
{
	if (close(open(path, O_RDONLY)))
		exit(1);
}

static void fork_exec_wait(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		execl("/proc/self/exe", "calls", "0", NULL);
		_exit(1);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		exit(1);
}

static void cpu_loop(void)
{
	uint64_t state = 88172645463325252u;

	for (int i = 0; i < 1000; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
	}
	sink = state;
}

static struct thing {
	const char *name;
	void (*once)(void);
	long count; /* in one batch */
	long batches;
	double batch[BATCHES]; /* ns for one */
} things[] = {
	{ .name = "null_syscall", .once = null_syscall },
	{ .name = "read", .once = read_byte },
	{ .name = "write", .once = write_byte },
	{ .name = "open_close", .once = open_close },
	{ .name = "fork_exec_wait", .once = fork_exec_wait },
	{ .name = "cpu_loop", .once = cpu_loop },
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Nanoseconds of the CPU that this process and its children have had. */
static double used(void)
{
	struct rusage own, children;

	getrusage(RUSAGE_SELF, &own);
	getrusage(RUSAGE_CHILDREN, &children);
	return (double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec + children.ru_utime.tv_sec + children.ru_stime.tv_sec) * 1e9 +
	       (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec + children.ru_utime.tv_usec + children.ru_stime.tv_usec) * 1e3;
}

/* Nanoseconds that `count` of them take. */
static double batch(const struct thing *thing, long count)
{
	double begin = now();

	for (long i = 0; i < count; i++)
		thing->once();
	return now() - begin;
}

/* As many as fit into a batch when nothing disturbs; the first ones are slow, and do not count. */
static void calibrate(struct thing *thing)
{
	double best = 1e18;

	for (int i = 0; i < 20; i++)
		for (long count = 1; count <= 64; count *= 8) {
			double one = batch(thing, count) / (double)count;

			if (one < best)
				best = one;
			if (one > BATCH_NS)
				break;
		}
	thing->count = (long)(BATCH_NS / best);
	if (thing->count < 1)
		thing->count = 1;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 1, end, begin, ours;
	const size_t number = sizeof(things) / sizeof(things[0]);

	if (seconds <= 0)
		return 0;
	zero_file = open("/dev/zero", O_RDONLY);
	null_file = open("/dev/null", O_WRONLY);
	if (zero_file < 0 || null_file < 0 || close(open(path, O_CREAT | O_WRONLY, 0600)))
		return 1;
	for (size_t i = 0; i < number; i++)
		calibrate(&things[i]);
	begin = now();
	ours = used();
	end = begin + seconds * 1e9;
	for (long turn = 0; now() < end; turn++)
		for (size_t i = 0; i < number; i++)
			if (things[i].batches < BATCHES && (things[i].count > 1 || turn % MORE == 0))
				things[i].batch[things[i].batches++] = batch(&things[i], things[i].count) / (double)things[i].count;
	ours = (used() - ours) / (now() - begin);
	for (size_t i = 0; i < number; i++) {
		struct thing *thing = &things[i];

		qsort(thing->batch, (size_t)thing->batches, sizeof(double), ascending);
		printf("%s %.2f %ld\n", thing->name, thing->batch[thing->batches / 100], thing->batches);
	}
	printf("share %.5f 1\n", ours);
	unlink(path);
	return 0;
}
