# SPDX-License-Identifier: GPL-2.0
"""What belongs to one cluster, as the tar file that its boot server unpacks.

The cached root image is the same for all clusters. On top of it, at each `up`, go
Banyan's modules and tool as they are built at that moment, the cluster's key, SSH
keys and the boot configuration. `push` sends the module part to a running cluster.

Files to install come from where the build leaves them, and from build/root/ (a tree as
`make install DESTDIR=build/root` leaves it), which wins.
"""

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from . import paths

HEAD = "10.77.0.126"
HOST = "10.77.0.125"
HTTP_FILES = ("vmlinuz", "node.img")


def address(node: int) -> str:
    """Node k has an address whose low 7 bits are k, which is then its node id."""
    return f"10.77.0.{node}"


def mac(node: int) -> str:
    return f"52:54:00:4d:00:{node:02x}"


class Tar:
    """A tar file in the making; everything in it belongs to root. Leaves out what is
    `known` (name -> hash) to be in place already, and notes there what it takes in."""

    def __init__(self, file, known: dict[str, str] | None = None) -> None:
        self.known: dict[str, str] = {} if known is None else known
        self.tar = tarfile.open(fileobj=file, mode="w")
        self.made: set[str] = set()

    def _parents(self, name: str) -> None:
        for parent in reversed(Path(name).parents):
            if str(parent) not in self.made and str(parent) != ".":
                self.made.add(str(parent))
                info = tarfile.TarInfo(str(parent))
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                if parent.name == ".ssh":
                    info.mode = 0o700
                self.tar.addfile(info)

    def data(self, name: str, data: bytes | str, mode: int = 0o644) -> None:
        raw = data.encode() if isinstance(data, str) else data
        digest = hashlib.sha256(raw).hexdigest()
        if self.known.get(name) == digest:
            return
        self.known[name] = digest
        self._parents(name)
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(raw), mode
        self.tar.addfile(info, io.BytesIO(raw))

    def file(self, name: str, path: Path, mode: int | None = None) -> None:
        if path.is_symlink():
            self._parents(name)
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)
            self.tar.addfile(info)
            return
        executable = path.stat().st_mode & 0o111
        self.data(name, path.read_bytes(), mode or (0o755 if executable else 0o644))

    def tree(self, name: str, top: Path) -> None:
        for path in sorted(top.rglob("*")):
            if path.is_symlink() or path.is_file():
                self.file(f"{name}/{path.relative_to(top)}", path)

    def close(self) -> None:
        self.tar.close()


def canonical(relative: str) -> str:
    """/lib, /sbin and /bin are links into /usr on Debian: name the real place."""
    first = relative.split("/", 1)[0]
    return f"usr/{relative}" if first in ("lib", "sbin", "bin", "lib64") else relative


def build_products() -> dict[str, Path]:
    """Path in the root -> file on this machine, for all that Banyan installs."""
    repo, release = paths.REPO, paths.kernel_release()
    found: dict[str, Path] = {}
    updates = f"usr/lib/modules/{release}/updates/banyan"
    for place in (repo / "build/kbuild", repo / "build/modules"):
        for module in sorted(place.glob("*.ko")):
            found[f"{updates}/{module.name}"] = module
    packaging = repo / "userspace/packaging"
    for source, target in (("systemd/*.service", "usr/lib/systemd/system"),
                           ("modprobe.d/*.conf", "usr/lib/modprobe.d"),
                           ("udev/*.rules", "usr/lib/udev/rules.d"),
                           ("banyan.conf", "etc/banyan")):
        for path in sorted(packaging.glob(source)):
            found[f"{target}/{path.name}"] = path
    if (repo / "build/banyanctl").exists():
        found["usr/bin/banyanctl"] = repo / "build/banyanctl"
        found["usr/sbin/banyanctl"] = repo / "build/banyanctl"
    installed = repo / "build/root"
    if installed.is_dir():
        for path in sorted(installed.rglob("*")):
            if path.is_file() or path.is_symlink():
                found[canonical(str(path.relative_to(installed)))] = path
    return found


def depmod(image: Path, products: dict[str, Path]) -> dict[str, bytes]:
    """modules.dep and its like with our modules in, made here: the emulated
    machines would need minutes."""
    release = paths.kernel_release()
    prefix = f"usr/lib/modules/{release}/"
    ours = {name: path for name, path in products.items()
            if name.startswith(prefix) and name.endswith((".ko", ".ko.xz"))}
    if not ours:
        return {}
    with tempfile.TemporaryDirectory(prefix="banyan-depmod.") as scratch:
        tree = Path(scratch) / "lib/modules" / release
        tree.mkdir(parents=True)
        stock = image / "modules" / release
        for entry in stock.iterdir():
            if entry.name == "kernel":
                (tree / "kernel").symlink_to(entry)
            elif entry.name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
                shutil.copy(entry, tree)
        for name, path in ours.items():
            target = tree / name[len(prefix):]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        subprocess.run(paths.tool("depmod") + ["-b", scratch, release], check=True, stderr=subprocess.DEVNULL)
        return {f"{prefix}{entry.name}": entry.read_bytes()
                for entry in tree.iterdir()
                if entry.is_file() and entry.name not in
                ("modules.order", "modules.builtin", "modules.builtin.modinfo")}


def add_products(tar: Tar, image: Path, prefix: str, enable: bool = True) -> list[str]:
    """Modules, tool and units; returns the names of the modules."""
    products = build_products()
    for name, path in products.items():
        tar.file(f"{prefix}{name}", path)
    for name, data in depmod(image, products).items():
        tar.data(f"{prefix}{name}", data)
    unit = "usr/lib/systemd/system/banyan.service"
    if enable and {unit, "usr/bin/banyanctl"} <= products.keys():
        # Enabled by a link, as `systemctl enable` would.
        info = tarfile.TarInfo(f"{prefix}etc/systemd/system/multi-user.target.wants/banyan.service")
        info.type, info.linkname = tarfile.SYMTYPE, "/" + unit
        tar.tar.addfile(info)
    return sorted(Path(name).name for name in products if name.endswith(".ko"))


def boot_script(base: str, server: str, cluster: str, join: str, extra: list[str]) -> str:
    """What iPXE runs, in the test bed as on real machines. `base` is where the kernel
    is fetched from; ${...} are iPXE's."""
    arguments = [
        f"nfsroot={server}:/srv/banyan,port=2049,mountport=20048,mountproto=tcp,"
        "nocto,noatime,actimeo=30",
        "ip=${ip}::${gateway}:${netmask}:${hostname}", "BOOTIF=01-${mac:hexhyp}",
        "console=tty0", "console=ttyS0,115200", f"banyan.cluster={cluster}",
        f"banyan.join={join}"] + extra
    return "\n".join([
        "#!ipxe", f"kernel {base}/vmlinuz initrd=node.img " + " ".join(arguments),
        f"initrd {base}/node.img", "boot", ""])


# An emulated machine has few devices, all of them known: what saves time there.
EMULATED = ["loglevel=5", "net.ifnames=0", "systemd.show_status=0", "banyan.coldplug=0",
            "systemd.getty_auto=0", "lsm=landlock,yama,apparmor",
            # Its host may leave it without a processor for long: not the kernel's fault.
            "watchdog_thresh=60", "rcupdate.rcu_cpu_stall_timeout=120"]


def dnsmasq(hosts: list[tuple[str, str, str]], network: str, netmask: str) -> list[str]:
    """Settings of the boot server's dnsmasq: addresses for `hosts` (MAC, address, name)
    and network boot: iPXE gets the script, others get iPXE, for BIOS or for UEFI."""
    return [
        "port=0", "bind-interfaces", "no-ping", "dhcp-authoritative", "leasefile-ro",
        f"dhcp-range={network},static,{netmask},infinite",
        "enable-tftp", "tftp-root=/srv/tftp",
        "dhcp-match=set:ipxe,175",
        "dhcp-match=set:efi64,option:client-arch,7",
        "dhcp-match=set:efi64,option:client-arch,9",
        "dhcp-boot=tag:ipxe,boot.ipxe",
        "dhcp-boot=tag:!ipxe,tag:efi64,snponly.efi",
        "dhcp-boot=tag:!ipxe,tag:!efi64,undionly.kpxe",
    ] + [f"dhcp-host={mac},{address},{name},infinite" for mac, address, name in hosts]


def exports(network: str) -> str:
    """The root for all to read, /home for all to write; fsid keeps file handles stable."""
    options = "no_root_squash,no_subtree_check"
    return (f"/srv/banyan {network}(ro,{options},async,fsid=1)\n"
            f"/home {network}(rw,{options},%s,fsid=2)\n")


def cluster_disk(target: Path, image: Path, state: Path, cluster: str, nodes: int,
                 extra: str) -> tuple[list[str], dict[str, str]]:
    """Writes the tar file for the boot server; returns the modules in it, and what of
    Banyan's part it holds (as for `push_archive`)."""
    public = (state / "id.pub").read_text()
    with open(target, "wb") as file:
        tar = Tar(file)
        modules = add_products(tar, image, "root/")
        known = {name.removeprefix("root/"): digest for name, digest in tar.known.items()}
        add_products(tar, image, "head/", enable=False)  # to try modules with a head alone
        for place in ("root", "head"):
            tar.data(f"{place}/etc/ssh/ssh_host_ed25519_key", (state / "host").read_bytes(), 0o600)
            tar.data(f"{place}/etc/ssh/ssh_host_ed25519_key.pub", (state / "host.pub").read_bytes())
            tar.data(f"{place}/root/.ssh/authorized_keys", public, 0o600)
        tar.data("root/etc/banyan/key", (state / "key").read_bytes(), 0o600)
        tar.data("head/etc/banyan/network", f"ADDRESS={HEAD}\nNAME=head\n")
        hosts = [(mac(k), address(k), f"node{k}") for k in range(1, nodes + 1)]
        lines = dnsmasq(hosts, "10.77.0.0", "255.255.255.0")
        # No way out of the test bed: no router, no name server.
        lines += ["dhcp-option=option:router", "dhcp-option=option:dns-server"]
        tar.data("head/etc/banyan/dnsmasq.conf", "\n".join(lines) + "\n")
        tar.data("head/etc/exports", exports("*") % "async")
        last = f"-{nodes}" if nodes > 1 else ""
        tar.data("head/srv/tftp/boot.ipxe",
                 boot_script("http://${next-server}", HEAD, cluster, f"{address(1)}{last}",
                             EMULATED + extra.split()))
        for name in HTTP_FILES:
            tar.file(f"head/srv/tftp/{name}", image / name, 0o644)
        for name in ("undionly.kpxe", "snponly.efi"):
            info = tarfile.TarInfo(f"head/srv/tftp/{name}")
            info.type, info.linkname = tarfile.SYMTYPE, f"/usr/lib/ipxe/{name}"
            tar.tar.addfile(info)
        tar.close()
    return modules, known


def push_archive(image: Path, known: dict[str, str]) -> tuple[bytes, list[str]]:
    """What has changed of Banyan's part since `known` was noted, compressed."""
    buffer = io.BytesIO()
    tar = Tar(buffer, known)
    modules = add_products(tar, image, "")
    tar.close()
    return gzip.compress(buffer.getvalue(), 1), modules
