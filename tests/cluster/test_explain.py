# SPDX-License-Identifier: GPL-2.0
"""`banyanctl explain PID NODE` asks the node what it has against a process, and touches neither."""

import json

import pytest

FAULTS = "/sys/kernel/debug/banyan_migrate/faults"


@pytest.fixture
def sleeper(cluster):
    """A process of node 1 that can move. Its pid."""
    pid = cluster.sh(1, "sleep 300 </dev/null >/dev/null 2>&1 & echo $!")
    yield pid
    cluster.sh(1, f"kill -KILL {pid} 2>&-; true")


def reasons(cluster, pid, node):
    """What it says: by name, the numbers that the reasons are about."""
    said = json.loads(cluster.sh(1, f"banyanctl explain --json {pid} {node} || true"))
    assert said["can_move"] == (not said["reasons"])
    found = {}
    for reason in said["reasons"]:
        assert reason["code"] >= 100 and reason["text"]
        found.setdefault(reason["name"], []).append(reason)
    return found


def passed(cluster, node, point):
    return cluster.sh(node, f"grep '^{point} ' {FAULTS}").rsplit("passed=", 1)[1]


def test_a_node_without_objection(cluster, sleeper):
    before = passed(cluster, 1, "source-offer"), passed(cluster, 2, "target-offered")
    assert reasons(cluster, sleeper, 2) == {}
    assert before == (passed(cluster, 1, "source-offer"), passed(cluster, 2, "target-offered")), "it was offered"
    # A guest is asked about by way of its home, and its home is asked as one that it may return to.
    cluster.sh(1, f"banyanctl migrate --wait {sleeper} 2")
    for node in (1, 3):
        assert reasons(cluster, sleeper, node) == {}
    assert list(reasons(cluster, sleeper, 2)) == ["already-there"]


def test_all_objections_at_once(cluster, sleeper):
    """The pid is taken there, the node is draining, and its memory is too small for the process."""
    big = cluster.sh(1, "python3 -c 'import time; b = bytearray(260 << 20); time.sleep(300)' </dev/null >/dev/null 2>&1 & "
                        "echo $!")
    try:
        cluster.until("it has its memory", lambda: int(cluster.sh(1, f"ps -o rss= -p {big}")) > 260 << 10, limit=60)
        cluster.sh(2, "fallocate -l 330M /dev/shm/ballast")
        # The node keeps its cursor in its own range, four times a second.
        cluster.until("the pid is taken", limit=20, condition=lambda: cluster.sh(
            2, f"echo $(({big} - 1)) >/proc/sys/kernel/ns_last_pid; sleep 300 </dev/null >/dev/null 2>&1 & echo $!") == big)
        assert cluster.status_of(2, "banyanctl drain --keep-out") == 0
        found = reasons(cluster, big, 2)
        assert sorted(found) == ["draining", "no-memory", "pid-taken"]
        assert found["pid-taken"][0]["subject"] == f"process {big}"
        assert found["no-memory"][0]["number"] >= 260
        words = cluster.sh(1, f"banyanctl explain {big} 2 || true")
        assert "MiB" in words and "[no-memory, 108]" in words
        assert list(reasons(cluster, sleeper, 2)) == ["draining"]
    finally:
        cluster.sh(1, f"kill -KILL {big}")
        cluster.sh(2, "rm -f /dev/shm/ballast; pkill -KILL -x sleep; true")
        # It takes guests again when it joins again.
        cluster.sh(2, "banyanctl leave && banyanctl join")
    cluster.until("it is in again", limit=30, condition=lambda: reasons(cluster, sleeper, 2) == {})
    cluster.sh(1, f"banyanctl migrate --wait {sleeper} 2")


def test_nobody_serves(cluster, sleeper):
    """While the daemon is away, which systemd starts anew after two seconds."""
    cluster.sh(2, "systemctl kill -s KILL --kill-whom=main banyan")
    cluster.until("nobody serves", limit=5, every=0.05, condition=lambda: list(reasons(cluster, sleeper, 2)) == ["not-serving"])
    cluster.until("somebody serves", limit=60, condition=lambda: reasons(cluster, sleeper, 2) == {})


@pytest.mark.full
@pytest.mark.limit(600)
def test_a_lesser_cpu(cluster, sleeper):
    """Every feature that it lacks is named."""
    cluster.kill_node(3)
    cluster.start_node(3, model="Nehalem")
    try:
        cluster.until("it is in", limit=60, condition=lambda: "node-down" not in reasons(cluster, sleeper, 3))
        found = reasons(cluster, sleeper, 3)
        names = [reason["subject"] for reason in found["cpu-feature"]]
        assert "avx" in names and "avx2" in names and len(names) > 5
        assert "xsave-layout" in found
        refusal = cluster.run(1, "banyanctl", "migrate", "--wait", sleeper, "3", check=False)
        assert refusal.returncode != 0 and "cpu-feature" in refusal.stderr
    finally:
        cluster.kill_node(3)
        cluster.start_node(3, model="max")
