# SPDX-License-Identifier: GPL-2.0
"""scripts/cluster leaves nothing behind, however it ends. Clusters of a head alone."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from testbed.client import Cluster, ClusterError

# Each brings clusters of its own up and down: minutes.
pytestmark = pytest.mark.full

COMMAND = str(Path(__file__).resolve().parents[2] / "scripts/cluster")


def processes(cluster: Cluster) -> list[int]:
    """All processes that belong to a cluster: they have its state directory in their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if entry.name.isdigit() and f"{cluster.state}".encode() + b"/" in words.replace(b"\0", b"/"):
            found.append(int(entry.name))
    return found


def gone(cluster: Cluster) -> bool:
    return not processes(cluster) and not cluster.state.exists()


def wait_until(condition, limit: float) -> bool:
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def other(request):
    one = Cluster(f"t{os.getpid()}")
    yield one
    one.down()


def start(cluster: Cluster) -> subprocess.Popen:
    # A shell lets what it runs in the background ignore SIGINT; on a terminal it is not ignored.
    return subprocess.Popen([COMMAND, "--name", cluster.name, "up", "--nodes", "0"], stderr=subprocess.PIPE, text=True,
                            start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


def supervisor(cluster: Cluster) -> int:
    for pid in processes(cluster):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if words[2:3] == [b"testbed.supervisor"]:
            return pid
    raise AssertionError("no supervisor")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_when_up_is_interrupted(other, number):
    up = start(other)
    assert wait_until(lambda: len(processes(other)) >= 4, 60), "QEMU has not been started"
    os.kill(up.pid, number)
    up.wait(timeout=30)
    assert wait_until(lambda: gone(other), 15), (processes(other), other.state.exists())


def test_side_by_side_and_down(other):
    """Beside whatever cluster is up for the other tests."""
    assert start(other).wait(timeout=180) == 0
    assert other.run("head", "hostname").stdout == "head\n"
    with pytest.raises(ClusterError):
        other.ask("start", node="7")
    assert subprocess.run([COMMAND, "--name", other.name, "up", "--nodes", "0"], check=False,
                          stderr=subprocess.DEVNULL).returncode == 1
    assert other.run("head", "true").returncode == 0
    assert other.down()
    assert gone(other)
    assert not other.down()


@pytest.mark.parametrize("victim", ["supervisor", "keeper"])
def test_nothing_runs_on_when_its_owner_is_killed(other, victim):
    assert start(other).wait(timeout=180) == 0
    keeper = int((other.state / "keeper").read_text())
    os.kill(keeper if victim == "keeper" else supervisor(other), signal.SIGKILL)
    assert wait_until(lambda: not processes(other), 15), processes(other)
    if victim == "supervisor":
        assert wait_until(lambda: gone(other), 15)
    else:
        assert other.down()
        assert gone(other)
