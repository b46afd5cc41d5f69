"""A decoder that was trained on measured HD reads the daemon's outlet, and decides as offline."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("pyriemann")

from calibration import CalibrationSettings, FieldCalibrator
from emag_rt.bundle import load_bundle
from emag_rt.recordings.read import read_recording
from tools.examples.motor_imagery import BandPass, decode_live, live_outlet, window
from tools.examples.other_peoples_decoder import AlignedDecoder, measured, rendered, trials

pytestmark = [pytest.mark.data, pytest.mark.lsl, pytest.mark.timeout(300)]
N_TRIALS = 15


class Watched:
    """A decoder that keeps what it was given."""

    def __init__(self, decoder):
        self.decoder, self.epochs = decoder, []

    def predict(self, epochs):
        self.epochs.append(epochs[0])
        return self.decoder.predict(epochs)


def test_decisions_from_the_outlet_are_those_made_offline(data_dir, tmp_path):
    path, played = tmp_path / "s001.emag", data_dir / "S001R04.edf"
    calibrator = FieldCalibrator(16, CalibrationSettings(refine=False))
    calibrator.fit([data_dir / "S001R03.edf"]).save(path)
    bundle = load_bundle(path)
    lessons = []
    for run in (8, 12):
        recording = read_recording(data_dir / f"S001R{run:02d}.edf")
        lessons.append((*trials(recording, measured(bundle, recording)), list(recording.labels)))
    decoder = AlignedDecoder(bundle).fit(lessons)
    recording = read_recording(played)
    epochs, sides = trials(recording, rendered(bundle, recording))

    watched, decided, numbers = Watched(decoder), [], []
    with live_outlet(path, played, speed=8.0) as (source, markers):
        for number, side, decision, _ in decode_live(source, markers, watched, N_TRIALS):
            assert side == sides[number]
            numbers.append(number)
            decided.append(decision)
    # The first trials may begin before the outlet is found.
    assert numbers == list(range(numbers[0], N_TRIALS))
    assert numbers[0] <= 2
    np.testing.assert_allclose(watched.epochs, epochs[numbers], atol=0.02)
    decoder.aligner.reset()
    assert decided == [str(side) for side in decoder.predict(epochs[numbers])]
    right = np.mean(np.array(decided) == np.array(sides)[numbers])
    assert right > 0.6, "beyond chance, in a person who is decoded well"


class LateSource:
    """A stream of noise that is heard from row `first` on, in chunks of 50 ms."""

    def __init__(self, rows, sfreq, first):
        self.format = SimpleNamespace(sfreq=sfreq, n_channels=rows.shape[1])
        self._rows, self._next = rows, first

    def pull(self, timeout):
        at = np.arange(self._next, min(self._next + round(self.format.sfreq / 20), len(self._rows)))
        self._next += len(at)
        return self._rows[at], at / self.format.sfreq


@pytest.mark.parametrize(("late_s", "decided"), [(0.0, [0, 1]), (3.3, [0, 1]), (3.8, [1])])
def test_a_trial_is_not_decided_before_the_filter_has_settled(late_s, decided):
    sfreq = 160.0
    rows = np.random.default_rng(1).normal(size=(round(18 * sfreq), 3))
    cues = [4.0, 12.0]
    whole = BandPass(sfreq)(rows)
    markers = iter([(([["T1"], ["T2"]]), cues)])
    marked = SimpleNamespace(take_all=lambda: next(markers, ([], [])))
    watched = Watched(SimpleNamespace(predict=lambda epochs: ["left"]))
    source = LateSource(rows, sfreq, round(late_s * sfreq))
    assert [n for n, *_ in decode_live(source, marked, watched, len(cues))] == decided
    expected = [window(whole, round(cues[n] * sfreq), sfreq) for n in decided]
    np.testing.assert_allclose(watched.epochs, expected, atol=0.002)
