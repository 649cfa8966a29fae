# SPDX-License-Identifier: GPL-2.0
"""The commands of scripts/cluster."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time

from .client import Cluster, ClusterError
from .machine import Options


def parser(usage: str) -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="scripts/cluster", description=usage,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("--name", default=os.environ.get("BANYAN_CLUSTER", "default"),
                     help="which cluster, if there are several side by side")
    sub = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    up = sub.add_parser("up", help="boot a cluster")
    up.add_argument("--nodes", type=int, default=2)
    up.add_argument("--mem", type=int, default=768, metavar="MIB", help="memory of a node")
    up.add_argument("--smp", type=int, default=1, metavar="N", help="processors of a node")
    up.add_argument("--cpu", type=int, default=100, metavar="PERCENT",
                    help="share of a host CPU that each node gets")
    up.add_argument("--cpu-model", action="append", default=[], metavar="NODE=MODEL",
                    help="QEMU CPU model of one node, as in 2=Nehalem")
    up.add_argument("--append", default="", help="more kernel command line for nodes")
    up.add_argument("--kvm", action="store_true",
                    help="hardware virtualisation, if it boots the kernel here")
    up.add_argument("--fresh", action="store_true", help="take down what is up first")

    status = sub.add_parser("status", help="what runs")
    status.add_argument("--json", action="store_true")
    run = sub.add_parser("run", help="run a command on a machine")
    run.add_argument("-t", dest="terminal", action="store_true", help="with a terminal")
    run.add_argument("node")
    run.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- CMD...")
    copy = sub.add_parser("cp", help="copy files to or from a machine (NODE:PATH)")
    copy.add_argument("paths", nargs="+")
    sub.add_parser("push", help="install the modules and tool as built now")
    console = sub.add_parser("console", help="print a console log")
    console.add_argument("-f", dest="follow", action="store_true")
    console.add_argument("node")
    check = sub.add_parser("check", help="look for trouble in the console logs")
    check.add_argument("--allow", metavar="REGEX")
    for name, text in (("kill", "power cut"), ("start", "power on"),
                       ("wait", "wait until a machine answers")):
        one = sub.add_parser(name, help=text)
        one.add_argument("node")
        if name == "start":
            one.add_argument("--cpu", type=int, metavar="PERCENT", help="from now on")
            one.add_argument("--cpu-model", metavar="MODEL", help="from now on")
            one.add_argument("--counted", action=argparse.BooleanOptionalAction,
                             help="from now on its time is the number of its instructions")
    link = sub.add_parser("link", help="change a machine's network link")
    link.add_argument("node")
    link.add_argument("--down", action="store_true")
    link.add_argument("--up", action="store_true", help="also ends delay, loss and rate")
    link.add_argument("--delay", type=float, metavar="MS")
    link.add_argument("--loss", type=float, metavar="PCT")
    link.add_argument("--rate", type=float, metavar="MBIT")
    sub.add_parser("down", help="end the cluster")
    return top


def say(text: str) -> None:
    print(f"cluster: {text}", file=sys.stderr, flush=True)


def command_up(cluster: Cluster, args: argparse.Namespace) -> int:
    if not 0 <= args.nodes <= 100:
        raise ClusterError("between 0 (the head alone) and 100 nodes")
    models = {}
    for entry in args.cpu_model:
        node, _, model = entry.partition("=")
        if not node.isdigit() or not model:
            raise ClusterError(f"--cpu-model takes NODE=MODEL, not {entry!r}")
        models[int(node)] = model
    if not 1 <= args.cpu <= 100:
        raise ClusterError("--cpu takes a percentage between 1 and 100")
    if args.fresh:
        cluster.down()
    cluster.up(Options(nodes=args.nodes, mem=args.mem, smp=args.smp, cpu_percent=args.cpu,
                       models=models, append=args.append, kvm=args.kvm), say)
    return 0


def command_status(cluster: Cluster, args: argparse.Namespace) -> int:
    status = cluster.status()
    if args.json:
        print(json.dumps(status, indent=1))
        return 0
    print(f"{'machine':8} {'state':8} {'address':13} {'pid':>7}  answered after")
    for machine in status["machines"]:
        after = f"{machine['up_after']:.0f} s" if machine["up_after"] is not None else "-"
        print(f"{machine['machine']:8} {machine['state']:8} {machine['address']:13}"
              f" {machine['pid'] or '-':>7}  {after}")
    for tap, state in status["links"].items():
        print(f"link {tap.removeprefix('tap')}: {state}")
    return 0


def command_run(cluster: Cluster, args: argparse.Namespace) -> int:
    argv = args.argv[1:] if args.argv[:1] == ["--"] else args.argv
    if not argv:
        raise ClusterError("run what?")
    command = cluster.command(args.node, argv, args.terminal)
    os.execvp(command[0], command)


def command_console(cluster: Cluster, args: argparse.Namespace) -> int:
    log = cluster.logs / f"{args.node}.console"
    if not log.exists():
        raise ClusterError(f"no console log of {args.node!r}")
    return subprocess.run(["tail", "-n", "+1"] + (["-f"] if args.follow else []) + [str(log)],
                          check=False).returncode


def command_check(cluster: Cluster, args: argparse.Namespace) -> int:
    found = cluster.check(allow=args.allow)
    for machine, line in found:
        print(f"{machine}: {line}")
    return 1 if found else 0


def command_link(cluster: Cluster, args: argparse.Namespace) -> int:
    cluster.ask("link", node=args.node, down=args.down, up=args.up, delay=args.delay,
                loss=args.loss, rate=args.rate)
    return 0


def dispatch(args: argparse.Namespace) -> int:
    cluster = Cluster(args.name)
    if args.command == "push":
        begin = time.monotonic()
        say(f"{' '.join(cluster.push()) or 'no modules built'}"
            f" ({time.monotonic() - begin:.1f} s)")
        return 0
    if args.command == "cp":
        if len(args.paths) < 2:
            raise ClusterError("cp SRC... NODE:PATH")
        return cluster.copy(args.paths[:-1], args.paths[-1])
    if args.command in ("kill", "start", "wait"):
        cluster.ask(args.command, node=args.node, cpu=getattr(args, "cpu", None),
                    model=getattr(args, "cpu_model", None),
                    counted=getattr(args, "counted", None))
        return 0
    if args.command == "down":
        if not cluster.down():
            say(f"cluster {args.name} is not up")
        return 0
    commands = {"up": command_up, "status": command_status, "run": command_run,
                "console": command_console, "check": command_check, "link": command_link}
    return commands[args.command](cluster, args)


def main(usage: str) -> int:
    args = parser(usage).parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: clean up
    try:
        return dispatch(args)
    except ClusterError as error:
        say(str(error))
        return 255 if args.command == "run" else 1
    except KeyboardInterrupt:
        return 130
