"""Bundles: what is written is read, bit for bit; anything else is refused in words."""

import io
import json
import math
import zipfile
from dataclasses import fields, replace

import numpy as np
import pytest
from safetensors.numpy import load, save

from emag_rt.bundle import Bundle, load_bundle, save_bundle
from emag_rt.bundle.container import MEMBERS
from emag_rt.core.direct import render_direct
from emag_rt.core.ld_bands import HdBands, mean_bands
from emag_rt.errors import BundleError, OutputError
from tests.factories import LD, REST, ld_signal, make_bundle, with_cross_spectra, with_statistics

OPTIONS = [
    {},
    {"look_ahead": 3, "hidden": "gelu"},
    {"look_ahead": 1, "hidden": "dilated"},
    {"anchor": "window", "hidden": "relu", "coupled": False},
]


N_HD = len(LD) + len(REST)
HD_BANDS = HdBands(np.array([1.0, 4.0, 8.0]), np.ones((1, 2, N_HD, N_HD)))
BANDS = mean_bands([ld_signal(2000)], np.array([1.0, 4.0, 8.0]), 200.0)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Bytes of a bundle with everything in it."""
    path = tmp_path_factory.mktemp("good") / "good.emag"
    bundle = make_bundle(1, look_ahead=2, hidden="gelu")
    save_bundle(replace(bundle, ld_bands=BANDS, hd_bands=HD_BANDS), path)
    return path.read_bytes()


@pytest.fixture
def reload(tmp_path):
    """Write bytes, and load them."""

    def write_and_load(data):
        path = tmp_path / "changed.emag"
        path.write_bytes(data)
        return load_bundle(path)

    return write_and_load


def unpack(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(members, method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, blob in members.items():
            archive.writestr(name, blob)
    return buffer.getvalue()


def with_manifest(data, change):
    members = unpack(data)
    content = json.loads(members["manifest.json"])
    change(content)
    return pack({**members, "manifest.json": json.dumps(content).encode()})


def with_tensors(data, change):
    members = unpack(data)
    tensors = load(members["field.safetensors"])
    change(tensors)
    return pack({**members, "field.safetensors": save(tensors)})


def arrays_of(thing, prefix=""):
    """Every array in a tree of dataclasses, tuples and dicts, by path."""
    if isinstance(thing, np.ndarray):
        return {prefix: thing}
    if isinstance(thing, dict):
        children = thing.items()
    elif isinstance(thing, tuple):
        children = enumerate(thing)
    elif hasattr(thing, "__dataclass_fields__"):
        children = ((f.name, getattr(thing, f.name)) for f in fields(thing))
    else:
        return {}
    out = {}
    for key, child in children:
        out |= arrays_of(child, f"{prefix}.{key}")
    return out


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_round_trip_is_bit_exact(options, tmp_path):
    bundle = with_cross_spectra(with_statistics(make_bundle(7, **options)))
    bundle = replace(bundle, ld_bands=BANDS, hd_bands=HD_BANDS)
    digest = save_bundle(bundle, tmp_path / "b.emag")
    loaded = load_bundle(tmp_path / "b.emag")
    assert loaded.manifest == bundle.manifest
    assert loaded.sha256 == digest
    before, after = arrays_of(bundle), arrays_of(loaded)
    assert sorted(before) == sorted(after)
    assert loaded.ld_bands.n_blocks == BANDS.n_blocks == 5
    assert len(before) >= 12
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)
    assert loaded.operator.n_context == bundle.operator.n_context
    model, positions = loaded.model, loaded.manifest.hd_montage.positions_mm
    ld = ld_signal(model.n_context + 3)
    np.testing.assert_array_equal(
        render_direct(model, positions, ld), render_direct(bundle.model, positions, ld)
    )


def test_equal_bundles_are_equal_bytes(tmp_path):
    digests = {save_bundle(make_bundle(2), tmp_path / f"{i}.emag") for i in range(2)}
    again = save_bundle(load_bundle(tmp_path / "0.emag"), tmp_path / "again.emag")
    assert digests == {again}
    assert save_bundle(make_bundle(3), tmp_path / "other.emag") != again


def test_manifest_carries_what_scripts_rely_on(good):
    content = json.loads(unpack(good)["manifest.json"])
    assert content["format"] == 2
    assert content["sfreq"] == 200.0
    assert content["look_ahead_samples"] == 2
    assert content["reference"] == "input"
    assert content["scores"]["methods"]["field"]["nmse_unseen"] == 0.25
    assert np.shape(content["frontend"]["sos"]) == (3, 6)
    for part, labels in (("ld", LD), ("hd", LD + REST)):
        assert [e["label"] for e in content[part]] == list(labels)
        positions = np.array([e["position_mm"] for e in content[part]])
        np.testing.assert_allclose(np.linalg.norm(positions, axis=1), 95.0, atol=0.01)


def test_save_replaces_whole_files_and_leaves_nothing_behind(tmp_path, monkeypatch):
    path = tmp_path / "b.emag"
    save_bundle(make_bundle(1), path)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="No such file"):
        save_bundle(make_bundle(1), tmp_path / "nowhere" / "b.emag")

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("emag_rt.files.os.fsync", full_disk)
        with pytest.raises(OutputError, match="cannot be written: No space left"):
            save_bundle(make_bundle(2), path)
    assert [p.name for p in tmp_path.iterdir()] == ["b.emag"]
    assert path.read_bytes() == before


def test_newer_formats_are_refused_clearly(good, reload):
    data = with_manifest(good, lambda m: m.update(format=3, sfreq="something new"))
    for members in (unpack(data), {**unpack(data), "something.new": b"x"}):
        with pytest.raises(BundleError, match=r"at most 2 .* got 3.* newer.* Upgrade"):
            reload(pack(members))


def test_format_1_is_read_and_its_graph_is_not(good, reload, tmp_path):
    old = {
        **unpack(with_manifest(good, lambda m: m.update(format=1))),
        "render.onnx": b"whatever it is",
    }
    assert sorted(old) == sorted(MEMBERS[1])
    loaded = reload(pack(old))
    assert loaded.manifest.format == 1
    # What is saved is of the newest format.
    digest = save_bundle(loaded, tmp_path / "new.emag")
    new = load_bundle(tmp_path / "new.emag")
    assert (new.manifest.format, new.sha256) == (2, digest)
    assert new.manifest == reload(good).manifest
    for name, value in arrays_of(loaded).items():
        np.testing.assert_array_equal(arrays_of(new)[name], value, err_msg=name)


def test_each_format_has_its_own_members(good, reload):
    new = unpack(good)
    with pytest.raises(
        BundleError, match=r"must hold exactly manifest\.json, field\.safetensors, got"
    ):
        reload(pack({**new, "render.onnx": b""}))
    old = unpack(with_manifest(good, lambda m: m.update(format=1)))
    with pytest.raises(BundleError, match=r"must hold exactly .*, render\.onnx, got"):
        reload(pack(old))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(good, reload, share):
    with pytest.raises(BundleError, match=r"damaged or not an \.emag file"):
        reload(good[: int(share * len(good))])


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(BundleError, match=r"no such file\. Make one: emag-rt calibrate"):
        load_bundle(tmp_path / "none.emag")
    with pytest.raises(BundleError, match="cannot be read"):
        load_bundle(tmp_path)


def loads_finite_or_refuses(reload, data):
    """True when it loaded; all else than BundleError fails the test by itself."""
    try:
        bundle = reload(data)
    except BundleError:
        return False
    assert isinstance(bundle, Bundle)
    assert all(np.isfinite(value).all() for value in arrays_of(bundle).values())
    assert math.isfinite(bundle.manifest.sfreq)
    return True


@pytest.mark.parametrize("seed", range(4))
def test_random_damage_is_refused_or_harmless(good, reload, seed):
    rng = np.random.default_rng(seed)
    loaded = 0
    for _ in range(100):
        data = bytearray(good)
        # Half of the hits where the structure of the zip is.
        low = 0 if rng.random() < 0.5 else len(data) - 250
        for _ in range(int(rng.integers(1, 4))):
            data[int(rng.integers(low, len(data)))] ^= 1 << int(rng.integers(8))
        loaded += loads_finite_or_refuses(reload, bytes(data))
    assert loaded < 80


@pytest.mark.parametrize("member", ["manifest.json", "field.safetensors"])
@pytest.mark.parametrize("seed", range(2))
def test_damage_inside_members_is_refused_or_harmless(good, reload, member, seed):
    """Checksums made right again: what an attacker, not a bad disk, would write."""
    rng = np.random.default_rng(100 + seed)
    members = unpack(good)
    for _ in range(75):
        blob = bytearray(members[member])
        # The header of the tensors, or anywhere.
        high = min(len(blob), 4000) if rng.random() < 0.7 else len(blob)
        for _ in range(int(rng.integers(1, 3))):
            blob[int(rng.integers(high))] = int(rng.integers(256))
        loads_finite_or_refuses(reload, pack({**members, member: bytes(blob)}))


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("field.safetensors"),
        lambda m: m.update({"extra.txt": b"x"}),
        lambda m: m.update({"../evil": m.pop("field.safetensors")}),
        lambda m: m.update({"/manifest.json": m.pop("manifest.json")}),
        lambda m: m.update({"sub/manifest.json": m.pop("manifest.json")}),
        lambda m: m.clear(),
    ],
    ids=["missing", "extra", "traversal", "absolute", "folder", "empty"],
)
def test_only_the_two_members_are_taken(good, reload, change):
    members = unpack(good)
    assert sorted(members) == sorted(MEMBERS[2])
    change(members)
    with pytest.raises(BundleError, match=r"must hold exactly manifest\.json"):
        reload(pack(members))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_doubled_members_are_refused(good, reload):
    members = unpack(good)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in [*MEMBERS[2], "manifest.json"]:
            archive.writestr(name, members[name])
    with pytest.raises(BundleError, match="must hold exactly"):
        reload(buffer.getvalue())


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_compressed_members_are_refused(good, reload, method):
    with pytest.raises(BundleError, match="stored uncompressed"):
        reload(pack(unpack(good), method))


def test_huge_files_are_refused_before_they_are_read(good, reload, monkeypatch):
    monkeypatch.setattr("emag_rt.bundle.container.MAX_BYTES", 1 << 20)
    monkeypatch.setattr("emag_rt.bundle.container.MAX_MANIFEST_BYTES", 1 << 18)
    assert reload(good).sha256
    members = unpack(good)
    padded = members["manifest.json"] + b" " * (1 << 18)
    with pytest.raises(BundleError, match=r"manifest\.json must be at most"):
        reload(pack({**members, "manifest.json": padded}))
    with pytest.raises(BundleError, match="must be at most 1 MiB, got 2 MiB"):
        reload(good + b"\0" * (2 << 20))


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "manifest"),
        (b"3", "manifest"),
        (b"{}", "sfreq"),
    ],
)
def test_manifests_that_are_none(good, reload, blob, message):
    with pytest.raises(BundleError, match=message):
        reload(pack({**unpack(good), "manifest.json": blob}))


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("sfreq",), float("nan"), "sfreq"),
        (("sfreq",), float("inf"), "sfreq"),
        (("sfreq",), -200.0, "sfreq"),
        (("sfreq",), "fast", "sfreq"),
        (("n_lags",), 0, "n_lags"),
        (("n_lags",), 10**9, "n_lags"),
        (("look_ahead_samples",), -1, "look_ahead_samples"),
        (("look_ahead_samples",), 6, "look_ahead must be below n_lags"),
        (("anchor",), "epoch", "anchor"),
        (("format",), 0, "format"),
        (("format",), -1, "format"),
        (("format",), "1", "format"),
        (("ld",), [], "ld"),
        (("ld", 0, "label"), "", "label"),
        (("ld", 0, "label"), "cz", "unique"),
        (("hd", 9, "label"), "T3", "unique"),
        (("hd", 0, "position_mm"), [0.0, float("nan"), 0.0], "position_mm"),
        (("hd", 0, "position_mm"), [0.0, 0.0], "position_mm"),
        (("hd", 0, "unknown"), 1, "unknown"),
        (("frontend", "sos", 0, 3), 2.0, "a0 = 1"),
        (("frontend", "sos", 0), [1.0, 0.0], "a0 = 1"),
        (("frontend", "sos", 0, 0), float("nan"), "sos"),
        (("frontend", "sos"), [], "sos"),
        (("reference",), "average", "reference"),
    ],
    ids=str,
)
def test_manifest_values_are_checked(good, reload, where, value, message):
    def change(content):
        for key in where[:-1]:
            content = content[key]
        content[where[-1]] = value

    with pytest.raises(BundleError, match=message):
        reload(with_manifest(good, change))


def test_montages_and_tensors_must_agree(good, reload):
    with pytest.raises(BundleError, match="shape"):
        reload(with_manifest(good, lambda m: m["ld"].pop()))
    with pytest.raises(BundleError, match="shape"):
        reload(with_manifest(good, lambda m: m["hd"].pop()))
    with pytest.raises(BundleError, match="shape"):
        reload(with_manifest(good, lambda m: m.update(anchor="window")))


def test_every_tensor_is_needed_and_checked(good, reload):
    names = sorted(load(unpack(good)["field.safetensors"]))
    assert len(names) >= 20
    # Without their first tensor these are bundles without the part.
    optional = {"hidden.taps", "packed.hidden.taps", "baseline.ridge.weights"}
    for name in names:
        wrong_shape = with_tensors(good, lambda t, n=name: t.update({n: t[n].ravel()[:1]}))
        if load(unpack(good)["field.safetensors"])[name].size > 1:
            with pytest.raises(BundleError, match=r"shape|must"):
                reload(wrong_shape)
        with pytest.raises(BundleError, match="finite float64"):
            reload(with_tensors(good, lambda t, n=name: t.update({n: t[n] * np.nan})))
        with pytest.raises(BundleError, match="finite float64, got float32"):
            reload(with_tensors(good, lambda t, n=name: t.update({n: t[n].astype("f4")})))
        if name not in optional:
            with pytest.raises(BundleError, match="must"):
                reload(with_tensors(good, lambda t, n=name: t.pop(n)))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("packed.taps", np.zeros((0, 3)), "packed.taps"),
        ("packed.taps", np.zeros((3, 0)), "packed.taps"),
        ("drive.taps", np.zeros((0, 3)), "drive.taps"),
        ("hidden.layers.0.bias", np.array(1.0), "hidden.layers.0.bias"),
        ("packed.hidden.layers.1.bias", np.array(1.0), "packed.hidden.layers.1.bias"),
        ("packed.hidden.layers.0.weight", np.zeros((7, 3)), "packed.hidden.layers.0.weight"),
        ("packed.hidden.layers.1.weight", np.zeros((5, 3)), "packed.hidden.layers.1.weight"),
        ("packed.hidden.out_taps", np.zeros((0, 0)), "out_taps"),
        ("field.centers_mm", np.zeros((0, 3)), "field.centers_mm"),
        ("field.cholesky", np.ones((33, 2, 4, 4)), "lower-triangular"),
        ("scale_uv", np.zeros(8), "positive"),
        ("ld_covariance", np.zeros((8, 8)), "ld_covariance"),
        ("ld_covariance", np.triu(np.ones((8, 8))), "symmetric"),
        ("ld_lagged_covariance", np.ones((2, 8, 7)), "ld_lagged_covariance"),
        ("ld_lagged_covariance", np.ones((2, 8, 8)), "must begin with"),
        ("ld_bands.covariances", BANDS.covariances[:, :7, :7], "ld_bands.covariances"),
        ("ld_bands.covariances", BANDS.covariances * 2, "trace of 1"),
        ("ld_bands.covariances", np.triu(BANDS.covariances), "symmetric"),
        (
            "ld_bands.covariances",
            np.eye(8) * np.r_[2, -1, np.zeros(6)] + np.zeros((2, 1, 1)),
            "neg",
        ),
        ("ld_bands.edges_hz", np.array([1.0, 4.0]), "ld_bands.edges_hz"),
        ("ld_bands.edges_hz", np.array([1.0, 2.0, 8.0]), "rise by 1.5 Hz"),
        ("ld_bands.edges_hz", np.array([1.0, 4.0, 100.0]), "half of 200 Hz"),
        ("ld_bands.edges_hz", np.array([-1.0, 4.0, 8.0]), "from 0 Hz"),
        ("hd_bands.covariances", np.ones((1, 2, 7, 7)), "hd_bands.covariances"),
        ("hd_bands.covariances", -np.ones((1, 2, N_HD, N_HD)), "without negative eigenvalues"),
        ("hd_bands.edges_hz", np.array([1.0, 1.2, 8.0]), "rise by 1.5 Hz"),
        ("ld_bands.n_blocks", np.array([0.0]), "at least one block"),
    ],
)
def test_tensors_that_make_no_sense(good, reload, name, value, message):
    with pytest.raises(BundleError, match=message):
        reload(with_tensors(good, lambda t: t.update({name: value})))


@pytest.mark.parametrize("prefix", ["hidden", "packed.hidden"])
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("blocks.0.dilation", np.array([0.5]), "whole number"),
        ("blocks.1.dilation", np.array([1e9]), "whole number"),
        ("blocks.0.weight", np.zeros((3, 4, 4)), "blocks.0.weight"),
        ("blocks.2.mix", np.zeros((3, 4, 5)), "blocks.2.mix"),
        ("blocks.1.mix_bias", np.zeros(5), "blocks.1.mix_bias"),
    ],
)
def test_dilated_blocks_that_make_no_sense(tmp_path, reload, prefix, name, value, message):
    path = tmp_path / "dilated.emag"
    save_bundle(make_bundle(1, hidden="dilated"), path)
    blob = path.read_bytes()
    with pytest.raises(BundleError, match=message):
        reload(with_tensors(blob, lambda t: t.update({f"{prefix}.{name}": value})))


@pytest.mark.parametrize("prefix", ["hidden", "packed.hidden"])
def test_dilated_blocks_are_whole_and_bounded(tmp_path, reload, prefix):
    path = tmp_path / "dilated.emag"
    save_bundle(make_bundle(1, hidden="dilated"), path)
    blob = path.read_bytes()
    for lost in ("blocks.0.dilation", "blocks.2.dilation"):
        with pytest.raises(BundleError, match="without a gap"):
            reload(with_tensors(blob, lambda t, n=lost: t.pop(f"{prefix}.{n}")))

    def deep(tensors):
        for i in range(3):
            tensors[f"{prefix}.blocks.{i}.dilation"] = np.array([100_000.0])
        for i in (3, 4):
            for name in ("dilation", "weight", "bias", "mix", "mix_bias"):
                tensors[f"{prefix}.blocks.{i}.{name}"] = tensors[f"{prefix}.blocks.0.{name}"]

    with pytest.raises(BundleError, match="look back"):
        reload(with_tensors(blob, deep))


@pytest.mark.parametrize("prefix", ["hidden", "packed.hidden"])
def test_dilated_blocks_must_fit_their_layer(tmp_path, reload, prefix):
    path = tmp_path / "dilated.emag"
    save_bundle(make_bundle(1, hidden="dilated"), path)

    def narrow(tensors):
        for i in range(3):
            for name, shape in {
                "weight": (3, 2, 4), "bias": (6,), "mix": (3, 2, 2), "mix_bias": (6,),
            }.items():  # fmt: skip
                tensors[f"{prefix}.blocks.{i}.{name}"] = np.zeros(shape)

    with pytest.raises(BundleError, match="width"):
        reload(with_tensors(path.read_bytes(), narrow))


@pytest.mark.parametrize("blob", [b"", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}", b"not tensors"])
def test_tensor_files_that_are_none(good, reload, blob):
    with pytest.raises(BundleError, match=r"field\.safetensors"):
        reload(pack({**unpack(good), "field.safetensors": blob}))


def test_measured_rows_follow_labels_not_order():
    bundle = make_bundle(4)
    assert bundle.measured_rows(("Oz", "t3", "FP1.")) == [(1, LD.index("T7")), (2, 0)]
    assert bundle.measured_rows(("Oz", "Pz")) == []
