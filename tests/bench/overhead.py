# SPDX-License-Identifier: GPL-2.0
"""What the loaded modules cost a process that is not moved: node/calls.c, in turn with and without them on one node."""

import time
from collections.abc import Callable

from report import LOWER, Figure
from testbed.client import Cluster

NAMES = ("null_syscall", "read", "write", "open_close", "fork_exec_wait", "cpu_loop")
CALLS = "/tmp/bench-calls"
HOME, NODE = 1, 2
SECONDS = 12
GOAL = 1.01


def load(cluster: Cluster) -> None:
    """The node in the cluster, as after boot."""
    cluster.run(NODE, "sh", "-c", "modprobe banyan && modprobe banyan_migrate && systemctl start banyan")
    deadline = time.monotonic() + 90
    while cluster.run(NODE, "sh", "-c", "banyanctl nodes --json | grep -c '\"up\"' || true").stdout.strip() != "2":
        if time.monotonic() > deadline:
            raise RuntimeError("the node does not join again")
        time.sleep(1)
    time.sleep(2)


def unload(cluster: Cluster) -> None:
    """The node without any of it."""
    cluster.run(NODE, "sh", "-c", "systemctl stop banyan && modprobe -r banyan_migrate banyan && ! grep -q banyan /proc/modules")
    time.sleep(2)


def restart(cluster: Cluster) -> None:
    """The node again, with clocks that go by its instructions: then nothing else that this machine does is in the figures."""
    cluster.ask("kill", node=str(NODE))
    cluster.ask("start", node=str(NODE), counted=True)
    cluster.ask("wait", node=str(NODE))
    load(cluster)


def calls(cluster: Cluster) -> dict[str, float]:
    """Nanoseconds for one of each; for the loop by the clock on the wall, with what other tasks of the node take."""
    out = cluster.run(NODE, CALLS, str(SECONDS), timeout=SECONDS * 10 + 60).stdout
    took = {name: float(value) for name, value, _batches in (line.split() for line in out.splitlines())}
    took["cpu_loop"] /= took.pop("share")
    return took


def calls_beside_a_guest(cluster: Cluster) -> dict[str, float]:
    """The same on a node where a guest sleeps: the calls that go home are hooked, for all processes of the node."""
    pid = cluster.run(HOME, "sh", "-c", "setsid sleep 100000 </dev/null >/dev/null 2>&1 & echo $!").stdout.strip()
    try:
        cluster.run(HOME, "sh", "-c", f"sleep 1; banyanctl migrate --wait {pid} {NODE}")
        return calls(cluster)
    finally:
        cluster.run(HOME, "sh", "-c", f"kill -9 {pid}; sleep 1")


def measure(cluster: Cluster, rounds: int, counted: bool, say: Callable[[str], None]) -> list[Figure]:
    """Loaded, beside a guest, unloaded, loaded ...: each time without is compared with those before and after."""
    if counted:
        restart(cluster)
    cluster.run(NODE, "cp", "/home/bench/calls", CALLS)
    calls(cluster)  # what is read from the file server for the first time
    figures = [Figure(f"overhead.{name}", [], LOWER, GOAL) for name in NAMES]
    hosting = [Figure(f"overhead_beside_a_guest.{name}", [], LOWER) for name in NAMES]
    loaded = calls(cluster)
    for number in range(rounds):
        beside = calls_beside_a_guest(cluster)
        unload(cluster)
        bare = calls(cluster)
        before = loaded
        load(cluster)
        loaded = calls(cluster)
        for name, figure, with_guest in zip(NAMES, figures, hosting):
            figure.runs += [before[name] / bare[name], loaded[name] / bare[name]]
            with_guest.runs.append(beside[name] / bare[name])
        say(f"overhead, round {number + 1}: " + ", ".join(
            f"{name} {figure.runs[-2]:.3f} {figure.runs[-1]:.3f}" for name, figure in zip(NAMES, figures)))
    return figures + hosting
