# SPDX-License-Identifier: GPL-2.0
"""What all cluster tests share: one cluster, a time limit, and the console check.

The cluster is brought up once for the session (BANYAN_TEST_NODES, default 3) and is
shared; a test that leaves machines off or links cut is put right afterwards. A test
fails when any console says something alarming while it runs, unless it is marked

    @pytest.mark.console_allow(r"regex")

Time limit: 120 s, or @pytest.mark.limit(SECONDS).
BANYAN_TEST_KEEP=1 uses a cluster that is up already and leaves it up.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from testbed import console  # noqa: E402
from testbed.client import Cluster, ClusterError  # noqa: E402
from testbed.machine import Options  # noqa: E402

NODES = int(os.environ.get("BANYAN_TEST_NODES", "3"))
NAME = os.environ.get("BANYAN_TEST_CLUSTER", "test")
KEEP = os.environ.get("BANYAN_TEST_KEEP") == "1"
LIMIT = 120
# What failed so far, for those who do not want to wait for the end.
FAILURES = Path(__file__).resolve().parents[2] / f"build/log/cluster/{NAME}.failures"


class TimeUp(Exception):
    """A test took longer than it may."""


class TestCluster(Cluster):
    """Cluster with what tests need often. Node numbers are ints here."""

    __test__ = False
    nodes = range(1, NODES + 1)

    def sh(self, node, script: str, timeout: float = 60, check: bool = True) -> str:
        """Runs a shell script on a machine; returns its output, stripped."""
        done = self.run(node, "sh", "-c", script, timeout=timeout, check=False)
        if check and done.returncode:
            raise AssertionError(f"on {node}: {script!r} ended with {done.returncode}:\n"
                                 f"{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def status_of(self, node, script: str, timeout: float = 60) -> int:
        return self.run(node, "sh", "-c", script, timeout=timeout, check=False).returncode

    def until(self, what: str, condition, limit: float = 30, every: float = 0.2):
        """Waits until condition() is true and returns its value; fails after `limit` s."""
        deadline = time.monotonic() + limit
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                pytest.fail(f"not within {limit} s: {what}")
            time.sleep(every)

    def kill_node(self, node) -> None:
        self.ask("kill", node=node)

    def start_node(self, node, limit: float = 180, **how) -> None:
        """`how`: model and cpu (percent), from now on."""
        self.ask("start", node=node, **how)
        self.ask("wait", node=node, timeout=limit)

    def link(self, node, **change) -> None:
        self.ask("link", node=node, **change)

    def sound(self, node) -> bool:
        """Whether a machine still runs commands."""
        try:
            return self.run(node, "true", timeout=30, check=False).returncode == 0
        except (subprocess.TimeoutExpired, ClusterError):
            return False

    def heal(self, suspects=()) -> None:
        """Everything on, every link whole; suspects that do not answer start anew."""
        status = self.status()
        for tap in list(status["links"]):
            self.link({"tap0": "head"}.get(tap, tap.removeprefix("tap")), up=True)
        for node in suspects:
            if not self.sound(node):
                self.ask("kill", node=node)
        status = self.status()
        off = [m["machine"] for m in status["machines"] if m["state"] != "up"]
        for node in off:
            self.ask("start", node=node)
        for node in off:
            self.ask("wait", node=node, timeout=240)


def pytest_configure(config):
    # Asked to stop, as by a time limit, it takes its cluster down like after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    FAILURES.unlink(missing_ok=True)
    config.addinivalue_line("markers", "limit(seconds): time limit of this test")
    config.addinivalue_line("markers", "console_allow(regex): console lines that this test expects")
    config.addinivalue_line("markers", "full: only in the full run (BANYAN_TEST_FULL=1)")


def pytest_collection_modifyitems(items):
    if os.environ.get("BANYAN_TEST_FULL") == "1":
        return
    for item in items:
        if item.get_closest_marker("full"):
            item.add_marker(pytest.mark.skip(reason="only in the full run"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Lets the fixture below know that a test has failed, and shows what the machines said
    meanwhile."""
    report = (yield).get_result()
    if report.when != "call" or not report.failed:
        return
    item.failed = True
    for log, start in getattr(item, "consoles", {}).items():
        lines = console.text(log, start).splitlines()[-30:]
        if lines:
            report.sections.append((f"console of {log.stem}", "\n".join(lines)))
    FAILURES.parent.mkdir(parents=True, exist_ok=True)
    with open(FAILURES, "a", encoding="utf-8") as file:
        sections = "".join(f"--- {title}\n{text}\n" for title, text in report.sections)
        file.write(f"=== {item.nodeid}, {time.strftime('%H:%M:%S')}\n{report.longreprtext}\n{sections}\n")


@pytest.fixture(scope="session")
def cluster():
    """The shared cluster, up."""
    one = TestCluster(NAME)
    if KEEP and one.running():
        yield one
        return
    one.down()
    try:
        one.up(Options(nodes=NODES), lambda text: print(f"cluster: {text}", file=sys.stderr, flush=True))
    except ClusterError as error:
        pytest.exit(f"the cluster does not come up: {error}", returncode=3)
    try:
        yield one
    finally:
        if not KEEP:
            one.down()


@pytest.fixture(scope="session")
def workloads(tmp_path_factory):
    """The workloads as they lie on a node: scripts as they are, C programs compiled (here, where no emulation slows it down)."""
    place = tmp_path_factory.mktemp("workloads")
    for source in sorted((Path(__file__).resolve().parents[1] / "workloads").iterdir()):
        if source.suffix == ".py":
            shutil.copy(source, place)
        elif source.suffix == ".c":
            subprocess.run(["gcc-14", "-O2", "-o", str(place / source.stem), str(source), "-lm", "-lrt"], check=True)
    return sorted(str(file) for file in place.iterdir())


@pytest.fixture(autouse=True)
def guarded(request):
    """Time limit and console check round each test that uses the cluster."""
    if "cluster" not in request.fixturenames:
        yield
        return
    cluster = request.getfixturevalue("cluster")
    allow = request.node.get_closest_marker("console_allow")
    limit = request.node.get_closest_marker("limit")
    seconds = limit.args[0] if limit else LIMIT
    marks = request.node.consoles = console.mark(cluster.consoles())

    def time_up(*_):
        raise TimeUp(f"not done after {seconds} s")

    signal.signal(signal.SIGALRM, time_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    time.sleep(0.2)
    found = cluster.check(marks, allow.args[0] if allow else None)
    broken = {machine for machine, _ in found}
    if found:
        # A kernel that has complained is not fit for the next test.
        for machine in broken - {"head"}:
            cluster.kill_node(machine)
    failed = found or getattr(request.node, "failed", False)
    cluster.heal(cluster.nodes if failed else ())
    if found:
        lines = "\n".join(f"  {machine}: {line}" for machine, line in found[:20])
        pytest.fail(f"the consoles show trouble:\n{lines}", pytrace=False)
