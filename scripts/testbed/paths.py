# SPDX-License-Identifier: GPL-2.0
"""Where things are: cache, toolchain root, QEMU, kernel version, package mirror.

The one place that knows how the platform scripts lay out their products.
"""

import functools
import os
import shutil
import subprocess
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
PLATFORM = REPO / "scripts/platform"
LIBRARIES = "usr/lib/x86_64-linux-gnu"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "banyan"


@functools.cache
def kernel_release() -> str:
    """The kernel that modules are built for and nodes boot: what the toolchain root
    was really made with, else the pinned one."""
    given = os.environ.get("BANYAN_KERNEL")
    if given:
        return given
    for file, key in ((toolchain() / "etc/banyan-toolchain", "kernel="),
                      (PLATFORM / "kernel.conf", "KERNEL_RELEASE=")):
        if file.exists():
            for line in file.read_text().splitlines():
                if line.startswith(key):
                    return line.removeprefix(key)
    raise SystemExit("no kernel version in scripts/platform/kernel.conf")


@functools.cache
def toolchain() -> Path:
    """Root directory that holds compilers and QEMU; it may not have been made yet."""
    given = os.environ.get("BANYAN_TOOLCHAIN")
    if given:
        return Path(given)
    return Path(_output(str(PLATFORM / "toolchain"), "--path"))


def mirror() -> str:
    """The Debian mirror that this machine's apt is configured for, else that of the
    toolchain root."""
    script = str(PLATFORM / "mirror")
    found = _output(script)
    if not found:
        found = _output(script, BANYAN_APT_DIR=str(toolchain() / "etc/apt"))
    if not found:
        raise SystemExit("no Debian mirror in this machine's apt configuration: set BANYAN_MIRROR")
    return found


def _output(*argv: str, **environment: str) -> str:
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True,
                          env={**os.environ, **environment}).stdout.strip()


def tool(name: str, host_first: bool = True) -> list[str]:
    """Start of a command line for a program of this machine, else of the toolchain
    root, run in place by that root's own dynamic linker."""
    search = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    if host_first:
        found = shutil.which(name, path=search)
        if found:
            return [found]
    root = toolchain()
    for folder in ("usr/bin", "usr/sbin"):
        binary = root / folder / name
        if binary.is_symlink() or binary.exists():
            real = os.path.normpath(binary.parent / os.readlink(binary)) if binary.is_symlink() else binary
            return [str(root / "usr/lib64/ld-linux-x86-64.so.2"), "--argv0", name,
                    "--library-path", str(root / LIBRARIES), str(real)]
    raise SystemExit(f"{name} is missing, here and in {root}: run 'make modules' first")


def qemu() -> tuple[list[str], dict[str, str]]:
    """Command that starts QEMU of the toolchain root, and its environment."""
    root = toolchain()
    argv = tool("qemu-system-x86_64", host_first=False)
    argv += ["-L", str(root / "usr/share/qemu"), "-L", str(root / "usr/share/seabios")]
    return argv, {**os.environ, "QEMU_MODULE_DIR": str(root / LIBRARIES / "qemu")}


def qemu_img() -> list[str]:
    return tool("qemu-img", host_first=False)
