#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Watches how much memory a node uses besides that of one process, which comes or goes meanwhile.

  extra_memory.py PID SECONDS

Prints `ready`; then, at the end of its time or at SIGTERM, a line with the most KiB used more than at first, and the most that
the process had.
"""

import signal
import sys
import time
from pathlib import Path

# Free, or to be had back at once.
FREE = ("MemFree", "Buffers", "Cached", "SReclaimable")


def used(pid: str) -> tuple[int, int]:
    """What is used without what the process has of its own, and that: KiB."""
    own = 0
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                own = int(line.split()[1])
    except OSError:
        pass
    kib = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(kib["MemTotal"].split()[0]) - sum(int(kib[name].split()[0]) for name in FREE) - own, own


def main() -> int:
    pid, end = sys.argv[1], time.monotonic() + float(sys.argv[2])
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: told.append(number))
    first, had = used(pid)
    most = first
    print("ready", flush=True)
    while not told and time.monotonic() < end:
        now, own = used(pid)
        most, had = max(most, now), max(had, own)
        time.sleep(0.01)
    print(most - first, had)
    return 0


if __name__ == "__main__":
    sys.exit(main())
