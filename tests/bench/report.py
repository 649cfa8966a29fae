# SPDX-License-Identifier: GPL-2.0
"""What was measured, as build/bench.json and docs/benchmarks.md."""

import json
import statistics
from dataclasses import dataclass
from pathlib import Path

HIGHER, LOWER = "higher", "lower"


@dataclass
class Figure:
    """One ratio: its values of all rounds, and what it should be."""

    name: str
    runs: list[float]
    better: str
    goal: float | None = None

    @property
    def value(self) -> float:
        return statistics.median(self.runs)

    @property
    def missed(self) -> bool:
        if self.goal is None:
            return False
        return self.value < self.goal if self.better == HIGHER else self.value > self.goal

    @property
    def middle_half(self) -> tuple[float, float]:
        """Half of the rounds lie between these."""
        quarters = statistics.quantiles(self.runs, n=4)
        return quarters[0], quarters[2]

    @property
    def unresolved(self) -> bool:
        """Whether a goal seems to be reached, but the rounds lie too far apart to say so: the middle half of them is on both
        sides of it, or the cost of something is so far below nothing that the noise is larger than what is asked for."""
        if self.goal is None:
            return False
        low, high = self.middle_half
        if self.better == HIGHER:
            return low < self.goal <= self.value
        return not self.missed and (high > self.goal or self.value < 2 - self.goal)

    def entry(self) -> dict:
        return {"name": self.name, "value": round(self.value, 4), "unit": "ratio", "goal": self.goal, "better": self.better,
                "runs": [round(run, 4) for run in self.runs]}

    def row(self) -> str:
        sign = "≥" if self.better == HIGHER else "≤"
        goal = "" if self.goal is None else f"{sign} {self.goal:g}"
        reached = "missed" if self.missed else "not resolved" if self.unresolved else "reached" if self.goal is not None else ""
        digits = 3 if self.better == LOWER else 2
        return (f"| `{self.name}` | {self.value:.{digits}f} | {goal} | {reached} | {min(self.runs):.{digits}f} to "
                f"{max(self.runs):.{digits}f} | {len(self.runs)} |")

    def shortfall(self) -> str:
        by = abs(self.value - self.goal) / self.goal * 100
        return f"- `{self.name}`: {self.value:.4g} instead of {self.goal:g}, {by:.1f} % off. {self.reason()}"

    def reason(self) -> str:
        """Why it is missed, as far as the rounds themselves say."""
        low, high = self.middle_half
        if low <= self.goal <= high:
            return (f"Half of the rounds lie between {low:.3f} and {high:.3f}, on both sides of the goal: no more can be told on "
                    "a machine as busy as this one was.")
        return f"Half of the rounds lie between {low:.3f} and {high:.3f}, all short of the goal: it is not noise."

    def doubt(self) -> str:
        low, high = self.middle_half
        return (f"- `{self.name}`: median {self.value:.3f}, but half of the rounds lie between {low:.3f} and {high:.3f}: too far "
                "apart to tell so small a difference.")


def table(head: list[str], rows: list[str]) -> list[str]:
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *rows]


INTRODUCTION = """<!-- SPDX-License-Identifier: GPL-2.0 -->
<!-- Written by tests/bench/run: change it there. -->
# Benchmarks

Written by `make bench`. Each figure is a ratio of two things measured one right after the other on the same nodes, so that what
else the machine does hits both; the value is the median of the rounds.
"""

MEANING = [
    ("`migrate.throughput_vs_iperf3`",
     "touched memory / time from the request in the kernel until the process runs at the target",
     "bytes per second of `iperf3` between the nodes, mean of 2 s before and 2 s after"),
    ("`migrate.criu_over_banyan`",
     "time of `criu dump` to tmpfs, copying the files over TCP into the tmpfs of the target, `criu restore` there",
     "time of `banyanctl migrate --wait`"),
    ("`migrate.freeze_criu_over_banyan`",
     "the part of that time for which the process stands still: criu's own `freezing_time` + `frozen_time`, copying, restoring",
     "what `banyanctl migrate` says that it stood still"),
    ("`overhead`",
     "time of one, with `banyan.ko` and `banyan_migrate.ko` loaded and the node in the cluster",
     "the same just before or after without modules and service"),
    ("`overhead_beside_a_guest`",
     "the same with a guest on the node, which sleeps: calls that go home are hooked then, among them `null_syscall`, which is "
     "`getppid`",
     "as above"),
]

NOTES = """The program that moves fills so many MiB with words of which none is zero, and sleeps. After each move it checks all of
them; if anything differs the whole run fails. No figure includes the start of the program.

The copy for criu is made by `sendfile` at one end and reads of 1 MiB at the other, both programs already running, so
that no tool's own cost is in it.

For the overhead, the node's clocks go by the instructions that it executes (QEMU's `-icount`), whatever else the machine
under it does: the figures are ratios of numbers of instructions, and do not see caches. What a call takes is that of the
fastest hundredth of many batches of one millisecond, between the timer's interrupts. The loop's time also has in it what
share of the CPU other tasks of the node took meanwhile, those of Banyan included.
"""

SECONDS = """## Seconds behind them

Medians of the rounds. Under software emulation they say little of real machines: there a byte that is copied costs much more,
and most if it is copied by bytes, as system calls do. `iperf3` and criu copy more often than Banyan, which sends
pages as they are and copies them once, by words. On real processors the figures of moves will be nearer to one another.
"""


def page(figures: list[Figure], facts: list[tuple[str, str]], absolute: list[str]) -> str:
    """docs/benchmarks.md. `facts` are rows about the machine, `absolute` are rows of a table of seconds."""
    missed = [figure for figure in figures if figure.missed]
    unresolved = [figure for figure in figures if figure.unresolved]
    return "\n".join([
        INTRODUCTION,
        *table(["where", ""], [f"| {name} | {text} |" for name, text in facts]),
        "", "## Figures", "",
        *table(["figure", "value", "goal", "", "range", "rounds"], [figure.row() for figure in figures]),
        "", "## Missed goals", "",
        *([figure.shortfall() for figure in missed] or ["None."]),
        "", "## Goals that this run cannot tell", "",
        *([figure.doubt() for figure in unresolved] or ["None."]),
        "", "## What they mean", "",
        *table(["figure", "numerator", "denominator"], [f"| {' | '.join(row)} |" for row in MEANING]),
        "", NOTES, SECONDS,
        *table(["touched", "Banyan, whole", "stood still", "criu, whole", "dump", "copy", "restore", "iperf3"], absolute),
        "",
    ])


def write(root: Path, figures: list[Figure], facts: list[tuple[str, str]], absolute: list[str]) -> None:
    """Both files."""
    (root / "build").mkdir(exist_ok=True)
    (root / "build/bench.json").write_text(json.dumps([figure.entry() for figure in figures], indent=1) + "\n")
    (root / "docs/benchmarks.md").write_text(page(figures, facts, absolute))
