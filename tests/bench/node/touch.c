// SPDX-License-Identifier: GPL-2.0
/*
 * touch MIB READY: the program that is moved for the benchmarks. Fills MIB of memory with words of which none is zero and no two are alike, makes the
 * file READY, and sleeps until SIGUSR1. Then it goes through its memory and ends with status 42 if all is as it was, else with 1.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t word(size_t index)
{
	return (index * 2 + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

int main(int argc, char **argv)
{
	size_t words = (size_t)(argc > 1 ? atol(argv[1]) : 1) << 17;
	uint64_t *memory = mmap(NULL, words * sizeof(*memory), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	sigset_t check;
	int signal;

	if (memory == MAP_FAILED || argc < 3)
		return 1;
	sigemptyset(&check);
	sigaddset(&check, SIGUSR1);
	sigprocmask(SIG_BLOCK, &check, NULL);
	for (size_t i = 0; i < words; i++)
		memory[i] = word(i);
	if (close(open(argv[2], O_CREAT | O_WRONLY, 0600)))
		return 1;
	if (sigwait(&check, &signal))
		return 1;
	for (size_t i = 0; i < words; i++)
		if (memory[i] != word(i))
			return 1;
	return 42;
}
