"""A bundle without HD follows its wearer's LD: from recordings, and live."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from calibration.cli.adapt import adapt as command
from calibration.population.adapt import adapt
from calibration.population.changes import changes_of
from calibration.population.follower import Follower
from calibration.population.no_hd import NoHdSettings, calibrate_without_hd
from calibration.population.people import save_population
from calibration.population.remake import heads_of
from emag_rt import Upsampler
from emag_rt.bundle import load_bundle, save_bundle
from emag_rt.core.drive import reference_free
from emag_rt.core.labels import match_labels
from emag_rt.core.ld_bands import slowed
from emag_rt.errors import CalibrationError
from emag_rt.frontend import CausalFilter
from emag_rt.recordings.read import read_recording
from tests.factories import relative

BLOCK_S = 2.0


@pytest.fixture(scope="module")
def own(population, tmp_path_factory):
    """The population as a file of one's own."""
    path = tmp_path_factory.mktemp("own") / "made-up.safetensors"
    save_population(population, path)
    return str(path)


@pytest.fixture(scope="module")
def settings(own):
    return NoHdSettings(8, "cap", 160.0, population=own)


@pytest.fixture(scope="module")
def bundle(settings, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "any.emag"
    save_bundle(calibrate_without_hd(settings).bundle, path)
    return load_bundle(path)


def blocks_of(bundle, path, sfreq=None):
    """Filtered, reference-free blocks of LD, and their rate, as a daemon hands them over."""
    sfreq = sfreq or bundle.manifest.sfreq
    recording = read_recording(path, sfreq=sfreq)
    ld = recording.data_uv[:, match_labels(labels_of(bundle), recording.labels, "file")]
    filtered = CausalFilter(np.array(bundle.manifest.frontend.sos), ld.shape[1]).process(ld)
    signal, slower = slowed(reference_free(filtered)[0][round(2 * sfreq) :], sfreq)
    n = round(BLOCK_S * slower)
    return [signal[i : i + n] for i in range(0, len(signal) - n + 1, n)], slower


def labels_of(bundle):
    return [electrode.label for electrode in bundle.manifest.ld]


def rendered(bundle, recording):
    return Upsampler(bundle, channels=recording.labels, engine="packed").push(recording.data_uv)[0]


def test_adapting_it_is_making_it_with_the_recording(
    bundle, settings, own, people_files, recordings
):
    found = adapt(bundle, [people_files["P4"]], own)
    again = calibrate_without_hd(
        replace(settings, ld=tuple(labels_of(bundle))), [people_files["P4"]]
    )
    one, two = (rendered(b, recordings["P4"]) for b in (found.bundle, again.bundle))
    np.testing.assert_allclose(one, two, atol=1e-3)
    assert found.change > 0.02
    manifest = found.bundle.manifest
    assert manifest.amplitudes_known
    assert not manifest.hd_measured
    assert manifest.calibration["adapted"]["from"] == bundle.sha256
    notes = manifest.calibration["notes"]
    assert not any("amplitudes are those of the population" in note for note in notes)
    assert any("from which these people are rendered best" in note for note in notes)
    # And from there: not from what was adapted, but from the people again.
    twice = adapt(replace(found.bundle, sha256="x"), [people_files["P4"]], own)
    np.testing.assert_allclose(rendered(twice.bundle, recordings["P4"]), one, atol=1e-3)


@pytest.mark.parametrize("sfreq", [160.0, 500.0])
def test_live_blocks_tell_what_the_recording_does(settings, own, people_files, sfreq):
    made = calibrate_without_hd(replace(settings, sfreq=sfreq))
    blocks, slower = blocks_of(made.bundle, people_files["P4"], sfreq)
    live = changes_of(made.bundle, made.hd.positions_mm, own).learn(blocks, slower)
    recording = read_recording(people_files["P4"], sfreq=sfreq)
    adapted = adapt(made.bundle, [people_files["P4"]], own).bundle
    before, one, two = (rendered(b, recording) for b in (made.bundle, live.make(), adapted))
    assert relative(one, two) < 0.25 * relative(before, two)


def test_what_is_exchanged_live_is_what_the_saved_bundle_renders(
    bundle, own, people_files, recordings, tmp_path
):
    upsampler = Upsampler(bundle, channels=recordings["P4"].labels, engine="packed")
    operator, positions_mm = upsampler.fading.estimate
    arguments = (operator.taps, operator.weights, upsampler.fading.rendered, 8.0, 60.0)
    follower = Follower(
        bundle, Path("any.emag"), positions_mm, *arguments, own, save_in=str(tmp_path)
    )
    for block in blocks_of(bundle, people_files["P4"])[0][:4]:
        follower.add(block, 0)
    learned = follower.news()
    assert learned.power_db == ()
    assert 0.02 < learned.share < 1.0
    follower.save()
    saved = Upsampler(
        load_bundle(follower.news().path), channels=recordings["P4"].labels, engine="packed"
    )
    assert (tmp_path / "any-adapted-1.emag").exists()
    upsampler.fading.begin(learned.change, 1)
    data = recordings["P4"].data_uv
    for start in range(0, len(data), 64):
        rows, _ = upsampler.push(data[start : start + 64])
        expected, _ = saved.push(data[start : start + 64])
        upsampler.prepare()
    np.testing.assert_allclose(rows, expected, atol=2e-3)


def test_its_population_must_be_at_hand(bundle, population, own, tmp_path):
    with pytest.raises(CalibrationError, match="Name its file"):
        heads_of(bundle)
    with pytest.raises(CalibrationError, match="got other people"):
        heads_of(bundle, "adult")
    fewer = replace(
        population,
        covariances=population.covariances[1:],
        amplitudes_uv=population.amplitudes_uv[1:],
        texts={**population.texts, "people": "P1,P2,P3"},
    )
    save_population(fewer, tmp_path / "fewer.safetensors")
    with pytest.raises(CalibrationError, match="got other people: P1,P2,P3"):
        heads_of(bundle, str(tmp_path / "fewer.safetensors"))
    assert heads_of(bundle, own).people.n_people == 4


def test_live_it_needs_the_band_of_the_population(settings, own):
    made = calibrate_without_hd(replace(settings, band_hz=(1.0, 30.0)))
    with pytest.raises(CalibrationError, match="--adapt must have a bundle from"):
        changes_of(made.bundle, made.hd.positions_mm, own)


def test_the_command_says_what_changed(bundle, own, people_files, tmp_path):
    path, out = tmp_path / "any.emag", tmp_path / "me.emag"
    save_bundle(bundle, path)
    words = [str(path), str(people_files["P4"]), "--out", str(out), "--population", own]
    done = CliRunner().invoke(command, words)
    assert done.exit_code == 0, done.output
    assert "rendered channels change by" in done.output
    assert "log-likelihood" not in done.output
    assert load_bundle(out).manifest.amplitudes_known


def test_a_population_goes_with_a_bundle_without_hd(states_bundle, states, own, tmp_path):
    words = [str(states_bundle), str(states["same"]), "--out", str(tmp_path / "x.emag")]
    done = CliRunner().invoke(command, [*words, "--population", own])
    assert done.exit_code != 0
    assert "--population must go with a bundle without HD" in str(done.exception or done.output)
