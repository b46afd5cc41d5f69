"""Bundles made to do harm: refused in one line, before memory or files are touched."""

import io
import json
import os
import struct
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import scipy.signal

from emag_rt import Upsampler
from emag_rt.bundle import limits as limits_module
from emag_rt.bundle import load_bundle, save_bundle
from emag_rt.core.dilated import DilatedBlock
from emag_rt.core.folding import context_of
from emag_rt.errors import BundleError
from emag_rt.native import why_not
from emag_rt.render.onnx_graph import build_graph
from tests.bundle.test_bundle import pack, unpack, with_manifest, with_tensors
from tests.factories import make_bundle, with_cross_spectra, with_statistics

TOOL = Path(__file__).parents[2] / "tools" / "fuzz_bundle.py"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "good.emag"
    save_bundle(make_bundle(1, look_ahead=1, hidden="dilated"), path)
    return path.read_bytes()


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """Load bytes, which must be refused in one line and never reach ONNX Runtime."""

    def never(*_, **__):
        raise AssertionError("ONNX Runtime was given a graph")

    monkeypatch.setattr(ort, "InferenceSession", never)

    def load(data, message):
        path = tmp_path / "hostile.emag"
        path.write_bytes(data)
        with pytest.raises(BundleError, match=message) as caught:
            load_bundle(path)
        assert "\n" not in str(caught.value)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 900

    return load


def fuzz(*arguments, code=None):
    command = [sys.executable, *(["-c", code] if code else [TOOL]), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_mutants_are_refused_or_serve(tmp_path):
    """Ten thousand of them: python tools/fuzz_bundle.py."""
    paths = []
    for name, options in {
        "plain": {"look_ahead": 2, "hidden": "gelu"},
        "dilated": {"hidden": "dilated"},
        "window": {"anchor": "window", "hidden": "relu"},
    }.items():
        paths.append(tmp_path / f"{name}.emag")
        bundle = with_cross_spectra(with_statistics(make_bundle(2, **options)))
        save_bundle(bundle, paths[-1])
    status, result = fuzz(*paths, "--mutations", 500, "--seed", 1)
    assert (status, result["failures"]) == (0, [])
    assert sum(result["outcomes"].values()) == 500
    assert result["outcomes"]["refused when loaded"] > 250
    assert result["outcomes"]["loaded and rendered"] > 25
    assert result["rss_mb"]["peak"] < result["rss_mb"]["good bundles"] + 150
    grown = [n for what, n in result["by_level"].items() if what.startswith("networks: ")]
    assert sum(grown) == 25


BROKEN = """
import runpy, sys, numpy as np, emag_rt.bundle as b
right = b.load_bundle
count = 0
def load(path):
    global count
    count += sys._getframe(1).f_code.co_name == "outcome"
    if count == 10: raise ValueError("not a BundleError")
    if count == 11: open("/dev/null").close()
    if count == 12: np.empty(5 << 30, np.uint8)
    if count == 13: raise b.archive.BundleError("two\\nlines")
    return right(path)
b.load_bundle = load
sys.argv = ["fuzz", *sys.argv[1:]]
runpy.run_path(%r, run_name="__main__")
""" % str(TOOL)  # noqa: UP031


def test_the_fuzzer_sees_what_is_wrong(tmp_path):
    save_bundle(make_bundle(2), tmp_path / "plain.emag")
    status, result = fuzz(tmp_path / "plain.emag", "--mutations", 20, code=BROKEN)
    assert status == 1
    text = "\n".join(result["failures"])
    for sign in ("not a BundleError", "/dev/null", "MemoryError", "no short line"):
        assert sign in text
    assert len(result["failures"]) >= 4


def patched(data, at, fmt, value):
    out = bytearray(data)
    struct.pack_into(fmt, out, at % len(out), value)
    return bytes(out)


def test_what_a_zip_claims_is_not_believed(good, refused):
    directory = good.index(b"PK\x01\x02")
    refused(patched(good, -10, "<L", 2**31), "its directory claims 2147483648 bytes")
    refused(patched(good, -2, "<H", 7) + b"comment", "as emag_rt writes them")
    locator = b"PK\x06\x07" + struct.pack("<LQL", 0, 0, 1)
    refused(good[:-22] + locator + good[-22:], "as emag_rt writes them")
    for field in (20, 24):  # compressed and full size of the first member
        refused(patched(good, directory + field, "<L", 2**31), "uncompressed")
    both = patched(patched(good, directory + 20, "<L", 2**31), directory + 24, "<L", 2**31)
    refused(both, "members claim")


def test_bombs_are_refused_unexploded(good, refused):
    members, buffer = unpack(good), io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, blob in members.items():
            with archive.open(name, "w") as stream:
                for _ in range(64 if name == "field.safetensors" else 0):
                    stream.write(bytes(1 << 20))
                stream.write(blob)
    assert len(buffer.getvalue()) < len(good) + (1 << 20)
    refused(buffer.getvalue(), "stored uncompressed")
    # Many entries, whose directory alone would fill memory.
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i in range(2000):
            archive.writestr(f"{i}", b"")
    refused(buffer.getvalue(), "its directory claims")


def test_pipes_and_devices_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.emag")
    for path in (tmp_path / "pipe.emag", Path("/dev/zero")):
        with pytest.raises(BundleError, match="not a regular file"):
            load_bundle(path)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("ld", 0, "label"), "F\x1b[2Jz", "control characters"),
        (("hd", 0, "label"), "F\nz", "control characters"),
        (("hd", 0, "position_mm"), [1e300, 0.0, 0.0], "less than or equal to 1000"),
        (("frontend", "sos", 0, 4), -2.0, "stable"),
        (("frontend", "sos", 0, 5), 1.0, "stable"),
        (("frontend", "sos", 0, 0), 3.0, "block DC"),
        (("frontend", "sos", 0, 0), 1e300, "less than or equal"),
        (("frontend", "sos", 1), [1e5, 0.0, 0.0, 1.0, 0.0, 0.0], "amplify by at most 100"),
        (("frontend", "sos", 1, 5), 1 - 1e-12, "amplify by at most 100"),
        (("frontend", "band_hz"), [45.0, 0.5], "LO < HI"),
        (("sfreq",), 1e6, "sfreq"),
        (("sfreq",), 1e-300, "sfreq"),
        (("look_ahead_samples",), 10**6, "look_ahead_samples"),
        (("look_ahead_s",), float("nan"), "look_ahead_s"),
        (("format",), 10**400, "Upgrade"),
        (("format",), "x" * 10**6, "format"),
    ],
    ids=str,
)
def test_manifest_values_that_would_harm(good, refused, where, value, message):
    def change(content):
        for key in where[:-1]:
            content = content[key]
        content[where[-1]] = value

    refused(with_manifest(good, change), message)


def test_names_are_made_fit_to_show(good, tmp_path):
    path = tmp_path / "named.emag"
    path.write_bytes(with_manifest(good, lambda m: m.update(name="a\x1b[2J" + "b" * 1000)))
    name = load_bundle(path).manifest.name
    assert name.startswith("a\\x1b[2Jb")
    assert len(name) == 200


@pytest.mark.parametrize("junk", [3, "x", [1], {"field": 3}, {"field": {"nmse_unseen": "\x1b"}}])
def test_free_content_cannot_trip_its_readers(good, tmp_path, junk):
    path = tmp_path / "junk.emag"
    part = {"methods": junk, "left_out": junk, "protocol": junk}
    change = {"scores": part, "provenance": {"inputs": junk}, "calibration": {"x": junk}}
    path.write_bytes(with_manifest(good, lambda m: m.update(change)))
    manifest = load_bundle(path).manifest
    assert set(manifest.method_scores.values()) <= {(None, None)}
    assert manifest.left_out_nmse is None
    assert manifest.input_hashes == set()
    from click.testing import CliRunner

    from emag_rt.cli.main import cli

    for options in ([], ["--json"]):
        assert CliRunner().invoke(cli, ["inspect", str(path), *options]).exit_code == 0


@pytest.mark.parametrize("claim", [1 << 21, 1 << 40, 2**64 - 1])
def test_tensor_headers_that_claim_much(good, refused, claim):
    members = unpack(good)
    blob = claim.to_bytes(8, "little") + members["field.safetensors"][8:]
    refused(pack({**members, "field.safetensors": blob}), f"claims {claim} bytes")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("scale_uv", lambda v: v * 1e300, "numbers up to 1e"),
        ("packed.weights", lambda v: v * 1e13, "amplify by at most"),
        ("packed.bias", lambda v: v + 1e14, "amplify by at most"),
        ("ld_covariance", lambda v: v - 2 * np.diag(np.diag(v)) * 0 + 1e6 * (1 - np.eye(8)), "cov"),
        ("packed.taps", lambda v: np.zeros((len(v), 100_001)), "100000 lags"),
        ("drive.taps", lambda v: np.zeros((len(v), 100_001)), "100000 lags"),
    ],
)
def test_arrays_that_would_harm(good, refused, name, change, message):
    refused(with_tensors(good, lambda t: t.update({name: change(t[name])})), message)


def test_baselines_have_plain_names(good, refused):
    def rename(tensors):
        for part in ("weights", "bias"):
            tensors[f"baseline.\x1b[2J.{part}"] = tensors[f"baseline.ridge.{part}"]

    refused(with_tensors(good, rename), "plain names")


def test_lengths_that_cost_nothing_to_claim_are_bounded_together(monkeypatch):
    """A look-ahead and dilations of a second are fine; with a thousand channels they are not."""
    bundle = make_bundle(1, hidden="dilated")
    limits_module.check_state(bundle.model, bundle.operator)
    far = replace(bundle.operator, look_ahead=100_000, n_context=100_000)
    limits_module.check_state(bundle.model, far)
    with pytest.raises(BundleError, match=r"at most 1024 MiB of memory, they need \d{4,} MiB"):
        limits_module.check_state(bundle.model, replace(far, n_ld=1000))
    hidden = bundle.operator.hidden
    blocks = tuple(replace(block, dilation=100_000) for block in hidden.blocks) * 10
    deep = replace(hidden, blocks=blocks, layers=((np.zeros((300, 8)), np.zeros(300)),))
    n_context = context_of(bundle.operator.taps, deep, 0)
    with pytest.raises(BundleError, match="dilations must need at most"):
        limits_module.check_state(
            bundle.model, replace(bundle.operator, hidden=deep, n_context=n_context)
        )


def with_networks(n_nets, n_blocks, dilation):
    """A bundle with many networks of one unit each, which cost little in a file."""
    bundle = make_bundle(1, hidden="dilated")
    operator, hidden = bundle.operator, bundle.operator.hidden
    small = (np.zeros((n_nets, 1, 2)), np.zeros(n_nets), np.zeros((n_nets, 1, 1)), np.zeros(n_nets))
    n_inputs = hidden.layers[0][0].shape[-1]
    wide = replace(
        hidden,
        blocks=(DilatedBlock(dilation, *small),) * n_blocks,
        layers=((np.zeros((n_nets, n_inputs)), np.zeros(n_nets)),),
        weights=np.zeros((1, operator.n_out, n_nets * len(hidden.out_taps))),
    )
    n_context = context_of(operator.taps, wide, operator.look_ahead)
    return replace(bundle, operator=replace(operator, hidden=wide, n_context=n_context))


@pytest.mark.parametrize(
    ("engine", "networks"),
    [
        ("native", (1000, 2, 30_000)),  # each unit is padded to 16
        ("packed", (12_000, 32, 1)),
        ("torch", (12_000, 32, 1)),
        ("onnx", (900, 1, 100_000)),  # looks at all of the context for each sample
        ("direct", (1000, 2, 30_000)),
    ],
)
def test_memory_is_bounded_for_every_engine(engine, networks, monkeypatch):
    bundle = with_networks(*networks)
    limits_module.check_state(bundle.model, bundle.operator)  # small enough to load
    if engine == "direct":
        monkeypatch.setattr("emag_rt.render.direct.MAX_BYTES", 1000)
    with pytest.raises(BundleError, match=r"must (need|take) at most \d+ MiB.*Take another"):
        Upsampler(bundle, engine=engine)


def test_an_engine_that_would_need_too_much_is_passed_over():
    assert Upsampler(with_networks(1000, 2, 30_000), engine="auto").engine == "packed"


def test_what_is_reckoned_is_what_an_engine_takes():
    """Under a limit of address space just above what is reckoned, it starts."""
    code = """
import resource, sys
from emag_rt import Upsampler
from emag_rt.render import demand
from tests.bundle.test_hostile import with_networks
bundle, engine = with_networks(100, 1, 60_000), sys.argv[1]
Upsampler(with_networks(1, 1, 1), engine=engine)
own = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
plan = Upsampler(bundle, engine="direct").plan
wanted = demand._DEMANDS[engine](plan)
resource.setrlimit(resource.RLIMIT_AS, (own + wanted + (200 << 20), resource.RLIM_INFINITY))
Upsampler(bundle, engine=engine)
print("{}")
"""
    for engine in ("packed", "native") if not why_not() else ("packed",):
        assert fuzz(engine, code=code) == (0, {})


def test_the_front_end_may_not_amplify_either():
    sos = np.array(make_bundle(1).manifest.frontend.sos)
    assert limits_module.filter_gain(sos) < 1.5
    assert limits_module.filter_gain(sos * [1e3, 1e3, 1e3, 1, 1, 1]) > 1e6
    narrow = [[1.0, -2.0, 1.0, 1.0, 0.3 * (1 - 1e-9), 1 - 1e-9]]  # a resonance no grid hits
    response = scipy.signal.sosfreqz(narrow, np.angle(np.roots(narrow[0][3:]))[:1])[1]
    assert limits_module.filter_gain(np.array(narrow)) >= 0.99 * abs(response[0]) > 1e8


def test_folding_for_other_electrodes_is_bounded():
    bundle = make_bundle(1)
    assert bundle.operator_at(np.zeros((3, 3)) + 50.0).n_out == 3
    long = replace(bundle, model=replace(bundle.model, n_lags=100_000))
    with pytest.raises(BundleError, match="Name fewer electrodes"):
        long.operator_at(np.zeros((10**6, 3)))


def test_fields_that_render_nothing_usable_do_not_start():
    bundle = make_bundle(1, hidden="dilated")
    hidden = bundle.operator.hidden
    blocks = tuple(replace(b, mix=b.mix * 1e13, weight=b.weight * 1e13) for b in hidden.blocks)
    wild = replace(bundle.operator, hidden=replace(hidden, blocks=blocks))
    hostile = replace(bundle, operator=wild)
    for engine in ("packed", "onnx"):
        with pytest.raises(BundleError, match="must render EEG to less than"):
            Upsampler(hostile, engine=engine)


@pytest.mark.parametrize(
    "graph", [b"", b"\xff" * 100, bytes(1 << 20)], ids=["none", "junk", "long"]
)
def test_the_graph_of_an_old_bundle_never_reaches_onnx_runtime(good, tmp_path, monkeypatch, graph):
    """What engine onnx runs is made of the arrays, whatever stands in the file."""
    given = []
    plain = ort.InferenceSession
    monkeypatch.setattr(
        ort, "InferenceSession", lambda graph, *a, **k: given.append(graph) or plain(graph, *a, **k)
    )
    path = tmp_path / "old.emag"
    members = unpack(with_manifest(good, lambda m: m.update(format=1)))
    path.write_bytes(pack({**members, "render.onnx": graph}))
    upsampler = Upsampler.load(path, engine="onnx")
    assert given == [build_graph(upsampler.plan.operator, upsampler.plan.measured)] * len(given)
    assert given


def test_the_graph_of_an_old_bundle_is_bounded_all_the_same(good, refused):
    members = unpack(with_manifest(good, lambda m: m.update(format=1)))
    old = pack({**members, "render.onnx": bytes(100)})
    entry = old.index(b"render.onnx", old.index(b"PK\x01\x02")) - 46
    lie = patched(patched(old, entry + 20, "<L", 2**31), entry + 24, "<L", 2**31)
    refused(lie, "members claim")
    refused(patched(old, entry + 24, "<L", 2**31), "uncompressed")
    with_bomb = io.BytesIO()
    with zipfile.ZipFile(with_bomb, "w") as archive:
        for name, blob in members.items():
            archive.writestr(name, blob)
        archive.writestr("render.onnx", bytes(64 << 20), zipfile.ZIP_DEFLATED)
    refused(with_bomb.getvalue(), "stored uncompressed")


def test_a_bundle_that_could_not_be_read_again_is_not_written(tmp_path):
    bundle = make_bundle(1)
    wild = replace(bundle.operator, bias=bundle.operator.bias + 1e14)
    with pytest.raises(BundleError, match="amplify by at most"):
        save_bundle(replace(bundle, operator=wild), tmp_path / "b.emag")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("reflection", np.full((4, 3), 1.0), "must hold numbers up to 1"),
        ("reflection", np.full((4, 300), 0.1), "at most 256"),
        ("reflection", np.full((5, 3), 0.1), "must have shape"),
        ("mixing", np.full((19, 4), 1e9), "must hold numbers up to 1e"),
        ("mixing", np.ones((19, 40)), "must have shape"),
        ("transport", np.full((19, 19), 1e9), "must hold numbers up to 1000"),
        ("transport", np.eye(18), "must have shape"),
        ("cost", np.array([1e9]), "must hold numbers up to 1000"),
        ("cost", None, "must hold 'statistics.cost'"),
    ],
)
def test_statistics_of_the_output_are_bounded(refused, tmp_path, name, value, message):
    save_bundle(with_statistics(make_bundle(1)), tmp_path / "good.emag")

    def change(tensors):
        if value is None:
            del tensors[f"statistics.{name}"]
        else:
            tensors[f"statistics.{name}"] = value

    refused(with_tensors((tmp_path / "good.emag").read_bytes(), change), message)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("width_hz", np.zeros(1, "f4"), "above 0 and at most the rate"),
        ("width_hz", np.full(1, 1e9, "f4"), "above 0 and at most the rate"),
        ("measured", np.ones((24, 189), "f4"), r"must have shape \(24, 190\)"),
        ("rendered", np.ones((1000, 190), "f4"), r"must have shape \(24, 190\)"),
        ("rendered", np.full((24, 190), np.nan, "f4"), "finite float32"),
        ("measured", np.ones((24, 190)), "finite float32, got float64"),
        ("measured", None, "must hold 'cross_spectra.measured'"),
    ],
)
def test_cross_spectra_are_bounded(refused, tmp_path, name, value, message):
    save_bundle(with_cross_spectra(make_bundle(1)), tmp_path / "good.emag")

    def change(tensors):
        if value is None:
            del tensors[f"cross_spectra.{name}"]
        else:
            tensors[f"cross_spectra.{name}"] = value

    refused(with_tensors((tmp_path / "good.emag").read_bytes(), change), message)


def test_statistics_of_another_kind_of_noise_are_not_used(tmp_path):
    save_bundle(with_statistics(make_bundle(1)), tmp_path / "good.emag")

    def change(tensors):
        del tensors["statistics.noise_cost"]

    blob = with_tensors((tmp_path / "good.emag").read_bytes(), change)
    (tmp_path / "old.emag").write_bytes(blob)
    assert load_bundle(tmp_path / "old.emag").statistics is None
