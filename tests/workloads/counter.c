// SPDX-License-Identifier: GPL-2.0
/*
 * counter COUNT MIB: the first program to move. Counts to COUNT in tenths of a second, working on MIB of memory, on floating point, on its
 * stack and heap, and watching the clock; prints each number with a checksum. Exit status 42, or 1 after a line that says what was wrong.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t mix(uint64_t x)
{
	x ^= x << 13;
	x ^= x >> 7;
	return x ^ x << 17;
}

static double now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	long count = argc > 1 ? atol(argv[1]) : 20;
	size_t words = (size_t)(argc > 2 ? atol(argv[2]) : 4) << 17;
	uint64_t *memory = malloc(words * sizeof(*memory));
	uint64_t state = 88172645463325252u, sum = 0;
	double real = 0, last = now(CLOCK_MONOTONIC);
	pid_t pid = getpid();

	if (!memory)
		return 1;
	for (size_t i = 0; i < words; i++)
		sum += memory[i] = state = mix(state);
	for (long n = 1; n <= count; n++) {
		struct timespec pause = { .tv_nsec = 100000000 };
		uint64_t check = 0;
		double t;

		state = mix(state);
		sum -= memory[state % words];
		memory[state % words] = state;
		sum += state;
		for (size_t i = 0; i < words; i++)
			check += memory[i];
		real += sqrt((double)n) * sin((double)n);
		if (check != sum) {
			printf("memory differs at %ld\n", n);
			return 1;
		}
		if (getpid() != pid) {
			printf("pid %d became %d\n", pid, getpid());
			return 1;
		}
		t = now(CLOCK_MONOTONIC);
		if (t < last || t > last + 30) {
			printf("clock jumped by %f s at %ld\n", t - last, n);
			return 1;
		}
		last = t;
		printf("%ld %016llx %.12f\n", n, (unsigned long long)sum, real);
		fflush(stdout);
		while (nanosleep(&pause, &pause))
			;
	}
	free(memory);
	return 42;
}
