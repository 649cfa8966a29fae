# SPDX-License-Identifier: GPL-2.0
"""Every step of a move while a machine loses power or a cable is cut: one copy afterwards, or none and an honest status.

The process is homed at node 1 and moves from node 2 to node 3, so that its parent lives. `fail` at every point is in
test_faults.py.
"""

import threading

import pytest
from test_faults import AFTER, BEFORE, copies, ended, passed, set_fault, settled, side, start
from test_move import bench  # noqa: F401  (the fixture)

POINTS = BEFORE + AFTER
SOURCE, TARGET = 2, 3
# What has to become of it: it is gone with the machine, it lives, or either, where it depends on what is heard first.
GONE, LIVES, EITHER = "gone", "lives", "either"


def expected(point, what):
    if what == "power-cut source":
        return {"target-committing": EITHER}.get(point, LIVES if point in AFTER else GONE)
    lost = {"source-leave", "target-committed", "target-run"}
    if what == "power-cut target":
        return GONE if point in lost | {"target-committing"} else LIVES
    # Cut for 10 s, node 3 is declared dead. Whether a commit was on the way is not known.
    return GONE if point in lost else EITHER if point in ("source-commit", "target-committing") else LIVES


def moved_meanwhile(cluster, pid, point, what):
    """Moves it and does `what` at that point."""
    victim = SOURCE if what == "power-cut source" else TARGET
    node = side(point, SOURCE, TARGET)
    itself = what.startswith("power-cut") and node == victim
    before = passed(cluster, node, point)
    set_fault(cluster, node, point, "power-cut" if itself else "delay=8000" if what.startswith("power-cut") else "delay=2000")
    mover = threading.Thread(target=lambda: cluster.run(1, "banyanctl", "migrate", "--wait", str(pid), str(TARGET),
                                                        timeout=150, check=False))
    mover.start()
    if itself:
        # The machine resets by itself; then it is off.
        cluster.until(f"{point} is passed", lambda: not cluster.sound(victim), limit=60, every=0.5)
        cluster.kill_node(victim)
    else:
        cluster.until(f"{point} is passed", lambda: passed(cluster, node, point) > before, limit=30)
        if what == "link down":
            cluster.link(victim, down=True)
        else:
            cluster.kill_node(victim)
    return mover, victim


def case(cluster, bench, point, what):  # noqa: F811
    pid = start(cluster, bench)
    cluster.sh(1, f"banyanctl migrate --wait {pid} {SOURCE}")
    mover, victim = moved_meanwhile(cluster, pid, point, what)
    alive = [node for node in cluster.nodes if node != victim]
    if what == "link down":
        threading.Event().wait(10)
        cluster.link(victim, up=True)
        alive = list(cluster.nodes)
    mover.join(160)
    assert not mover.is_alive(), "the move never ends"
    wanted = expected(point, what)

    def status():
        return cluster.sh(1, "cat /tmp/fault.status 2>/dev/null || true")

    def done():
        found = copies(cluster, pid, alive)
        assert len(found) < 2, f"two copies: {found}"
        if status() == "137":
            return not found
        return len(found) == 1 and wanted != GONE
    cluster.until(f"{point}, {what}: it has one copy, or none and its parent knows", done, limit=60, every=1)
    if status() == "137":
        assert wanted != LIVES, f"{point}, {what}: it is gone"
    else:
        assert status() == ""
        cluster.sh(1, f"kill -TERM {pid}")
        ended(cluster, bench, "143", limit=30)
    cluster.until("no copy is left", lambda: copies(cluster, pid, alive) == [], limit=30)
    settled(cluster, alive)
    if what != "link down":
        cluster.start_node(victim)
    cluster.until("all are together", limit=90, every=1, condition=lambda: all(
        cluster.sh(n, "banyanctl nodes --json | grep -c '\"up\"' || true") == str(len(cluster.nodes)) for n in cluster.nodes))


# Those that are in the ordinary run too: one of each kind that test_faults.py has not.
ORDINARY = {("source-leave", "power-cut source"), ("target-restored", "link down")}


@pytest.mark.limit(400)
@pytest.mark.parametrize("point,what", [
    pytest.param(point, what, id=f"{point}-{what.replace(' ', '-')}", marks=[] if (point, what) in ORDINARY else pytest.mark.full)
    for what in ("power-cut source", "power-cut target", "link down") for point in POINTS])
def test_matrix(cluster, bench, point, what):  # noqa: F811
    case(cluster, bench, point, what)
