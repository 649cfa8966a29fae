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


def own_memory(pid: str) -> int:
    """What the process has of its own, KiB."""
    try:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    except OSError:
        return 0
    own, size = (int(status.get(name, "0").split()[0]) for name in ("RssAnon", "VmSize"))
    # A deputy shows what its guest has elsewhere.
    return own if size > own else 0


def used() -> int:
    """What is used of the node, KiB."""
    kib = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(kib["MemTotal"].split()[0]) - sum(int(kib[name].split()[0]) for name in FREE)


def main() -> int:
    pid, end = sys.argv[1], time.monotonic() + float(sys.argv[2])
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: told.append(number))
    begun = had = own_memory(pid)
    first = used() - begun
    most = first
    print("ready", flush=True)
    while not told and time.monotonic() < end:
        own = own_memory(pid)
        now = used()
        again = own_memory(pid)
        had = max(had, own)
        # While it comes, only if it has not grown meanwhile; where it was, until it goes: then it is being freed.
        if min(own, again) >= begun and abs(again - own) < 1024:
            most = max(most, now - own)
        time.sleep(0.005)
    print(most - first, had)
    return 0


if __name__ == "__main__":
    sys.exit(main())
