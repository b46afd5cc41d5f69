"""Left or right fist, decoded from few electrodes by what other people's many electrodes taught.

    EMAG_RT_DATA=... python -m tools.examples.other_peoples_decoder [--person S001] [--ld 16]
    EMAG_RT_DATA=... python -m tools.examples.other_peoples_decoder --live [--trials 5]

PhysioNet Motor Movement/Imagery Database. One person's field is calibrated on run 3 (HD), and has
no decoder of its own. The decoder is trained on measured HD of all other people in the folder (runs
4, 8 and 12, imagined) and reads the person's runs as rendered from LD channels, through
`emag_rt.decoding.Aligner`, without a label of the person's. With --live, run 4 is played and
served, and decoded from the daemon's outlet.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np

from calibration import CalibrationSettings, FieldCalibrator
from emag_rt.array_types import FloatArray
from emag_rt.bundle import Bundle, load_bundle
from emag_rt.engine.offline import render_recording
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import EmagError, RecordingError
from emag_rt.frontend import CausalFilter
from emag_rt.recordings.read import Recording, read_recording
from emag_rt.streams.lsl import configure
from tools.examples.motor_imagery import (
    BAND_HZ,
    CLASSES,
    BandPass,
    decode_live,
    live_outlet,
    window,
)
from tools.studies.cases import data_folder

RUNS = (4, 8, 12)


def trials(recording: Recording, rows: FloatArray) -> tuple[FloatArray, list[str]]:
    """Band-passed epochs (n_trials, n_channels, n_times) of a run's signal, and their sides."""
    sfreq, narrow = recording.sfreq, BandPass(recording.sfreq)(rows)
    cues = [(round(t * sfreq), CLASSES[text]) for t, _, text in recording.events if text in CLASSES]
    return np.array([window(narrow, cue, sfreq) for cue, _ in cues]), [side for _, side in cues]


def measured(bundle: Bundle, recording: Recording) -> FloatArray:
    """An HD recording after the front end of the bundle."""
    sos = np.array(bundle.manifest.frontend.sos)
    return CausalFilter(sos, len(recording.labels)).process(recording.data_uv)


def rendered(bundle: Bundle, recording: Recording) -> FloatArray:
    """What `emag-rt serve` would give, from the LD channels alone."""
    upsampler = Upsampler(bundle, channels=recording.labels)
    return render_recording(upsampler, recording.data_uv).astype(np.float64)


class AlignedDecoder:
    """A decoder of measured HD that reads rendered HD: a few lines around the aligner."""

    def __init__(self, bundle: Bundle) -> None:
        from pyriemann.tangentspace import TangentSpace
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        from emag_rt.decoding import Aligner

        self.aligner = Aligner(bundle, BAND_HZ)
        self.model = make_pipeline(TangentSpace(), LogisticRegression(max_iter=2000))

    def fit(self, people: list[tuple[FloatArray, list[str], list[str]]]) -> AlignedDecoder:
        """Learn from measured epochs, their sides and channels; each person by their own mean."""
        parts = [self.aligner.fit(x, names).measured(x, names) for x, _, names in people]
        self.model.fit(np.concatenate(parts), np.concatenate([sides for _, sides, _ in people]))
        return self

    def predict(self, epochs: FloatArray) -> Any:
        """Decide rendered epochs, in the order they came in."""
        return self.model.predict(self.aligner.rendered(epochs))


def taught(bundle: Bundle, folder: Path, people: list[str]) -> AlignedDecoder:
    """The decoder, trained on measured HD of some people."""
    lessons = []
    for person in people:
        found = []
        for run in RUNS:
            recording = read_recording(folder / f"{person}R{run:02d}.edf")
            found.append(trials(recording, measured(bundle, recording)))
        sides = [side for _, of_run in found for side in of_run]
        lessons.append((np.concatenate([x for x, _ in found]), sides, list(recording.labels)))
    return AlignedDecoder(bundle).fit(lessons)


def run_offline(decoder: AlignedDecoder, bundle: Bundle, recording: Recording) -> list[bool]:
    """Which trials of a recording are decided right, from the first one on."""
    decoder.aligner.reset()
    epochs, sides = trials(recording, rendered(bundle, recording))
    return [a == b for a, b in zip(decoder.predict(epochs), sides, strict=True)]


def run_live(decoder: AlignedDecoder, bundle: Path, recording: Path, n: int, speed: float) -> None:
    """Decide trials as they come."""
    configure()
    decoder.aligner.reset()
    hits = []
    with live_outlet(bundle, recording, speed) as (source, markers):
        for number, truth, decided, _ in decode_live(source, markers, decoder, n):
            hits.append(truth == decided)
            click.echo(f"trial {number + 1}: {truth:5} decoded as {decided}")
    click.echo(f"{sum(hits)} of {len(hits)} right")


@click.command()
@click.option("--person", default="S001", show_default=True, help="Who wears LD.")
@click.option("--ld", default=16, show_default=True, help="Electrodes worn.")
@click.option("--live", is_flag=True, help="Decode run 4 from the daemon's outlet, in real time.")
@click.option("--trials", "n", default=15, show_default=True, help="With --live: stop after these.")
@click.option("--speed", default=1.0, show_default=True, help="With --live: times real time.")
@click.option("--data", type=click.Path(file_okay=False), help="Folder (default: $EMAG_RT_DATA).")
def main(person: str, ld: int, live: bool, n: int, speed: float, data: str | None) -> None:
    """Decode one person's few electrodes by a decoder of other people's many."""
    try:
        folder = Path(data) if data else data_folder()
        people = sorted({path.name[:4] for path in folder.glob("S*R12.edf")} - {person})
        if not people:
            raise RecordingError(f"folder {folder}: must hold runs 4, 8, 12 of other people.")
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, "person.emag")
            calibrator = FieldCalibrator(ld, CalibrationSettings(refine=False))
            calibrator.fit([folder / f"{person}R03.edf"]).save(path)
            bundle = load_bundle(path)
            click.echo(f"{person}, {ld} LD channels; taught by {', '.join(people)}")
            decoder = taught(bundle, folder, people)
            if live:
                run_live(decoder, path, folder / f"{person}R04.edf", n, speed)
                return
            for run in RUNS:
                recording = read_recording(folder / f"{person}R{run:02d}.edf")
                right = run_offline(decoder, bundle, recording)
                click.echo(f"run {run}: {sum(right)} of {len(right)} right")
    except EmagError as error:
        click.echo(f"error: {error}", err=True)
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main()
