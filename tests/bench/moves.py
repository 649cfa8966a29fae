# SPDX-License-Identifier: GPL-2.0
"""Moves of a program by Banyan and by criu, against iperf3 between the same two nodes. node/mover.py does and times them."""

import json
import statistics
from collections.abc import Callable

from report import HIGHER, Figure
from testbed.client import Cluster

SIZES = (1, 64, 256)
PLACE = "/home/bench"
PORT = 7999
MIB = 1 << 20
THROUGHPUT_GOAL = {256: 0.6}
CRIU_GOAL = {256: 3.0}
# Of the table of seconds.
COLUMNS = (("banyan", "whole"), ("banyan", "freeze"), ("criu", "whole"), ("criu", "dump"), ("criu", "copy"), ("criu", "restore"))


def prepare(cluster: Cluster) -> None:
    """What waits at the target: a server for iperf3, and one for what criu dumps."""
    cluster.run(2, "sh", "-c", f"setsid iperf3 --server >/tmp/iperf3.log 2>&1 </dev/null & "
                               f"setsid python3 {PLACE}/receiver.py {PORT} >/tmp/receiver.log 2>&1 </dev/null & sleep 2")


def measure(cluster: Cluster, rounds: int, say: Callable[[str], None]) -> tuple[list[Figure], list[str]]:
    """The figures, and rows of a table of seconds."""
    nodes = json.loads(cluster.run(1, "banyanctl", "nodes", "--json").stdout)
    address = next(node["address"] for node in nodes if node["id"] == 2)
    throughput, whole, freeze, absolute = [], [], [], []
    for mib in SIZES:
        done = cluster.run(1, "python3", f"{PLACE}/mover.py", "2", address, str(PORT), str(mib), str(rounds),
                           timeout=rounds * 400, check=False)
        if done.returncode:
            log = cluster.run(2, "tail", "-n", "20", "/tmp/receiver.log", check=False).stdout
            raise RuntimeError(f"moves of {mib} MiB: {done.stderr}{log}")
        results = [json.loads(line) for line in done.stdout.splitlines()]
        throughput.append(Figure(f"migrate.throughput_vs_iperf3.{mib}MiB",
                                 [mib * MIB / r["banyan"]["move"] / r["iperf"] for r in results],
                                 HIGHER, THROUGHPUT_GOAL.get(mib)))
        whole.append(Figure(f"migrate.criu_over_banyan.{mib}MiB", [r["criu"]["whole"] / r["banyan"]["whole"] for r in results],
                            HIGHER, CRIU_GOAL.get(mib)))
        freeze.append(Figure(f"migrate.freeze_criu_over_banyan.{mib}MiB",
                             [r["criu"]["freeze"] / r["banyan"]["freeze"] for r in results], HIGHER))

        def middle(who: str, what: str, results=results) -> str:
            return f"{statistics.median(r[who][what] for r in results):.2f}"

        speed = statistics.median(r["iperf"] for r in results) / MIB
        columns = [middle(who, what) for who, what in COLUMNS]
        absolute.append(" | ".join([f"| {mib} MiB", *columns, f"{speed:.0f} MiB/s |"]))
        say(f"{mib} MiB: {throughput[-1].value:.2f} of iperf3, {whole[-1].value:.2f} times as fast as criu, "
            f"freeze {freeze[-1].value:.2f} times as short")
    return throughput + whole + freeze, absolute
