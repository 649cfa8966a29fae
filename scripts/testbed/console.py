# SPDX-License-Identifier: GPL-2.0
"""Looks through console logs for signs that a kernel is unwell."""

import re
from pathlib import Path

BAD = re.compile(
    r"cut here|Oops|\bBUG\b|WARNING: |kernel BUG|scheduling while atomic|sleeping function called"
    r"|rcu.*(?:detected.*stall|stall.*detected)|self-detected stall|rcu_\w+ kthread starved"
    r"|blocked for more than|hung task|soft lockup|hard LOCKUP|Kernel panic|Call Trace:"
    r"|general protection|unable to handle|Missing ENDBR|refcount_t|list_(?:add|del) corruption"
    r"|stack guard|double fault|invalid opcode|bad page|Bad page|Bad rss|use-after-free"
    r"|Unbalanced|unregister_netdevice: waiting|kernel tried to execute|segfault at"
    r"|memory leak|Slab .* objects remaining|panicked at|CFI failure")

# Known to come from the machine under us, not from the kernel's own doing.
HARMLESS = re.compile(r"WARNING: Image file .* is not a known|BUG: no oops here")


def mark(logs: list[Path]) -> dict[Path, int]:
    """Where each log ends now; `scan` from there sees only what comes later."""
    return {log: log.stat().st_size if log.exists() else 0 for log in logs}


def text(log: Path, start: int = 0) -> str:
    """What a log has from a position on."""
    with open(log, "rb") as file:
        file.seek(start)
        return file.read().decode(errors="replace")


def scan(logs: list[Path], since: dict[Path, int] | None = None,
         allow: str | None = None) -> list[tuple[str, str]]:
    """(machine, line) of each suspicious line; `allow` is a pattern to pass over."""
    found = []
    for log in logs:
        if not log.exists():
            continue
        for line in text(log, (since or {}).get(log, 0)).splitlines():
            if not BAD.search(line) or HARMLESS.search(line):
                continue
            if allow and re.search(allow, line):
                continue
            found.append((log.name.removesuffix(".console"), line.strip()))
    return found
