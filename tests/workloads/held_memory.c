// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that keeps a process from moving.
 *
 *   held_memory alone WHAT  has something that keeps it, or might (memfd, uprobe): prints "ready PID" and waits, or "absent" if this machine lacks it
 *   held_memory both WHAT   a child and its parent have the same memory: prints "ready CHILD PARENT"; on SIGUSR1 the parent lets go of it
 *                           and prints "released", on the next the child looks at it and ends: "ended STATUS"
 */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SYS_MSEAL 462
#define PAGE 4096UL
#define MIB (1UL << 20)

static void *map(size_t size, int protection, int flags, int fd, off_t offset)
{
	void *at = mmap(NULL, size, protection, flags, fd, offset);

	if (at == MAP_FAILED) {
		dprintf(1, "mmap: %s\n", strerror(errno));
		exit(2);
	}
	return at;
}

static void *anonymously(size_t size, int protection)
{
	/* A page that is never there before and behind, so that it is a mapping of its own. */
	unsigned char *at = map(size + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	munmap(at, PAGE);
	munmap(at + PAGE + size, PAGE);
	mprotect(at + PAGE, size, protection);
	return at + PAGE;
}

/* The test sets a uprobe here. */
__attribute__((noinline)) int uprobed(void)
{
	__asm__ volatile("");
	return 1;
}

static int pkey(int with_mapping)
{
	int key = pkey_alloc(0, 0);

	if (key < 0)
		return 0;
	return !with_mapping || !pkey_mprotect(anonymously(PAGE, PROT_READ), PAGE, PROT_READ, key);
}

static int segment(void)
{
	int id = shmget(IPC_PRIVATE, MIB, IPC_CREAT | 0600);
	void *at = shmat(id, NULL, 0);

	shmctl(id, IPC_RMID, NULL);
	return at != (void *)-1;
}

static int local_descriptors(void)
{
	struct user_desc entry = { .entry_number = 0, .base_addr = 0, .limit = 0xfffff, .seg_32bit = 1, .limit_in_pages = 1 };

	return !syscall(SYS_modify_ldt, 1, &entry, sizeof(entry));
}

static int watched(void)
{
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .range = { .start = (uintptr_t)anonymously(4 * PAGE, PROT_READ | PROT_WRITE), .len = 4 * PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING };

	return fd >= 0 && !ioctl(fd, UFFDIO_API, &api) && !ioctl(fd, UFFDIO_REGISTER, &range);
}

static int secret(int with_mapping)
{
	int fd = syscall(SYS_memfd_secret, 0);

	if (fd < 0 || ftruncate(fd, PAGE))
		return 0;
	return !with_mapping || (*(char *)map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) = 1);
}

static int huge(void)
{
	int fd = memfd_create("huge", MFD_HUGETLB);

	return fd >= 0 && !ftruncate(fd, 2 * MIB) &&
		mmap(NULL, 2 * MIB, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0) != MAP_FAILED;
}

static int named(void)
{
	int fd = shm_open("/banyan-named", O_RDWR | O_CREAT, 0600);

	if (ftruncate(fd, PAGE))
		return 0;
	map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return 1;
}

/* Whether it has it now. */
static int have(const char *what)
{
	unsigned long node = 1;

	if (!strcmp(what, "mlock"))
		return !mlock(anonymously(PAGE, PROT_READ | PROT_WRITE), PAGE);
	if (!strcmp(what, "mlock-on-fault"))
		return !mlock2(anonymously(PAGE, PROT_READ | PROT_WRITE), PAGE, MLOCK_ONFAULT);
	if (!strcmp(what, "mlockall-future"))
		return !mlockall(MCL_FUTURE);
	if (!strcmp(what, "ldt"))
		return local_descriptors();
	if (!strcmp(what, "memory-merge"))
		return !prctl(67, 1, 0, 0, 0);
	if (!strcmp(what, "mdwe"))
		return !prctl(65, 1, 0, 0, 0);
	if (!strcmp(what, "pkey") || !strcmp(what, "pkey-mapping"))
		return pkey(what[4] == '-');
	if (!strcmp(what, "set-mempolicy"))
		return !syscall(SYS_set_mempolicy, 2, &node, 64);
	if (!strcmp(what, "mbind"))
		return !syscall(SYS_mbind, anonymously(PAGE, PROT_READ), PAGE, 2, &node, 64, 0);
	if (!strcmp(what, "mbind-shared"))
		return !syscall(SYS_mbind, map(PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0), PAGE, 2, &node, 64, 0);
	if (!strcmp(what, "mseal"))
		return !syscall(SYS_MSEAL, anonymously(PAGE, PROT_READ), PAGE, 0);
	if (!strcmp(what, "secret") || !strcmp(what, "secret-descriptor"))
		return secret(!what[6]);
	if (!strcmp(what, "userfaultfd"))
		return watched();
	if (!strcmp(what, "hugetlb"))
		return huge();
	if (!strcmp(what, "named"))
		return named();
	if (!strcmp(what, "sysv"))
		return segment();
	if (!strcmp(what, "linkable"))
		return open("/dev/shm", O_RDWR | O_TMPFILE, 0600) >= 0;
	if (!strcmp(what, "tagged-addresses"))
		return !syscall(SYS_arch_prctl, 0x4002, 6UL);
	if (!strcmp(what, "mapping-name"))
		return !prctl(0x53564d41, 0, anonymously(PAGE, PROT_READ), PAGE, "name");
	if (!strcmp(what, "core-scheduling"))
		return !prctl(62, 1, 0, 0, 0);
	if (!strcmp(what, "memfd"))
		return memfd_create("alone", 0) >= 0;
	if (!strcmp(what, "uprobe"))
		return uprobed();
	fprintf(stderr, "unknown: %s\n", what);
	exit(2);
}

static int alone(const char *what)
{
	if (!have(what)) {
		printf("absent\n");
		return 0;
	}
	printf("ready %d\n", getpid());
	fflush(stdout);
	for (;;)
		pause();
}

static void on_release(int sig)
{
}

static int both(const char *what)
{
	struct sigaction release = { .sa_handler = on_release };
	void *at = NULL;
	int fd = -1, end[2];
	char text[32] = "";
	sigset_t set, former;
	pid_t child;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, &former);
	sigaction(SIGUSR1, &release, NULL);
	if (!strcmp(what, "anonymous")) {
		at = map(MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	} else if (!strncmp(what, "memfd", 5)) {
		fd = memfd_create("both", 0);
		ftruncate(fd, MIB);
		if (strcmp(what, "memfd-descriptor"))
			at = map(MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	} else {
		fd = open("both.data", O_RDWR | O_CREAT | O_TRUNC, 0600);
		ftruncate(fd, MIB);
		at = map(MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
		fd = -1;
	}
	if (at)
		strcpy(at, "both");
	if (pipe(end))
		return 2;
	child = fork();
	if (!child) {
		sigprocmask(SIG_SETMASK, &former, NULL);
		close(end[1]);
		/* Until the parent says so, or is killed. */
		if (read(end[0], text, 1) != 1)
			_exit(1);
		if (at ? strcmp(at, "both") : lseek(fd, 0, SEEK_END) != MIB)
			_exit(2);
		_exit(0);
	}
	close(end[0]);
	printf("ready %d %d\n", child, getpid());
	fflush(stdout);
	sigsuspend(&former);
	if (at)
		munmap(at, MIB);
	if (fd >= 0)
		close(fd);
	printf("released\n");
	fflush(stdout);
	sigsuspend(&former);
	write(end[1], "x", 1);
	waitpid(child, &fd, 0);
	printf("ended %d\n", fd);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "alone"))
		return alone(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "both"))
		return both(argv[2]);
	fprintf(stderr, "usage: held_memory alone WHAT | both WHAT\n");
	return 2;
}
