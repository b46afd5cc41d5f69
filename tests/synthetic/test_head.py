"""The synthetic head: repeatable, block-free, and like EEG."""

import numpy as np
import pytest
from scipy.signal import butter, sosfilt, welch

from emag_rt.core.montage import spread_choice
from emag_rt.errors import SettingsError
from emag_rt.synthetic.head import SyntheticHead


@pytest.fixture(scope="module")
def head():
    return SyntheticHead(64, 250.0, seed=0)


@pytest.fixture(scope="module")
def signal(head):
    head.reset()
    return head.generate(250 * 120)


def test_the_block_size_changes_no_number(head, signal):
    head.reset()
    sizes = [1, 7, 62, 63, 0, 1000, 3, 250]
    pieces = np.concatenate([head.generate(n) for n in sizes])
    np.testing.assert_array_equal(pieces, signal[: len(pieces)])


def test_seeds_repeat_and_differ(signal):
    again = SyntheticHead(64, 250.0, seed=0)
    np.testing.assert_array_equal(again.generate(100), signal[:100])
    other = SyntheticHead(64, 250.0, seed=1)
    assert not np.allclose(other.generate(100), signal[:100])
    assert not np.allclose(other.lead_field, again.lead_field)


def test_amplitudes_alpha_and_blinks_are_like_eeg(head, signal):
    rms = signal.std(axis=0)
    assert 10 < np.median(rms) < 30
    assert rms.max() < 60
    frequency, power = welch(signal, 250.0, nperseg=500, axis=0)

    def at(label, hz):
        return power[np.argmin(np.abs(frequency - hz)), head.labels.index(label)]

    assert at("Oz", 10) > 2 * at("Oz", 6)
    assert at("Oz", 10) > 4 * at("Fz", 10)
    assert at("Cz", 1) > at("Cz", 4) > at("Cz", 30)
    assert 60 < signal[:, head.labels.index("Fp1")].max() < 250


def test_a_quarter_of_the_channels_tells_most_but_not_all(head, signal):
    sos = butter(2, [0.5, 45.0], "band", fs=250.0, output="sos")
    x = sosfilt(sos, signal, axis=0)[500:]
    ld = spread_choice(head.montage.positions_mm, 16)
    unseen = [i for i in range(64) if i not in ld]
    x = x - x[:, ld].mean(axis=1, keepdims=True)
    fit, test = x[:15000], x[15000:]
    gram = fit[:, ld].T @ fit[:, ld]
    weights = np.linalg.solve(gram + 1e-4 * np.trace(gram) * np.eye(16), fit[:, ld].T @ fit)
    error = test[:, unseen] - (test[:, ld] @ weights)[:, unseen]
    nmse = (error**2).sum() / (test[:, unseen] ** 2).sum()
    assert 0.05 < nmse < 0.2


def test_lead_field_and_montage(head):
    assert head.lead_field.shape == (64, 300)
    np.testing.assert_allclose(np.linalg.norm(head.source_moments, axis=1), 1.0)
    # a radial source is seen best near it
    outward = head.source_positions_mm / np.linalg.norm(head.source_positions_mm, axis=1)[:, None]
    k = int(np.argmax((outward * head.source_moments).sum(axis=1) * (outward[:, 2] > 0.3)))
    distance = np.linalg.norm(head.montage.positions_mm - 90 * outward[k], axis=1)
    assert distance[np.argmax(head.lead_field[:, k])] <= np.sort(distance)[2]
    assert head.info.ch_names == list(head.labels)


def test_labels_and_wide_nets():
    assert SyntheticHead(["Fp1", "Fp2", "C3", "C4", "O1", "O2"], 100.0).generate(3).shape == (3, 6)
    assert SyntheticHead(128, 64.0).labels[:2] == ("A1", "A2")


@pytest.mark.parametrize(
    "arguments",
    [{"channels": 17}, {"channels": ["Fp1", "??", "C3", "C4"]}, {"sfreq": 10.0}, {"n_sources": 1}],
)
def test_bad_settings(arguments):
    with pytest.raises(SettingsError):
        SyntheticHead(**arguments)
