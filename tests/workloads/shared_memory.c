// SPDX-License-Identifier: GPL-2.0
/*
 * Memory of a process that moves: everything that can be mapped and set, before and after each move.
 *
 *   shared_memory roam NODE...  moves round the nodes and looks each time whether all is as it was; prints what is not, then
 *                               "N passed, M failed"
 *
 * If FIRST is in the environment, it is a command that is run before each move, with the process's pid in P: a move that fails. What is told at
 * home is not looked at then.
 *
 * The process that moves allocates nothing after its beginning, so that its mappings stay as they are but for what it does to them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x10
#endif

#define PAGE 4096UL
#define MIB (1UL << 20)

static int passed, failed;

/* Counts a check; says which failed. */
#define CHECK(condition, ...)							\
	do {									\
		if (condition) {						\
			passed++;						\
		} else {							\
			int error = errno;					\
			failed++;						\
			dprintf(1, "line %d: %s: ", __LINE__, #condition);	\
			dprintf(1, __VA_ARGS__);				\
			dprintf(1, " (errno %d)\n", error);			\
		}								\
	} while (0)

static int order[2], answer[2];		/* child to parent: where to; parent to child: how it went */

/* ---- What the process has ---- */

static unsigned char *anonymous, *twin, *half;	/* one object, mapped three times */
static unsigned char *sparse, *tail, *copy;	/* a memfd: its beginning, its end, a private copy of its beginning */
static int sparse_fd, dup_fd, second_fd, append_fd;
static unsigned char *sealed;
static int sealed_fd;
static unsigned char *future;
static int future_fd;
static unsigned char *removed;
static int removed_fd;
static int temporary_fd;
static unsigned char *orphan;		/* a memfd whose descriptor is closed */
static unsigned char *plain;		/* a file on the shared file system */
static int plain_fd;
static unsigned char *guarded, *guarded_file, *guarded_shared;
static unsigned char *droppable;
static unsigned char *heap;
static unsigned char *read_only, *nothing, *grows, *unreserved;

#define ANONYMOUS (3 * MIB)
#define SPARSE (5 * MIB + 123)
#define REMOVED (MIB + 5000)

static sigjmp_buf trapped;

static void on_trap(int sig)
{
	siglongjmp(trapped, sig);
}

/* Whether touching a byte is a fault. */
static int faults(volatile unsigned char *at)
{
	if (sigsetjmp(trapped, 1))
		return 1;
	(void)*at;
	return 0;
}

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

/* Advice and the letters that smaps has for it. */
static struct {
	const char *letters;
	int advice;
	unsigned char *at;
} advised[] = {
	{ "hg", MADV_HUGEPAGE }, { "nh", MADV_NOHUGEPAGE }, { "dc", MADV_DONTFORK }, { "wf", MADV_WIPEONFORK },
	{ "dd", MADV_DONTDUMP }, { "sr", MADV_SEQUENTIAL }, { "rr", MADV_RANDOM }, { "mg", MADV_MERGEABLE },
};
#define ADVISED (sizeof(advised) / sizeof(advised[0]))

static void make_shared(void)
{
	char path[64];

	anonymous = map(ANONYMOUS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	twin = mremap(anonymous, 0, ANONYMOUS, MREMAP_MAYMOVE);
	half = mremap(anonymous + MIB, 0, MIB, MREMAP_MAYMOVE);
	CHECK(twin != MAP_FAILED && half != MAP_FAILED, "second mappings");
	mprotect(half, MIB, PROT_READ);
	for (size_t i = 0; i < ANONYMOUS; i += 64 * 1024)
		anonymous[i] = i >> 16;

	sparse_fd = memfd_create("sparse", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ftruncate(sparse_fd, SPARSE);
	fcntl(sparse_fd, F_ADD_SEALS, F_SEAL_SHRINK);
	fchmod(sparse_fd, 0640);
	fchown(sparse_fd, 1234, 4321);
	pwrite(sparse_fd, "begin", 5, 0);
	pwrite(sparse_fd, "middle", 6, 2 * MIB - 3);
	pwrite(sparse_fd, "\0\0\0", 3, 3 * MIB);	/* a page of zeros, which is no hole */
	pwrite(sparse_fd, "end", 3, SPARSE - 3);
	lseek(sparse_fd, 4711, SEEK_SET);
	dup_fd = dup(sparse_fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", sparse_fd);
	second_fd = open(path, O_RDONLY);
	lseek(second_fd, 99, SEEK_SET);
	append_fd = open(path, O_WRONLY | O_APPEND);
	sparse = map(2 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, sparse_fd, 0);
	tail = map(2 * MIB, PROT_READ, MAP_SHARED, second_fd, 4 * MIB);
	copy = map(MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE, sparse_fd, 0);
	copy[PAGE] = 77;

	sealed_fd = memfd_create("sealed", MFD_NOEXEC_SEAL);
	ftruncate(sealed_fd, 2 * PAGE);
	pwrite(sealed_fd, "sealed", 6, PAGE);
	fcntl(sealed_fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	sealed = map(2 * PAGE, PROT_READ, MAP_SHARED, sealed_fd, 0);

	future_fd = memfd_create("future", MFD_ALLOW_SEALING);
	ftruncate(future_fd, 2 * PAGE);
	future = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, future_fd, 0);
	fcntl(future_fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE);

	removed_fd = open("/dev/shm/banyan-removed", O_RDWR | O_CREAT | O_EXCL | O_TRUNC, 0600);
	unlink("/dev/shm/banyan-removed");
	ftruncate(removed_fd, REMOVED);
	removed = map(REMOVED, PROT_READ | PROT_WRITE, MAP_SHARED, removed_fd, 0);
	removed[MIB] = 5;

	temporary_fd = open("/dev/shm", O_RDWR | O_TMPFILE | O_EXCL, 0600);
	CHECK(write(temporary_fd, "temporary", 9) == 9, "temporary file");

	int fd = memfd_create("orphan", 0);

	ftruncate(fd, MIB);
	orphan = map(MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	strcpy((char *)orphan + 12345, "orphan");

	plain_fd = open("shared_memory.data", O_RDWR | O_CREAT | O_TRUNC, 0600);
	ftruncate(plain_fd, 64 * 1024);
	plain = map(64 * 1024, PROT_READ | PROT_WRITE, MAP_SHARED, plain_fd, 0);
}

static void make_private(void)
{
	int filter = open("/proc/self/coredump_filter", O_WRONLY);

	guarded = anonymously(64 * PAGE, PROT_READ | PROT_WRITE);
	memset(guarded, 1, 64 * PAGE);
	CHECK(!madvise(guarded + 3 * PAGE, 2 * PAGE, MADV_GUARD_INSTALL), "guards");
	CHECK(!madvise(guarded + 63 * PAGE, PAGE, MADV_GUARD_INSTALL), "guards");
	guarded_file = map(16 * PAGE, PROT_READ, MAP_PRIVATE, plain_fd, 0);
	CHECK(!madvise(guarded_file + PAGE, PAGE, MADV_GUARD_INSTALL), "guards of a file");
	guarded_shared = map(16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, removed_fd, 0);
	CHECK(!madvise(guarded_shared + 2 * PAGE, PAGE, MADV_GUARD_INSTALL), "guards of shared memory");

	for (size_t i = 0; i < ADVISED; i++) {
		advised[i].at = anonymously(2 * MIB, PROT_READ | PROT_WRITE);
		CHECK(!madvise(advised[i].at, 2 * MIB, advised[i].advice), "advice %s", advised[i].letters);
		advised[i].at[PAGE] = i;
	}
	droppable = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_DROPPABLE | MAP_ANONYMOUS, -1, 0);
	CHECK(droppable != MAP_FAILED, "droppable memory");
	droppable[0] = 1;

	read_only = anonymously(8 * PAGE, PROT_READ | PROT_WRITE);
	memset(read_only, 9, 8 * PAGE);
	mprotect(read_only, 8 * PAGE, PROT_READ);
	nothing = anonymously(8 * PAGE, PROT_READ | PROT_WRITE);
	memset(nothing, 8, 8 * PAGE);
	mprotect(nothing, 8 * PAGE, PROT_NONE);
	unreserved = map(64 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	unreserved[60 * MIB] = 6;
	grows = map(8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0);
	grows[0] = 4;
	heap = sbrk(PAGE);

	CHECK(write(filter, "0x7f", 4) == 4, "core dump filter");
	close(filter);
	CHECK(!syscall(SYS_membarrier, 1 << 4, 0, 0), "register for barriers");
}

/* ---- What the kernel tells of it ---- */

#define TEXT (256 * 1024)
static char before[TEXT], after[TEXT], raw[TEXT];

static size_t slurp(const char *path, char *to, size_t room)
{
	int fd = open(path, O_RDONLY);
	size_t size = 0;
	ssize_t n;

	if (fd < 0)
		return 0;
	while (size < room && (n = read(fd, to + size, room - size)) > 0)
		size += n;
	close(fd);
	return size;
}

struct mapping {
	unsigned long start, end, offset, inode;
	char permissions[5];
	char path[200];
	char flags[100];
};

static int continues(const struct mapping *one, const struct mapping *next)
{
	return one->end == next->start && !strcmp(one->permissions, next->permissions) && !strcmp(one->path, next->path) &&
		!strcmp(one->flags, next->flags) && one->inode == next->inode &&
		(!one->inode || one->offset + (one->end - one->start) == next->offset);
}

static char *write_mapping(char *to, const struct mapping *it)
{
	return to + sprintf(to, "%lx-%lx %s %lx %lu %s [%s]\n", it->start, it->end, it->permissions, it->inode ? it->offset : 0,
			    it->inode, it->path, it->flags);
}

/* The mappings with their flags. Neighbours that do not differ are one; that a page was written ("sd") does not count. */
static void take_mappings(char *to)
{
	static struct mapping last, now;
	char *line, *save = NULL;
	int have = 0;
	size_t size = slurp("/proc/self/smaps", raw, sizeof(raw) - 1);

	raw[size] = 0;
	for (line = strtok_r(raw, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		int at = 0;

		if (!strncmp(line, "VmFlags: ", 9)) {
			char *out = now.flags;

			for (char *flag = line + 9; *flag; flag += 3) {
				if (strncmp(flag, "sd", 2)) {
					memcpy(out, flag, 3);
					out += 3;
				}
				if (!flag[2])
					break;
			}
			*out = 0;
			if (have && continues(&last, &now)) {
				last.end = now.end;
			} else {
				if (have)
					to = write_mapping(to, &last);
				last = now;
				have = 1;
			}
		} else if (sscanf(line, "%lx-%lx %4s %lx %*s %lu%n", &now.start, &now.end, now.permissions, &now.offset,
				  &now.inode, &at) == 5 && at) {
			while (line[at] == ' ')
				at++;
			snprintf(now.path, sizeof(now.path), "%s", line + at);
		}
	}
	if (have)
		to = write_mapping(to, &last);
	*to = 0;
}

/* Says which lines of one text the other has not. */
static void missing(const char *whose, const char *one, const char *other)
{
	while (*one) {
		size_t size = strcspn(one, "\n");
		char line[400];

		snprintf(line, sizeof(line), "%.*s\n", (int)size, one);
		if (!strstr(other, line))
			dprintf(1, "  %s %s", whose, line);
		one += size + 1;
	}
}

static void compare(const char *what)
{
	CHECK(!strcmp(before, after), "%s", what);
	missing("before", before, after);
	missing("after ", after, before);
}

static const char *const told[] = { "exe", "cmdline", "environ", "auxv" };
static char first[4][8192];
static ssize_t first_size[4];

static ssize_t tell(pid_t pid, int which, char *to, size_t room)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, told[which]);
	return which ? (ssize_t)slurp(path, to, room) : readlink(path, to, room);
}

/* ---- Moving, and looking ---- */

static void move_to(const char *node)
{
	char letter;

	dprintf(order[1], "%s\n", node);
	CHECK(read(answer[0], &letter, 1) == 1 && letter == '0', "move to node %s", node);
}

/* Where data are and where holes, as one number. */
static uint64_t holes(int fd)
{
	uint64_t hash = 0;
	off_t at = 0, end = lseek(fd, 0, SEEK_END);

	for (int i = 0; i < 1000 && at < end; i++) {
		off_t data = lseek(fd, at, SEEK_DATA);
		off_t hole = data < 0 ? end : lseek(fd, data, SEEK_HOLE);

		hash = (hash * 31 + (uint64_t)data) * 31 + (uint64_t)hole;
		at = hole;
	}
	return hash;
}

static struct stat stats[2];
static uint64_t hole_map;

static void look_at_shared(int round)
{
	struct stat now;
	char text[16] = "";
	unsigned char byte = round;

	for (size_t i = 0; i < ANONYMOUS; i += 64 * 1024)
		if (i && anonymous[i] != (unsigned char)(i >> 16))
			CHECK(0, "anonymous shared memory at %zu is %d", i, anonymous[i]);
	anonymous[0] = round;
	anonymous[MIB + 1] = round + 1;
	CHECK(twin[0] == byte && half[1] == (unsigned char)(round + 1), "mappings of one object");
	CHECK(faults(half) == 0 && half[0] == 16, "the half of it");

	CHECK(!memcmp(sparse, "begin", 5), "memfd");
	CHECK(pread(sparse_fd, text, 6, 2 * MIB - 3) == 6 && !memcmp(text, "middle", 6), "%s", text);
	CHECK(!memcmp(tail + (SPARSE - 4 * MIB - 3), "end", 3), "end of the memfd");
	CHECK(copy[PAGE] == 77 && copy[0] == 'b', "private copy");
	CHECK(lseek(sparse_fd, 0, SEEK_CUR) == 4711 + round && lseek(second_fd, 0, SEEK_CUR) == 99, "offsets %ld %ld",
	      (long)lseek(sparse_fd, 0, SEEK_CUR), (long)lseek(second_fd, 0, SEEK_CUR));
	lseek(dup_fd, 1, SEEK_CUR);
	sparse[100] = round;
	CHECK(pread(second_fd, &byte, 1, 100) == 1 && byte == (unsigned char)round, "seen through another descriptor");
	pwrite(dup_fd, "!", 1, 101);
	CHECK(sparse[101] == '!' && copy[101] == '!', "seen through mappings");
	CHECK(faults(tail + MIB + PAGE), "behind the end");
	fstat(sparse_fd, &now);
	CHECK(now.st_size == SPARSE && now.st_mode == stats[0].st_mode && now.st_ino == stats[0].st_ino && now.st_uid == 1234 &&
	      now.st_gid == 4321 && !now.st_nlink, "fstat: size %ld mode %o", (long)now.st_size, now.st_mode);
	CHECK(now.st_blocks == stats[0].st_blocks, "%ld blocks, were %ld", (long)now.st_blocks, (long)stats[0].st_blocks);
	off_t offset = lseek(sparse_fd, 0, SEEK_CUR);
	CHECK(holes(sparse_fd) == hole_map, "holes");
	lseek(sparse_fd, offset, SEEK_SET);
	CHECK(fcntl(sparse_fd, F_GET_SEALS) == F_SEAL_SHRINK, "seals %d", fcntl(sparse_fd, F_GET_SEALS));
	CHECK(ftruncate(sparse_fd, MIB) < 0 && errno == EPERM, "shrinking is sealed");
	CHECK(fcntl(sparse_fd, F_GETFD) == FD_CLOEXEC && !fcntl(dup_fd, F_GETFD), "close on exec");
	CHECK((fcntl(append_fd, F_GETFL) & (O_ACCMODE | O_APPEND)) == (O_WRONLY | O_APPEND), "flags");
	CHECK((fcntl(second_fd, F_GETFL) & O_ACCMODE) == O_RDONLY && write(second_fd, "x", 1) < 0, "read only");
	CHECK(mprotect(tail, PAGE, PROT_READ | PROT_WRITE) < 0 && errno == EACCES, "stays read only");

	CHECK(!memcmp(sealed + PAGE, "sealed", 6), "sealed memfd");
	CHECK(fcntl(sealed_fd, F_GET_SEALS) == (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | 0x20), "seals 0x%x",
	      fcntl(sealed_fd, F_GET_SEALS));
	CHECK(write(sealed_fd, "x", 1) < 0 && errno == EPERM, "writing is sealed");
	CHECK(mprotect(sealed, PAGE, PROT_READ | PROT_WRITE) < 0 && errno == EACCES, "mapping stays sealed");
	fstat(sealed_fd, &now);
	CHECK(now.st_mode == stats[1].st_mode, "mode %o", now.st_mode);

	CHECK(future[0] == (unsigned char)(round - 1), "future %d", future[0]);
	future[0] = round;
	CHECK(fcntl(future_fd, F_GET_SEALS) == F_SEAL_FUTURE_WRITE, "seals");
	CHECK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, future_fd, 0) == MAP_FAILED && errno == EPERM, "no new writers");

	CHECK(removed[MIB] == 5 && removed[10] == (unsigned char)(round - 1), "removed file");
	removed[10] = round;
	fstat(removed_fd, &now);
	CHECK(now.st_size == (off_t)REMOVED && (now.st_mode & 0777) == 0600, "removed file: %ld %o", (long)now.st_size, now.st_mode);
	CHECK(lseek(temporary_fd, 0, SEEK_CUR) == 9 && pread(temporary_fd, text, 9, 0) == 9 && !memcmp(text, "temporary", 9), "temporary");
	CHECK(!strcmp((char *)orphan + 12345, "orphan") && orphan[0] == (unsigned char)(round - 1), "orphan");
	orphan[0] = round;
	CHECK(plain[round - 1] == (unsigned char)(round - 1), "file on the shared file system");
	plain[round] = round;
}

static void look_at_private(int round)
{
	int moved = 10 + 2 * round;
	unsigned char *more;
	char filter[16] = "";

	CHECK(faults(guarded + 3 * PAGE) && faults(guarded + 4 * PAGE + 5) && faults(guarded + 63 * PAGE), "guards");
	CHECK(guarded[2 * PAGE] == 1 && guarded[5 * PAGE] == 1 && guarded[62 * PAGE] == 1, "between guards");
	CHECK(faults(guarded_file + PAGE) && !faults(guarded_file), "guards of a file");
	CHECK(faults(guarded_shared + 2 * PAGE) && guarded_shared[10] == removed[10], "guards of shared memory");
	if (round > 1)
		CHECK(faults(guarded + (moved - 2) * PAGE), "new guard");
	CHECK(!madvise(guarded + moved * PAGE, PAGE, MADV_GUARD_INSTALL), "install");
	CHECK(!madvise(guarded + 63 * PAGE, PAGE, MADV_GUARD_REMOVE) && !faults(guarded + 63 * PAGE), "remove");
	CHECK(guarded[63 * PAGE] == 0 && !madvise(guarded + 63 * PAGE, PAGE, MADV_GUARD_INSTALL), "install again");

	for (size_t i = 0; i < ADVISED; i++)
		CHECK(advised[i].at[PAGE] == i, "%s", advised[i].letters);
	CHECK(droppable[0] <= 1, "droppable");
	droppable[0] = 1;
	CHECK(read_only[5 * PAGE] == 9 && !mprotect(nothing, PAGE, PROT_READ) && nothing[0] == 8, "protected memory");
	mprotect(nothing, PAGE, PROT_NONE);
	CHECK(faults(nothing), "no access");
	CHECK(unreserved[60 * MIB] == 6 && grows[0] == 4, "other mappings");
	more = sbrk(PAGE);
	CHECK(more == heap + PAGE * round, "heap at %p, not %p", more, heap + PAGE * round);
	memset(more, round, PAGE);
	CHECK(round < 2 || heap[PAGE * (round - 1)] == round - 1, "heap");
	CHECK(slurp("/proc/self/coredump_filter", filter, 15) == 9 && !strcmp(filter, "0000007f\n"), "core dump filter %s", filter);
	CHECK(!syscall(SYS_membarrier, 1 << 3, 0, 0), "barrier");
}

static int roamer(char **nodes)
{
	static char text[8192];
	struct sigaction trap = { .sa_handler = on_trap, .sa_flags = SA_NODEFER };
	int round = 0;

	sigaction(SIGSEGV, &trap, NULL);
	sigaction(SIGBUS, &trap, NULL);
	make_shared();
	make_private();
	fstat(sealed_fd, &stats[1]);
	sparse[100] = 0;
	copy[100] = 0;
	copy[101] = '!';
	hole_map = holes(sparse_fd);
	lseek(sparse_fd, 4712, SEEK_SET);
	fstat(sparse_fd, &stats[0]);
	for (int i = 0; i < 4; i++)
		first_size[i] = tell(getpid(), i, first[i], sizeof(first[i]));
	for (; *nodes; nodes++) {
		round++;
		take_mappings(before);
		move_to(*nodes);
		take_mappings(after);
		compare("mappings");
		for (size_t i = 0; i < ADVISED; i++)
			CHECK(strstr(after, advised[i].letters), "flag %s", advised[i].letters);
		look_at_shared(round);
		look_at_private(round);
		for (int i = 0; i < 4; i++) {
			ssize_t size = tell(getpid(), i, text, sizeof(text));

			CHECK(size > 0 && size == first_size[i] && !memcmp(text, first[i], size), "/proc/self/%s", told[i]);
		}
	}
	unlink("shared_memory.data");
	dprintf(1, "%d passed, %d failed\n", passed, failed);
	return failed != 0;
}

static int roam(char **nodes)
{
	static char text[3][8192], now[8192];
	const char *before_move = getenv("FIRST");
	char node[16];
	ssize_t size[3];
	int status, have = 0;
	pid_t child;
	FILE *orders;

	if (pipe(order) || pipe(answer))
		return 2;
	child = fork();
	if (!child) {
		/* Executed anew, so that nothing of it is shared with the parent, and it has its own arguments. */
		char first[16], second[16];
		char *arguments[32] = { "shared_memory", "roamer", first, second };
		int count = 4;

		close(order[0]), close(answer[1]);
		snprintf(first, sizeof(first), "%d", order[1]);
		snprintf(second, sizeof(second), "%d", answer[0]);
		while (*nodes && count < 31)
			arguments[count++] = *nodes++;
		execv("/proc/self/exe", arguments);
		_exit(2);
	}
	close(order[1]), close(answer[0]);
	orders = fdopen(order[0], "r");
	while (fgets(node, sizeof(node), orders)) {
		char command[200];

		if (!have++)
			for (int i = 0; i < 3; i++)
				size[i] = tell(child, i, text[i], sizeof(text[i]));
		node[strcspn(node, "\n")] = 0;
		if (before_move) {
			snprintf(command, sizeof(command), "%d", child);
			setenv("P", command, 1);
			system(before_move);
		}
		snprintf(command, sizeof(command), "banyanctl migrate %d %s --wait >&2 </dev/null || banyanctl explain %d >&2", child, node, child);
		status = system(command);
		/* As it is seen at home, wherever it is. */
		for (int i = 0; i < 3 && !before_move; i++) {
			ssize_t got = tell(child, i, now, sizeof(now));

			if (got != size[i] || memcmp(now, text[i], got > 0 ? got : 0)) {
				printf("at home /proc/PID/%s differs, while at node %s\n", told[i], node);
				status = 1;
			}
		}
		fflush(stdout);
		write(answer[1], status ? "1" : "0", 1);
	}
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 3;
}

int main(int argc, char **argv)
{
	if (argc > 2 && !strcmp(argv[1], "roam"))
		return roam(argv + 2);
	if (argc > 4 && !strcmp(argv[1], "roamer")) {
		order[1] = atoi(argv[2]);
		answer[0] = atoi(argv[3]);
		return roamer(argv + 4);
	}
	fprintf(stderr, "usage: shared_memory roam NODE...\n");
	return 2;
}
