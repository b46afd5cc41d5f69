"""The study of decoders: on three simulated people who move a hand, and its sums on known ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("pyriemann")

from emag_rt.recordings.write import write_raw
from emag_rt.synthetic.head import SyntheticHead
from tools.studies.decoders import classifiers
from tools.studies.decoders.__main__ import main
from tools.studies.decoders.classifiers import DECODERS
from tools.studies.decoders.judging import beside, interval, judged, overview
from tools.studies.decoders.pairings import re_centred
from tools.studies.decoders.trials import Epochs, shrunk_covariances

N_TRIALS, TRIAL_S, SFREQ = 9, 4.0, 160.0
SIDES = {"T1": "C3", "T2": "C4"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A rhythm of 12 Hz over one hand's area tells the class; the first person has two runs."""
    place = tmp_path_factory.mktemp("people")
    rng = np.random.default_rng(5)
    for seed in range(3):
        head = SyntheticHead(16, SFREQ, seed=seed)
        where = head.montage.positions_mm
        for run in (3, 4, 8) if seed == 0 else (3, 4):
            data = head.generate(round(N_TRIALS * TRIAL_S * SFREQ))
            events = []
            for trial in range(N_TRIALS):
                text = ("T1", "T2")[(trial + trial // 2) % 2]
                centre = where[head.labels.index(SIDES[text])]
                pattern = np.exp(-0.5 * (np.linalg.norm(where - centre, axis=1) / 40.0) ** 2)
                rows = slice(round(trial * TRIAL_S * SFREQ), round((trial + 1) * TRIAL_S * SFREQ))
                t = np.arange(round(TRIAL_S * SFREQ)) / SFREQ
                wave = np.sin(2 * np.pi * 12.0 * t + rng.uniform(0, 6))
                data[rows] += 30.0 * wave[:, None] * pattern
                events.append((trial * TRIAL_S, TRIAL_S, text))
            write_raw(
                place / f"S00{seed + 1}R{run:02d}_raw.fif",
                data,
                head.labels,
                SFREQ,
                where,
                origin_mm=head.origin_mm,
                events=events,
            )
    return place


def test_the_study_tells_sides_apart_and_goes_on_from_what_is_finished(folder, tmp_path):
    words = [str(folder), "--out", str(tmp_path), "--task", "fists-imagined", "--ld", "8"]
    words += ["--decoder", "tangent"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    files = sorted(tmp_path.glob("fists-imagined/8-closed/*/*.json"))
    assert len(files) == 6  # own and others', of three people
    own = json.loads(files[1].read_text(encoding="utf-8"))
    hits = {k: np.mean(np.equal(v, own["classes"])) for k, v in own["decided"].items()}
    assert len(own["classes"]) == 2 * N_TRIALS
    assert hits["measured HD"] >= 0.9
    assert hits["rendered → rendered"] >= 0.9
    assert hits["estimate, aligned"] >= 0.8
    assert "| others' LD, retrained | " in done.output
    assert (tmp_path / "tables.md").read_text(encoding="utf-8") in done.output
    files[1].unlink()
    stamps = [path.stat().st_mtime_ns for path in (files[0], *files[2:])]
    again = CliRunner().invoke(main, words)
    assert again.exit_code == 0, again.output
    assert again.output.count("there already") == 2
    assert json.loads(files[1].read_text(encoding="utf-8")) == own
    assert [path.stat().st_mtime_ns for path in (files[0], *files[2:])] == stamps


def test_a_task_that_nobody_did_is_said(folder, tmp_path):
    words = [str(folder), "--out", str(tmp_path), "--task", "fists-feet-moved"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 3
    assert "fists-feet-moved: nobody has run 6 and a run to decode" in done.output


@pytest.mark.parametrize("name", DECODERS)
def test_every_decoder_hears_which_channel_is_loud(name, monkeypatch):
    monkeypatch.setattr(classifiers, "_N_PASSES", 40)
    rng = np.random.default_rng(1)
    classes = np.arange(40) % 2
    signals = rng.normal(size=(40, 6, 160))
    signals[classes == 0, 0] *= 4.0
    signals[classes == 1, 1] *= 4.0
    trials = Epochs.of(signals)
    decoder = DECODERS[name]()
    decoder.fit(trials.take(np.arange(30)), classes[:30])
    found = decoder.decide(trials.take(np.arange(30, 40)))
    np.testing.assert_array_equal(found, classes[30:])


def test_covariances_are_those_of_scikit_learn():
    from sklearn.covariance import oas

    signals = np.random.default_rng(4).normal(size=(3, 5, 80)) * np.arange(1, 6)[:, None]
    for found, signal in zip(shrunk_covariances(signals), signals, strict=True):
        np.testing.assert_allclose(found, oas(signal.T)[0])


def test_re_centring_undoes_a_mixing_and_looks_only_back():
    rng = np.random.default_rng(2)
    mixing = rng.normal(size=(4, 4))
    plain = Epochs.of(rng.normal(size=(30, 4, 400)))
    mixed = plain.through(mixing)
    found = re_centred(mixed, mixing @ mixing.T)
    whole = found.covariances.mean(axis=0)
    np.testing.assert_allclose(whole, np.eye(4), atol=0.1)
    early = re_centred(mixed.take(np.arange(10)), mixing @ mixing.T)
    np.testing.assert_allclose(early.covariances, found.covariances[:10])


def test_sums_are_those_of_known_cases():
    one = {"a": np.array([True] * 8), "b": np.array([True] * 6 + [False] * 2)}
    other = {"a": np.array([True] * 4 + [False] * 4), "b": one["b"]}
    found = beside(one, other)
    assert found.gain == pytest.approx(0.25)
    assert (found.low, found.high) == (0.0, 0.5)
    assert found.p == pytest.approx(0.125)  # four trials gained, none lost: 2 / 2 ** 4
    assert beside(one, one).p == 1.0
    low, high = interval(np.random.default_rng(3).normal(0.6, 0.1, 400))
    assert high - low == pytest.approx(2 * 1.96 * 0.1 / 20, rel=0.15)


def test_targets_are_judged_and_gaps_shown():
    good, bad = {"a": np.array([True] * 9 + [False])}, {"a": np.array([True] * 5 + [False] * 5)}
    eight = {"LD, retrained": bad, "rendered → rendered": good, "matched": bad}
    lines = judged({8: eight})
    assert lines[0].startswith("- hit: 8x: matched")
    assert lines[1] == "- hit: 8x: rendered → rendered at least LD, retrained +0.02: 0.900, 0.500"
    worse = judged({8: {"LD, retrained": good, "rendered → rendered": bad}})
    assert worse[0].startswith("- miss: ")
    rows = overview({"tangent, 16": {"LD, retrained": bad, "estimate": good}, "mdm, 8": eight})
    assert rows[2] == "| LD, retrained | 0.500 | 0.500 |"
    assert rows[3] == "| estimate | 0.900 | – |"
