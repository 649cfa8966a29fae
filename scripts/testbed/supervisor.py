# SPDX-License-Identifier: GPL-2.0
"""The process that owns a cluster: one per cluster, first process of a PID namespace.

It is started in fresh network, mount and PID (and, when not root, user) namespaces,
makes the bridge, starts the machines and serves commands on a socket, one JSON line
each way. Everything it starts ends with it, however it ends: the kernel kills the
rest of a PID namespace when its first process goes.

usage: python3 -m testbed.supervisor STATE_DIR LOG_DIR IMAGE_DIR OPTIONS_JSON
"""

import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from . import inject
from .links import Links
from .machine import Machine, Options, run

BRIDGE = "br0"


class Supervisor:
    """Commands run in threads; those on one machine exclude each other by its lock."""

    def __init__(self, state: Path, logs: Path, image: Path, options: Options) -> None:
        self.state, self.options = state, options
        self.machines = {m.name: m for m in (
            Machine(k, options, state, logs, image) for k in range(options.nodes + 1))}
        self.links = Links(BRIDGE)
        self.done = threading.Event()
        self.boot_times: dict[str, float] = {}
        self.failed = ""

    def network(self) -> None:
        run("ip", "link", "set", "lo", "up")
        # A tap that is not on the bridge must not answer for the bridge's address.
        Path("/proc/sys/net/ipv4/conf/all/arp_ignore").write_text("1")
        Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
        run("ip", "link", "add", BRIDGE, "type", "bridge", "stp_state", "0", "forward_delay", "0")
        run("ip", "address", "add", f"{inject.HOST}/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
        for machine in self.machines.values():
            run("ip", "tuntap", "add", "dev", machine.tap, "mode", "tap")
            run("ip", "link", "set", machine.tap, "master", BRIDGE, "up")

    def boot(self) -> None:
        """Head first; the nodes when it serves. Runs in its own thread."""
        begin = time.monotonic()
        try:
            head = self.machines["head"]
            with head.lock:
                head.start()
            while not head.answers() and time.monotonic() < begin + 180 and head.alive():
                time.sleep(0.2)
            nodes = [m for m in self.machines.values() if m is not head]
            for node in nodes:
                with node.lock:
                    node.start()
            self.wait_for(head, 60)
            self.boot_times["head"] = time.monotonic() - begin
            for node in nodes:
                self.wait_for(node, 600)
                self.boot_times[node.name] = time.monotonic() - begin
        except RuntimeError as error:
            self.failed = str(error)

    def wait_for(self, machine: Machine, limit: float) -> None:
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline and not self.done.is_set():
            if not machine.alive():
                raise RuntimeError(f"{machine.name} ended while booting; see {machine.qemu_log}")
            if machine.answers():
                with machine.lock:
                    machine.make_master()
                machine.up_after = time.monotonic() - machine.started
                machine.boot_cpu = machine.cpu_seconds()
                return
            time.sleep(0.3)
        raise RuntimeError(f"{machine.name} did not answer within {limit:.0f} s;"
                           f" console: {machine.console}")

    # -- commands -------------------------------------------------------------

    def handle(self, request: dict) -> dict:
        command = request["cmd"]
        if command == "status":
            return {"machines": [m.status() for m in self.machines.values()],
                    "boot": self.boot_times, "failed": self.failed, "links": self.links.status(),
                    "nodes": self.options.nodes}
        if command == "down":
            self.done.set()
            return {}
        machine = self.machines.get(str(request["node"]))
        if machine is None:
            raise RuntimeError(f"no machine {request['node']!r} in this cluster")
        if command == "link":
            self.links.change(machine.tap, request)
            return {}
        if command == "wait":
            self.wait_for(machine, request.get("timeout", 300))
            return machine.status()
        with machine.lock:
            if command == "kill":
                machine.kill()
            elif command == "start":
                if request.get("model"):
                    machine.model = request["model"]
                if request.get("cpu"):
                    machine.cpu_percent = request["cpu"]
                if request.get("counted") is not None:
                    machine.counted = request["counted"]
                machine.start()
            elif command == "master":
                if not machine.alive():
                    raise RuntimeError(f"{machine.name} is off")
                machine.make_master(request.get("timeout", 60))
            else:
                raise RuntimeError(f"no command {command!r}")
        return machine.status()

    def client(self, sock: socket.socket) -> None:
        with sock, sock.makefile("rwb") as stream:
            try:
                answer = self.handle(json.loads(stream.readline()))
            except (RuntimeError, OSError, KeyError, ValueError) as error:
                answer = {"error": str(error)}
            try:
                stream.write(json.dumps(answer).encode() + b"\n")
                stream.flush()
            except OSError:
                pass

    def serve(self, listener: socket.socket) -> None:
        while not self.done.is_set():
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.client, args=(sock,), daemon=True).start()

    def main(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: self.done.set())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.network()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.state / "socket.new"))
        listener.listen(64)
        os.rename(self.state / "socket.new", self.state / "socket")
        threading.Thread(target=self.serve, args=(listener,), daemon=True).start()
        threading.Thread(target=self.boot, daemon=True).start()
        while not self.done.wait(0.5):
            pass
        time.sleep(0.1)  # let the answer to `down` out
        for machine in self.machines.values():
            machine.kill()


def main() -> None:
    state, logs, image = (Path(arg) for arg in sys.argv[1:4])
    raw = json.loads(sys.argv[4])
    raw["models"] = {int(k): v for k, v in raw.get("models", {}).items()}
    Supervisor(state, logs, image, Options(**raw)).main()


if __name__ == "__main__":
    main()
