"""What the population's network is trained on: people's signals, and places to wear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv1d

from calibration.population.estimate import NOISE, Places, Timing, conditional_weights, moments
from calibration.population.network import unexplained
from calibration.population.people import Population
from calibration.population.statistics import person_statistics
from calibration.regression.profiles import taps
from calibration.settings.calibration_settings import SETTLE_S
from emag_rt.array_types import FloatArray, IndexArray
from emag_rt.core.labels import match_labels
from emag_rt.core.montage import spread_choice
from emag_rt.core.spline import spherical_spline
from emag_rt.frontend import CausalFilter, design_band
from emag_rt.recordings.read import read_recording

_FEWEST = 4
_EVEN = 0.6  # share of layouts that are spread over the head


@dataclass(frozen=True, eq=False)
class Person:
    """Signals of one person at one rate, in units of the person's own amplitude.

    Attributes
    ----------
    segments : tuple of Tensor, each (n_times, n_places)
        Relative to the average; bad places are filled by a spline.
    good : ndarray, shape (n_places,), bool
        What may be learned from.
    """

    segments: tuple[Tensor, ...]
    good: np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True, eq=False)
class Layout:
    """Some worn places at a rate: what the field makes of them.

    Attributes
    ----------
    rate_hz : float
        Rate.
    ld : ndarray of int
        Places that are worn.
    filters : Tensor, shape (n_places, n_ld, n_lags)
        From LD to the field's estimate at all places, newest sample last.
    unexplained : Tensor, shape (n_places, n_places)
        See :func:`calibration.population.network.unexplained`.
    """

    rate_hz: float
    ld: IndexArray
    filters: Tensor
    unexplained: Tensor

    def estimate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """LD mean and estimate relative to it, (n, n_times, 1) and (n, fewer, n_places)."""
        worn = x[..., self.ld]
        mean = worn.mean(dim=-1, keepdim=True)
        return mean, conv1d((worn - mean).transpose(1, 2), self.filters).transpose(1, 2)


def make_layout(
    population: Population, timing: Timing, mean: FloatArray, ld: Sequence[int]
) -> Layout:
    """What the field makes of some worn places."""
    positions = population.places.positions_mm
    chosen = np.sort(np.asarray(ld))
    places = Places(population, positions[chosen], positions)
    known = moments(places, timing, mean, NOISE)
    bank = timing.bank
    kernel = taps(bank.centers_s, bank.widths_s, timing.sfreq, 0, timing.n_lags)
    filters = np.einsum("egc,gl->ecl", conditional_weights(known), kernel[:, ::-1])
    tensors = (filters, unexplained(places, timing, known))
    return Layout(timing.sfreq, chosen, *(torch.tensor(a, dtype=torch.float32) for a in tensors))


def draw_layout(positions_mm: FloatArray, rng: np.random.Generator) -> IndexArray:
    """Worn places: many times spread over the head, else anywhere."""
    n_ld = round(float(np.exp(rng.uniform(np.log(_FEWEST), np.log(0.4 * len(positions_mm))))))
    some = min(len(positions_mm), round(n_ld * rng.uniform(1.2, 4.0)))
    among = rng.choice(len(positions_mm), some, replace=False)
    if rng.random() > _EVEN or some <= n_ld:
        return among[:n_ld]
    return among[list(spread_choice(positions_mm[among], n_ld))]


def read_person(
    person: str, files: Sequence[Path], population: Population, rate_hz: float
) -> Person:
    """Read and filter everything of one person."""
    labels, positions = population.places.labels, population.places.positions_mm
    sos = design_band(*population.band_hz, rate_hz)
    recordings = [read_recording(path, sfreq=rate_hz, need_positions=False) for path in files]
    good = person_statistics(person, recordings, labels, sos).good
    fill = spherical_spline(positions[good], positions[~good], smoothing=1e-3)
    amplitude = population.amplitudes_uv[population.texts["people"].split(",").index(person)]
    segments = []
    for recording in recordings:
        columns = match_labels(labels, recording.labels, recording.path.name)
        for start, stop in recording.segments:
            raw = recording.data_uv[start:stop, columns]
            x = CausalFilter(sos, len(labels)).process(raw)[round(SETTLE_S * rate_hz) :]
            x = (x - x[:, good].mean(axis=1, keepdims=True)) / amplitude
            x[:, ~good] = x[:, good] @ fill.T
            segments.append(torch.tensor(x, dtype=torch.float32))
    return Person(tuple(segments), good)
