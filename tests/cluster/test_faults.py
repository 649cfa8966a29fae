# SPDX-License-Identifier: GPL-2.0
"""Whatever fails in a move, exactly one copy of the process lives, or none if its machine died."""

import pytest
from test_move import bench  # noqa: F401  (the fixture)

FAULTS = "/sys/kernel/debug/banyan_migrate/faults"
TABLES = "/sys/kernel/debug/banyan_migrate/tables"

# Points at which a move can still be given up, and those behind the decision, where it goes on whatever happens.
BEFORE = ["source-offer", "source-connect", "source-capture", "source-sent", "source-commit",
          "target-offered", "target-connected", "target-rebuild", "target-restored", "target-committing"]
AFTER = ["source-leave", "target-committed", "target-run"]


def settled(cluster, nodes=None, limit=30):
    """Waits until the tables of all nodes are empty: no deputy, guest, move under way, forwarded file or call."""
    left = {}

    def empty():
        left.clear()
        for node in nodes or cluster.nodes:
            text = cluster.sh(node, f"cat {TABLES}")
            if any(not line.endswith(" 0") for line in text.splitlines()):
                left[node] = text.split("\n")
        return not left
    try:
        cluster.until("the tables are empty", empty, limit=limit, every=1)
    except pytest.fail.Exception:
        pytest.fail(f"something is left in the tables: {left}")


def side(point, source, target):
    return source if point.startswith("source") else target


def set_fault(cluster, node, point, action):
    cluster.sh(node, f"echo '{point} {action}' >{FAULTS}")


def passed(cluster, node, point):
    line = cluster.sh(node, f"grep '^{point} ' {FAULTS}")
    return int(line.rsplit("passed=", 1)[1])


def copies(cluster, pid, nodes=None):
    """The nodes where the process has mappings: a deputy has next to none, though it shows the guest's memory as its own."""
    found = []
    for node in nodes or cluster.nodes:
        words = cluster.sh(node, f"ps -o vsz=,stat=,comm= -p {pid} || true").split()
        if len(words) == 3 and words[2] == "counter" and int(words[0]) > 1000 and words[1][0] != "Z":
            found.append(node)
    return found


def start(cluster, bench, node=1, count=3000):  # noqa: F811
    cluster.sh(node, f"cd {bench}; rm -f /tmp/fault.status; (./counter {count} 1 >/dev/null; echo $? >/tmp/fault.status) "
                     ">/dev/null 2>&1 & sleep 0.5")
    return cluster.sh(node, "pgrep -n -x counter")


def ended(cluster, bench, status, limit=20):  # noqa: F811
    cluster.until(f"the parent hears of the end with {status}", limit=limit, condition=lambda: cluster.sh(
        1, "cat /tmp/fault.status 2>/dev/null || true") == status)


def finish(cluster, bench, pid):  # noqa: F811
    cluster.sh(1, f"kill -TERM {pid}")
    ended(cluster, bench, "143")
    cluster.until("no copy is left", lambda: copies(cluster, pid) == [], limit=20)


@pytest.mark.limit(300)
def test_failure_at_every_point(cluster, bench):  # noqa: F811
    """Each point fails once on the way out; the process stays and runs on, then it moves after all and comes home."""
    pid = start(cluster, bench)
    for point in BEFORE:
        node = side(point, 1, 2)
        before = passed(cluster, node, point)
        set_fault(cluster, node, point, "fail")
        done = cluster.run(1, "banyanctl", "migrate", "--wait", pid, "2", check=False)
        assert done.returncode != 0, f"{point}: it moved though it was to fail"
        assert passed(cluster, node, point) > before, f"{point} is never passed"
        assert copies(cluster, pid) == [1], point
    for point in AFTER:
        set_fault(cluster, side(point, 1, 2), point, "fail")
        cluster.sh(1, f"banyanctl migrate --wait {pid} 2")
        assert copies(cluster, pid) == [2], point
        cluster.sh(1, f"banyanctl migrate --wait {pid} 1")
        assert copies(cluster, pid) == [1], point
    finish(cluster, bench, pid)


@pytest.mark.limit(240)
@pytest.mark.parametrize("point", ["source-sent", "source-commit", "target-restored"])
def test_failure_on_the_way_onward_and_home(cluster, bench, point):  # noqa: F811
    """A guest that cannot go on stays where it is, and its deputy knows where that is."""
    pid = start(cluster, bench)
    cluster.sh(1, f"banyanctl migrate --wait {pid} 2")
    for target in (3, 1):
        set_fault(cluster, side(point, 2, target), point, "fail")
        done = cluster.run(3, "banyanctl", "migrate", "--wait", pid, str(target), check=False)
        assert done.returncode != 0
        assert copies(cluster, pid) == [2], point
    cluster.sh(1, f"banyanctl migrate --wait {pid} 1")
    assert copies(cluster, pid) == [1]
    finish(cluster, bench, pid)


@pytest.mark.limit(120)
@pytest.mark.parametrize("point", ["source-capture", "source-commit", "target-restored", "target-committing"])
def test_killed_in_the_middle(cluster, bench, point):  # noqa: F811
    """SIGKILL at home while a move is delayed at a point: nothing of it is left anywhere."""
    pid = start(cluster, bench)
    set_fault(cluster, side(point, 1, 2), point, "delay=1500")
    cluster.sh(1, f"banyanctl migrate {pid} 2; sleep 0.7; kill -KILL {pid}")
    ended(cluster, bench, "137", limit=30)
    cluster.until("no copy is left", lambda: copies(cluster, pid) == [], limit=30)


@pytest.mark.limit(300)
@pytest.mark.parametrize("point,outcome", [
    ("target-restored", "stays"),
    pytest.param("target-offered", "stays", marks=pytest.mark.full),
    pytest.param("target-rebuild", "stays", marks=pytest.mark.full),
    pytest.param("target-committing", "gone", marks=pytest.mark.full),
    pytest.param("target-run", "gone", marks=pytest.mark.full),
])
def test_target_loses_power(cluster, bench, point, outcome):  # noqa: F811
    """Before the commit is sent the process stays; afterwards it is gone with the machine, and its parent is told so."""
    pid = start(cluster, bench)
    set_fault(cluster, 2, point, "power-cut")
    cluster.run(1, "banyanctl", "migrate", "--wait", pid, "2", check=False, timeout=60)
    if outcome == "stays":
        cluster.until("it runs on at the source", lambda: copies(cluster, pid, (1, 3)) == [1], limit=30)
        cluster.sh(1, f"kill -TERM {pid}")
        ended(cluster, bench, "143")
    else:
        ended(cluster, bench, "137", limit=40)
    cluster.kill_node(2)
    cluster.start_node(2)


@pytest.mark.limit(300)
def test_node_of_the_guest_loses_power(cluster, bench):  # noqa: F811
    """The deputy ends as if killed, within seconds."""
    pid = start(cluster, bench)
    cluster.sh(1, f"banyanctl migrate --wait {pid} 3")
    cluster.kill_node(3)
    ended(cluster, bench, "137", limit=15)
    cluster.start_node(3)


@pytest.mark.full
@pytest.mark.limit(300)
def test_home_loses_power(cluster, bench):  # noqa: F811
    """A guest whose home died ends when the lease is over."""
    pid = start(cluster, bench, node=3)
    cluster.sh(3, f"banyanctl migrate --wait {pid} 1")
    assert copies(cluster, pid) == [1]
    cluster.kill_node(3)
    cluster.until("the guest has ended", lambda: copies(cluster, pid, (1, 2)) == [], limit=30)
    cluster.start_node(3)
