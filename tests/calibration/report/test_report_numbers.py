"""The numbers of the report: scores, quality, curves, Gaussians."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import mne
import numpy as np
import pytest

from calibration.electrodes.choice import score_set
from calibration.electrodes.offer import MontageRequest, Offer
from calibration.report.around_events import event_rows, events_html
from calibration.report.better_set import find_better_set
from calibration.report.curves import Curves, Point, measure_curves
from calibration.report.evidence import from_recordings
from calibration.report.gaussians import (
    contributions,
    make_clip,
    point_amplitudes,
    spatial_axes,
    strongest,
)
from calibration.report.page import bands_html, methods_html
from calibration.report.quality import look_at
from calibration.report.scores import score, spectra
from calibration.report.write import _facts, report_of_bundle
from calibration.session.segments import open_session
from calibration.settings.calibration_settings import CalibrationSettings
from emag_rt.core.direct import render_direct
from emag_rt.errors import EmagError
from tests.factories import random_model


def test_cross_validated_scores_are_those_that_calibration_printed(subject, evidence):
    scores = score(evidence)
    for name, value in scores.methods.items():
        assert value == subject.calibration.scores.methods[name].nmse_unseen
    # The traces behind bands and pictures are out of fold, and of the same field.
    traces = evidence.methods["field"], evidence.truth
    error = ((traces[0] - traces[1]) ** 2).sum() / (traces[1] ** 2).sum()
    assert error == pytest.approx(scores.methods["field"], rel=0.02)
    assert not evidence.held_out
    calibration = subject.calibration
    seen = calibration.field.linear.predict(calibration.session.target_segments[0][0])
    assert ((seen - traces[1]) ** 2).sum() < ((traces[0] - traces[1]) ** 2).sum()


def test_every_mode_that_the_bundle_offers_stands_beside_the_truth(evidence, monkeypatch):
    for name in ("method_maps", "band_maps"):
        monkeypatch.setattr(f"calibration.report.page.{name}", lambda *_: "")
    modes, (_, power) = score(evidence).modes, spectra(evidence)
    assert list(modes) == ["truth", "estimate", "matched", "simulated"]
    told = methods_html(evidence, score(evidence))
    for name, mode in modes.items():
        assert f"<td>{name}</td>" in told
        assert f">{mode.spread}</td>" in told
    assert power["field"].sum() < power["matched"].sum() < 1.25 * power["truth"].sum()
    older = replace(evidence, bundle=replace(evidence.bundle, statistics=None))
    assert score(older).modes == {}
    assert "--statistics" not in methods_html(older, score(older))
    assert "matched" not in spectra(older)[1]


def test_what_networks_leave_is_told(evidence, monkeypatch):
    for name in ("method_maps", "band_maps"):  # seconds of drawing that say nothing here
        monkeypatch.setattr(f"calibration.report.page.{name}", lambda *_: "")
    assert evidence.left_by_networks == 1
    stage = {"residual": {"fold_ratios": [0.8, 0.9]}, "refinement": {"validation_ratio": 0.98}}
    manifest = evidence.bundle.manifest.model_copy(update={"calibration": stage})
    refined = replace(evidence, bundle=replace(evidence.bundle, manifest=manifest))
    assert refined.left_by_networks == pytest.approx(0.85 * 0.98)
    told = bands_html(refined, score(refined))
    assert "leave 0.833 of that error" in told
    assert "leave" not in bands_html(evidence, score(evidence))


def test_spline_in_the_report_is_the_spline_of_the_scores(evidence, subject):
    truth, spline = evidence.truth, evidence.methods["spherical_spline"]
    error = ((spline - truth) ** 2).sum() / (truth**2).sum()
    wanted = subject.calibration.scores.methods["spherical_spline"].nmse_unseen
    assert error == pytest.approx(wanted, rel=1e-4)


def test_a_recording_not_seen_goes_through_the_engine(subject):
    evidence = from_recordings(subject.bundle, [subject.seen, subject.unseen])
    assert evidence.held_out
    assert [r.path.name for r in evidence.session.recordings] == [subject.unseen.name]
    scores = score(evidence)
    assert 0 < scores.methods["field"] < scores.methods["spherical_spline"]
    assert set(scores.bands["field"]) == {"delta", "theta", "alpha", "beta", "gamma"}


@pytest.mark.usefixtures("undrawn")
def test_a_bundle_without_baselines_can_be_reported_on(subject, tmp_path):
    """Such as an imported checkpoint, which also does not say how long it learned."""
    manifest = subject.bundle.manifest.model_copy(update={"calibration": {}})
    bare = replace(subject.bundle, baselines={}, manifest=manifest)
    out = tmp_path / "r.html"
    verdict = report_of_bundle(bare, [subject.unseen], out, curves="no")
    assert "field" in out.read_text(encoding="utf-8")
    assert not [text for text in verdict.advice if "Record for longer" in text]


@pytest.fixture(scope="module")
def test_run(subject, tmp_path_factory):
    """A run not seen, with old names and a bad channel, of a bundle with another bad one."""
    raw = mne.io.read_raw_fif(subject.unseen, preload=True, verbose="ERROR")
    old = {"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6"}
    worn = {e.label for e in subject.bundle.manifest.ld}
    renamed = {a: b for a, b in old.items() if a in raw.ch_names and a not in worn}
    assert renamed
    raw.rename_channels(renamed, verbose="ERROR")
    free = [n for n in raw.ch_names if n not in worn and n not in old.values()]
    raw.info["bads"] = free[:2]
    path = tmp_path_factory.mktemp("run") / "run_raw.fif"
    raw.save(path, verbose="ERROR")
    hd = [
        e.model_copy(update={"bad": True}) if e.label == free[0] else e
        for e in subject.bundle.manifest.hd
    ]
    manifest = subject.bundle.manifest.model_copy(
        update={"hd": hd, "calibration": {"duration_s": 240.0}}
    )
    evidence = from_recordings(replace(subject.bundle, manifest=manifest), [path])
    return SimpleNamespace(evidence=evidence, renamed=renamed, free=free)


def facts_of(evidence, curves):
    return _facts(evidence, score(evidence), look_at(evidence.session), curves, 1.0)


def curves_that_pay():
    lengths = tuple(Point(s, 0.0, e, e) for s, e in ((10, 0.4), (20, 0.2)))
    return Curves(lengths, tuple(Point(20, s, e, e) for s, e in ((0.0, 0.2), (0.05, 0.1))))


def test_a_test_run_says_nothing_of_the_calibration(test_run):
    facts = facts_of(test_run.evidence, curves_that_pay())
    assert facts.held_out
    assert facts.seconds == 240.0
    assert facts.longer_gain is None
    assert facts.bad == [test_run.free[0]]
    assert facts.bad_here == [test_run.free[1]]
    assert facts.waiting_gain == pytest.approx(0.5)


def test_distances_are_known_under_old_names(test_run):
    facts = facts_of(test_run.evidence, Curves())
    assert set(test_run.renamed) <= set(facts.channels), "the bundle's names"
    assert set(facts.nearest_ld_mm) == set(facts.channels)


def test_curves_count_only_where_they_say_something_of_this_calibration(evidence, monkeypatch):
    facts = facts_of(evidence, curves_that_pay())
    assert facts.longer_gain == facts.waiting_gain == pytest.approx(0.5)
    monkeypatch.setattr("calibration.report.write.MAX_S", 10.0)
    manifest = evidence.bundle.manifest.model_copy(update={"look_ahead_samples": 6})
    waits = replace(evidence, bundle=replace(evidence.bundle, manifest=manifest))
    facts = facts_of(waits, curves_that_pay())
    assert facts.longer_gain is None, "the curve ends before the session does"
    assert facts.waiting_gain is None, "it waits already"


def test_curves_fall_with_length_and_end_at_the_same_place(evidence):
    curves = measure_curves(evidence)
    assert [round(p.seconds) for p in curves.lengths] == [9, 18]
    assert curves.note.startswith("Too short to fit: 4")
    assert curves.test_s == pytest.approx(6, abs=0.1)
    assert curves.lengths[1].field < curves.lengths[0].field
    assert [round(1e3 * p.look_ahead_s) for p in curves.look_aheads] == [0, 23, 47]


def test_quality_names_what_is_wrong(subject, tmp_path):
    raw = mne.io.read_raw_fif(subject.seen, preload=True, verbose="ERROR")
    names = raw.ch_names
    raw._data[names.index("P3")] *= 1e-4
    raw._data[names.index("C4")] *= 30
    raw._data[names.index("F4")] = raw._data[names.index("F8")]
    times = raw.times
    raw._data[names.index("O1")] += 200e-6 * np.sin(2 * np.pi * 50 * times)
    raw.info["bads"] = ["F7"]
    raw.set_annotations(mne.Annotations([5.0], [2.5], ["BAD_movement"]))
    path = tmp_path / "spoilt_raw.fif"
    raw.save(path, verbose="ERROR")
    session = open_session([path], ["Cz", "F8", "Pz", "T7"], CalibrationSettings())
    quality = look_at(session)
    states = {c.label: "; ".join(c.states) for c in quality.channels if c.states}
    assert states["P3"].startswith("flat (")
    assert states["C4"].startswith("wild (")
    assert "bridged to F8" in states["F4"]
    assert states["F7"] == "marked bad in the recording"
    assert states["O1"].startswith("line noise (")
    assert set(states) == {"P3", "C4", "F4", "F8", "F7", "O1"}
    # The same channels in calibrate, and in montage.
    labels = session.montage.labels
    assert [labels[i] for i in session.bridged] == ["F4"]
    offer = Offer.of(session, MontageRequest(4), 1.0)
    assert {labels[i] for i in offer.bridged} == {"F4", "F8"}
    odd = {c.label for c in quality.channels if c.role == "bad"}
    assert odd == {labels[i] for i in session.bad} == {"P3", "C4", "F7"}
    assert quality.mains_hz == 50
    by_label = {c.label: c for c in quality.channels}
    assert by_label["O1"].line_uv == pytest.approx(200 / np.sqrt(2), rel=0.1)
    assert by_label["Cz"].nearest_ld_mm == 0
    assert any("2.50 s: annotated BAD" in reason for reason in quality.cuts[0].reasons)
    assert len(quality.cuts[0].used) == 2


def test_amplitudes_of_the_points_add_up_to_the_field(subject):
    model = subject.bundle.model
    rng = np.random.default_rng(5)
    ld = rng.normal(size=(model.n_context + 2, model.n_ld)) * model.scale_uv
    positions = subject.bundle.manifest.hd_montage.positions_mm[::8]
    kernel = model.field.spatial_kernel(positions)[:, :, 0]
    rendered = point_amplitudes(model, ld) @ kernel.T
    truth = render_direct(model, positions, ld)
    np.testing.assert_allclose(rendered, truth, atol=1e-8 * np.abs(truth).max())


@pytest.mark.parametrize(
    "options",
    [
        {"hidden": "gelu", "look_ahead": 3},
        {"hidden": "dilated"},
        {"hidden": "gelu", "anchor": "window"},
    ],
    ids=str,
)
def test_amplitudes_with_networks_look_ahead_and_windows(options):
    model = random_model(4, coupled=False, **options)
    factor = model.field.cholesky.copy()
    factor[..., :3, :3] = factor[:, :1, :3, :3]  # one spatial shape a point
    model = replace(model, field=replace(model.field, cholesky=factor))
    rng = np.random.default_rng(6)
    ld = rng.normal(size=(model.n_context + 9, model.n_ld)) * model.scale_uv
    positions = rng.normal(size=(5, 3)) * 50
    kernel = model.field.spatial_kernel(positions)[:, :, 0]
    truth = render_direct(model, positions, ld)
    np.testing.assert_allclose(
        point_amplitudes(model, ld) @ kernel.T, truth, atol=1e-8 * np.abs(truth).max()
    )


def test_clip_is_what_the_field_renders(subject, evidence):
    clip = make_clip(subject.bundle, evidence.session)
    positions = subject.bundle.manifest.hd_montage.positions_mm
    kernel = subject.bundle.model.field.spatial_kernel(positions)[:, :, 0]
    rendered = clip.amplitudes_uv @ kernel.T
    np.testing.assert_allclose(
        clip.potentials_uv, rendered, atol=1e-3 * np.abs(rendered).max(), err_msg="packed, float32"
    )
    assert clip.times_ms[-1] == pytest.approx(2000, abs=10)
    rows, share = strongest(subject.bundle, clip, 50)
    weight = contributions(subject.bundle, clip)
    assert 0 < share < 1
    assert weight[rows].min() >= np.delete(weight, rows).max()


def test_ellipsoids_have_the_shape_of_the_precision(subject):
    field = subject.bundle.model.field
    covariance = spatial_axes(field, np.arange(5))
    eye = covariance @ field.precisions[:5, 0, :3, :3]
    np.testing.assert_allclose(eye, np.broadcast_to(np.eye(3), (5, 3, 3)), atol=1e-9)


def test_a_session_shorter_than_the_memory_is_told(subject, evidence):
    short = replace(
        evidence.session, segments=tuple((x[:20], y[:20]) for x, y in evidence.session.segments)
    )
    with pytest.raises(EmagError, match="memory"):
        make_clip(subject.bundle, short)


def test_other_electrodes_are_no_worse_and_as_many(evidence):
    found = find_better_set(evidence, 1.0)
    assert len(found.labels) == len(evidence.session.ld)
    worn = [evidence.session.montage.labels[i] for i in evidence.session.ld]
    now = score_set(evidence.session.recordings, worn, CalibrationSettings())
    # The search goes by a quick stand-in, so a little worse may happen.
    assert found.nmse < 1.02 * now.nmse["ld-mean"]["unseen"]


def test_other_electrodes_are_not_sought_where_that_takes_long(evidence):
    found = find_better_set(evidence, 100.0)
    assert found.labels == ()
    assert found.cost_s == 100.0


@pytest.mark.usefixtures("undrawn")
def test_events_are_found_where_they_are_in_the_signal(subject, evidence, tmp_path):
    """In a calibration's own recordings and in others; broken or rare ones do not count."""
    raw = mne.io.read_raw_fif(subject.unseen, preload=True, verbose="ERROR")
    onsets = [0.2, *np.arange(3.0, 20.0, 2.0), 12.0, 15.5]
    names = ["go"] * (len(onsets) - 2) + ["BAD_cough", "rare"]
    durations = [0.0] * (len(onsets) - 2) + [1.0, 0.0]
    raw.set_annotations(mne.Annotations(onsets, durations, names))
    path = tmp_path / "marked_raw.fif"
    raw.save(path, verbose="ERROR")
    marked = from_recordings(subject.bundle, [path])
    rows = event_rows(marked)
    assert list(rows) == ["go"]
    samples = marked.samples[rows["go"], 1] / marked.sfreq
    # The first is in the filter's first second; that at 11 s runs into the cough at 12 s.
    assert samples == pytest.approx([3, 5, 7, 9, 15, 17, 19], abs=0.01)
    told = events_html(marked, score(marked))
    assert "go: 7 events" in told
    assert events_html(evidence, score(evidence)) == ""
    assert len(evidence.samples) == len(evidence.truth)
