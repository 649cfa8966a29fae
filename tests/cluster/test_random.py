# SPDX-License-Identifier: GPL-2.0
"""Random moves of several processes at once, with signals of every sort meanwhile: nobody is lost, doubled, stuck or wrong."""

import json
import os
import random
import subprocess

import pytest
from test_faults import settled
from test_move import bench  # noqa: F401  (the fixture)

# Answers that a move may have when others do something to the same process at the same time.
EXPECTED = {"busy", "stopped", "in-kernel", "already-there", "exiting", "killed", "pid-taken",
            "pending-signals", "changed"}
SEED = int(os.environ.get("BANYAN_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)


def copies(cluster, pids):
    """Of each pid the nodes where it has mappings: a deputy has next to none, though it shows the guest's memory as its own."""
    found = {pid: [] for pid in pids}
    for node in cluster.nodes:
        for line in cluster.sh(node, "ps -C storm -o pid=,vsz=,stat=").splitlines():
            pid, size, state = line.split()
            if int(pid) in found and int(size) > 1000 and state[0] != "Z":
                found[int(pid)].append(node)
    return found


def storm(cluster, bench, moves, seed, limit):  # noqa: F811
    """Runs storm.py on each node, 3 + 3 + 2 processes, and looks at what is left."""
    print(f"seed {seed}: BANYAN_TEST_SEED={seed} does it again")
    runs = {}
    for node in cluster.nodes:
        line = (f"cd {bench} && exec python3 storm.py --count {3 if node < 3 else 2} --moves {moves // len(cluster.nodes) + 1} "
                f"--seed {seed + node} --kills 2 --limit {limit} {bench}")
        runs[node] = subprocess.Popen(cluster.command(str(node), ["sh", "-c", line]), stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        said = {}
        for node, run in runs.items():
            line = run.stdout.readline()
            assert line, f"storm.py on node {node} ended: {run.stderr.read()}"
            said[node] = json.loads(line)
        living = [pid for each in said.values() for pid in each["pids"]]
        dead = [pid for each in said.values() for pid in each["gone"]]
        cluster.until("each process has exactly one copy, those that were killed none", limit=20, every=1, condition=lambda: (
            sorted(len(nodes) for nodes in copies(cluster, living + dead).values()) == [0] * len(dead) + [1] * len(living)))
        ends = {}
        for node, run in runs.items():
            run.stdin.write("\n")
            run.stdin.flush()
        for node, run in runs.items():
            out, err = run.communicate(timeout=120)
            assert out, f"storm.py on node {node} ended: {err}"
            ends[node] = json.loads(out)
    finally:
        for run in runs.values():
            run.kill()
            run.wait()
    print(json.dumps(ends))
    wrong = [f"node {node}: {what}" for node, end in ends.items() for what in end["wrong"]]
    # What is sent to a guest that leaves at that moment may be lost with its old task; it must not come twice.
    sent = {}
    for end in ends.values():
        for pid, count in end["away"].items():
            sent[pid] = sent.get(pid, 0) + count
    for node, end in ends.items():
        wrong += [f"node {node}: {pid} got {count} of {sent.get(pid, 0)} signals sent where it ran"
                  for pid, count in end["counted"].items() if count > sent.get(pid, 0)]
        wrong += [f"node {node}: {count} moves were answered {name!r}"
                  for name, count in end["answers"].items() if name not in EXPECTED]
    assert not wrong, f"seed {seed}:\n" + "\n".join(wrong)
    settled(cluster)
    return sum(end["moved"] for end in ends.values())


@pytest.mark.limit(280)
def test_random_moves(cluster, bench):  # noqa: F811
    moves = int(os.environ.get("BANYAN_TEST_MOVES", "24"))
    assert storm(cluster, bench, moves, SEED, 150) >= moves


@pytest.mark.full
@pytest.mark.limit(1800)
def test_two_hundred_random_moves(cluster, bench):  # noqa: F811
    assert storm(cluster, bench, 200, SEED + 100, 1200) >= 200
