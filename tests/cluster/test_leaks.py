# SPDX-License-Identifier: GPL-2.0
"""Kernel memory is where it was after many moves, and after modules that went while processes were away and here as guests."""

import json
import os

import pytest
from test_faults import settled
from test_move import bench  # noqa: F401  (the fixture)

FULL = os.environ.get("BANYAN_TEST_FULL") == "1"
MOVES = 100 if FULL else 20
TURNS = 50 if FULL else 5

# KiB of kernel memory, free memory, and sockets of TCP.
MEASURE = """echo 3 >/proc/sys/vm/drop_caches; sleep 1; echo 3 >/proc/sys/vm/drop_caches; sleep 1
awk '/^(Slab|VmallocUsed|PageTables|KernelStack|Percpu):/ {s += $2} /^MemAvailable:/ {a = $2} END {print s, a}' /proc/meminfo
awk '/^TCP:/ {print $3, $9}' /proc/net/sockstat"""


def measure(cluster, node):
    kernel, available, sockets, allocated = (int(word) for word in cluster.sh(node, MEASURE).split())
    return {"kernel": kernel, "available": available, "sockets": sockets, "allocated": allocated}


def unchanged(before, after, what, kib):
    for node, figures in before.items():
        now = after[node]
        assert now["kernel"] - figures["kernel"] < kib, f"{what}: node {node} used {figures}, now {now}"
        assert figures["available"] - now["available"] < 16 * 1024, f"{what}: node {node} had {figures}, now {now}"
        assert now["allocated"] - figures["allocated"] < 8, f"{what}: sockets of node {node}: {figures}, now {now}"


def go_round(cluster, pid, moves):
    # On a machine that is busy, its file server may keep the process in the kernel for too long: once more, then.
    move = "move() { banyanctl migrate --wait $1 $2 >&2 || { sleep 2; banyanctl migrate --wait $1 $2 >&2; }; }; "
    line = move + " && ".join(f"move {pid} {(2, 3, 1)[i % 3]}" for i in range(moves))
    cluster.sh(1, line, timeout=20 + 6 * moves)


@pytest.mark.limit(1200 if FULL else 240)
def test_many_moves(cluster, bench):  # noqa: F811
    """Away, onward and home, over and over. The first ones fill caches."""
    cluster.sh(1, f"pkill -x counter; cd {bench}; (./counter 20000 4 | cat >/dev/null) >/dev/null 2>&1 & sleep 1")
    pid = cluster.sh(1, "pgrep -n -x counter")
    go_round(cluster, pid, 6)
    before = {node: measure(cluster, node) for node in cluster.nodes}
    go_round(cluster, pid, MOVES // 3 * 3)
    after = {node: measure(cluster, node) for node in cluster.nodes}
    cluster.sh(1, f"kill {pid}")
    print(json.dumps({"before": before, "after": after}))
    unchanged(before, after, f"{MOVES} moves", 1024)
    settled(cluster)
    for node in cluster.nodes:
        cluster.until("nothing holds the module", limit=20, every=1, condition=lambda n=node: cluster.sh(
            n, "awk '$1 == \"banyan_migrate\" {print $3}' /proc/modules") == "0")


def all_up(cluster):
    return all(cluster.sh(n, "banyanctl nodes --json | grep -c '\"up\"' || true") == str(len(cluster.nodes))
               for n in cluster.nodes)


@pytest.mark.limit(3600 if FULL else 300)
def test_modules_go_while_processes_are_about(cluster, bench):  # noqa: F811
    """One process is a guest at the node, another is homed there and away. Both live on at home each time."""
    last = max(cluster.nodes)
    pids = {}
    for home in (1, last):
        cluster.sh(home, f"cd {bench}; ./counter 60000 1 >/dev/null 2>&1 & sleep 0.5")
        pids[home] = cluster.sh(home, "pgrep -n -x counter")

    def turn():
        cluster.sh(1, f"banyanctl migrate --wait {pids[1]} {last}; banyanctl migrate --wait {pids[last]} 1", timeout=90)
        cluster.sh(last, "systemctl stop banyan; modprobe -r banyan_migrate banyan && ! grep -q ^banyan /proc/modules",
                   timeout=90)
        for home, pid in pids.items():
            assert cluster.sh(home, f"ps -o comm= -p {pid}") == "counter"
            assert int(cluster.sh(home, f"ps -o vsz= -p {pid}")) > 1000, "it did not come home"
        cluster.sh(last, "systemctl reset-failed banyan; systemctl start banyan", timeout=90)
        cluster.until("all are together", lambda: all_up(cluster), limit=60, every=1)
    turn()
    before = {last: measure(cluster, last)}
    for _ in range(TURNS):
        turn()
    after = {last: measure(cluster, last)}
    for home, pid in pids.items():
        cluster.sh(home, f"kill {pid}")
    print(json.dumps({"before": before, "after": after}))
    unchanged(before, after, f"{TURNS} turns", 1024)
    settled(cluster)
