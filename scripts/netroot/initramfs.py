# SPDX-License-Identifier: GPL-2.0
"""Writes an initramfs without root and without the target's tools.

The archive holds busybox, the init script of this directory, and the wanted
kernel modules with all that they depend on, unpacked (busybox loads plain .ko
files), with modules.dep and modules.alias cut down to them. Compressed by zstd
from the toolchain root's or the machine's `zstd`, or by Python's gzip.
"""

import fnmatch
import gzip
import lzma
import shutil
import struct
import subprocess
from pathlib import Path


class Archive:
    """A cpio archive of the 'newc' form that the kernel reads."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.inode = 1
        self.made: set[str] = set()

    def _entry(self, name: str, mode: int, data: bytes, rdev: tuple[int, int] = (0, 0)) -> None:
        raw = name.encode() + b"\0"
        self.inode += 1
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, rdev[0], rdev[1], len(raw), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields) + raw
        self.parts.append(header + b"\0" * (-len(header) % 4))
        self.parts.append(data + b"\0" * (-len(data) % 4))

    def directory(self, name: str) -> None:
        if name in self.made or name in ("", "."):
            return
        self.directory(str(Path(name).parent))
        self.made.add(name)
        self._entry(name, 0o040755, b"")

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        self.directory(str(Path(name).parent))
        self._entry(name, 0o100000 | mode, data)

    def symlink(self, name: str, target: str) -> None:
        self.directory(str(Path(name).parent))
        self._entry(name, 0o120777, target.encode())

    def char_device(self, name: str, major: int, minor: int) -> None:
        self.directory(str(Path(name).parent))
        self._entry(name, 0o020600, b"", (major, minor))

    def finish(self) -> bytes:
        self._entry("TRAILER!!!", 0, b"")
        return b"".join(self.parts)


def _plain(path: str) -> str:
    return path.removesuffix(".xz")


def _module_name(path: str) -> str:
    return Path(_plain(path)).name.removesuffix(".ko").replace("-", "_")


def closure(tree: Path, wanted: list[str]) -> dict[str, list[str]]:
    """Wanted modules (patterns of paths, '!' excludes) and their dependencies."""
    deps: dict[str, list[str]] = {}
    for line in (tree / "modules.dep").read_text().splitlines():
        module, _, rest = line.partition(":")
        deps[module] = rest.split()
    chosen: dict[str, list[str]] = {}
    negative = [pattern[1:] for pattern in wanted if pattern.startswith("!")]
    for pattern in wanted:
        if pattern.startswith("!"):
            continue
        for module in fnmatch.filter(deps, f"kernel/{pattern}.ko*"):
            if any(fnmatch.fnmatch(module, f"kernel/{other}.ko*") for other in negative):
                continue
            for each in [module] + deps[module]:
                chosen[each] = deps[each]
    return chosen


def _read_module(path: Path) -> bytes:
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def _thin(elf: bytes, target: Path) -> None:
    """A module with holes in place of all that depmod does not look at."""
    (table,) = struct.unpack_from("<Q", elf, 40)
    size, count, names_index = struct.unpack_from("<HHH", elf, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", elf, table + i * size) for i in range(count)]
    names_at = headers[names_index][4]
    with open(target, "wb") as out:
        out.truncate(len(elf))
        out.write(elf[:64])
        for name, kind, _, _, offset, length, *_ in headers:
            text = elf[names_at + name:elf.index(b"\0", names_at + name)]
            if kind != NOBITS and text.startswith(KEPT_SECTIONS):
                out.seek(offset)
                out.write(elf[offset:offset + length])
        out.seek(table)
        out.write(elf[table:table + count * size])


KEPT_SECTIONS = (b".modinfo", b".symtab", b".strtab", b".shstrtab", b"__ksymtab", b"__kcrctab",
                 b"__versions")
NOBITS = 8


def thin_tree(tree: Path, target: Path) -> None:
    """Copies lib/modules/RELEASE so that depmod makes the same of it, in a tenth of the
    time: modules not compressed, and sparse. They keep their names, '.xz' included, for
    depmod goes by a file's contents and writes its name down."""
    for path in tree.rglob("*"):
        if not path.is_file():
            continue
        copy = target / path.relative_to(tree)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if ".ko" in path.name:
            _thin(_read_module(path), copy)
        else:
            shutil.copyfile(path, copy)


def _compress(data: bytes, target: Path) -> None:
    zstd = shutil.which("zstd")
    if zstd:
        subprocess.run([zstd, "-q", "-f", "-9", "-T0", "-o", str(target)], input=data, check=True)
    else:
        target.write_bytes(gzip.compress(data, 6))


def build(target: Path, tree: Path, release: str, wanted: list[str],
          busybox: bytes, init: bytes) -> None:
    archive = Archive()
    for name in ("dev", "proc", "sys", "run", "root", "tmp"):
        archive.directory(name)
    archive.char_device("dev/console", 5, 1)
    archive.file("bin/busybox", busybox, 0o755)
    archive.symlink("bin/sh", "busybox")
    archive.symlink("sbin", "bin")
    archive.file("init", init, 0o755)

    chosen = closure(tree, wanted)
    top = f"lib/modules/{release}"
    for module in chosen:
        archive.file(f"{top}/{_plain(module)}", _read_module(tree / module))
    archive.file(f"{top}/modules.dep", "".join(
        f"{_plain(module)}: {' '.join(_plain(dep) for dep in needs)}\n"
        for module, needs in chosen.items()).encode())
    names = {_module_name(module) for module in chosen}
    aliases = [line for line in (tree / "modules.alias").read_text().splitlines()
               if line.startswith("alias ") and line.split()[-1] in names]
    archive.file(f"{top}/modules.alias", ("\n".join(aliases) + "\n").encode())
    for name in ("modules.symbols", "modules.builtin"):
        archive.file(f"{top}/{name}", b"")
    _compress(archive.finish(), target)
