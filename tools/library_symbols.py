"""What a shared library of any system offers, and for which machine it is.

Read from the file itself (ELF, PE or Mach-O), for Linux has no tools for the other two. Addresses
and tables as in their specifications; nothing is loaded.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_MACHINES = {
    ("elf", 62): "x86_64",
    ("elf", 183): "aarch64",
    ("pe", 0x8664): "x86_64",
    ("pe", 0xAA64): "aarch64",
    ("macho", 0x01000007): "x86_64",
    ("macho", 0x0100000C): "aarch64",
}


@dataclass(frozen=True)
class SharedLibrary:
    """What was found.

    Attributes
    ----------
    kind : str
        ``elf``, ``pe`` or ``macho``.
    machine : str
        ``x86_64`` or ``aarch64``.
    symbols : frozenset of str
        Functions that others can call.
    needs : tuple of int
        Version of glibc or macOS that it needs at least; empty where neither is named.
    """

    kind: str
    machine: str
    symbols: frozenset[str]
    needs: tuple[int, ...]


def read_library(data: bytes) -> SharedLibrary:
    """Read a 64-bit little-endian shared library.

    Parameters
    ----------
    data : bytes
        The whole file.

    Raises
    ------
    ValueError
        If it is none, or of a machine that we have no wheels for.
    """
    if data[:4] == b"\x7fELF":
        kind, number, needs = "elf", *struct.unpack_from("<H", data, 18), _glibc(data)
        symbols = frozenset(_elf(data))
    elif data[:2] == b"MZ":
        (start,) = struct.unpack_from("<I", data, 0x3C)
        kind, number, needs = "pe", *struct.unpack_from("<H", data, start + 4), ()
        symbols = frozenset(_pe(data, start))
    elif data[:4] == b"\xcf\xfa\xed\xfe":
        kind, number, needs = "macho", *struct.unpack_from("<I", data, 4), _macos(data)
        symbols = frozenset(_macho(data))
    else:
        raise ValueError(f"a library must be ELF, PE or Mach-O, this begins with {data[:4]!r}")
    if (kind, number) not in _MACHINES:
        raise ValueError(f"a library must be for x86-64 or ARM64, this is for machine {number}")
    return SharedLibrary(kind, _MACHINES[kind, number], symbols, needs)


def _text(data: bytes, start: int) -> str:
    return data[start : data.index(b"\0", start)].decode()


def _elf(data: bytes) -> Iterator[str]:
    (table,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, table + i * size) for i in range(count)]
    for section in sections:
        if section[1] == 11:  # SHT_DYNSYM
            names = sections[section[6]][4]
            for at in range(section[4], section[4] + section[5], 24):
                name, info, _, where = struct.unpack_from("<IBBH", data, at)
                if where and info >> 4 == 1:  # defined here, global
                    yield _text(data, names + name)


def _glibc(data: bytes) -> tuple[int, ...]:
    found = re.findall(rb"GLIBC_(\d+)\.(\d+)", data)
    return max(((int(a), int(b)) for a, b in found), default=())


def _pe(data: bytes, start: int) -> Iterator[str]:
    n_sections, header = (struct.unpack_from("<H", data, start + at)[0] for at in (6, 20))
    sections = [
        struct.unpack_from("<III", data, start + 24 + header + 40 * i + 12)
        for i in range(n_sections)
    ]
    sizes = [
        struct.unpack_from("<I", data, start + 24 + header + 40 * i + 8)[0]
        for i in range(n_sections)
    ]

    def place(address: int) -> int:
        for (base, _, offset), size in zip(sections, sizes, strict=True):
            if base <= address < base + size:
                return address - base + offset
        raise ValueError(f"address {address:#x} must lie in a section")

    (table,) = struct.unpack_from("<I", data, start + 24 + 112)
    if table:
        count, _, names = struct.unpack_from("<III", data, place(table) + 24)
        for i in range(count):
            yield _text(data, place(struct.unpack_from("<I", data, place(names) + 4 * i)[0]))


def _commands(data: bytes) -> Iterator[tuple[int, int]]:
    """Kind and place of each load command."""
    (count,) = struct.unpack_from("<I", data, 16)
    at = 32
    for _ in range(count):
        kind, size = struct.unpack_from("<II", data, at)
        yield kind, at
        at += size


def _macho(data: bytes) -> Iterator[str]:
    for kind, at in _commands(data):
        if kind == 2:  # LC_SYMTAB
            table, count, names = struct.unpack_from("<III", data, at + 8)
            for i in range(count):
                name, how, section = struct.unpack_from("<IBB", data, table + 16 * i)
                if how & 0x1F == 0x0F and section:  # defined here, external, not private
                    yield _text(data, names + name).removeprefix("_")


def _macos(data: bytes) -> tuple[int, ...]:
    for kind, at in _commands(data):
        if kind in (0x32, 0x24):  # LC_BUILD_VERSION, LC_VERSION_MIN_MACOSX
            (version,) = struct.unpack_from("<I", data, at + (12 if kind == 0x32 else 8))
            return version >> 16, version >> 8 & 255
    return ()
