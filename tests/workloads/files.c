// SPDX-License-Identifier: GPL-2.0
/*
 * Open files of a process that moves: every kind that is carried, before and after each move.
 *
 *   files roam NODE...      pipes, a terminal, regular files, a file whose offset another process shares
 *   files terminal AWAY HOME  job control at a terminal while the program is away
 *   files echo              (used by `terminal`) repeats lines
 *
 * The process that moves asks its parent to move it, and waits for the answer in a pipe, so that it is moved while it waits: by turns in
 * read() and in poll(). Prints what went wrong, then "N passed, M failed". Link statically or dynamically, with -lutil.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define MAX_FD 24
#define BIG 300000

static int passed, failed;

/* Counts a check; says which failed and with what numbers. */
#define CHECK(condition, ...)							\
	do {									\
		if (condition) {						\
			passed++;						\
		} else {							\
			failed++;						\
			printf("line %d: %s: ", __LINE__, #condition);		\
			printf(__VA_ARGS__);					\
			printf(" (errno %d)\n", errno);				\
		}								\
	} while (0)

static int order[2], answer[2];		/* child to parent: where to; parent to child: how it went */
static int to[2], from[2], held[2];	/* child to helper, helper to child, and one that only the child holds open */
static int master, slave;
static int shared;			/* a regular file whose offset parent and child share */
static volatile sig_atomic_t alarms, broken;

static void on_signal(int signal)
{
	if (signal == SIGPIPE)
		broken++;
	else
		alarms++;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static int migrate(int pid, const char *node)
{
	char command[200];

	snprintf(command, sizeof(command), "banyanctl migrate %d %s --wait >&2 </dev/null", pid, node);
	return system(command);
}

static void read_all(int fd, void *to_here, int size)
{
	int done = 0;

	while (done < size) {
		int n = read(fd, (char *)to_here + done, size - done);

		if (n <= 0)
			break;
		done += n;
	}
}

/* The other end of the pipes. 'e' N bytes: repeats them. 'd': a byte after 0.3 s. 's' N bytes: their sum. 'q': ends, after the held pipe. */
static void helper(void)
{
	static unsigned char buffer[BIG];
	long sum = 0;
	int size;
	char what;

	close(to[1]), close(from[0]), close(held[1]), close(order[0]), close(order[1]), close(answer[0]), close(answer[1]);
	close(master), close(slave);
	while (read(to[0], &what, 1) == 1) {
		switch (what) {
		case 'e':
			read_all(to[0], &size, sizeof(size));
			read_all(to[0], buffer, size);
			write(from[1], buffer, size);
			break;
		case 'd':
			usleep(300000);
			write(from[1], "x", 1);
			break;
		case 's':
			read_all(to[0], &size, sizeof(size));
			read_all(to[0], buffer, size);
			sum = 0;
			for (int i = 0; i < size; i++)
				sum += buffer[i];
			write(from[1], &sum, sizeof(sum));
			break;
		case 'q':
			close(to[0]);
			write(from[1], read(held[0], buffer, 1) == 0 ? "E" : "?", 1);
			_exit(0);
		}
	}
	_exit(0);
}

/* The one who sits at the terminal. 'w': types a line after 0.2 s. 's': changes the size of the window. */
static void typist(void)
{
	struct winsize size = { .ws_row = 50, .ws_col = 132 };
	char buffer[100];

	close(to[0]), close(to[1]), close(from[0]), close(from[1]), close(held[0]), close(held[1]), close(slave);
	close(order[0]), close(order[1]), close(answer[0]), close(answer[1]);
	while (read(master, buffer, sizeof(buffer)) > 0) {
		if (buffer[0] == 'w') {
			usleep(200000);
			write(master, "line\n", 5);
		} else if (buffer[0] == 's') {
			ioctl(master, TIOCSWINSZ, &size);
		}
	}
	_exit(0);
}

/* Asks the parent. "!": to write to the shared file; else the name of a node. */
static int ask(const char *what)
{
	struct pollfd ready = { .fd = answer[0], .events = POLLIN };
	char text[32] = "";
	static int turn;
	int result = -1;

	strncpy(text, what, sizeof(text) - 1);
	write(order[1], text, sizeof(text));
	if (turn++ & 1) {
		while (poll(&ready, 1, -1) < 0 && errno == EINTR)
			;
	}
	return read(answer[0], &result, sizeof(result)) == sizeof(result) ? result : -2;
}

static void echo_once(void)
{
	char buffer[16] = "";
	int size = 5;

	write(to[1], "e", 1);
	write(to[1], &size, sizeof(size));
	CHECK(write(to[1], "hello", 5) == 5, "write to a pipe");
	CHECK(read(from[0], buffer, sizeof(buffer)) == 5 && !strcmp(buffer, "hello"), "read %s", buffer);
}

static void check_pipes(void)
{
	struct itimerval soon = { .it_value.tv_usec = 100000 };
	struct sigaction once = { .sa_handler = on_signal }, again = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	struct pollfd ready = { .fd = from[0], .events = POLLIN };
	static unsigned char big[BIG];
	int size = BIG, flags, count = -1;
	long sum = 0, told = 0;
	char byte = 0;
	double begun;

	echo_once();
	CHECK(lseek(from[0], 0, SEEK_CUR) == -1 && errno == ESPIPE, "a pipe has an offset");
	CHECK(ioctl(from[0], FIONREAD, &count) == 0 && count == 0, "FIONREAD %d", count);

	CHECK(poll(&ready, 1, 0) == 0, "poll without waiting");
	begun = now();
	CHECK(poll(&ready, 1, 200) == 0 && now() - begun > 0.19, "poll took %f s", now() - begun);
	write(to[1], "d", 1);
	begun = now();
	CHECK(poll(&ready, 1, 20000) == 1 && ready.revents == POLLIN && now() - begun < 15, "not woken");
	CHECK(read(from[0], &byte, 1) == 1 && byte == 'x', "read after poll");
	ready = (struct pollfd){ .fd = to[1], .events = POLLOUT };
	CHECK(poll(&ready, 1, 1000) == 1 && ready.revents == POLLOUT, "revents %x", ready.revents);

	/* A signal ends a read, and no byte is lost by that. */
	sigaction(SIGALRM, &once, NULL);
	alarms = 0;
	setitimer(ITIMER_REAL, &soon, NULL);
	CHECK(read(from[0], &byte, 1) == -1 && errno == EINTR && alarms == 1, "%d alarms", (int)alarms);
	write(to[1], "d", 1);
	CHECK(read(from[0], &byte, 1) == 1 && byte == 'x', "read after EINTR");
	sigaction(SIGALRM, &again, NULL);
	alarms = 0;
	setitimer(ITIMER_REAL, &soon, NULL);
	write(to[1], "d", 1);
	CHECK(read(from[0], &byte, 1) == 1 && byte == 'x' && alarms == 1, "SA_RESTART, %d alarms", (int)alarms);

	flags = fcntl(from[0], F_GETFL);
	fcntl(from[0], F_SETFL, flags | O_NONBLOCK);
	CHECK(read(from[0], &byte, 1) == -1 && errno == EAGAIN, "O_NONBLOCK");
	fcntl(from[0], F_SETFL, flags);

	for (int i = 0; i < BIG; i++)
		sum += big[i] = i * 7;
	write(to[1], "s", 1);
	write(to[1], &size, sizeof(size));
	CHECK(write(to[1], big, BIG) == BIG, "a large write");
	read_all(from[0], &told, sizeof(told));
	CHECK(sum == told, "sums %ld %ld", sum, told);
}

static void check_terminal(const struct termios *settings)
{
	struct termios seen;
	struct winsize size = { 0 };
	char buffer[32];

	CHECK(isatty(slave) && !isatty(to[1]), "isatty");
	CHECK(tcgetattr(slave, &seen) == 0 && !memcmp(&seen, settings, sizeof(seen)), "settings");
	CHECK(write(slave, "s", 1) == 1, "write to the terminal");
	for (int i = 0; i < 100 && size.ws_row != 50; i++) {
		usleep(20000);
		ioctl(slave, TIOCGWINSZ, &size);
	}
	CHECK(size.ws_row == 50 && size.ws_col == 132, "window %d x %d", size.ws_row, size.ws_col);
	CHECK(ioctl(slave, 0x12345678, 0) == -1 && errno == ENOTTY, "an unknown ioctl");
	write(slave, "w", 1);
	CHECK(read(slave, buffer, sizeof(buffer)) == 5 && !memcmp(buffer, "line\n", 5), "read of a line");
}

static void check_shared_offset(int round)
{
	char text[16], all[200] = "", expected[200] = "";
	struct stat stat;
	int size;

	snprintf(text, sizeof(text), "child%d ", round);
	CHECK(write(shared, text, 7) == 7, "write");
	fstat(shared, &stat);
	size = 14 * round + 7;
	CHECK(stat.st_size == size && lseek(shared, 0, SEEK_CUR) == size, "size %ld", (long)stat.st_size);
	CHECK(ask("!") == 7 && lseek(shared, 0, SEEK_CUR) == size + 7, "offset after the parent wrote");
	for (int i = 0; i <= round; i++)
		sprintf(expected + strlen(expected), "child%d parent ", i);
	lseek(shared, 0, SEEK_SET);
	CHECK(read(shared, all, sizeof(all) - 1) == size + 7 && !strcmp(all, expected), "content %s", all);
}

/* The process that moves. */
static int roam(char **nodes)
{
	struct stat before[MAX_FD] = { 0 }, after;
	char names[MAX_FD][100] = { "" }, name[100], link[40], place[200], program[200], here[200];
	int data, again, append, directory, null, length, round = 0;
	struct termios settings;

	getcwd(place, sizeof(place));
	length = readlink("/proc/self/exe", program, sizeof(program) - 1);
	program[length > 0 ? length : 0] = 0;
	data = open("files.data", O_RDWR | O_CREAT | O_TRUNC, 0644);
	again = dup(data);
	append = open("files.data", O_WRONLY | O_APPEND | O_CLOEXEC);
	directory = open(".", O_RDONLY | O_DIRECTORY);
	null = open("/dev/null", O_RDWR);
	CHECK(data >= 0 && append >= 0 && directory >= 0 && null >= 0, "open");
	CHECK(tcgetattr(slave, &settings) == 0, "tcgetattr");
	signal(SIGPIPE, on_signal);
	for (int fd = 0; fd < MAX_FD; fd++) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		if (fstat(fd, &before[fd]) < 0)
			memset(&before[fd], 0, sizeof(after));
		length = readlink(link, names[fd], sizeof(names[fd]) - 1);
		names[fd][length > 0 ? length : 0] = 0;
	}
	write(data, "0123456789", 10);

	for (; *nodes; nodes++, round++) {
		CHECK(ask(*nodes) == 0, "move to %s", *nodes);
		for (int fd = 0; fd < MAX_FD; fd++) {
			memset(&after, 0, sizeof(after));
			fstat(fd, &after);
			CHECK(after.st_mode == before[fd].st_mode && after.st_rdev == before[fd].st_rdev && after.st_ino == before[fd].st_ino &&
			      after.st_uid == before[fd].st_uid, "descriptor %d is another file", fd);
			snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
			length = readlink(link, name, sizeof(name) - 1);
			name[length > 0 ? length : 0] = 0;
			CHECK(!strcmp(name, names[fd]), "descriptor %d: %s, was %s", fd, name, names[fd]);
		}
		check_pipes();
		check_terminal(&settings);
		check_shared_offset(round);
		CHECK(write(null, "x", 1) == 1, "/dev/null");
		CHECK(lseek(data, 0, SEEK_CUR) == 10 + 3 * round, "offset");
		CHECK(write(again, "abc", 3) == 3 && lseek(data, 0, SEEK_CUR) == 13 + 3 * round, "one description, two descriptors");
		CHECK((fcntl(append, F_GETFL) & (O_APPEND | O_ACCMODE)) == (O_APPEND | O_WRONLY), "flags");
		CHECK(fcntl(append, F_GETFD) == FD_CLOEXEC && fcntl(data, F_GETFD) == 0, "close on exec");
		CHECK(getcwd(here, sizeof(here)) && !strcmp(here, place), "working directory %s", here);
		length = readlink("/proc/self/exe", name, sizeof(name) - 1);
		name[length > 0 ? length : 0] = 0;
		CHECK(!strcmp(name, program), "program %s", name);
	}

	/* The other ends go, and this one. */
	write(to[1], "q", 1);
	usleep(500000);
	CHECK(write(to[1], "z", 1) == -1 && errno == EPIPE && broken == 1, "%d SIGPIPE", (int)broken);
	close(held[1]);
	read_all(from[0], name, 1);
	CHECK(name[0] == 'E', "the other end saw no end of file");
	CHECK(read(from[0], name, 1) == 0, "no end of file here");
	printf("%d passed, %d failed\n", passed, failed);
	return failed != 0;
}

static int start_roaming(char **nodes)
{
	pid_t other[2], mover;
	char text[32];
	int status;

	shared = open("files.shared", O_RDWR | O_CREAT | O_TRUNC, 0644);
	if (shared < 0 || pipe(to) || pipe(from) || pipe(held) || pipe(order) || pipe(answer) || openpty(&master, &slave, NULL, NULL, NULL)) {
		perror("files");
		return 2;
	}
	other[0] = fork();
	if (!other[0])
		helper();
	other[1] = fork();
	if (!other[1])
		typist();
	mover = fork();
	if (!mover) {
		close(order[0]), close(answer[1]), close(to[0]), close(from[1]), close(held[0]), close(master);
		_exit(roam(nodes));
	}
	close(order[1]), close(answer[0]), close(to[0]), close(to[1]), close(from[0]), close(from[1]), close(held[0]), close(held[1]);
	close(master), close(slave);
	while (read(order[0], text, sizeof(text)) == sizeof(text)) {
		int result = *text == '!' ? (int)write(shared, "parent ", 7) : migrate(mover, text);

		write(answer[1], &result, sizeof(result));
	}
	waitpid(mover, &status, 0);
	for (int i = 0; i < 2; i++) {
		kill(other[i], SIGKILL);
		waitpid(other[i], NULL, 0);
	}
	return status != 0;
}

static int echo_lines(void)
{
	char line[100];

	printf("at a terminal: %d, pid %d.\n", isatty(0), getpid());
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		printf("got %s", line);
		fflush(stdout);
	}
	printf("no more\n");
	return 3;
}

static char screen[1 << 16];
static int filled;

/* Waits until the terminal shows this. Returns what follows it. */
static char *expect(int fd, const char *text)
{
	double begun = now();

	while (now() - begun < 20) {
		struct pollfd ready = { .fd = fd, .events = POLLIN };
		char *at = strstr(screen, text);

		if (at)
			return at + strlen(text);
		if (poll(&ready, 1, 200) == 1) {
			int n = read(fd, screen + filled, sizeof(screen) - 1 - filled);

			if (n <= 0)
				break;
			filled += n;
			screen[filled] = 0;
		}
	}
	printf("expected \"%s\", the screen shows \"%s\"\n", text, screen);
	return NULL;
}

/* Types, with an empty screen before. */
static void type(int fd, const char *text)
{
	filled = 0;
	screen[0] = 0;
	write(fd, text, strlen(text));
}

static int terminal(const char *self, const char *away, const char *home)
{
	int fd, pid;
	pid_t shell = forkpty(&fd, NULL, NULL, NULL);

	if (!shell) {
		execlp("sh", "sh", "-i", (char *)NULL);
		_exit(1);
	}
	type(fd, "PS1=; PS2=; echo rea''dy\n");
	CHECK(expect(fd, "ready"), "shell");
	for (int round = 0; round < 2; round++) {
		char command[300];
		char *at;

		snprintf(command, sizeof(command), "%s echo\n", self);
		type(fd, command);
		CHECK(expect(fd, "pid "), "start");
		expect(fd, ".\r\n");
		at = strstr(screen, "pid ");
		pid = at ? atoi(at + 4) : 0;
		CHECK(migrate(pid, away) == 0, "move away");
		type(fd, "hello\n");
		CHECK(expect(fd, "got hello"), "line");
		type(fd, "\032");
		CHECK(expect(fd, "Stopped"), "Ctrl-Z");
		type(fd, "jobs\n");
		CHECK(expect(fd, "Stopped"), "jobs");
		type(fd, "fg\n");
		usleep(500000);
		type(fd, "again\n");
		CHECK(expect(fd, "got again"), "fg");
		CHECK(migrate(pid, home) == 0, "come home");
		type(fd, "back\n");
		CHECK(expect(fd, "got back"), "line at home");
		CHECK(migrate(pid, away) == 0, "move away again");
		type(fd, round ? "\003" : "\004");
		usleep(500000);
		type(fd, "echo st''atus=$?.\n");
		CHECK(expect(fd, round ? "status=130." : "status=3."), "end");
	}
	kill(shell, SIGKILL);
	waitpid(shell, NULL, 0);
	printf("%d passed, %d failed\n", passed, failed);
	return failed != 0;
}

int main(int argc, char **argv)
{
	char self[200];
	int length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[length > 0 ? length : 0] = 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 2 && !strcmp(argv[1], "roam"))
		return start_roaming(argv + 2);
	if (argc == 4 && !strcmp(argv[1], "terminal"))
		return terminal(self, argv[2], argv[3]);
	if (argc == 2 && !strcmp(argv[1], "echo"))
		return echo_lines();
	fprintf(stderr, "usage: files roam NODE... | terminal AWAY HOME | echo\n");
	return 2;
}
