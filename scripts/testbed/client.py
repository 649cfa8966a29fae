# SPDX-License-Identifier: GPL-2.0
"""A cluster seen from outside: starting its supervisor, talking to it, using ssh.

`Cluster` is what both scripts/cluster and the test harness use. It holds no state
but the cluster's name: everything is in the state directory, which is there exactly
as long as the cluster is.
"""

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from . import console, inject, kvm, paths
from .machine import Options


class ClusterError(Exception):
    """Something to tell the user in one line."""


class Cluster:
    """One cluster, up or not."""

    def __init__(self, name: str = "default") -> None:
        if not name.replace("-", "").replace("_", "").isalnum():
            raise ClusterError(f"{name!r} is no name for a cluster: letters, digits, - and _ only")
        self.name = name
        self.state = _state_directory(name)
        self.logs = paths.REPO / "build" / "cluster" / name

    # -- the supervisor ---------------------------------------------------------

    def ask(self, command: str, timeout: float = 700, **more) -> dict:
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(timeout)
                sock.connect(str(self.state / "socket"))
                with sock.makefile("rwb") as stream:
                    stream.write(json.dumps({"cmd": command, **more}).encode() + b"\n")
                    stream.flush()
                    line = stream.readline()
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise ClusterError(f"cluster {self.name} is not up") from error
        if not line:
            raise ClusterError(f"cluster {self.name} went down meanwhile")
        answer = json.loads(line)
        if "error" in answer:
            raise ClusterError(answer["error"])
        return answer

    def running(self) -> bool:
        try:
            self.ask("status", timeout=10)
        except ClusterError:
            return False
        return True

    def status(self) -> dict:
        return self.ask("status", timeout=10)

    def _prepare(self, image: Path, options: Options) -> list[str]:
        """Keys, disks and the tar file for the head; returns the modules in it."""
        self.state.mkdir(parents=True, mode=0o700)
        for name in ("id", "host"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"banyan-{name}",
                            "-f", str(self.state / name)], check=True)
        (self.state / "key").write_bytes(secrets.token_bytes(32))
        for name in ("head", "root"):
            subprocess.run(paths.qemu_img() + ["create", "-q", "-f", "qcow2", "-F", "raw", "-b",
                                               str(image / "root.ext4"),
                                               str(self.state / f"{name}.qcow2")], check=True)
        (self.state / "image").symlink_to(image)
        modules, known = inject.cluster_disk(self.state / "cluster.tar", image, self.state,
                                             self.name, options.nodes, options.append)
        (self.state / "pushed").write_text(json.dumps(known))
        return modules

    def _spawn(self, image: Path, options: Options) -> subprocess.Popen:
        """The supervisor in its namespaces, under a process that cleans up after it."""
        shutil.rmtree(self.logs, ignore_errors=True)
        self.logs.mkdir(parents=True)
        spaces = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        if os.getuid() != 0:
            spaces = ["--user", "--map-root-user"] + spaces
        command = ["unshare"] + spaces + [
            sys.executable, "-m", "testbed.supervisor", str(self.state), str(self.logs),
            str(image), json.dumps(asdict(options))]
        log = open(self.logs / "supervisor.log", "ab")
        with log:
            return subprocess.Popen(
                [sys.executable, "-m", "testbed.keeper", str(self.state)] + command,
                cwd=paths.REPO / "scripts", stdin=subprocess.PIPE, stdout=log, stderr=log,
                start_new_session=True)

    def up(self, options: Options, say=lambda text: None) -> dict:
        """Boots the cluster and returns its status once all machines answer."""
        begin = time.monotonic()
        if self.running():
            raise ClusterError(f"cluster {self.name} is up already: 'down' first, or --fresh")
        if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
            raise ClusterError("/dev/net/tun is not there or not open to this user:"
                               " 'modprobe tun' and 'chmod 666 /dev/net/tun', as root")
        shutil.rmtree(self.state, ignore_errors=True)
        done = subprocess.run([str(paths.REPO / "scripts/netroot/build")], stdout=subprocess.PIPE,
                              text=True, check=False)
        if done.returncode:
            raise ClusterError("the network root could not be built")
        image = Path(done.stdout.strip())
        if options.kvm and not kvm.works(image):
            say("KVM does not boot the kernel here: using software emulation")
            options.kvm = False
        keeper = None
        try:
            modules = self._prepare(image, options)
            say(f"modules: {' '.join(modules) or 'none built'}")
            keeper = self._spawn(image, options)
            told: set[str] = set()
            while True:
                time.sleep(0.25)
                if keeper.poll() is not None:
                    raise ClusterError(self._why_it_ended())
                if not (self.state / "socket").exists():
                    continue
                status = self.status()
                for name, seconds in status["boot"].items():
                    if name not in told:
                        told.add(name)
                        (cost,) = [m["boot_cpu"] for m in status["machines"] if m["machine"] == name]
                        say(f"{name if name == 'head' else 'node ' + name} answers"
                            f" after {seconds:.0f} s ({cost:.0f} s of CPU)")
                if status["failed"]:
                    raise ClusterError(status["failed"])
                if len(status["boot"]) == options.nodes + 1:
                    say(f"up after {time.monotonic() - begin:.0f} s")
                    keeper.stdin.write(b"up")
                    keeper.stdin.close()
                    return status
        except BaseException:
            # Half a cluster is of no use to anyone, Ctrl-C included.
            if keeper is not None:
                keeper.send_signal(signal.SIGTERM)
                keeper.wait()
            shutil.rmtree(self.state, ignore_errors=True)
            raise

    def _why_it_ended(self) -> str:
        log = self.logs / "supervisor.log"
        lines = log.read_text(errors="replace").splitlines()
        lines = [line for line in lines if re.match(r"\w*Error: ", line)] or lines
        return f"the supervisor ended: {lines[-1] if lines else 'no reason given'} ({log})"

    def down(self) -> bool:
        """Takes the cluster down; False if there was none."""
        if not self.state.exists():
            return False
        try:
            self.ask("down", timeout=10)
        except (ClusterError, OSError):
            pass
        deadline = time.monotonic() + 15
        while self.state.exists() and time.monotonic() < deadline:
            if not (self.state / "socket").exists():
                break
            time.sleep(0.05)
        keeper = self.state / "keeper"
        if self.state.exists() and keeper.exists():
            _end_process(int(keeper.read_text()))
        shutil.rmtree(self.state, ignore_errors=True)
        return True

    # -- machines -----------------------------------------------------------------

    def _socket_of(self, node: str) -> Path:
        path = self.state / f"ssh-{node}"
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(path))
        except OSError:
            self.ask("master", node=node)
        return path

    def _ssh(self, node: str) -> list[str]:
        return ["-F", "none", "-o", "ControlMaster=no", "-o", f"ControlPath={self._socket_of(node)}",
                "-o", "ProxyCommand=false", "-o", "LogLevel=ERROR"]

    def command(self, node: str, argv: list[str], terminal: bool = False) -> list[str]:
        """The local command that runs `argv` on a machine."""
        extra = ["-tt"] if terminal else ["-T"]
        quoted = " ".join(_quote(word) for word in argv)
        return ["ssh"] + extra + self._ssh(str(node)) + [f"root@{node}", "--", quoted]

    def run(self, node, *argv: str, timeout: float = 120, check: bool = True,
            text: bool = True, **more) -> subprocess.CompletedProcess:
        """Runs a command to its end and returns its output."""
        more.setdefault("stdin", subprocess.DEVNULL) if "input" not in more else None
        return subprocess.run(self.command(str(node), list(argv)), capture_output=True, text=text,
                              timeout=timeout, check=check, **more)

    def copy(self, sources: list[str], target: str) -> int:
        """scp, with NODE:PATH on either side."""
        nodes = {part.split(":", 1)[0] for part in sources + [target] if _is_remote(part)}
        if len(nodes) != 1:
            raise ClusterError("exactly one machine must be named, as NODE:PATH")
        node = nodes.pop()
        words = [f"root@{part}" if _is_remote(part) else part for part in sources + [target]]
        return subprocess.run(["scp", "-q", "-p", "-r"] + self._ssh(node) + words,
                              check=False).returncode

    def push(self) -> list[str]:
        """Installs what is built now on the running cluster; nothing is loaded anew."""
        if not self.running():
            raise ClusterError(f"cluster {self.name} is not up")
        known = json.loads((self.state / "pushed").read_text())
        archive, modules = inject.push_archive((self.state / "image").resolve(), known)
        # tar makes each file anew: what runs or is mapped keeps the old one.
        done = subprocess.run(self.command("head", ["tar", "-C", "/srv/banyan",
                                                    "--keep-directory-symlink", "-xzf", "-"]),
                              input=archive, capture_output=True, timeout=300, check=False)
        if done.returncode:
            raise ClusterError(f"the head does not take the files: {done.stderr.decode().strip()}")
        (self.state / "pushed").write_text(json.dumps(known))
        for machine in self.status()["machines"]:
            if machine["machine"] != "head" and machine["state"] == "up":
                self.run(machine["machine"], "sh", "-c", "echo 2 >/proc/sys/vm/drop_caches")
        return modules

    def consoles(self) -> list[Path]:
        return sorted(self.logs.glob("*.console"))

    def check(self, since=None, allow=None) -> list[tuple[str, str]]:
        return console.scan(self.consoles(), since, allow)


def _user() -> int:
    """The user's id outside the user namespace in which this may run as root."""
    inside, outside, _ = Path("/proc/self/uid_map").read_text().splitlines()[0].split()
    return int(outside) if os.getuid() == int(inside) == 0 else os.getuid()


def _state_directory(name: str) -> Path:
    """Where the cluster's state is, or would be. The toolchain root does not show the
    user's runtime directory: a cluster that was started in there is in /tmp."""
    places = [Path(place) / f"banyan-{_user()}" / name
              for place in (os.environ.get("XDG_RUNTIME_DIR", ""), "/tmp")
              if place and os.access(place, os.W_OK)]
    return next((place for place in places if place.exists()), places[0])


def _end_process(pid: int) -> None:
    """Ends the keeper, if that process still is ours."""
    try:
        if b"testbed.keeper" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            return
        os.kill(pid, signal.SIGTERM)
        for _ in range(100):
            os.kill(pid, 0)
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass


def _is_remote(word: str) -> bool:
    node, colon, _ = word.partition(":")
    return bool(colon) and (node == "head" or node.isdigit())


def _quote(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"
