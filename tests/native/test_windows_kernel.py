"""The Windows library, run under wine, gives the numbers of the Linux library and of NumPy."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from emag_rt.frontend.filters import design_band
from emag_rt.native import NativeField, why_not
from emag_rt.native.build_hook import FLAGS, LEVELS
from emag_rt.native.library import FrontEndStruct, Memory, load
from tests.factories import relative
from tests.native.test_field import packed, random_operator
from tools.wheels import compiler
from tools.wheels import why_not as why_no_zig

WINE = shutil.which("wine64") or shutil.which("wine")
pytestmark = [
    pytest.mark.live,  # minutes where zig has not compiled before
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "is here"),
    pytest.mark.skipif(bool(why_no_zig()), reason=why_no_zig() or "is here"),
]
HERE = Path(__file__).parent
KERNEL = HERE.parents[1] / "emag_rt" / "native" / "kernel.c"
SYSTEMS = {
    "linux": ("x86_64-linux-gnu.2.17", "so", "driver", ["-ldl"]),
    "windows": ("x86_64-windows-gnu", "dll", "driver.exe", []),
}
FUNCTIONS = (
    *("emag_cpu_level", "emag_layout", "emag_filter", "emag_render", "emag_step"),
    "emag_prepare",
)
N_LD, N_OUT, N_TIMES, CHUNKS = 17, 65, 240, (1, 1, 7, 1, 30, 40, 160)


@dataclass
class Image:
    """A copy of memory that another process can work on, and what to call there."""

    blocks: list = field(default_factory=list)  # (address, bytes, has pointers)
    calls: list = field(default_factory=list)
    starts: list = field(default_factory=list)

    def add(self, address, size, pointers=False):
        start = self.starts[-1] + -(-self.blocks[-1][1] // 64) * 64 if self.blocks else 0
        self.blocks.append((address, size, pointers))
        self.starts.append(start)
        return start

    def place(self, address):
        for (begin, size, _), start in zip(self.blocks, self.starts, strict=True):
            if begin <= address < begin + size:
                return start + address - begin
        return None

    def call(self, name, *arguments):
        """An argument that is an address in a block becomes a place."""
        pairs = []
        for value in (*arguments, *[0] * (7 - len(arguments))):
            place = self.place(value) if value > 1 << 20 else None
            pairs += [0, value] if place is None else [1, place]
        self.calls.append([FUNCTIONS.index(name), *pairs])

    def write(self, path):
        memory = bytearray(self.starts[-1] + self.blocks[-1][1])
        pointers = []
        for (address, size, has_pointers), start in zip(self.blocks, self.starts, strict=True):
            memory[start : start + size] = ctypes.string_at(address, size)
            for at in range(start, start + size, 8) if has_pointers else ():
                place = self.place(int.from_bytes(memory[at : at + 8], "little"))
                if place is not None:
                    memory[at : at + 8] = place.to_bytes(8, "little")
                    pointers.append(at)
        calls = [word for call in self.calls for word in call]
        words = [len(memory), len(pointers), len(self.calls), *pointers, *calls]
        path.write_bytes(np.array(words, "<i8").tobytes() + memory)
        return len(memory)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """An image: a filter and a field with networks, fed with chunks; what NumPy makes of them."""
    operator = random_operator(1, N_LD, N_OUT, 12, 400, look_ahead=3)
    native = NativeField(operator, ((0, 2),))
    memory = Memory()
    ld = 20.0 * np.random.default_rng(0).normal(size=(N_TIMES, N_LD))
    sos = design_band(0.5, 45.0, 250.0)
    names = {
        "columns": memory.array(range(N_LD), np.int64),
        "gains": memory.array(np.ones(N_LD), np.float64),
        "sections": memory.array(sos[:, [0, 1, 2, 4, 5]], np.float64),
        "state": memory.zeros((2 * len(sos), N_LD), np.float64),
        "offset": memory.zeros((N_LD,), np.float64),
        "last": memory.zeros((N_LD,), np.float64),
    }
    front = FrontEndStruct(N_LD, N_LD, len(sos), rail=1e9, step=1e9)
    for name, values in names.items():
        setattr(front, name, values.ctypes.data)
    given = memory.array(ld, np.float64)
    raw, filtered = memory.zeros(ld.shape, np.float64), memory.zeros(ld.shape, np.float64)
    hd = memory.zeros((N_TIMES, N_OUT))

    image = Image()
    for kept in (*native._memory._kept, *memory._kept):
        if isinstance(kept, np.ndarray):
            if kept.nbytes:
                image.add(kept.ctypes.data, kept.nbytes)
        else:
            image.add(ctypes.addressof(kept), ctypes.sizeof(kept), pointers=True)
    for structure in (native._struct, front):
        image.add(ctypes.addressof(structure), ctypes.sizeof(structure), pointers=True)
    image.call("emag_layout")
    image.call("emag_cpu_level")
    begin = 0
    for n in CHUNKS:
        parts = (a[begin : begin + n].ctypes.data for a in (given, raw, filtered, hd))
        here, *rest = parts
        image.call("emag_step", ctypes.addressof(front), native.address, here, n, *rest)
        image.call("emag_prepare", native.address, 8)
        begin += n
    path = tmp_path_factory.mktemp("image") / "image"
    size = image.write(path)
    return path, size, image.place(hd.ctypes.data), image.place(filtered.ctypes.data), operator


@pytest.fixture(scope="module")
def results(example, tmp_path_factory):
    """What each library made of the image: by system and level of the CPU."""
    path, size, hd_at, filtered_at, *_ = example
    folder = tmp_path_factory.mktemp("libraries")

    def zig(target, *arguments):
        done = subprocess.run(
            [*compiler(target), *map(str, arguments)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def run(system, level):
        target, suffix, driver, extra = SYSTEMS[system]
        if not (folder / driver).exists():
            zig(target, "-O1", "-o", folder / driver, HERE / "kernel_driver.c", *extra)
        march = [flag.replace("x86-64-v", "x86_64_v") for flag in LEVELS[level]]
        library, out = folder / f"kernel-{level}.{suffix}", folder / f"{system}-{level}.out"
        zig(target, *FLAGS, *march, "-o", library, KERNEL, "-lm")
        start = [WINE] if system == "windows" else []
        done = subprocess.run(
            [*start, folder / driver, library.name if start else library, path, out.name],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env={"WINEDEBUG": "-all", "HOME": str(folder), "PATH": "/usr/bin:/bin"},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        data = out.read_bytes()
        hd = np.frombuffer(data, "<f4", N_TIMES * N_OUT, hd_at).reshape(N_TIMES, N_OUT)
        filtered = np.frombuffer(data, "<f8", N_TIMES * N_LD, filtered_at).reshape(N_TIMES, N_LD)
        returned = np.frombuffer(data, "<i8", offset=size)
        return hd, filtered, returned

    return run


@pytest.mark.skipif(WINE is None, reason="wine is not installed: apt-get install wine64")
@pytest.mark.parametrize("level", LEVELS)
def test_windows_gives_the_numbers_of_linux_and_numpy(example, results, level):
    if level > load().emag_cpu_level():
        pytest.skip(f"not for this CPU: level {level}")
    operator = example[-1]
    windows, linux = results("windows", level), results("linux", level)
    layout, cpu, *took = windows[2].tolist()
    assert layout == load().emag_layout()
    assert cpu == load().emag_cpu_level()
    assert took[::2] == [1] * len(CHUNKS), "what emag_prepare returns, in between, is nothing"
    expected = packed(operator, ((0, 2),)).push(windows[1])
    assert relative(windows[0], expected) < 3e-6
    difference = relative(windows[0], linux[0]), relative(windows[1], linux[1])
    print(f"level {level}: HD {difference[0]:.1e}, filtered {difference[1]:.1e}")
    np.testing.assert_array_equal(windows[1], linux[1])
    assert difference[0] < 3e-7
