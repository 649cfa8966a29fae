# SPDX-License-Identifier: GPL-2.0
"""The test bed itself: machines boot over the network as a machine room would."""

import subprocess
import time

import pytest


def test_kernel_is_the_distributed_one(cluster):
    image = (cluster.state / "image").resolve()
    release = (image / "release").read_text().strip()
    for node in cluster.nodes:
        assert cluster.sh(node, "uname -r") == release
        assert cluster.sh(node, "cat /proc/sys/kernel/tainted") in ("0", "4096", "8192", "12288")


def test_root_is_the_nfs_export_itself(cluster):
    inodes = set()
    for node in cluster.nodes:
        kind, options = cluster.sh(node, "findmnt -no FSTYPE,OPTIONS /").split(None, 1)
        assert kind == "nfs" and "ro" in options.split(",")
        inodes.add(cluster.sh(node, "stat -c %i /usr/bin/python3.13 || stat -Lc %i /usr/bin/python3"))
    assert len(inodes) == 1, "a file of the root must be the same file on all nodes"


def test_each_node_has_its_own(cluster):
    names, ids = set(), set()
    for node in cluster.nodes:
        assert cluster.sh(node, "hostname") == f"node{node}" == cluster.sh(node, "cat /etc/hostname")
        names.add(cluster.sh(node, "hostname"))
        ids.add(cluster.sh(node, "cat /etc/machine-id"))
        cluster.sh(node, f"echo {node} >/tmp/mine; echo {node} >/var/tmp/mine; touch /run/mine")
    for node in cluster.nodes:
        assert cluster.sh(node, "cat /tmp/mine /var/tmp/mine").split() == [str(node)] * 2
        cluster.sh(node, "rm /tmp/mine /var/tmp/mine /run/mine")
    assert len(names) == len(ids) == len(cluster.nodes)


def test_home_is_shared(cluster):
    for node in cluster.nodes:
        assert cluster.sh(node, "findmnt -no FSTYPE /home") == "nfs4"
        cluster.sh(node, f"echo from {node} >/home/from{node}")
    for node in cluster.nodes:
        for other in cluster.nodes:
            assert cluster.sh(node, f"cat /home/from{other}") == f"from {other}"
    cluster.sh(1, "rm /home/from*")


def test_systemd_is_content(cluster):
    for node in cluster.nodes:
        cluster.until("systemd has booted", limit=60, condition=lambda n=node: cluster.sh(
            n, "systemctl is-system-running", check=False) in ("running", "degraded"))
        assert cluster.sh(node, "systemctl --failed --no-legend --plain") == ""


@pytest.mark.parametrize("status", [0, 1, 42, 130])
def test_exit_status_passes_through(cluster, status):
    assert cluster.status_of(1, f"exit {status}") == status


def test_output_passes_through(cluster):
    data = bytes(range(256)) * 1000
    done = cluster.run(1, "cat", input=data, text=False)
    assert done.stdout == data
    assert cluster.run(1, "echo", "a b", "$HOME", "'").stdout == "a b $HOME '\n"


def test_copy_there_and_back(cluster, tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    assert cluster.copy([str(tmp_path / "file")], "2:/tmp/file") == 0
    assert cluster.copy(["2:/tmp/file"], str(tmp_path / "back")) == 0
    assert (tmp_path / "back").read_bytes() == b"x" * 100_000
    cluster.sh(2, "rm /tmp/file")


def test_programs_are_there(cluster):
    for tool in ("xz", "python3", "sqlite3", "lua5.4", "bc", "gcc", "vim", "less", "ffmpeg",
                 "criu", "iperf3", "strace"):
        assert cluster.status_of(1, f"command -v {tool} >/dev/null") == 0, tool


def test_link_down_and_up(cluster):
    cluster.link(2, down=True)
    assert cluster.status_of(1, "ping -q -c 1 -W 2 10.77.0.2") != 0
    cluster.link(2, up=True)
    cluster.until("the node answers again", lambda: cluster.status_of(
        1, "ping -q -c 1 -W 2 10.77.0.2") == 0)


@pytest.mark.limit(300)
def test_power_cut_and_start(cluster):
    before = cluster.sh(2, "cat /proc/sys/kernel/random/boot_id")
    cluster.kill_node(2)
    assert cluster.status_of(1, "ping -q -c 1 -W 2 10.77.0.2") != 0
    cluster.start_node(2)
    assert cluster.sh(2, "cat /proc/sys/kernel/random/boot_id") != before


@pytest.mark.limit(600)
def test_cpus_may_differ(cluster):
    """In model, and in the share of a host CPU that they get."""
    def used() -> float:
        return next(m["cpu_seconds"] for m in cluster.status()["machines"] if m["machine"] == "1")

    assert " avx " in cluster.sh(1, "grep -m1 flags /proc/cpuinfo") + " "
    cluster.kill_node(1)
    try:
        cluster.start_node(1, limit=400, model="Nehalem", cpu=50)
        assert " avx " not in cluster.sh(1, "grep -m1 flags /proc/cpuinfo") + " "
        before, begin = used(), time.monotonic()
        cluster.sh(1, "timeout 8 sh -c 'while :; do :; done'", check=False)
        assert used() - before < 0.65 * (time.monotonic() - begin)
    finally:
        cluster.kill_node(1)
        cluster.start_node(1, model="max", cpu=100)


def test_terminal(cluster):
    done = subprocess.run(cluster.command("1", ["sh", "-c", "tty; stty size"], terminal=True),
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                          check=True)
    assert done.stdout.startswith("/dev/pts/")


def round_trip(cluster, node: int) -> float:
    """Median of some pings from the head to a node, in ms."""
    text = cluster.sh("head", f"ping -c 7 -i 0.3 -W 3 10.77.0.{node}")
    times = sorted(float(part.split()[0]) for part in text.split("time=")[1:])
    return times[len(times) // 2]


def test_link_delay(cluster):
    before = round_trip(cluster, 1)
    cluster.link(1, delay=50)
    assert 100 <= round_trip(cluster, 1) <= 400
    cluster.link(1, up=True)
    assert round_trip(cluster, 1) < max(90, 3 * before)


def test_link_loss(cluster):
    cluster.link(1, loss=100)
    assert cluster.status_of("head", "ping -q -c 3 -i 0.3 -W 1 10.77.0.1") != 0
    cluster.link(1, up=True)
    cluster.until("the node answers again", lambda: cluster.status_of(
        "head", "ping -q -c 1 -W 2 10.77.0.1") == 0)


def test_link_rate(cluster):
    cluster.link(1, rate=8)
    cluster.sh(1, "head -c 2000000 /dev/urandom >/tmp/data")
    begin = time.monotonic()
    assert cluster.sh(1, "wc -c </tmp/data; cat /tmp/data | wc -c") == "2000000\n2000000"
    quick = time.monotonic() - begin
    begin = time.monotonic()
    assert len(cluster.run(1, "cat", "/tmp/data", text=False).stdout) == 2_000_000
    took = time.monotonic() - begin
    assert 1.5 <= took <= 20 + quick, "2 MB at 8 Mbit/s take 2 s"
    cluster.sh(1, "rm /tmp/data")


def test_push_installs_what_is_built(cluster):
    """After `make modules`, no image is built anew and no machine boots again."""
    modules = cluster.push()
    for node in cluster.nodes:
        for module in modules:
            assert cluster.sh(node, f"modinfo -F vermagic {module.removesuffix('.ko')}")
