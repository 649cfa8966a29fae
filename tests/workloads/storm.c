// SPDX-License-Identifier: GPL-2.0
/*
 * storm [COUNT]: a program that is moved about while signals rain on it. Each step works on a MiB of memory and prints its number and a
 * checksum that depends on all steps before it; SIGRTMIN+1 (sent at home) and SIGRTMIN+2 (sent where it runs) are counted. SIGTERM is handled: the last line says what was counted,
 * the exit status is 7. With COUNT it does so many steps without pauses and ends: what the output has to be.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define WORDS (1u << 17)

static volatile sig_atomic_t home, away, other, end;

static void count(int signal)
{
	if (signal == SIGRTMIN + 1)
		home++;
	else if (signal == SIGRTMIN + 2)
		away++;
	else if (signal == SIGTERM)
		end = 1;
	else
		other++;
}

int main(int argc, char **argv)
{
	long most = argc > 1 ? atol(argv[1]) : 0;
	uint64_t *memory = calloc(WORDS, sizeof(*memory)), sum = 88172645463325252u;
	struct sigaction action = { .sa_handler = count, .sa_flags = SA_RESTART };
	double real = 1;

	if (!memory)
		return 1;
	sigaction(SIGRTMIN + 1, &action, NULL);
	sigaction(SIGRTMIN + 2, &action, NULL);
	sigaction(SIGUSR1, &action, NULL);
	action.sa_flags = 0;
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGUSR2, &action, NULL);
	for (long step = 1; !end && (!most || step <= most); step++) {
		for (size_t i = 0; i < WORDS; i += 64) {
			sum ^= sum << 13;
			sum ^= sum >> 7;
			sum ^= sum << 17;
			memory[(i + sum) % WORDS] += sum;
			sum += memory[i];
		}
		real = real * 1.0000001 + 1.0 / (double)step;
		printf("%ld %016llx %.9f\n", step, (unsigned long long)sum, real);
		if (fflush(stdout))
			return 2;
		if (!most) {
			struct timespec pause = { 0, 50000000 };

			nanosleep(&pause, NULL);
		}
	}
	if (!most)
		printf("end home=%d away=%d other=%d\n", (int)home, (int)away, (int)other);
	return fflush(stdout) ? 2 : 7;
}
