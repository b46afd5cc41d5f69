"""Four made-up people with one cap, and the population that they make."""

from __future__ import annotations

import numpy as np
import pytest

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
