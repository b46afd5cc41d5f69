"""Electrodes worth wearing: the surrogate's numbers, the search, and what may be chosen."""

from __future__ import annotations

import mne
import numpy as np
import pytest

from calibration import CalibrationSettings
from calibration.electrodes.choice import choose_montage, score_set
from calibration.electrodes.head_view import flat_positions
from calibration.electrodes.offer import MontageRequest
from calibration.electrodes.picture import save_montage_picture
from calibration.electrodes.search import SetSearch, choose_set
from calibration.regression.blocks import guarded_start, make_blocks
from calibration.regression.lag_grams import errors_with, lag_samples, search_grams, set_error
from emag_rt.errors import CalibrationError, MontageError
from emag_rt.recordings.read import read_recording
from emag_rt.synthetic.head import SyntheticHead

SFREQ, LAM = 100.0, 1e-3
SETTINGS = CalibrationSettings(refine=False)


@pytest.fixture(scope="module")
def signals():
    """Twelve channels of a synthetic head in two stretches, relative to one of the others."""
    head = SyntheticHead(16, SFREQ, seed=3)
    data = head.generate(3000)
    data = (data - data[:, 15:])[:, :12]
    return [data[:1700], data[1700:]]


@pytest.fixture(scope="module")
def grams(signals):
    return search_grams(signals, SFREQ)


def refitted_error(signals, rows, lam, reference, n_look_ahead=0):
    """Ridge with weights that keep the reference out, solved as such on samples."""
    lags = lag_samples(SFREQ, n_look_ahead)
    n_lags, n = len(lags), signals[0].shape[1]
    centred = [x - x.mean(axis=1, keepdims=True) for x in signals]
    blocks = make_blocks([len(x) for x in signals])
    splits = [[] for _ in range(5)]
    for block in blocks:
        x = centred[block.segment]
        padded = np.concatenate([np.zeros((50, n)), x, np.zeros((50, n))])
        times = np.arange(guarded_start(block, max(lags)), block.stop) + 50
        lagged = np.stack([padded[times - lag] for lag in lags], axis=2)
        splits[block.split].append(lagged)
    error = power = 0.0
    # Weights of all lags but the present sum to nothing, those of the present to one.
    demand = np.kron(np.ones(len(rows)), np.eye(n_lags))
    for split in range(5):
        train = np.concatenate([z for f in range(5) if f != split for z in splits[f]])
        held = np.concatenate(splits[split])
        mean = train.mean(axis=0)
        train, held = train - mean, held - mean
        z, y = train[:, rows].reshape(len(train), -1), train[:, :, 0]
        penalty = lam * (z**2).mean(axis=0)
        system = np.block(
            [[z.T @ z / len(z) + np.diag(penalty), demand.T], [demand, np.zeros((n_lags, n_lags))]]
        )
        sums = np.zeros((n_lags, n))
        sums[0] = 1.0
        weights = np.linalg.solve(system, np.vstack([z.T @ y / len(z), sums]))[: z.shape[1]]
        e = held[:, :, 0] - held[:, rows].reshape(len(held), -1) @ weights
        e[:, rows] = 0.0
        if reference == "average":
            e = e - e.mean(axis=1, keepdims=True)
        error += (e**2).sum()
        power += (held[:, :, 0] ** 2).sum()
    return error / power


@pytest.mark.parametrize("reference", ["average", "ld-mean"])
@pytest.mark.parametrize("rows", [(4, 9), (0, 3, 5, 8, 11)])
@pytest.mark.parametrize("n_look_ahead", [0, 3])
def test_the_surrogate_is_the_refitted_error(signals, rows, reference, n_look_ahead):
    grams = search_grams(signals, SFREQ, n_look_ahead, reference=reference)
    expected = refitted_error(signals, list(rows), LAM, reference, n_look_ahead)
    assert 0.005 < expected < 1.0
    assert set_error(grams, rows, LAM) == pytest.approx(expected, rel=1e-3)


def test_errors_of_joining_agree_whichever_joins_last(grams):
    for last in (2, 7, 10):
        others = [i for i in (2, 7, 10) if i != last]
        value = errors_with(grams, others, LAM)[last]
        assert value == pytest.approx(set_error(grams, (2, 7, 10), LAM), rel=1e-6)


def test_a_common_signal_changes_nothing(signals, grams):
    rng = np.random.default_rng(0)
    noisy = [x + 300 * rng.normal(size=(len(x), 1)) for x in signals]
    again = errors_with(search_grams(noisy, SFREQ), (1, 6), LAM)
    np.testing.assert_allclose(again, errors_with(grams, (1, 6), LAM), rtol=1e-6)


def test_swaps_never_worsen_and_end_where_none_helps(grams):
    rng = np.random.default_rng(1)
    for _ in range(5):
        search = SetSearch(grams, range(12), lam=LAM)
        start = rng.choice(12, 4, replace=False).tolist()
        found = search.refine(start)
        assert found.error <= set_error(grams, start, LAM)
        assert found.error == pytest.approx(set_error(grams, found.rows, LAM), rel=1e-6)
        for out in found.rows:
            others = [i for i in found.rows if i != out]
            assert errors_with(grams, others, LAM).min() >= found.error * (1 - 1e-5)


def test_the_choice_is_the_best_of_all_sets_where_they_can_be_counted(grams):
    pairs = {(i, j): set_error(grams, (i, j), LAM) for i in range(12) for j in range(i)}
    found = choose_set(grams, range(12), [0, 1])
    errors = {pair: set_error(grams, pair, found.lam) for pair in pairs}
    assert found.error == pytest.approx(min(errors.values()), rel=1e-6)
    # Growing looks at one more channel at a time, and beats what chance finds.
    grown = SetSearch(grams, range(12), lam=LAM, beam=2).grow(5)
    rng = np.random.default_rng(2)
    drawn = [set_error(grams, rng.choice(12, 5, replace=False).tolist(), LAM) for _ in range(20)]
    assert len(set(grown.rows)) == 5
    assert grown.error < np.quantile(drawn, 0.2)


def test_must_and_candidates_are_obeyed_in_the_search(grams):
    found = choose_set(grams, [0, 2, 4, 6, 8], [3, 0, 2, 4], must=[3], n_starts=3)
    assert 3 in found.rows
    assert set(found.rows) <= {3, 0, 2, 4, 6, 8}
    assert len(found.rows) == 4
    assert choose_set(grams, [1, 5, 9], [1, 5, 9], must=[1, 5, 9]).rows == (1, 5, 9)
    with pytest.raises(CalibrationError, match="from 2 to 6"):
        choose_set(grams, [0, 2, 4, 6, 8], list(range(7)), must=[3])


@pytest.fixture(scope="module")
def choice(session_files):
    return choose_montage(session_files[:2], MontageRequest(6, curve=True, n_starts=1), SETTINGS)


def test_chosen_electrodes_beat_random_and_spread_ones_in_the_model_served(choice, session_files):
    read = [read_recording(path) for path in session_files[:2]]
    rng = np.random.default_rng(0)
    error = choice.chosen[6].nmse["average"]["all"]
    for _ in range(3):
        drawn = rng.choice(choice.montage.labels, 6, replace=False).tolist()
        assert error < score_set(read, drawn, SETTINGS).nmse["average"]["all"]
    assert error < choice.spread[6].nmse["average"]["all"]
    # The stand-in knows the model well enough to be searched in its place.
    assert error == pytest.approx(choice.surrogate[6].error, rel=0.1)


def test_the_curve_falls_and_its_parts_fit_together(choice):
    assert list(choice.chosen) == [2, 3, 4, 6]
    for part in ("all", "unseen"):
        values = [choice.chosen[size].nmse["average"][part] for size in choice.chosen]
        assert all(np.diff(values) < 0)
    score = choice.chosen[6]
    assert score.nmse["average"]["all"] < score.nmse["average"]["unseen"]
    assert set(score.per_channel) == set(choice.montage.labels)
    assert choice.labels == score.labels
    assert len(set(choice.labels)) == 6


def test_the_picture_is_written_and_shows_the_choice(choice, tmp_path):
    path = tmp_path / "head.svg"
    save_montage_picture(choice, path)
    text = path.read_text(encoding="utf-8")
    assert "6 electrodes to wear" in text
    save_montage_picture(choice, tmp_path / "head.png")
    assert (tmp_path / "head.png").read_bytes().startswith(b"\x89PNG")
    flat = flat_positions(np.array([[0.0, 0.0, 90.0], [0.0, 90.0, 0.0], [-45.0, 0.0, 45.0]]))
    np.testing.assert_allclose(flat, [[0, 0], [0, 1], [-0.5, 0]], atol=1e-12)


def spoiled(path, out):
    """A copy with one bad channel and one bridge."""
    raw = mne.io.read_raw_fif(path, preload=True, verbose="ERROR")
    names = raw.ch_names
    raw._data[names.index("O1")] = raw._data[names.index("PO3")]
    raw.info["bads"] = ["Cz"]
    raw.save(out, verbose="ERROR")
    return out


def test_bad_and_bridged_channels_are_not_on_offer(session_files, tmp_path):
    path = spoiled(session_files[0], tmp_path / "spoiled_raw.fif")
    choice = choose_montage([path], MontageRequest(4, n_starts=0), SETTINGS)
    assert set(choice.bridged) == {"O1", "PO3"}
    assert choice.bad == ("Cz",)
    assert not {"O1", "PO3", "Cz"} & set(choice.candidates)
    assert set(choice.labels) <= set(choice.candidates)
    assert any("O1" in note and "--must" in note for note in choice.warnings)
    assert "Cz" not in choice.chosen[4].per_channel
    worn = choose_montage([path], MontageRequest(4, must=("o1",), n_starts=0), SETTINGS)
    assert "O1" in worn.labels
    with pytest.raises(CalibrationError, match="--must Cz: bad"):
        choose_montage([path], MontageRequest(4, must=("Cz",)), SETTINGS)


def test_must_forbid_and_cap_are_obeyed(session_files):
    request = MontageRequest(
        5, must=("fp1", "T8"), forbid=("Oz", "Cz"), cap="biosemi16", n_starts=0
    )
    choice = choose_montage(session_files[:1], request, SETTINGS)
    assert {"Fp1", "T8"} <= set(choice.labels)
    assert not {"Oz", "Cz"} & set(choice.candidates)
    assert len(choice.candidates) == 14
    assert {"Fp1", "T8"} <= set(choice.spread[5].labels)
    assert any("biosemi16: 16 of 16" in note for note in choice.warnings)


@pytest.mark.parametrize(
    ("request_", "error", "says"),
    [
        (MontageRequest(1), CalibrationError, "--count must be from 2 to 31"),
        (MontageRequest(32), CalibrationError, "--count must be from 2 to 31"),
        (MontageRequest(2, must=("Fz", "Cz", "Pz")), CalibrationError, "from 3 to"),
        (MontageRequest(4, must=("Fpzz",)), CalibrationError, r"--must .* Fpzz \(did you mean"),
        (MontageRequest(4, forbid=("Nope", "Cz")), CalibrationError, "--forbid .* Nope"),
        (MontageRequest(4, must=("T7", "T3")), CalibrationError, "once"),
        (MontageRequest(4, must=("Cz",), forbid=("cz",)), CalibrationError, "--must Cz.*--forbid"),
        (MontageRequest(4, must=("AF3",), cap="biosemi16"), CalibrationError, "not in the cap"),
        (MontageRequest(4, cap="biosemi256"), CalibrationError, "at the same place"),
        (MontageRequest(4, cap="biosemi46"), MontageError, "biosemi64"),
    ],
)
def test_impossible_requests_say_why(session_files, request_, error, says):
    with pytest.raises(error, match=says):
        choose_montage(session_files[:1], request_, SETTINGS)
