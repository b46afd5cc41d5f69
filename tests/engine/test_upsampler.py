"""The signal path as an object: every sample answered once, with its stamp, in any chunks."""

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emag_rt import Upsampler
from emag_rt.bundle import save_bundle
from emag_rt.core.montage import Montage
from emag_rt.engine.offline import render_recording
from emag_rt.engine.scale import ScaleJudge
from emag_rt.errors import EngineError, MontageError, SettingsError, StreamMismatch
from emag_rt.native import why_not
from tests.factories import LD, REST, ld_signal, make_bundle, prop, random_cuts, relative

HD = LD + REST


def stamps_for(n, start_s=500.0):
    """Irregular but growing stamps: whatever the source said must come back."""
    return start_s + np.cumsum(np.random.default_rng(n).uniform(0.004, 0.006, n))


def run(upsampler, ld, stamps, cuts=None):
    """Push in chunks, flush, and put together what came."""
    parts = [upsampler.push(ld[c], stamps[c]) for c in cuts or [slice(None)]]
    parts.append(upsampler.flush())
    return np.concatenate([hd for hd, _ in parts]), np.concatenate([s for _, s in parts])


@prop
@given(
    seed=st.integers(0, 1000),
    look_ahead=st.sampled_from([0, 1, 4]),
    hop=st.sampled_from([0, 1, 7, 50]),
    n=st.sampled_from([0, 1, 3, 60]),
    n_cuts=st.integers(0, 8),
    anchor=st.sampled_from(["stream", "window"]),
)
def test_every_sample_is_answered_once_with_its_stamp(seed, look_ahead, hop, n, n_cuts, anchor):
    bundle = make_bundle(5, look_ahead=look_ahead, anchor=anchor)
    ld, stamps = ld_signal(n, seed=seed), stamps_for(n)
    cuts = random_cuts(np.random.default_rng(seed), n, n_cuts)
    upsampler = Upsampler(bundle, engine="packed", hop=hop)
    hd, found = run(upsampler, ld, stamps, cuts)
    np.testing.assert_array_equal(found, stamps)
    assert hd.shape == (n, len(HD))
    assert hd.dtype == np.float32
    if n:
        whole, _ = run(Upsampler(bundle, engine="packed"), ld, stamps)
        assert relative(hd, whole) < 1e-5
        held = np.vstack([ld, np.tile(ld[-1:], (look_ahead, 1))])
        assert np.isfinite(hd).all()
        filtered = Upsampler(bundle, engine="packed")._frontend.process(held)[:n]
        np.testing.assert_allclose(hd[:, : len(LD)], filtered, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_streams_shorter_than_the_look_ahead(n):
    """What is owed at the end belongs to the right samples, however few there were."""
    bundle = make_bundle(6, look_ahead=4)
    ld, stamps = ld_signal(40), stamps_for(n)
    upsampler = Upsampler(bundle, engine="packed", measured="render")
    hd, found = run(upsampler, ld[:n], stamps)
    np.testing.assert_array_equal(found, stamps)
    held = np.vstack([ld[:n], np.tile(ld[n - 1], (4, 1))])
    filtered = upsampler._frontend  # the look-ahead is held behind the filter, not before it
    filtered.reset()
    x = filtered.process(held[:n])
    x = np.vstack([x, np.tile(x[-1], (4, 1))])
    upsampler._renderer.reset()
    expected = upsampler._renderer.push(x)[4:]
    np.testing.assert_allclose(hd, expected, rtol=1e-5, atol=1e-4)


def test_look_ahead_delays_rows_not_stamps():
    bundle = make_bundle(7, look_ahead=3)
    ld, stamps = ld_signal(20), stamps_for(20)
    upsampler = Upsampler(bundle, engine="packed")
    assert upsampler.look_ahead == 3
    first, first_stamps = upsampler.push(ld[:5], stamps[:5])
    assert len(first) == 2
    np.testing.assert_array_equal(first_stamps, stamps[:2])
    _, more = upsampler.push(ld[5:6], stamps[5:6])
    np.testing.assert_array_equal(more, stamps[2:3])


def test_hop_gives_whole_hops():
    upsampler = Upsampler(make_bundle(8), engine="packed", hop=8)
    ld, stamps = ld_signal(30), stamps_for(30)
    sizes = [len(upsampler.push(ld[i : i + 3], stamps[i : i + 3])[0]) for i in range(0, 30, 3)]
    assert sizes == [0, 0, 8, 0, 0, 8, 0, 8, 0, 0]
    assert len(upsampler.flush()[0]) == 6


def test_hop_keeps_stamps_of_sources_that_reuse_their_memory():
    upsampler = Upsampler(make_bundle(8), engine="packed", hop=4)
    buffer, found = np.empty(2), []
    for i in range(4):
        buffer[:] = 2 * i, 2 * i + 1
        found.append(upsampler.push(ld_signal(2), buffer)[1].copy())
    np.testing.assert_array_equal(np.concatenate(found), np.arange(8.0))


def test_default_stamps_count_samples():
    upsampler = Upsampler(make_bundle(9), engine="packed")
    first, second = (upsampler.push(ld_signal(4))[1] for _ in range(2))
    np.testing.assert_allclose(np.concatenate([first, second]), np.arange(8) / 200.0)
    upsampler.reset()
    assert upsampler.push(ld_signal(1))[1][0] == 0.0


@pytest.mark.parametrize("look_ahead", [0, 3])
@pytest.mark.parametrize("hop", [0, 6])
@pytest.mark.parametrize(("engine", "hidden"), [("packed", "gelu"), ("native", "dilated")])
def test_skipped_samples_are_nan_and_the_state_moves_on(look_ahead, hop, engine, hidden):
    if engine == "native" and why_not():
        pytest.skip(why_not())
    bundle = make_bundle(10, look_ahead=look_ahead, hidden=hidden)
    ld, stamps = ld_signal(60), stamps_for(60)
    whole, _ = run(Upsampler(bundle, engine="packed"), ld, stamps)
    upsampler = Upsampler(bundle, engine=engine, hop=hop)
    parts = [
        upsampler.push(ld[:12], stamps[:12]),
        upsampler.push(ld[12:30], stamps[12:30], skip=True),
        upsampler.push(ld[30:], stamps[30:]),
        upsampler.flush(),
    ]
    hd, found = (np.concatenate(p) for p in zip(*parts, strict=True))
    np.testing.assert_array_equal(found, stamps)
    lost = np.isnan(hd).any(axis=1)
    assert np.isnan(hd[lost]).all()
    assert np.flatnonzero(lost).tolist() == list(range(12 - look_ahead, 30 - look_ahead))
    np.testing.assert_allclose(hd[~lost], whole[~lost], rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("look_ahead", [0, 3])
@pytest.mark.parametrize("hop", [0, 7])
@pytest.mark.parametrize("reference", ["input", "average"])
@pytest.mark.parametrize("policy", ["nan", "fill"])
def test_too_many_bad_channels(look_ahead, hop, reference, policy):
    """NaN from the very sample on at which the fifth of eight breaks, till enough are good."""
    bundle = make_bundle(16, look_ahead=look_ahead)
    ld = ld_signal(1200)
    ld[100:430, :4] = np.nan
    ld[153:350, 4] = np.nan
    options = {"engine": "packed", "reference": reference}
    upsampler = Upsampler(bundle, hop=hop, too_many_bad=policy, **options)
    rng = np.random.default_rng(look_ahead + hop)
    parts = [upsampler.push(ld[cut])[0] for cut in random_cuts(rng, 1200, 40)]
    assert not upsampler.lacking
    hd = np.concatenate([*parts, upsampler.flush()[0]])
    whole = Upsampler(bundle, too_many_bad="fill", **options)
    expected = np.concatenate([whole.push(ld)[0], whole.flush()[0]])
    # The fifth is bad till its fourth clean block ends: 400 + 4 * 100.
    assert upsampler.unrenderable == whole.unrenderable == 800 - 153
    lost = np.zeros(1200, dtype=bool)
    lost[153:800] = policy == "nan"
    np.testing.assert_allclose(hd[~lost], expected[~lost], rtol=1e-5, atol=1e-2)
    assert np.isfinite(expected).all()
    passed = [HD.index(label) for label in LD[5:]] if reference == "input" else []
    rendered = np.setdiff1d(np.arange(len(HD)), passed)
    assert np.isnan(hd[lost][:, rendered]).all()
    np.testing.assert_allclose(hd[lost][:, passed], expected[lost][:, passed], atol=1e-3)


@pytest.mark.parametrize("engine", ["packed", "native"])
@pytest.mark.parametrize("n_chunk", [1, 10, 700])
def test_all_channels_lost_is_too_many_whatever_the_share(engine, n_chunk):
    if engine == "native" and why_not():
        pytest.skip(why_not())
    upsampler = Upsampler(make_bundle(17), engine=engine, max_bad_share=1.0)
    ld = ld_signal(700)
    ld[150:260] = np.nan
    rows = []
    for start in range(0, 700, n_chunk):
        rows.append(upsampler.push(ld[start : start + n_chunk])[0])
        if start <= 200 < start + n_chunk < 400:
            assert upsampler.lacking
    # Nobody is to blame when all are lost: one clean block is enough.
    lost = np.isnan(np.concatenate(rows)).all(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(lost), np.arange(150, 400))
    assert upsampler.unrenderable == 250
    assert not upsampler.lacking
    upsampler.reset()
    assert np.isfinite(upsampler.push(ld[:100])[0]).all()


@pytest.mark.parametrize("engine", ["onnx", "packed", "direct"])
def test_references(engine):
    bundle = make_bundle(11)
    ld = ld_signal(40)

    def render(reference):
        return Upsampler(bundle, engine=engine, reference=reference).push(ld)[0].astype(float)

    amplifier = render("input")
    cases = {"average": slice(None), "cz": [HD.index("Cz")], "T3+T8": [4, 5]}
    for reference, rows in cases.items():
        expected = amplifier - amplifier[:, rows].mean(axis=1, keepdims=True)
        np.testing.assert_allclose(render(reference), expected, atol=1e-3)
    with pytest.raises(SettingsError, match=r"reference must be .*missing M1"):
        render("M1+M2")


def test_a_montage_elsewhere():
    bundle = make_bundle(12)
    own = bundle.manifest.hd_montage
    ld = ld_signal(30)
    everything = Upsampler(bundle, engine="packed", measured="render").push(ld)[0]
    some = Montage(("virtual", "Oz"), own.positions_mm[[9, 18]])
    for engine in ("onnx", "packed", "direct"):
        upsampler = Upsampler(bundle, engine=engine, montage=some)
        assert upsampler.labels == ("virtual", "Oz")
        assert upsampler.n_measured == 0
        hd = upsampler.push(ld)[0]
        np.testing.assert_allclose(hd, everything[:, [9, 18]], rtol=1e-4, atol=1e-2)
    worn = Montage(("Oz", "t3."), own.positions_mm[[18, 4]])
    upsampler = Upsampler(bundle, engine="onnx", montage=worn)
    assert upsampler.n_measured == 1
    passed = Upsampler(bundle, engine="packed").push(ld)[0]
    np.testing.assert_array_equal(upsampler.push(ld)[0][:, 1], passed[:, 4])


@pytest.mark.parametrize("engine", ["onnx", "packed", "direct"])
def test_measured_channels_pass_or_are_rendered(engine):
    bundle = make_bundle(13)
    ld = ld_signal(40)
    passing = Upsampler(bundle, engine=engine)
    rendering = Upsampler(bundle, engine=engine, measured="render")
    assert (passing.n_measured, rendering.n_measured) == (len(LD), 0)
    a, b = passing.push(ld)[0], rendering.push(ld)[0]
    np.testing.assert_allclose(a[:, len(LD) :], b[:, len(LD) :], rtol=1e-5, atol=1e-3)
    assert np.abs(a[:, : len(LD)] - b[:, : len(LD)]).max() > 1.0


def test_load_and_engines_agree_with_bad_channels(tmp_path):
    path = tmp_path / "b.emag"
    save_bundle(make_bundle(14, look_ahead=2, hidden="gelu"), path)
    ld = ld_signal(700)
    ld[300:, 2] = np.nan
    order = [3, 1, 0, 2, 7, 6, 5, 4]
    options = {"channels": [LD[i] for i in order], "units": "mV"}
    outputs = {}
    for engine in ("onnx", "packed", "direct"):
        upsampler = Upsampler.load(path, engine=engine, **options)
        assert upsampler.engine.startswith(engine)
        assert upsampler.n_inputs == 8
        outputs[engine] = upsampler.push(ld[:, order] / 1000.0)[0]
        assert upsampler.bad == ("F8",)
    assert relative(outputs["packed"], outputs["direct"]) < 1e-5
    assert relative(outputs["onnx"], outputs["direct"]) < 1e-5


def test_recordings_get_one_row_a_sample():
    upsampler = Upsampler(make_bundle(15, look_ahead=3), engine="packed", hop=7)
    ld = ld_signal(100)
    first = render_recording(upsampler, ld)
    assert first.shape == (100, len(HD))
    np.testing.assert_array_equal(render_recording(upsampler, ld), first)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"hop": -1}, SettingsError, "hop"),
        ({"max_bad_share": 1.5}, SettingsError, "max_bad_share"),
        ({"too_many_bad": "hold"}, SettingsError, "too_many_bad"),
        ({"measured": "drop"}, SettingsError, "measured"),
        ({"engine": "magic"}, EngineError, "magic"),
        ({"channels": ["Cz"]}, MontageError, "missing"),
        ({"units": "ohm"}, SettingsError, "ohm"),
    ],
)
def test_options_that_make_no_sense(options, error, message):
    with pytest.raises(error, match=message):
        Upsampler(make_bundle(16), **options)


def test_shapes_that_do_not_fit():
    upsampler = Upsampler(make_bundle(16), engine="packed")
    with pytest.raises(SettingsError, match=r"timestamps must have shape \(4,\)"):
        upsampler.push(ld_signal(4), np.zeros(3))
    with pytest.raises(SettingsError, match=r"\(n_times, 8\)"):
        upsampler.push(np.zeros((4, 7)))
    with pytest.raises(SettingsError, match=r"turned around: give chunk\.T"):
        upsampler.push(np.zeros((8, 4)))


def _scaled(bundle, scale, n=1200):
    """LD signals of the calibration's size after its filter, times ``scale``."""
    rng = np.random.default_rng(5)
    raw = rng.normal(size=(n, len(bundle.manifest.ld)))
    return scale * raw / ScaleJudge(bundle, 1.0).ratio(raw.copy())


@pytest.mark.parametrize("chunk", [8, 1200])
@pytest.mark.parametrize(("scale", "unit"), [(1e-6, "V"), (1e-3, "mV"), (40.0, "0.02")])
def test_a_wrong_scale_is_refused_and_stays_so(scale, unit, chunk):
    bundle = make_bundle(1)
    ld = _scaled(bundle, scale)
    upsampler = Upsampler(bundle, engine="packed")
    bounds = range(0, min(len(ld), int(3.1 * upsampler.sfreq)), chunk)

    def push_all():
        for start in bounds:
            upsampler.push(ld[start : start + chunk])

    with pytest.raises(StreamMismatch, match=rf"amplitudes must be.*units='{unit}"):
        push_all()
    with pytest.raises(StreamMismatch):
        upsampler.push(ld[:8])
    upsampler.attach(units="V")
    if unit == "V":
        upsampler.push(ld)


def test_a_wrong_scale_may_only_be_said(caplog):
    bundle = make_bundle(1)
    ld = _scaled(bundle, 1e-3)
    plain = Upsampler(bundle, engine="packed", mismatch="ignore").push(ld)[0]
    assert not caplog.text
    np.testing.assert_array_equal(
        Upsampler(bundle, engine="packed", mismatch="warn").push(ld)[0], plain
    )
    assert caplog.text.count("amplitudes must be") == 1
    with pytest.raises(SettingsError, match="mismatch must be"):
        Upsampler(bundle, mismatch="no")


def test_what_is_right_or_silent_is_not_refused():
    bundle = make_bundle(1)
    for ld in (_scaled(bundle, 1.0), np.zeros((1200, len(bundle.manifest.ld)))):
        Upsampler(bundle, engine="packed").push(ld)


@pytest.mark.parametrize(
    ("scale", "warns"), [(1.0, False), (1e3, True), (0.5, True), (-1.0, True), (1.1, False)]
)
def test_stamps_that_contradict_the_rate_are_told_once(caplog, scale, warns):
    upsampler = Upsampler(make_bundle(16), engine="packed")
    for i in range(30):
        stamps = scale * (8 * i + np.arange(8)) / upsampler.sfreq
        upsampler.push(ld_signal(8), stamps)
    found = [r for r in caplog.records if "timestamps of the first" in r.getMessage()]
    assert len(found) == warns


def test_loading_spells_its_options():
    _, *options = inspect.signature(Upsampler).parameters.values()
    path, *spelled = inspect.signature(Upsampler.load).parameters.values()
    assert path.name == "path"
    assert spelled == options
    for option in options:
        assert f"\n{option.name} : " in Upsampler.load.__doc__
    assert "Attributes" not in Upsampler.load.__doc__
    assert "Returns\n-------\nUpsampler" in Upsampler.load.__doc__
