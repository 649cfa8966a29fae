# SPDX-License-Identifier: GPL-2.0
"""Whether hardware virtualisation can be used here: only a boot of the kernel tells.

/dev/kvm may be there and still not run it (nested machines, old hosts).
"""

import os
import select
import subprocess
import time
from pathlib import Path

from . import paths

PATIENCE = 30  # seconds; a machine with KVM needs two
PROOF = b"banyan-init: started"


def works(image: Path) -> bool:
    """Boots the kernel up to the first line of its initramfs under KVM."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    command, environment = paths.qemu()
    process = subprocess.Popen(
        command + ["-nodefaults", "-no-user-config", "-no-reboot", "-machine", "q35",
                   "-accel", "kvm", "-cpu", "host", "-m", "512M", "-display", "none", "-vga", "none",
                   "-serial", "stdio", "-kernel", str(image / "vmlinuz"),
                   "-initrd", str(image / "head.img"), "-append", "console=ttyS0 panic=-1"],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL)
    seen, deadline = b"", time.monotonic() + PATIENCE
    try:
        while PROOF not in seen and time.monotonic() < deadline:
            if select.select([process.stdout], [], [], 0.5)[0]:
                data = os.read(process.stdout.fileno(), 65536)
                if not data:
                    break
                seen += data
        return PROOF in seen
    finally:
        process.kill()
        process.wait()
