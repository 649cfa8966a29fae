# SPDX-License-Identifier: GPL-2.0
"""Nodes join, see each other alike, notice a death in time, come back, and let go of the modules at any time."""

import json
import os
import re
import time
from pathlib import Path

import pytest

SYSFS = "/sys/kernel/banyan"
TURNS = 50 if os.environ.get("BANYAN_TEST_FULL") == "1" else 10


def nodes_of(cluster, node):
    return {one["id"]: one for one in json.loads(cluster.sh(node, "banyanctl nodes --json"))}


def all_up(cluster):
    wanted = {number: "up" for number in cluster.nodes}
    return all({n: one["state"] for n, one in nodes_of(cluster, node).items()} == wanted for node in cluster.nodes)


def counter(cluster, node, name):
    return int(cluster.sh(node, f"cat {SYSFS}/stats/{name}"))


@pytest.fixture(autouse=True)
def together(cluster):
    """Each test begins, and leaves the cluster, with all nodes in."""
    cluster.until("all nodes see all nodes up", lambda: all_up(cluster), limit=60, every=1)
    yield
    for node in cluster.nodes:
        cluster.sh(node, f"test -e {SYSFS} || modprobe banyan_migrate || modprobe banyan; systemctl start banyan", check=False)


def test_all_nodes_tell_the_same(cluster):
    def view(node):
        return {n: (one["name"], one["address"], one["state"], one["cpus"], one["epoch"])
                for n, one in nodes_of(cluster, node).items()}
    cluster.until("the views are equal", limit=10, every=0.5, condition=lambda: all(
        view(node) == view(1) for node in cluster.nodes))
    for number, one in nodes_of(cluster, 1).items():
        assert one["name"] == f"node{number}"
        assert one["memory_kib"] > one["memory_available_kib"] > 0
        assert one["uptime_s"] > 0


def test_pids_name_their_home(cluster):
    for node in cluster.nodes:
        pids = cluster.sh(node, "for i in 1 2 3; do sh -c 'echo $$'; done").split()
        assert {int(pid) >> 15 for pid in pids} == {node}


def mark(cluster, node):
    """Writes a line into the node's log; returns its time there, in seconds."""
    name = f"mark {time.monotonic_ns()}"
    log = cluster.sh(node, f"echo '{name}' > /dev/kmsg; dmesg | grep '{name}'")
    return float(re.match(r"\[ *([0-9.]+)\]", log)[1])


def told_out(cluster, node, gone, after):
    """When the node's log said that `gone` is out, if it did after this time."""
    log = cluster.sh(node, f"dmesg | grep 'banyan: node {gone} is out' || true")
    times = [float(t) for t in re.findall(r"^\[ *([0-9.]+)\]", log, re.MULTILINE)]
    return next((t for t in times if t > after), None)


@pytest.mark.limit(300)
def test_power_cut_is_noticed_everywhere(cluster):
    gone = max(cluster.nodes)
    others = [node for node in cluster.nodes if node != gone]
    before = {node: mark(cluster, node) for node in others}
    cut = time.monotonic()
    cluster.kill_node(gone)
    took = time.monotonic() - cut
    for node in others:
        told = cluster.until(f"node {node} knows", lambda n=node: told_out(cluster, n, gone, before[n]), limit=20)
        # From before the cut was asked for: what remains after it is less.
        print(f"node {node}: dead after {told - before[node]:.2f} s at most; the cut took {took:.2f} s")
        assert told - before[node] < 5 + took + 1
        assert nodes_of(cluster, node)[gone]["state"] == "dead"
    cluster.start_node(gone)
    cluster.until("it is in again", lambda: all_up(cluster), limit=90, every=1)


@pytest.mark.limit(200)
def test_link_that_breaks_heals(cluster):
    gone = max(cluster.nodes)
    cluster.link(gone, down=True)
    cluster.until("node 1 gives it up", limit=30, condition=lambda: nodes_of(cluster, 1)[gone]["state"] == "dead")
    cluster.link(gone, up=True)
    cluster.until("all are together again", lambda: all_up(cluster), limit=120, every=1)


def test_leave_and_join(cluster):
    last = max(cluster.nodes)
    cluster.sh(last, "systemctl stop banyan; banyanctl leave")
    cluster.until("the others know", limit=10, condition=lambda: nodes_of(cluster, 1)[last]["state"] == "left")
    assert cluster.sh(last, f"cat {SYSFS}/online") == "0"
    cluster.sh(last, "systemctl start banyan")
    cluster.until("it is in again", lambda: all_up(cluster), limit=60, every=1)


def test_wrong_key_and_other_cluster_are_refused(cluster):
    last = max(cluster.nodes)
    before = {name: counter(cluster, 1, name) for name in ("refused_wrong_key", "refused_other_cluster")}
    cluster.sh(last, f"systemctl stop banyan; banyanctl leave; echo {'5a' * 32} > {SYSFS}/key; echo 1 > {SYSFS}/online")
    cluster.until("a wrong key is refused", limit=30,
                  condition=lambda: counter(cluster, 1, "refused_wrong_key") > before["refused_wrong_key"])
    cluster.until("the log says so", limit=60, every=2, condition=lambda: "another cluster key" in cluster.sh(
        1, "dmesg | grep banyan: | tail -20"))
    cluster.sh(last, f"echo 0 > {SYSFS}/online; echo elsewhere > {SYSFS}/cluster; echo 1 > {SYSFS}/online")
    cluster.until("another cluster is refused", limit=30,
                  condition=lambda: counter(cluster, 1, "refused_other_cluster") > before["refused_other_cluster"])
    assert nodes_of(cluster, 1)[last]["state"] != "up"
    cluster.sh(last, f"echo 0 > {SYSFS}/online; systemctl start banyan")
    cluster.until("it is in again", lambda: all_up(cluster), limit=60, every=1)


def test_same_id_twice_is_refused(cluster):
    last = max(cluster.nodes)
    before = counter(cluster, 1, "refused_duplicate")
    cluster.sh(last, f"systemctl stop banyan; banyanctl leave; echo 1 > {SYSFS}/node; echo 1 > {SYSFS}/online")
    cluster.until("it is refused", limit=30, condition=lambda: counter(cluster, 1, "refused_duplicate") > before)
    # The log is limited in rate.
    cluster.until("the log says what to do", limit=60, every=2, condition=lambda: "banyan.node=N" in cluster.sh(
        1, "dmesg | grep 'banyan: refused' | tail -20 || true"))
    cluster.sh(last, f"echo 0 > {SYSFS}/online; systemctl start banyan")
    cluster.until("it is in again", lambda: all_up(cluster), limit=60, every=1)


@pytest.mark.limit(400)
def test_modules_come_and_go(cluster):
    """Many times, under load; what is left of memory is compared after the first, which fills caches."""
    last = max(cluster.nodes)
    script = (
        "set -e; systemctl stop banyan; (while :; do :; done) & B=$!; "
        "mem() { echo 3 > /proc/sys/vm/drop_caches; sleep 1; "
        "awk '/^(Slab|VmallocUsed|PageTables|KernelStack):/ {s += $2} END {print s}' /proc/meminfo; }; "
        "turn() { banyanctl unload banyan || modprobe -r banyan_migrate banyan; modprobe banyan_migrate; "
        f"echo default > {SYSFS}/cluster; head -c 32 /etc/banyan/key > {SYSFS}/key; "
        f"echo 10.77.0.1 > {SYSFS}/join; echo 1 > {SYSFS}/online; sleep 0.3; }}; "
        "turn; turn; mem; for i in $(seq TURNS); do turn; done; mem; kill $B")
    first, after = (int(n) for n in cluster.sh(last, script.replace("TURNS", str(TURNS)), timeout=350).split()[-2:])
    assert after - first < 1024, f"{first} KiB of kernel memory before, {after} KiB after"
    cluster.sh(last, f"echo 0 > {SYSFS}/online; systemctl start banyan")


def kernel_tests(between_nodes):
    """The names of the tests of banyan_selftest.ko, from the tables in its source."""
    names = []
    for file in (Path(__file__).resolve().parents[1] / "selftest").glob("*.rs"):
        for table in re.findall(r"TESTS: &\[Test\] = &\[(.*?)\];", file.read_text(), re.DOTALL):
            if between_nodes or file.name != "calls.rs":
                names += re.findall(r'\(\s*"(\w+)",\s*\w+,?\s*\)', table)
    assert {"work_abandoned_at_exit", "registers_in_user_mode"} <= set(names)
    return names


def passed_in_kernel(log):
    """The names of the tests that the last KTAP report in a kernel log tells of, which must be whole and without a failure."""
    lines = [line.partition("banyan_selftest: ")[2] for line in log.splitlines()]
    begins = max(number for number, line in enumerate(lines) if line == "KTAP version 1")
    plan, *lines = lines[begins + 1:]
    count = int(re.fullmatch(r"1\.\.(\d+)", plan)[1])
    results = [line for line in lines if not line.startswith("#")]
    found = [re.fullmatch(r"ok (\d+) (\w+)", line) for line in results]
    assert all(found), [line for line, one in zip(results, found) if not one]
    assert [int(one[1]) for one in found] == list(range(1, count + 1)), log
    assert f"# {count} passed, 0 failed" in lines, log
    return [one[2] for one in found]


@pytest.mark.limit(300)
def test_kernel_selftest(cluster):
    """The wrappers in the kernel, and calls and bulk connections between two nodes."""
    one, two = list(cluster.nodes)[:2]
    log = "dmesg | grep banyan_selftest:"
    for node in (one, two):
        cluster.sh(node, "modprobe -r banyan_migrate")
    try:
        for node, peer in ((one, ""), (two, f"peer={one}")):
            cluster.sh(node, f"modprobe banyan_selftest {peer} || {{ {log} | grep -v ': ok '; exit 1; }}", timeout=150)
            assert sorted(passed_in_kernel(cluster.sh(node, log))) == sorted(kernel_tests(peer != "")), node
        for node in (two, one):
            assert cluster.sh(node, "cat /sys/module/banyan_selftest/refcnt; pgrep -x modprobe || true") == "0"
            cluster.sh(node, "modprobe -r banyan_selftest")
    finally:
        for node in (two, one):
            cluster.sh(node, "modprobe -r banyan_selftest; modprobe banyan_migrate; systemctl restart banyan", check=False)
