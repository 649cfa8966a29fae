#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Makes system calls that depend on where a process was born, each while it is away.

  home_calls.py AWAY...      runs the program unmoved, then moved to one of these nodes before each call; prints what differs
  home_calls.py --program    the program: before each call it says "ready NAME" and waits for SIGUSR1, then says what came of it

The driver moves the program away, lets it make the call, and asks where it is afterwards. Its last line is JSON: for each call
"home" or "away"; the exit status is 0 if both runs said the same.

The program's standard input and descriptor OUT are files on a mount that only its home has, so that proxies stand for them.
"""
import fcntl
import json
import mmap
import os
import select
import signal
import socket
import subprocess
import sys
import time

# Each is given a directory of its own on a mount that only its home has.
CALLS = {}
OUT = int(os.environ.get("OUT", "-1"))


def registrar(calls):
    """A decorator that adds functions to these calls, by their names and in their order."""
    def call(function):
        calls[function.__name__] = function
        return function
    return call


call = registrar(CALLS)


@call
def stay(_):
    """Nothing goes home by itself."""
    return sum(range(1000))


@call
def shared_file(_):
    """Files on shared mounts are opened where it is."""
    with open("shared_file.tmp", "w", encoding="utf-8") as f:
        f.write("x" * 1000)
    os.rename("shared_file.tmp", "shared_file.new")
    size = os.stat("shared_file.new").st_size
    os.unlink("shared_file.new")
    return size, os.path.exists("shared_file.new"), os.path.exists("/usr/no/such/thing"), os.path.isdir("/usr/lib")


@call
def null_device(_):
    with open("/dev/null", "wb") as f:
        return f.write(b"gone")


@call
def own_process(_):
    """What names itself is done where it is."""
    os.kill(os.getpid(), 0)
    with open("/proc/self/comm", encoding="utf-8") as f:
        comm = f.read()
    return comm, os.getpgid(0) == os.getpgrp(), os.getpriority(os.PRIO_PROCESS, 0), len(os.sched_getaffinity(0)) > 0


@call
def parent(_):
    return os.getppid() == int(os.environ["DRIVER"])


@call
def local_file(here):
    with open(f"{here}/file", "w+", encoding="utf-8") as f:
        f.write("only at home")
        f.seek(0)
        return f.read()


@call
def local_file_again(here):
    return os.stat(f"{here}/file").st_size, sorted(os.listdir(here))


@call
def link_to_local_file(here):
    """A link on a shared mount that leads to what only the home has."""
    with open("link_to_local", encoding="utf-8") as f:
        return f.read()


@call
def rename_local(here):
    os.rename(f"{here}/file", f"{here}/renamed")
    os.mkdir(f"{here}/directory")
    os.symlink("renamed", f"{here}/directory/link")
    return sorted(os.listdir(here)), os.readlink(f"{here}/directory/link")


@call
def child(_):
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    ended, status = os.waitpid(pid, 0)
    return ended == pid, os.waitstatus_to_exitcode(status)


@call
def command(_):
    done = subprocess.run(["sh", "-c", "echo $((6 * 7)); exit 3"], capture_output=True, text=True, check=False)
    return done.stdout, done.returncode


@call
def no_children(_):
    try:
        os.wait()
    except ChildProcessError:
        return "no child"
    return "a child"


@call
def signal_to_group(_):
    """Reaches itself and its child alike."""
    pid = os.fork()
    if pid == 0:
        signal.sigwait({signal.SIGUSR2})
        os._exit(9)
    signal.signal(signal.SIGUSR2, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    os.killpg(0, signal.SIGUSR2)
    got = signal.sigtimedwait({signal.SIGUSR2}, 10)
    _, status = os.waitpid(pid, 0)
    return got is not None, os.waitstatus_to_exitcode(status)


@call
def pipes_and_sockets(_):
    reader, writer = os.pipe()
    os.write(writer, b"through the pipe")
    said = os.read(reader, 100).decode()
    os.close(reader)
    os.close(writer)
    left, right = socket.socketpair()
    with left, right, select.epoll() as ready:
        ready.register(right, select.EPOLLIN)
        left.send(b"through the socket")
        return said, len(ready.poll(5)), right.recv(100).decode()


@call
def host_name(_):
    return os.uname().nodename == os.environ["HOST"]


@call
def another_process(_):
    driver = int(os.environ["DRIVER"])
    os.kill(driver, 0)
    return os.getsid(driver) == int(os.environ["SESSION"])


@call
def no_such_descriptor(_):
    try:
        os.stat("x", dir_fd=1234)
    except OSError as error:
        return error.strerror
    return "?"


@call
def proxied_stream(_):
    """What a proxy does by itself."""
    return os.write(OUT, b"0123456789"), os.read(0, 4), os.fstat(OUT).st_size, fcntl.fcntl(OUT, fcntl.F_GETFL) & os.O_ACCMODE


@call
def proxied_size(_):
    os.ftruncate(OUT, 6)
    return os.fstat(OUT).st_size


@call
def proxied_positions(here):
    os.pwrite(OUT, b"ab", 1)
    with open(f"{here}/out", "rb") as f:
        return os.pread(0, 5, 3), f.read()


@call
def proxied_attributes(_):
    os.fchmod(OUT, 0o640)
    os.utime(OUT, ns=(10**18, 10**18))
    stat = os.fstat(OUT)
    return oct(stat.st_mode), stat.st_mtime_ns


@call
def proxied_lock(_):
    fcntl.flock(OUT, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(OUT, fcntl.LOCK_UN)
    return "locked"


@call
def proxied_mapping(_):
    with mmap.mmap(0, 0, prot=mmap.PROT_READ) as memory:
        return memory[2:7]


@call
def new_session(_):
    pid = os.fork()
    if pid == 0:
        os._exit(os.setsid() != os.getpid())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@call
def end(_):
    """A new program image, made where it was born."""
    sys.stdout.flush()
    os.execvp("sh", ["sh", "-c", "echo from another program; exit 5"])


def program(calls) -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    here = os.environ["HERE"]
    for name, function in calls.items():
        print("ready", name, flush=True)
        if signal.sigtimedwait({signal.SIGUSR1}, 60) is None:
            print("nobody drives", flush=True)
            return 1
        try:
            result = function(here)
        except OSError as error:
            result = f"{type(error).__name__}: {error.strerror}"
        print(name, repr(result), flush=True)
    return 0


def node_of(pid: int) -> str:
    said = subprocess.run(["banyanctl", "where", "--json", str(pid)], capture_output=True, text=True, check=False)
    return str(json.loads(said.stdout).get("node")) if said.returncode == 0 else said.stderr


def run(away: list[str], script: str) -> tuple[list[str], dict[str, str]]:
    """Runs the program; returns what it said, and where each call left it."""
    here = f"/tmp/home_calls.{os.getpid()}"
    os.mkdir(here)
    with open(f"{here}/target", "w", encoding="utf-8") as f:
        f.write("at the end of a link")
    if os.path.lexists("link_to_local"):
        os.unlink("link_to_local")
    os.symlink(f"{here}/target", "link_to_local")
    with open(f"{here}/in", "w", encoding="utf-8") as f:
        f.write("what is read from the standard input")
    surroundings = dict(os.environ, OUT="9",
                        DRIVER=str(os.getpid()), HOST=os.uname().nodename, HERE=here, SESSION=str(os.getsid(0)))
    said, places, before = [], {}, None
    line = f"exec {sys.executable} {script} --program <{here}/in 9>{here}/out"
    with subprocess.Popen(["sh", "-c", line], stdout=subprocess.PIPE, text=True, env=surroundings, process_group=0) as child:
        for line in child.stdout:
            if not line.startswith("ready "):
                said.append(line)
                continue
            if away and before:
                places[before] = "away" if node_of(child.pid) in away else "home"
            before = line.split()[1]
            if away:
                target = away[len(places) % len(away)]
                moved = subprocess.run(["banyanctl", "migrate", "--wait", str(child.pid), target], capture_output=True, text=True,
                                       check=False)
                if moved.returncode and "already" not in moved.stderr:
                    said.append(f"{before}: not moved: {moved.stderr}")
            time.sleep(0.05)
            child.send_signal(signal.SIGUSR1)
        status = child.wait(timeout=30)
    subprocess.run(["rm", "-rf", here, "link_to_local"], check=True)
    return said + [f"status {status}"], places


def main(script: str, calls) -> int:
    if sys.argv[1:] == ["--program"]:
        return program(calls)
    plain, _ = run([], script)
    moved, places = run(sys.argv[1:], script)
    for expected, got in zip(plain, moved):
        if expected != got:
            print("unmoved:", expected.strip(), "\n  moved:", got.strip())
    if len(plain) != len(moved):
        print(f"{len(plain)} lines unmoved, {len(moved)} moved:", moved[-3:])
    print(json.dumps(places))
    return plain != moved


if __name__ == "__main__":
    sys.exit(main(__file__, CALLS))
