# SPDX-License-Identifier: GPL-2.0
"""A node is emptied, goes down, loses its daemon, or fails to take its own back: what becomes of the processes."""

import json
import time

import pytest

FAULTS = "/sys/kernel/debug/banyan_migrate/faults"


def start(cluster, node, count=1):
    """Processes of a node that can move."""
    return cluster.sh(node, f"for i in $(seq {count}); do sleep 300 </dev/null >/dev/null 2>&1 & echo $!; done").split()


def gone(cluster, node, pid, limit):
    cluster.until(f"{pid} is gone from {node}", limit=limit,
                  condition=lambda: not cluster.sh(node, f"ps -o pid= -p {pid} || true"))


@pytest.mark.limit(200)
def test_drain_moves_several_at_once(cluster):
    """Guests and deputies, each of which takes its time; then the node takes no guests until it joins again."""
    own = start(cluster, 1, 5)
    others = start(cluster, 2, 3)
    for pid in own:
        cluster.sh(1, f"banyanctl migrate --wait {pid} 2")
    for pid in others:
        cluster.sh(2, f"banyanctl migrate --wait {pid} 1")
    cluster.sh(1, f"echo 'source-sent delay=2000 3' >{FAULTS}")
    cluster.sh(2, f"echo 'source-sent delay=2000 5' >{FAULTS}")
    begun = time.monotonic()
    done = cluster.run(1, "banyanctl", "drain", "--keep-out", "--json", timeout=90, check=False)
    took = time.monotonic() - begun
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["moved"] == 8
    assert took < 12, f"8 processes with 2 s each took {took:.1f} s"
    assert "processes are left" in done.stderr
    for node in (1, 2):
        assert json.loads(cluster.sh(node, "banyanctl ps --json")) == []
        where = {1: own, 2: others}[node]
        assert len(cluster.sh(node, f"ps -o pid= -p {','.join(where)}").split()) == len(where)
    refusal = cluster.run(2, "banyanctl", "migrate", "--wait", others[0], "1", check=False)
    assert refusal.returncode != 0 and "draining" in refusal.stderr
    cluster.sh(1, "banyanctl leave && banyanctl join")
    cluster.until("it takes guests again", limit=30, condition=lambda: cluster.status_of(
        2, f"banyanctl migrate --wait {others[0]} 1") == 0)
    cluster.sh(1, f"kill -KILL {' '.join(own)}")
    cluster.sh(2, f"kill -KILL {' '.join(others)}")


@pytest.mark.limit(120)
def test_stops_are_told_without_the_daemon_that_made_it(cluster):
    """A guest whose parent is init: stopped and continued at home and at its node, both halves follow."""
    pid = start(cluster, 1)[0]
    cluster.sh(1, f"banyanctl migrate --wait {pid} 2")
    cluster.sh(2, "systemctl kill -s KILL --kill-whom=main banyan")
    cluster.until("its parent is init", limit=10, condition=lambda: cluster.sh(2, f"ps -o ppid= -p {pid}") == "1")
    for node in (1, 2):
        for signal, expected in (("STOP", "T"), ("CONT", "S"), ("STOP", "T"), ("CONT", "S")):
            cluster.sh(node, f"kill -{signal} {pid}")
            cluster.until(f"both halves are {expected} after SIG{signal} at {node}", limit=10, condition=lambda e=expected: all(
                cluster.sh(n, f"ps -o stat= -p {pid}")[:1] == e for n in (1, 2)))
    cluster.until("the daemon is back", limit=60, condition=lambda: cluster.status_of(2, "systemctl is-active banyan") == 0)
    cluster.sh(1, f"kill -KILL {pid}")
    gone(cluster, 2, pid, limit=15)


@pytest.mark.limit(300)
def test_a_forced_reboot_is_told(cluster):
    """Nobody waits for the lease of a node that goes down without its daemon being asked."""
    guest = start(cluster, 1)[0]
    homed = start(cluster, 3)[0]
    cluster.sh(1, f"banyanctl migrate --wait {guest} 3")
    cluster.sh(3, f"banyanctl migrate --wait {homed} 2")
    deaths = [cluster.sh(n, "cat /sys/kernel/banyan/stats/deaths") for n in (1, 2)]
    cluster.sh(3, "(sleep 0.5; reboot -ff) </dev/null >/dev/null 2>&1 &")
    for node in (1, 2):
        cluster.until("it has left", limit=20, every=0.1, condition=lambda n=node: any(
            other["id"] == 3 and other["state"] != "up" for other in json.loads(cluster.sh(n, "banyanctl nodes --json"))))
    gone(cluster, 1, guest, limit=5)
    gone(cluster, 2, homed, limit=5)
    assert deaths == [cluster.sh(n, "cat /sys/kernel/banyan/stats/deaths") for n in (1, 2)], "it was missed, not told"
    assert "node 3 is out: Left" in cluster.sh(1, "dmesg | tail -50")
    cluster.kill_node(3)
    cluster.start_node(3)


@pytest.mark.limit(150)
def test_deputy_after_a_failed_return(cluster):
    """It shows arguments and environment as before, and the limit of CPU time is not its own; the process keeps it."""
    pid = cluster.sh(1, "(ulimit -t 20; MARK=here exec sleep 300 0) >/dev/null 2>&1 </dev/null & echo $!")

    def shown():
        text = cluster.sh(1, f"ps -o args= -p {pid}; tr '\\0' '\\n' </proc/{pid}/environ | grep MARK; "
                             f"grep 'Max cpu' /proc/{pid}/limits")
        args, mark, limit = text.splitlines()
        return args, mark, limit.split()[3]

    assert shown() == ("sleep 300 0", "MARK=here", "20")
    cluster.sh(1, f"banyanctl migrate --wait {pid} 2")
    assert shown() == ("sleep 300 0", "MARK=here", "unlimited")
    for point in ("target-rebuild", "target-restored", "target-committing"):
        cluster.sh(1, f"echo '{point} fail' >{FAULTS}")
        assert cluster.run(1, "banyanctl", "migrate", "--wait", pid, "1", check=False).returncode != 0
        assert shown() == ("sleep 300 0", "MARK=here", "unlimited"), point
    cluster.sh(1, f"banyanctl migrate --wait {pid} 1")
    assert shown() == ("sleep 300 0", "MARK=here", "20")
    cluster.sh(1, f"kill -KILL {pid}")


@pytest.mark.limit(150)
@pytest.mark.parametrize("end", ["home", "killed", "killed-frozen", "exit"])
def test_ps_shows_the_memory_of_the_guest(cluster, end):
    """At home, as if it were there; the kernel's own count is right again whatever ends it (else it would say BUG), and the OOM
    killer does not take the deputy for a large process."""
    pid = cluster.sh(1, "python3 -c 'import signal, sys, time; b = b\"x\" * (40 << 20); "
                        "signal.signal(signal.SIGUSR1, lambda *_: sys.exit(3)); time.sleep(300)' "
                        "</dev/null >/dev/null 2>&1 & echo $!")

    def shown(node=1):
        return int(cluster.sh(node, f"ps -o rss= -p {pid}") or "0") >> 10

    cluster.until("it has its memory", limit=30, condition=lambda: shown() >= 40)
    at_home = shown()
    cluster.sh(1, f"banyanctl migrate --wait {pid} 2")
    cluster.until("ps shows it at home", limit=15, condition=lambda: 40 <= shown() <= at_home + 20)
    assert abs(shown() - shown(2)) <= 8
    assert cluster.sh(1, f"cat /proc/{pid}/oom_score") == "0"
    if end == "home":
        cluster.sh(1, f"banyanctl migrate --wait {pid} 1")
        assert 40 <= shown() <= at_home + 20
        assert cluster.sh(1, f"cat /proc/{pid}/oom_score") != "0"
        cluster.sh(1, f"kill -KILL {pid}")
    elif end == "killed":
        cluster.sh(1, f"kill -KILL {pid}")
    elif end == "exit":
        cluster.sh(1, f"kill -USR1 {pid}")
    else:
        group = "/sys/fs/cgroup/banyan-shown"
        cluster.sh(1, f"mkdir -p {group}; echo {pid} >{group}/cgroup.procs; echo 1 >{group}/cgroup.freeze; sleep 1; "
                      f"kill -KILL {pid}")
        cluster.until("its cgroup is empty", limit=15, condition=lambda: cluster.status_of(1, f"rmdir {group}") == 0)
    for node in (1, 2):
        gone(cluster, node, pid, limit=15)
