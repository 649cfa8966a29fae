# SPDX-License-Identifier: GPL-2.0
"""A hostile peer in the cluster's network: no oops, no leak, the cluster goes on."""

from pathlib import Path

import pytest

PEER = Path(__file__).resolve().parents[1] / "hostile" / "peer.py"
NODE = 119


@pytest.fixture(scope="module")
def rogue(cluster):
    """Runs the hostile peer on the head against node 1; returns what it says."""
    assert cluster.copy([str(PEER)], "head:/tmp/peer.py") == 0
    key = cluster.sh(1, "od -An -v -tx1 /etc/banyan/key | tr -d ' \\n'")
    cluster.sh("head", f"umask 077; printf %s {key} >/tmp/rogue.key")
    name = cluster.sh(1, "cat /sys/kernel/banyan/cluster")
    address = cluster.sh(1, "cat /sys/kernel/banyan/address")

    def run(*attacks, key=True, timeout=240):
        with_key = "--key /tmp/rogue.key" if key else ""
        return cluster.sh("head", f"python3 /tmp/peer.py {address} --cluster {name} --node {NODE} {with_key} "
                                  f"{' '.join(attacks)}", timeout=timeout)

    yield run
    cluster.sh("head", "rm -f /tmp/peer.py /tmp/rogue.key")


def members(cluster):
    """The nodes' views of the cluster's own nodes: True if all are up everywhere."""
    wanted = str(len(cluster.nodes))
    return all(cluster.sh(n, "banyanctl nodes --json | grep -c '\"up\"' || true") == wanted for n in cluster.nodes)


def fixed_memory(cluster):
    """KiB of memory on node 1 that cannot be given back."""
    return int(cluster.sh(1, "sync; echo 3 >/proc/sys/vm/drop_caches; sleep 1; awk '/^SUnreclaim|^KernelStack/ "
                             "{ s += $2 } END { print s }' /proc/meminfo"))


@pytest.mark.limit(300)
def test_strangers_get_nothing(cluster, rogue):
    assert rogue(key=False).endswith("0 failed")
    cluster.until("the cluster is whole", condition=lambda: members(cluster))


@pytest.mark.limit(300)
def test_a_member_gone_mad(cluster, rogue):
    assert rogue("replay", "bad_features", "stranger_bulk", "member_bulk", "bad_frames", "half_frame", "strange_replies",
                 "random_messages", "epochs", "alive").endswith("0 failed")
    cluster.until("the cluster is whole", condition=lambda: members(cluster))


@pytest.mark.limit(300)
def test_nothing_leaks(cluster, rogue):
    again = ("garbage", "wrong_key", "replay", "member_bulk", "bad_frames", "random_messages")
    rogue(*again)
    before = fixed_memory(cluster)
    for _ in range(4):
        rogue(*again)
    assert fixed_memory(cluster) - before < 1024
