"""Attack the reader of bundles: mutants of good ones must be refused in words, or serve.

    python tools/fuzz_bundle.py --mutations 10000

Mutations are made at eight levels, from raw bytes to bundles whose checksums are right and whose
manifest and arrays are both changed, which an attacker would write. Each mutant
must raise BundleError, with one short line, or load, render finite numbers of the right shape and
show itself in ``emag-rt inspect``. Anything else fails, and so does any other file that is opened,
any process, connection or library. Exit 1 when a mutant failed.
"""

from __future__ import annotations

import copy
import importlib.util
import io
import json
import resource
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
from click.testing import CliRunner
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from emag_rt import Upsampler
from emag_rt.array_types import FloatArray
from emag_rt.bundle import load_bundle, save_bundle
from emag_rt.bundle.container import MANIFEST, TENSORS
from emag_rt.cli.inspect import inspect
from emag_rt.errors import BundleError
from emag_rt.native import load as load_native

Rng = np.random.Generator
Members = dict[str, bytes]
Tensors = dict[str, NDArray[Any]]
GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "golden.emag"  # of format 1
GRAPH = "render.onnx"  # of format 1, which is not read
NUMBERS = (0, -1, 1, 2, 3, 0.5, 1e-300, 1e6, 1e15, 1e300, 10**9, 2**31, 2**63, 10**400,
           float("nan"), float("inf"), -float("inf"))  # fmt: skip
TEXTS = ("", "a" * 70, "x" * 100_000, "\x1b[2J", "\x00", "[/red]", "[bold]", "a\nb", "../../evil",
         "\ud800", "Fp1", "cz", "relu", "window", "1e999", "{}", "%s%n")  # fmt: skip
HOSTILE = (*NUMBERS, *TEXTS, None, True, [], {}, [[]], {"a": 1}, [0.0] * 10_000, [[]] * 1000)
LEVELS = ("bytes", "zip", "manifest", "tensors", "header", "graph", "both", "both")
WATCHED = ("open", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect",
           "socket.bind", "ctypes.dlopen", "os.remove", "os.rename", "os.mkdir", "exec", "compile",
           "import", "pickle.find_class")  # fmt: skip
ROOM_BYTES = 3 << 30  # of addresses: what is asked for and never touched counts, too
_ZEROS = bytes(1 << 20)


def unpack(data: bytes) -> Members:
    """Members of a zip."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(members: Members | list[tuple[str, bytes]]) -> bytes:
    """A zip with right checksums."""
    buffer = io.BytesIO()
    pairs = list(members.items()) if isinstance(members, dict) else members
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, blob in pairs:
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), blob)
    return buffer.getvalue()


def bomb(members: Members, victim: str, n_megabytes: int) -> bytes:
    """A zip whose member unpacks to far more than it is, made without taking that memory."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, blob in members.items():
            with archive.open(name, "w") as stream:
                for _ in range(n_megabytes if name == victim else 0):
                    stream.write(_ZEROS)
                stream.write(blob)
    return buffer.getvalue()


def pick(rng: Rng, choices: Any) -> Any:
    """One of several, whatever their types."""
    return choices[int(rng.integers(len(choices)))]


def bytes_changed(rng: Rng, data: bytes) -> bytes:
    """Flip, cut, double, zero or insert, anywhere."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        n = len(out)
        at, length = int(rng.integers(n + 1)), int(rng.integers(1, 1 + min(64, n or 1)))
        what = int(rng.integers(6))
        if what == 0 and at < n:
            out[at] ^= 1 << int(rng.integers(8))
        elif what == 1:
            del out[at : at + length]
        elif what == 2:
            out[at:at] = out[at : at + length]
        elif what == 3:
            out[at : at + length] = bytes(len(out[at : at + length]))
        elif what == 4:
            out[at : at + length] = rng.bytes(length)
        else:
            del out[at:]
    return bytes(out)


def zip_changed(rng: Rng, data: bytes) -> bytes:
    """Lies about entries: names, sizes, offsets, methods, bombs, comments, zip64."""
    members = unpack(data)
    what = int(rng.integers(9))
    names = list(members)
    victim = pick(rng, names)
    if what == 0:
        name = pick(rng, ("../evil", "/etc/passwd", "a/" + victim, victim.upper(), "\u202e"))
        return pack([(name if n == victim else n, b) for n, b in members.items()])
    if what == 1:
        pairs = [*members.items(), (pick(rng, (victim, "extra", "x" * 60_000)), rng.bytes(8))]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pack(pairs)
    if what == 2:
        members.pop(victim)
        return pack(members)
    if what == 3:
        return bomb(members, victim, int(rng.integers(1, 300)))
    out = bytearray(pack([(n, members[n]) for n in rng.permutation(names)]))
    directory = out.index(b"PK\x01\x02")
    if what == 4:
        return bytes(out) + rng.bytes(int(rng.integers(1, 50)))
    if what == 5:
        return bytes(out[:-2]) + b"\x05\x00HELLO"
    if what == 6:
        locator = b"PK\x06\x07" + struct.pack("<LQL", 0, int(rng.integers(2**40)), 1)
        return bytes(out[:-22]) + locator + bytes(out[-22:])
    # A field of the directory, its end, or a local header, at its boundaries.
    start = pick(rng, (directory, len(out) - 22, 0))
    at = start + int(rng.integers(4, 46 if start == directory else 22))
    value = pick(rng, (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff", b"\x08\x00", rng.bytes(2)))
    out[at : at + len(value)] = value
    return bytes(out)


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON tree."""
    if not isinstance(tree, dict | list):
        return [path]
    children = tree.items() if isinstance(tree, dict) else enumerate(tree)
    below = [place for key, child in children for place in places(child, (*path, key))]
    return [path, *below] if path else below


def manifest_changed(rng: Rng, blob: bytes) -> bytes:
    """Values of other types and sizes, missing keys, deep and long lists."""
    content = json.loads(blob)
    for _ in range(int(rng.integers(1, 3))):
        # First a key of the top, so that short parts are hit as often as long lists.
        top = pick(rng, list(content))
        below = [(top, *path) for path in places(content[top])]
        *parents, key = pick(rng, [(top,), *below]) if below else (top,)
        target = content
        for parent in parents:
            target = target[parent]
        if rng.random() < 0.15:
            del target[key]
        elif rng.random() < 0.1:
            target[key] = [target[key]] * int(rng.integers(0, 3000))
        elif rng.random() < 0.2 and isinstance(target[key], int | float):
            target[key] = target[key] * float(rng.choice([0.5, 2.0, -1.0, 1.001]))
        else:
            target[key] = copy.deepcopy(pick(rng, HOSTILE))
        if not content:
            break
    text = json.dumps(content)
    if rng.random() < 0.03:
        text = pick(rng, ("[" * 100_000, "{}", "[]", "3", "1" * 5000, '{"format": 1e999}'))
    return text.encode()


def tensors_changed(rng: Rng, tensors: Tensors) -> Tensors:
    """Arrays of other shapes, types and sizes of numbers."""
    out = dict(tensors)
    for _ in range(int(rng.integers(1, 3))):
        name = pick(rng, sorted(out))
        value = np.array(out[name])
        part = np.arange(value.size).reshape(value.shape) <= value.size // 9
        extra = (name + "x", "hidden.taps", "forward.matrix", "baseline.\x1b.weights")
        changed = (
            np.where(part, pick(rng, (np.nan, np.inf, 1e300, 1e15)), value),
            value.T,
            value.reshape(-1)[: int(rng.integers(0, 5))],
            value.astype(pick(rng, ("f4", "i8", "u1", "?"))),
            np.repeat(value, int(rng.integers(0, 4)), axis=0) if value.ndim else value,
            value * pick(rng, (0.0, -1.0, 1e-12, 1.001, 2.0, 1e3, 1e8, 1e14, 1e150)),
            np.zeros(tuple(int(n) for n in rng.integers(0, 4, int(rng.integers(5))))),
            np.full_like(value, pick(rng, (0.0, 1.5, 1e5, 1e9, -1.0, 50_000.0))),
        )
        what = int(rng.integers(len(changed) + 2))
        if what == len(changed) and len(out) > 1:
            out.pop(name)
        else:
            key = name if what < len(changed) else pick(rng, extra)
            out[key] = changed[what % len(changed)]
    return {name: np.ascontiguousarray(value) for name, value in out.items()}


def networks_grown(rng: Rng, tensors: Tensors) -> Tensors:
    """Networks of few units and far memory: little in the file, much in an engine."""
    out = {name: value for name, value in tensors.items() if ".blocks." not in name}
    first = "packed.hidden.layers.0.weight"
    if first not in out or "packed.hidden.layers.1.weight" in out:
        return out
    n_nets, n_units = int(10 ** rng.uniform(0, 3.5)), int(pick(rng, (1, 1, 2, 8)))
    width = n_nets * n_units
    out[first] = np.zeros((width, out[first].shape[-1]))
    out["packed.hidden.layers.0.bias"] = np.zeros(width)
    n_out = out["packed.hidden.weights"].shape[1]
    n_taps = len(out["packed.hidden.out_taps"])
    out["packed.hidden.weights"] = np.zeros((1, n_out, n_taps * width))
    for i in range(int(rng.integers(1, 33))):
        key = f"packed.hidden.blocks.{i}"
        out[f"{key}.dilation"] = np.array([round(10 ** rng.uniform(0, 5))], dtype=np.float64)
        out[f"{key}.weight"] = np.zeros((n_nets, n_units, 2 * n_units))
        out[f"{key}.mix"] = np.zeros((n_nets, n_units, n_units))
        out[f"{key}.bias"], out[f"{key}.mix_bias"] = np.zeros(width), np.zeros(width)
    return out


def header_changed(rng: Rng, blob: bytes) -> bytes:
    """Lies in the header of the tensors: lengths, shapes, offsets, types."""
    n = int.from_bytes(blob[:8], "little")
    header, rest = json.loads(blob[8 : 8 + n]), blob[8 + n :]
    name = pick(rng, sorted(header))
    entry = header[name]
    what = int(rng.integers(6))
    if what == 0:
        claim = int(pick(rng, (0, 1, n - 1, n + 8, 1 << 20, 1 << 31, 2**63, 2**64 - 1)))
        return claim.to_bytes(8, "little") + blob[8:]
    if what == 1:
        entry["shape"] = pick(rng, ([2**62, 4], [2**64], [-1], [0, 2**63], [1] * 100, "x", []))
    elif what == 2:
        entry["data_offsets"] = pick(rng, ([0, 2**63], [8, 0], [-1, 8], [0, 8], [2**64, 2**64]))
    elif what == 3:
        entry["dtype"] = pick(
            rng, ("F32", "BF16", "F8_E4M3", "BOOL", "I64", "U8", "F128", "C64", 3)
        )
    elif what == 4:
        for i in range(int(rng.integers(1, 3000))):
            header[f"t{i}"] = {"dtype": "F64", "shape": [0], "data_offsets": [0, 0]}
    else:
        header["__metadata__"] = pick(rng, ({"a": "b" * 100_000}, {"a": 1}, [], None))
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest


def mutant(rng: Rng, data: bytes, levels: tuple[str, ...] = LEVELS) -> tuple[str, bytes]:
    """One mutant, and at which level it was changed."""
    level = pick(rng, levels)
    if level == "bytes":
        return level, bytes_changed(rng, data)
    if level == "zip":
        return level, zip_changed(rng, data)
    members = unpack(data)
    if level in ("manifest", "both"):
        members[MANIFEST] = manifest_changed(rng, members[MANIFEST])
    if level == "networks":
        members[TENSORS] = save_tensors(networks_grown(rng, load_tensors(members[TENSORS])))
    if level in ("tensors", "both"):
        with np.errstate(all="ignore"):
            changed = tensors_changed(rng, load_tensors(members[TENSORS]))
        members[TENSORS] = save_tensors(changed)
    if level == "header":
        members[TENSORS] = header_changed(rng, members[TENSORS])
    if level == "graph":  # where there is none, one
        members[GRAPH] = bytes_changed(rng, members.get(GRAPH, rng.bytes(100)))
    return level, pack(members)


class Watch:
    """An audit hook, which cannot be taken off again: it looks only while it is armed."""

    def __init__(self) -> None:
        self.allowed: str | None = None
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self.allowed is None or event not in WATCHED:
            return
        if event == "open" and str(args[0]) == self.allowed:
            return
        self.seen.append(f"{event} {str(args[:1])[:200]}")


@dataclass
class Tally:
    """What became of the mutants."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    rss_mb: int = 0
    plain_mb: int = 0


def megabytes() -> int:
    """The most memory that this process has had."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def engines() -> tuple[str, ...]:
    """Those to try; the compiled one where it was compiled, ONNX Runtime where it is installed."""
    onnx = importlib.util.find_spec("onnx") and importlib.util.find_spec("onnxruntime")
    native = not isinstance(load_native(), str)
    return ("packed", *(("onnx",) if onnx else ()), *(("native",) if native else ()))


def outcome(path: Path, engine: str, ld: FloatArray) -> str:
    """Load, render and show a mutant; AssertionError where what it gives is wrong."""
    try:
        bundle = load_bundle(path)
    except BundleError as error:
        text = str(error)
        if len(text) > 900 or not text.isprintable():
            raise AssertionError(f"no short line: {text[:2000]!r}") from error
        return "refused when loaded"
    hidden = bundle.operator.hidden
    plain = bundle.operator.n_positions == 1 and (hidden is None or bool(hidden.blocks))
    try:
        upsampler = Upsampler(bundle, engine=engine if plain or engine != "native" else "packed")
    except BundleError:
        return "refused when started"
    n_times = upsampler.look_ahead + 40
    samples = np.resize(ld, (n_times, upsampler.n_inputs))
    hd, stamps = upsampler.push(samples)
    assert hd.shape == (40, len(bundle.manifest.hd)), hd.shape
    assert stamps.shape == (40,), stamps.shape
    assert np.isfinite(hd).all(), "not finite"
    shown = CliRunner().invoke(inspect, [str(path)])
    assert shown.exit_code == 0, repr(shown.exception)
    return "loaded and rendered"


def attack(originals: list[bytes], n_mutations: int, seed: int, folder: Path) -> Tally:
    """Run all mutants; see the module's docstring."""
    watch, tally = Watch(), Tally()
    tried = engines()
    ld = np.random.default_rng(seed).normal(scale=15.0, size=(64, 8)).cumsum(axis=0)
    path = folder / "mutant.emag"
    for data in originals:  # everything is imported once, before anything is watched
        path.write_bytes(data)
        for engine in tried:
            assert outcome(path, engine, ld) == "loaded and rendered"
    tally.rss_mb = megabytes()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM_BYTES, resource.RLIM_INFINITY))
    for number in range(n_mutations):
        rng = np.random.default_rng([seed, number])
        growing = number >= n_mutations - n_mutations // 20
        if not growing:  # only grown networks may take memory, as much as an engine is allowed
            tally.plain_mb = megabytes()
        levels = ("networks",) if growing else LEVELS
        level, data = mutant(rng, originals[number % len(originals)], levels)
        path.write_bytes(data)
        watch.seen.clear()
        start = time.perf_counter()
        watch.allowed = str(path)
        try:
            result = outcome(path, pick(rng, tried), ld)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic of safetensors is no Exception
            result = f"failed: {type(error).__name__}"
            tally.failures.append(f"{number} ({level}): {traceback.format_exc()}")
        watch.allowed = None
        tally.slowest_s = max(tally.slowest_s, time.perf_counter() - start)
        if watch.seen:
            result = "failed: reached outside"
            tally.failures.append(f"{number} ({level}): {watch.seen[:5]}")
        tally.outcomes[level, result] += 1
        if result.startswith("failed"):
            (folder / f"failed-{seed}-{number}.emag").write_bytes(data)
    return tally


def standin(folder: Path) -> bytes:
    """A bundle with dilated networks, as calibration writes them."""
    from emag_rt.bench.cases import Case

    save_bundle(Case(4, 16, 100.0).standin(4), folder / "standin.emag")
    return (folder / "standin.emag").read_bytes()


@click.command()
@click.argument("bundles", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--mutations", type=click.IntRange(1, 10_000_000), default=10_000, show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option("--keep", type=click.Path(path_type=Path), help="Folder for mutants that failed.")
def main(bundles: tuple[Path, ...], mutations: int, seed: int, keep: Path | None) -> None:
    """Attack BUNDLES, or the golden one and a stand-in with dilated networks."""
    warnings.simplefilter("error")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        originals = [path.read_bytes() for path in bundles or (GOLDEN,)]
        originals += [] if bundles else [standin(folder)]
        tally = attack(originals, mutations, seed, folder)
    totals: Counter[str] = Counter()
    for (_, what), n in tally.outcomes.items():
        totals[what] += n
    result = {
        "mutations": mutations,
        "seed": seed,
        "engines": engines(),
        "outcomes": totals,
        "by_level": {f"{level}: {what}": n for (level, what), n in sorted(tally.outcomes.items())},
        "seconds": round(time.perf_counter() - start, 1),
        "slowest_s": round(tally.slowest_s, 2),
        "rss_mb": {
            "good bundles": tally.rss_mb,
            "peak": tally.plain_mb,
            "peak with grown networks": megabytes(),
        },
        "failures": tally.failures[:20],
    }
    click.echo(json.dumps(result, indent=1))
    sys.exit(1 if tally.failures else 0)


if __name__ == "__main__":
    main()
