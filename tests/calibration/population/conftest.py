"""Four made-up people with one cap, and the population that they make."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from calibration import CalibrationSettings, FieldCalibrator
from calibration.population.people import Population
from calibration.population.statistics import person_statistics, repaired
from emag_rt.frontend import design_band
from emag_rt.recordings.read import read_recording
from emag_rt.recordings.write import write_raw
from emag_rt.synthetic.head import SyntheticHead

SFREQ = 160.0
N_CHANNELS = 32


@pytest.fixture(scope="session")
def people_files(tmp_path_factory):
    """A file a person; the first has a bridged pair and a wild channel."""
    folder = tmp_path_factory.mktemp("people")
    files = {}
    for seed in range(5):
        head = SyntheticHead(N_CHANNELS, SFREQ, seed=seed)
        data = (1.0 + seed) * head.generate(round(30 * SFREQ))
        if seed == 0:
            data[:, 3] = data[:, 4]
            data[:, 7] *= 50.0
        path = folder / f"P{seed}_raw.fif"
        write_raw(
            path, data, head.labels, SFREQ, head.montage.positions_mm, origin_mm=head.origin_mm
        )
        files[f"P{seed}"] = path
    return files


@pytest.fixture(scope="session")
def recordings(people_files):
    return {name: read_recording(path) for name, path in people_files.items()}


@pytest.fixture(scope="session")
def population(recordings):
    """Of all but the last person."""
    first = recordings["P0"]
    places = first.montage()
    sos = design_band(0.5, 45.0, SFREQ)
    people = [
        person_statistics(name, [recording], places.labels, sos)
        for name, recording in recordings.items()
        if name != "P4"
    ]
    covariances, amplitudes = repaired(people, places.positions_mm)
    texts = {"name": "made-up", "people": ",".join(person.name for person in people)}
    return Population(
        places,
        np.asarray(first.origin_mm),
        first.radius_mm,
        SFREQ,
        (0.5, 45.0),
        covariances,
        amplitudes,
        {
            key: texts.get(key, "")
            for key in (
                "name",
                "people",
                "dataset",
                "licence",
                "attribution",
                "command",
                "runs",
                "made_with",
            )
        },
    )


@pytest.fixture(scope="session")
def states(head, tmp_path_factory):
    """A run, the same again, and another state: in some places there is far more alpha."""
    folder = tmp_path_factory.mktemp("states")
    head.reset()
    rng = np.random.default_rng(3)
    band = butter(2, (8.0, 13.0), "bandpass", fs=head.sfreq, output="sos")
    back = np.argsort(head.source_positions_mm[:, 1])[:12]
    found = {}
    for name, seconds, alpha in (("run", 60, 2.0), ("same", 40, 2.0), ("state", 80, 16.0)):
        n = round(seconds * head.sfreq)
        waves = sosfilt(band, rng.normal(size=(n, len(back))), axis=0)
        pattern = head.lead_field[:, back] / np.abs(head.lead_field[:, back]).max()
        data = head.generate(n) + alpha * 3.0 * waves @ pattern.T
        cuts = {name: (0, n)} if name != "state" else {"today": (0, n // 2), "later": (n // 2, n)}
        for part, (start, stop) in cuts.items():
            found[part] = folder / f"{part}_raw.fif"
            write_raw(
                found[part],
                data[start:stop],
                head.labels,
                head.sfreq,
                head.montage.positions_mm,
                origin_mm=head.origin_mm,
            )
    return found


@pytest.fixture(scope="session")
def states_bundle(states, tmp_path_factory):
    """Calibrated on the run."""
    path = tmp_path_factory.mktemp("bundle") / "s.emag"
    settings = CalibrationSettings(refine=False)
    FieldCalibrator(8, settings).fit([states["run"]]).save(path)
    return path
