#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Runs a program on this node and moves it about the cluster while it runs.

  roam.py [--moves N] [--nodes A,B,C] [--seed S] [--input FILE] [--child NAME] OUTPUT -- COMMAND...

The program's output goes to OUTPUT. Prints one line of JSON: its wait status, the moves that
succeeded, and every other answer of banyanctl with how often it came. Moves at most N times,
then lets the program end by itself; a move to where it is already is not counted. With --child it is not
the program that moves, but the process of this name that it starts, as long as there is one.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path


def descendant(pid: int, name: str) -> int | None:
    """The process of this name among the children of a process and theirs."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in map(int, children):
            if Path(f"/proc/{child}/comm").read_text().strip() == name:
                return child
            found = descendant(child, name)
            if found:
                return found
    except (FileNotFoundError, ProcessLookupError):
        pass
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moves", type=int, default=10)
    parser.add_argument("--nodes", default="1,2,3")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause", type=float, default=0.5, help="longest time between two moves")
    parser.add_argument("--limit", type=float, default=300, help="the program is killed after so many seconds")
    parser.add_argument("--input", default="/dev/null")
    parser.add_argument("--child", help="name of the process to move, if it is not the program itself")
    parser.add_argument("output")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    command = [word for i, word in enumerate(args.command) if i or word != "--"]
    nodes = args.nodes.split(",")
    chance = random.Random(args.seed)
    answers: dict[str, int] = {}
    moved = 0
    deadline = time.monotonic() + args.limit

    with open(args.output, "wb") as output, open(args.input, "rb") as given:
        child = subprocess.Popen(command, stdin=given, stdout=output, stderr=subprocess.STDOUT)
    here = None
    mover: int | None = child.pid
    time.sleep(0.3)
    while child.poll() is None and moved < args.moves and time.monotonic() < deadline:
        if args.child:
            found = descendant(child.pid, args.child)
            if found != mover:
                mover, here = found, None
            if mover is None:
                time.sleep(0.1)
                continue
        target = chance.choice([node for node in nodes if node != here])
        done = subprocess.run(["banyanctl", "migrate", "--wait", str(mover), target],
                              capture_output=True, text=True, check=False)
        if done.returncode == 0:
            moved += 1
            here = target
        elif "already" in done.stderr:
            here = target
        elif args.child and "no such process" in done.stderr:
            # It has ended; its parent goes on.
            continue
        else:
            words = done.stderr.splitlines()[0] if done.stderr else f"status {done.returncode}"
            words = words.replace(str(mover), "PID")
            answers[words] = answers.get(words, 0) + 1
        time.sleep(chance.uniform(0, args.pause))
    try:
        child.wait(timeout=max(1.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        answers["killed: it took too long"] = 1
        child.kill()
        child.wait()
    status = child.returncode
    usage = os.times()
    print(json.dumps({"status": status, "moves": moved, "answers": answers,
                      "cpu": round(usage.children_user + usage.children_system, 2)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
