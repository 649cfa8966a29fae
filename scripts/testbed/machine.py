# SPDX-License-Identifier: GPL-2.0
"""One virtual machine of a cluster: its QEMU, its tap, its console log, its ssh.

Lives in the supervisor, one object per machine for the cluster's whole life; the
QEMU process comes and goes with `kill` and `start`.
"""

import os
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import inject, paths


@dataclass
class Options:
    """What `up` was asked for."""

    nodes: int
    mem: int = 768
    smp: int = 1
    cpu_percent: int = 100
    models: dict[int, str] = field(default_factory=dict)
    append: str = ""
    kvm: bool = False


def run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")


class Machine:
    """`number` is 0 for the head. Methods are called under `lock` by the supervisor."""

    def __init__(self, number: int, options: Options, state: Path, logs: Path, image: Path) -> None:
        self.number = number
        self.name = "head" if number == 0 else str(number)
        self.options, self.state, self.image = options, state, image
        self.address = inject.HEAD if number == 0 else inject.address(number)
        self.console = logs / f"{self.name}.console"
        self.qemu_log = logs / f"{self.name}.qemu"
        self.tap = f"tap{number}"
        self.ssh_socket = state / f"ssh-{self.name}"
        self.process: subprocess.Popen | None = None
        self.master: subprocess.Popen | None = None
        self.started = 0.0
        self.up_after: float | None = None
        self.boot_cpu: float | None = None
        self.lock = threading.Lock()
        self.model = options.models.get(number, "host" if options.kvm else "max")
        self.cpu_percent = options.cpu_percent if number else 100
        # Its clocks go by the instructions that it executes: what it measures does not depend on what else this machine does.
        self.counted = False

    # -- QEMU ---------------------------------------------------------------

    def arguments(self) -> list[str]:
        if self.counted:
            # An instruction takes 16 ns; when there is nothing to execute, time goes on as outside.
            accel = ["-accel", "tcg,thread=single", "-icount", "shift=4,sleep=on"]
        else:
            accel = ["-accel", "kvm" if self.options.kvm else "tcg,thread=multi"]
        number = self.number or 126
        out = [
            "-nodefaults", "-no-user-config", "-name", f"banyan-{self.name}",
            "-machine", "q35,usb=off,smbus=off,sata=off", *accel, "-cpu", self.model,
            "-m", f"{512 if self.number == 0 else self.options.mem}M",
            "-smp", str(1 if self.number == 0 else self.options.smp),
            "-display", "none", "-vga", "none",
            "-chardev", f"file,id=con,path={self.console},append=on", "-serial", "chardev:con",
            "-qmp", f"unix:{self.state}/qmp-{self.name},server=on,wait=off",
            "-netdev", f"tap,id=net,ifname={self.tap},script=no,downscript=no",
        ]
        card = f"virtio-net-pci,netdev=net,mac={inject.mac(number)}"
        if self.number == 0:
            out += [
                "-kernel", str(self.image / "vmlinuz"), "-initrd", str(self.image / "head.img"),
                "-append", "console=ttyS0,115200 loglevel=5 net.ifnames=0 bootdisk=/dev/vda "
                           "init=/usr/lib/banyan/head-init",
                "-device", card + ",romfile=",
                "-drive", f"file={self.state}/head.qcow2,if=virtio,cache=unsafe,format=qcow2",
                "-drive", f"file={self.state}/root.qcow2,if=virtio,cache=unsafe,format=qcow2",
                "-drive", f"file={self.state}/cluster.tar,if=virtio,readonly=on,format=raw",
            ]
        else:
            out += ["-device", card + ",bootindex=1", "-boot", "reboot-timeout=1000"]
        return out

    def start(self) -> None:
        if self.alive():
            return
        command, environment = paths.qemu()
        with open(self.qemu_log, "ab") as log, open(self.console, "ab") as console:
            console.write(f"\n--- {self.name}: power on, {time.strftime('%H:%M:%S')}\n".encode())
            self.process = subprocess.Popen(command + self.arguments(), env=environment,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.started, self.up_after = time.monotonic(), None
        if self.cpu_percent < 100:
            threading.Thread(target=self._duty_cycle, daemon=True,
                             args=(self.process, self.cpu_percent / 100)).start()

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """Power cut."""
        self.drop_master()
        if self.alive():
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self.up_after = None

    @staticmethod
    def _duty_cycle(process: subprocess.Popen, share: float) -> None:
        """Caps the CPU without a cgroup at hand: the machine runs for its share of each
        50 ms and stands still for the rest, as one that its host takes the CPU from."""
        while process.poll() is None:
            time.sleep(0.05 * share)
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.05 * (1 - share))
            process.send_signal(signal.SIGCONT)

    # -- ssh ----------------------------------------------------------------

    def answers(self) -> bool:
        """Whether its sshd sends its greeting."""
        try:
            with socket.create_connection((self.address, 22), timeout=2) as sock:
                sock.settimeout(10)
                return sock.recv(4).startswith(b"SSH")
        except OSError:
            return False

    def master_alive(self) -> bool:
        return self.master is not None and self.master.poll() is None and self.ssh_socket.exists()

    def drop_master(self) -> None:
        if self.master and self.master.poll() is None:
            self.master.kill()
            self.master.wait()
        self.master = None
        self.ssh_socket.unlink(missing_ok=True)

    def make_master(self, patience: float = 60) -> None:
        """Opens the connection that all later commands share."""
        if self.master_alive():
            return
        self.drop_master()
        self.master = subprocess.Popen(
            ["ssh", "-F", "none", "-N", "-M", "-S", str(self.ssh_socket), "-i",
             str(self.state / "id"), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
             "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={os.devnull}",
             "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=30", "-o", "ServerAliveInterval=20",
             "-o", "ServerAliveCountMax=6", "-o", "GSSAPIAuthentication=no",
             "-o", "IPQoS=none", f"root@{self.address}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and self.master.poll() is None:
            if self.ssh_socket.exists():
                return
            time.sleep(0.05)
        self.drop_master()
        raise RuntimeError(f"{self.name} does not take an ssh connection")

    def cpu_seconds(self) -> float:
        """Processor time that its QEMU has used so far: what a boot costs, however busy
        this machine is."""
        if not self.alive():
            return 0.0
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def status(self) -> dict:
        state = "off"
        if self.alive():
            state = "up" if self.up_after is not None else "booting"
        return {"machine": self.name, "state": state, "address": self.address,
                "cpu_model": self.model, "cpu_percent": self.cpu_percent,
                "cpu_seconds": self.cpu_seconds(), "boot_cpu": self.boot_cpu,
                "pid": self.process.pid if self.alive() else None,
                "up_after": self.up_after, "console": str(self.console)}
