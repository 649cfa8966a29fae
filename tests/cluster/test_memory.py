# SPDX-License-Identifier: GPL-2.0
"""Memory of processes that move: all that is mapped and set is as it was; what cannot be carried is refused with its reason."""

import hashlib
import json

import pytest

PLACE = "/home/memory"
FAULTS = "/sys/kernel/debug/banyan_migrate/faults"


@pytest.fixture(scope="module")
def place(cluster, workloads):
    """A directory on the shared /home with the programs in it."""
    cluster.sh(1, f"rm -rf {PLACE}; mkdir -p {PLACE}")
    assert cluster.copy([file for file in workloads if "_memory" in file], f"1:{PLACE}/") == 0
    cluster.sh(1, "sync")
    cluster.until("all nodes are in", limit=60, condition=lambda: all(
        cluster.sh(n, "banyanctl nodes --json | grep -c '\"up\"' || true") == str(len(cluster.nodes))
        for n in cluster.nodes))
    return PLACE


@pytest.mark.limit(300)
def test_everything_that_can_be_mapped(cluster, place):
    """Shared memory of every kind, guards, advice, flags, what /proc tells: away, onward, home, away again."""
    out = cluster.sh(1, f"cd {place} && ./shared_memory roam 2 3 1 3 2 1 2", timeout=280, check=False)
    last = out.splitlines()[-1] if out else "nothing"
    assert last.endswith(" 0 failed"), out
    assert int(last.split()[0]) > 300, out


def shared_kib(cluster, node):
    """The shared memory of a node, all of it."""
    return int(cluster.sh(node, "awk '/^Shmem:/ { print $2 }' /proc/meminfo"))


@pytest.mark.limit(200)
def test_nothing_of_it_is_left_behind(cluster, place):
    """A program with 48 MiB of shared memory goes round; where it was, and at its end, the memory is free again."""
    cluster.sh(1, """cd %s; cat >shared.py <<'X'
import hashlib, mmap, os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
pages = mmap.mmap(-1, 32 << 20)
fd = os.memfd_create("data")
os.ftruncate(fd, 16 << 20)
data = mmap.mmap(fd, 16 << 20)
for at in range(0, 32 << 20, 4096):
    pages[at:at + 8] = at.to_bytes(8, "little")
for at in range(0, 16 << 20, 4096):
    data[at:at + 8] = (at * 7).to_bytes(8, "little")
print("ready", flush=True)
signal.sigwait([signal.SIGUSR1])
print(hashlib.sha256(pages).hexdigest(), hashlib.sha256(data).hexdigest(), flush=True)
X
rm -f shared.out""" % place)
    start = {node: shared_kib(cluster, node) for node in cluster.nodes}
    pid = cluster.sh(1, f"cd {place}; python3 shared.py </dev/null >shared.out 2>&1 & echo $!")
    cluster.until("it is ready", limit=60, condition=lambda: cluster.sh(1, f"cat {place}/shared.out") == "ready")
    here = 1
    for node in (2, 3, 1, 3, 2):
        cluster.sh(1, f"banyanctl migrate --wait {pid} {node}")
        grown = {n: shared_kib(cluster, n) - start[n] for n in cluster.nodes}
        assert 48 * 1024 - 8 <= grown[node] < 50 * 1024 and grown[here] < 2 * 1024, grown
        here = node
    cluster.sh(1, f"echo target-restored fail >{FAULTS}; ! banyanctl migrate --wait {pid} 1")
    assert shared_kib(cluster, 1) - start[1] < 2 * 1024
    cluster.sh(1, f"kill -USR1 {pid}")
    cluster.until("it ends", limit=60, condition=lambda: len(cluster.sh(1, f"cat {place}/shared.out").split()) == 3)
    sums = cluster.sh(1, f"cat {place}/shared.out").split()[1:]
    pages, data = bytearray(32 << 20), bytearray(16 << 20)
    for at in range(0, len(pages), 4096):
        pages[at:at + 8] = at.to_bytes(8, "little")
    for at in range(0, len(data), 4096):
        data[at:at + 8] = (at * 7).to_bytes(8, "little")
    assert sums == [hashlib.sha256(pages).hexdigest(), hashlib.sha256(data).hexdigest()]
    for node in cluster.nodes:
        cluster.until(f"node {node} has its memory again", lambda n=node: shared_kib(cluster, n) - start[n] < 1024)


@pytest.mark.limit(300)
def test_a_move_that_fails_leaves_it_as_it_was(cluster, place):
    """Before each move another one fails: on the way out when all is captured, on the way home when all is restored."""
    first = (f"echo source-sent fail >{FAULTS}; banyanctl migrate --wait $P 2; "
             f"echo target-restored fail >{FAULTS}; banyanctl migrate --wait $P 1; "
             f"echo source-sent off >{FAULTS}; echo target-restored off >{FAULTS}")
    before = cluster.sh(1, "dmesg | grep -c 'fault was injected' || true")
    out = cluster.sh(1, f"cd {place} && FIRST='{first}' ./shared_memory roam 2 1 3 1 2 2>/dev/null", timeout=280, check=False)
    last = out.splitlines()[-1] if out else "nothing"
    assert last.endswith(" 0 failed"), out
    assert int(cluster.sh(1, "dmesg | grep -c 'fault was injected' || true")) >= int(before) + 2


def test_shared_memory_is_looked_at_again_when_it_stands_still(cluster, place):
    """Another process opens its memfd between the check and the capture."""
    pid = started(cluster, place, "alone memfd")[0]
    try:
        said = cluster.sh(1, f"FD=$(ls -l /proc/{pid}/fd | sed -n 's|.* \\([0-9]*\\) -> /memfd:alone.*|\\1|p'); "
                             f"echo 'source-connect delay=3000' >{FAULTS}; "
                             f"banyanctl migrate --wait {pid} 2 2>&1 & M=$!; sleep 1.2; "
                             f"exec 9</proc/{pid}/fd/$FD; wait $M; echo status $?", timeout=40, check=False)
        assert said.endswith("status 5"), said
        assert cluster.sh(1, f"dmesg | grep '{pid} has changed: another process maps its shared memory'")
        assert cluster.sh(1, f"cut -d' ' -f3 /proc/{pid}/stat") == "S"
        cluster.sh(1, f"banyanctl migrate --wait {pid} 2 && banyanctl migrate --wait {pid} 1")
    finally:
        cluster.sh(1, f"kill {pid}")


def explained(cluster, pid):
    """The reasons that are given now."""
    answer = json.loads(cluster.sh(1, f"banyanctl explain --json {pid} || true"))
    return [reason["name"] for reason in answer["reasons"]]


def started(cluster, place, what):
    """Starts the program and returns the pids that it tells, or none if the machine lacks what it should have."""
    line = cluster.sh(1, f"cd {place}; rm -f held.out; (./held_memory {what} </dev/null >held.out 2>&1 &) >/dev/null 2>&1; "
                         "for i in $(seq 100); do grep -q . held.out && break; sleep 0.1; done; cat held.out")
    word, *pids = line.split()
    assert word in ("ready", "absent"), line
    return pids


ALONE = {
    "mlock": "locked-memory",
    "mlock-on-fault": "locked-memory",
    "mlockall-future": "locked-memory",
    "ldt": "ldt",
    "memory-merge": "ksm",
    "mdwe": "mdwe",
    "set-mempolicy": "memory-policy",
    "mbind": "memory-policy",
    "mbind-shared": "memory-policy",
    "mseal": "sealed-mapping",
    "secret": "secret-memory",
    "secret-descriptor": "secret-memory",
    "userfaultfd": "userfaultfd",
    "hugetlb": "hugetlb",
    "named": "named-shared-memory",
    "sysv": "sysv-shm",
    "linkable": "deleted-file",
    "pkey": "protection-keys",
    "pkey-mapping": "protection-keys",
    "tagged-addresses": "cpu-mode",
}

# What only some CPUs have: said in the summary, if this one has it not.
BY_CPU = ("pkey", "pkey-mapping", "tagged-addresses")


@pytest.mark.parametrize("what", sorted(ALONE))
def test_refused_before_it_is_touched(cluster, place, what):
    pids = started(cluster, place, f"alone {what}")
    if not pids and what in BY_CPU:
        pytest.skip(f"this CPU has no {what}")
    assert pids, f"{what} is not to be had"
    pid = pids[0]
    try:
        assert ALONE[what] in explained(cluster, pid)
        moved = cluster.run(1, "banyanctl", "migrate", "--wait", pid, "2", check=False)
        assert moved.returncode != 0 and f"[{ALONE[what]}," in moved.stderr, moved.stderr
        assert cluster.sh(1, f"cut -d' ' -f3 /proc/{pid}/stat") == "S"
    finally:
        cluster.sh(1, f"kill {pid}; rm -f /dev/shm/banyan-named")


@pytest.mark.parametrize("what", ["mapping-name", "core-scheduling"])
def test_not_in_this_kernel(cluster, place, what):
    """Neither can be set in the kernels that are supported; should one of them come, its state has to be looked at."""
    assert not started(cluster, place, f"alone {what}")


@pytest.mark.limit(200)
def test_a_move_takes_little_memory_besides(cluster, place):
    """While 128 MiB move, neither node uses more than 16 MiB besides what the process has there."""
    watch = f"python3 {place}/extra_memory.py"
    pid = cluster.sh(1, f"cd {place}; setsid python3 -c 'import time; b = bytes([7]) * (128 << 20); print(1, flush=True); "
                        "time.sleep(600)' </dev/null >big.out 2>&1 & echo $!")
    try:
        cluster.until("it is ready", limit=60, condition=lambda: cluster.sh(1, f"cat {place}/big.out") == "1")
        for source, target in ((1, 2), (2, 3), (3, 1)):
            cluster.sh(target, f"{watch} {pid} 100 </dev/null >/tmp/extra.out 2>&1 & echo $! >/tmp/extra.pid; "
                               "while ! grep -q ready /tmp/extra.out; do sleep 0.1; done")
            said = cluster.sh(source, f"{watch} {pid} 100 >/tmp/extra.out & W=$!; "
                                      "while ! grep -q ready /tmp/extra.out; do sleep 0.1; done; "
                                      f"banyanctl migrate --wait {pid} {target} && kill $W && wait $W; tail -n 1 /tmp/extra.out",
                              timeout=120)
            there = cluster.sh(target, "P=$(cat /tmp/extra.pid); kill $P; while [ -d /proc/$P ]; do sleep 0.1; done; "
                                       "tail -n 1 /tmp/extra.out")
            for node, line in ((source, said.splitlines()[-1]), (target, there)):
                extra, had = (int(word) for word in line.split())
                assert had > 120 << 10, f"node {node} was not watched: {line}"
                assert extra < 16 << 10, f"from {source} to {target}, node {node} used {extra} KiB more"
    finally:
        cluster.sh(1, f"kill -KILL {pid}", check=False)


def test_a_uprobe_keeps_it(cluster, place):
    events = "/sys/kernel/tracing/uprobe_events"
    offset = cluster.sh(1, f"cd {place}; mountpoint -q /sys/kernel/tracing || mount -t tracefs none /sys/kernel/tracing; "
                           "nm held_memory | awk '$3 == \"uprobed\" { print $1 }'")
    try:
        cluster.sh(1, f"echo 'p:banyan/test {place}/held_memory:0x{offset}' >{events}; "
                      "echo 1 >/sys/kernel/tracing/events/banyan/test/enable")
        pid = started(cluster, place, "alone uprobe")[0]
        assert "uprobes" in explained(cluster, pid)
        moved = cluster.run(1, "banyanctl", "migrate", "--wait", pid, "2", check=False)
        assert moved.returncode != 0 and "[uprobes," in moved.stderr
    finally:
        cluster.sh(1, f"pkill -x held_memory; echo 0 >/sys/kernel/tracing/events/banyan/test/enable; echo >{events}",
                   check=False)


@pytest.mark.parametrize("what,reason", [
    ("anonymous", "shared-memory"),
    ("memfd", "shared-memory"),
    ("memfd-descriptor", "shared-memory"),
    ("file", "shared-mapping"),
])
def test_moves_once_nobody_else_has_it(cluster, place, what, reason):
    child, parent = started(cluster, place, f"both {what}")
    try:
        assert reason in explained(cluster, child)
        moved = cluster.run(1, "banyanctl", "migrate", "--wait", child, "2", check=False)
        assert moved.returncode != 0 and f"[{reason}," in moved.stderr, moved.stderr
        cluster.sh(1, f"kill -USR1 {parent}")
        cluster.until("the parent lets go", lambda: "released" in cluster.sh(1, f"cat {place}/held.out"))
        for node in (2, 3, 1, 2):
            cluster.sh(1, f"banyanctl migrate --wait {child} {node}")
        cluster.sh(1, f"kill -USR1 {parent}")
        cluster.until("it ends", lambda: "ended" in cluster.sh(1, f"cat {place}/held.out"))
        assert cluster.sh(1, f"tail -n 1 {place}/held.out") == "ended 0"
    finally:
        cluster.sh(1, f"kill -KILL {child} {parent} 2>/dev/null || true")
