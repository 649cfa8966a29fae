# SPDX-License-Identifier: GPL-2.0
"""The cgroup freezer, the freezer of suspend, and stops: both halves of a process that is away follow, and nothing hangs."""

import pytest

GROUP = "/sys/fs/cgroup/banyan-freeze"
GUESTS = "/sys/fs/cgroup/system.slice/banyan.service/guests"


@pytest.fixture
def away(cluster):
    """A program that only computes: homed at node 1 in a cgroup of its own, running at node 2. Its pid."""
    cluster.sh(1, f"mkdir -p {GROUP}; rm -f /tmp/freeze.status; "
                  "(sh -c 'echo $$ >/tmp/freeze.pid; exec sh -c \"while :; do :; done\"'; echo $? >/tmp/freeze.status) "
                  ">/dev/null 2>&1 </dev/null & sleep 0.7; "
                  f"cat /tmp/freeze.pid >{GROUP}/cgroup.procs; banyanctl migrate --wait $(cat /tmp/freeze.pid) 2")
    pid = cluster.sh(1, "cat /tmp/freeze.pid")
    yield pid
    cluster.sh(2, f"echo 0 >{GUESTS}/cgroup.freeze")
    cluster.sh(1, f"echo 0 >{GROUP}/cgroup.freeze; kill -KILL {pid} 2>&-; true")
    for node in (1, 2):
        cluster.until("nothing of it is left", limit=15,
                      condition=lambda n=node: cluster.sh(n, f"ps -o pid= -p {pid} || true") == "")
    cluster.until("its cgroup is empty and goes", limit=15, condition=lambda: cluster.status_of(1, f"rmdir {GROUP}") == 0)


def computes(cluster, pid, seconds=1.5):
    """Whether it uses CPU time at node 2."""
    first, last = cluster.sh(2, f"cut -d' ' -f14 /proc/{pid}/stat; sleep {seconds}; cut -d' ' -f14 /proc/{pid}/stat").split()
    return int(last) > int(first)


def freeze(cluster, node, group, on):
    """Freezes or thaws a cgroup and waits until its events say so."""
    cluster.sh(node, f"echo {on} >{group}/cgroup.freeze")
    cluster.until(f"frozen {on}", limit=10, condition=lambda: f"frozen {on}" in cluster.sh(node, f"cat {group}/cgroup.events"))


def comes_to(cluster, pid, expected, what):
    cluster.until(what, limit=10, condition=lambda: computes(cluster, pid) == expected)


def ended_with(cluster, status):
    cluster.until("the parent hears of its end", limit=15, condition=lambda: cluster.sh(
        1, "cat /tmp/freeze.status 2>/dev/null || true") == str(status))


@pytest.mark.limit(180)
def test_freezing_the_deputy_freezes_the_guest(cluster, away):
    assert computes(cluster, away)
    for _ in range(2):
        freeze(cluster, 1, GROUP, 1)
        comes_to(cluster, away, False, "the guest stands still")
        # And does so on: the state is told again each second.
        assert not computes(cluster, away, 3)
        refusal = cluster.run(1, "banyanctl", "migrate", "--wait", away, "1", check=False)
        assert refusal.returncode != 0 and "cgroup-frozen" in refusal.stderr
        # A frozen deputy is not woken for nothing.
        before, after = cluster.sh(1, f"S='grep ^voluntary /proc/{away}/status'; $S; sleep 2; $S").splitlines()
        assert int(after.split()[1]) - int(before.split()[1]) <= 2
        freeze(cluster, 1, GROUP, 0)
        comes_to(cluster, away, True, "the guest computes again")
    cluster.sh(1, f"banyanctl migrate --wait {away} 1; kill -TERM {away}")
    ended_with(cluster, 143)


@pytest.mark.limit(180)
def test_freezing_both_sides(cluster, away):
    """A guest stands still as long as either its deputy's cgroup or its own is frozen."""
    freeze(cluster, 2, GUESTS, 1)
    assert not computes(cluster, away)
    freeze(cluster, 1, GROUP, 1)
    freeze(cluster, 1, GROUP, 0)
    assert not computes(cluster, away)
    assert "frozen 1" in cluster.sh(2, f"cat {GUESTS}/cgroup.events")
    freeze(cluster, 1, GROUP, 1)
    freeze(cluster, 2, GUESTS, 0)
    comes_to(cluster, away, False, "it stands still again, for its deputy's sake")
    assert not computes(cluster, away, 3)
    freeze(cluster, 1, GROUP, 0)
    comes_to(cluster, away, True, "it computes again")
    freeze(cluster, 2, GUESTS, 1)
    freeze(cluster, 2, GUESTS, 0)
    comes_to(cluster, away, True, "it computes again after its own cgroup was thawed")


@pytest.mark.parametrize("where", [1, 2])
def test_frozen_can_be_killed(cluster, away, where):
    """At home as at its node; the parent hears of it, and the cgroup is empty afterwards."""
    freeze(cluster, 1, GROUP, 1)
    comes_to(cluster, away, False, "the guest stands still")
    cluster.sh(where, f"kill -KILL {away}")
    ended_with(cluster, 137)


@pytest.mark.parametrize("where", [1, 2])
def test_stopped_can_be_killed(cluster, away, where):
    """A stopped deputy ends with its guest."""
    cluster.sh(1, f"kill -STOP {away}")
    for node in (1, 2):
        cluster.until("it is stopped", limit=10, condition=lambda n=node: cluster.sh(n, f"ps -o stat= -p {away}")[:1] == "T")
    cluster.sh(where, f"kill -KILL {away}")
    ended_with(cluster, 137)


def test_stopped_and_continued_at_its_node(cluster, away):
    """What happens to the guest there happens to the deputy."""
    for signal, expected in (("STOP", "T"), ("CONT", "S"), ("STOP", "T"), ("CONT", "S")):
        cluster.sh(2, f"kill -{signal} {away}")
        cluster.until(f"the deputy follows SIG{signal}", limit=10,
                      condition=lambda e=expected: cluster.sh(1, f"ps -o stat= -p {away}")[:1] == e)
    assert computes(cluster, away)


@pytest.mark.limit(180)
@pytest.mark.parametrize("node", [1, 2])
def test_suspend_freezes_both_halves(cluster, away, node):
    """All tasks of the node can be frozen for a suspend; the kernel's own test of that thaws them again after 5 s."""
    out = cluster.sh(node, "echo freezer >/sys/power/pm_test && echo freeze >/sys/power/state; S=$?; "
                           "echo none >/sys/power/pm_test; echo status $S", timeout=60)
    assert "status 0" in out
    comes_to(cluster, away, True, "it computes again")
    cluster.sh(1, f"kill -TERM {away}")
    ended_with(cluster, 143)
