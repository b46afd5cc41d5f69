"""The two protocols.

**paper** (arXiv 2605.29731): non-overlapping windows (or epochs), 80 % of them at random to learn
from and the rest to test on, floor(M / factor) worn electrodes drawn at random from SHA-1 of the
subject's name, every channel of every window z-scored by itself. Neighbouring windows stand on
both sides of the split, and the z-scores use the window's future and the truth's own amplitude:
numbers to compare with published ones, not to expect live.

**ours**: later runs (or, of a single run, its end) are held out whole, worn electrodes are spread
evenly, signals are µV after the causal front end, relative to the mean of the worn channels.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np

from calibration.regression.blocks import Segment
from calibration.session.channel_quality import bridged_channels, suspicious_channels
from calibration.session.ld_choice import choose_ld
from emag_rt.array_types import FloatArray
from emag_rt.core.drive import reference_free
from emag_rt.errors import CalibrationError
from emag_rt.frontend import CausalFilter, design_band
from tools.studies.datasets.subject_data import Stretch, SubjectData
from tools.studies.paper_benchmark.problem import Problem
from tools.studies.paper_benchmark.task import BenchmarkSettings, Protocol

MIN_STRETCH_S = 2.0
_MIN_WINDOWS = 10


def make_problem(
    data: SubjectData, protocol: Protocol, factor: int, settings: BenchmarkSettings
) -> Problem:
    """Cut, split and scale a subject's signal as a protocol says.

    Parameters
    ----------
    data : SubjectData
        The subject.
    protocol : {"paper", "ours"}
        See the module's text.
    factor : int
        Channels for each one that is worn, at least 2.
    settings : BenchmarkSettings
        All settings.

    Returns
    -------
    Problem
        Train and test.

    Raises
    ------
    CalibrationError
        If the factor leaves fewer than two channels, or there is too little signal.
    """
    n_ld = len(data.labels) // factor
    if factor < 2 or n_ld < 2:
        raise CalibrationError(
            f"factor must be at least 2 and leave at least 2 of the {len(data.labels)} channels "
            f"of subject {data.subject}, got {factor}. Use a smaller one."
        )
    make = _paper if protocol == "paper" else _ours
    return make(data, n_ld, settings)


def subject_seed(subject: str) -> int:
    """Seed that follows from a subject's name: the first 32 bits of its SHA-1."""
    return int.from_bytes(hashlib.sha1(subject.encode(), usedforsecurity=False).digest()[:4])


def _paper(data: SubjectData, n_ld: int, settings: BenchmarkSettings) -> Problem:
    good = [i for i, label in enumerate(data.labels) if label not in data.bads]
    windows = _windows(data, settings)
    rng = np.random.default_rng(subject_seed(data.subject))
    rows = sorted(int(i) for i in rng.choice(good, min(n_ld, len(good) - 1), replace=False))
    targets = [i for i in good if i not in rows]
    order = np.random.default_rng([settings.seed, subject_seed(data.subject)])
    n_test = max(1, round(settings.test_share * len(windows)))
    held = set(order.permutation(len(windows))[:n_test].tolist())
    if settings.normalization == "zscore":
        windows = [_zscore(window) for window in windows]
        scale = np.ones(len(rows))
    else:
        worn = [w[:, rows] for i, w in enumerate(windows) if i not in held]
        scale = _positive(np.concatenate(worn).std(axis=0))
    segments = [(window[:, rows] / scale, window[:, targets]) for window in windows]
    everything = np.concatenate(windows)
    bridged = bridged_channels(everything, rows)
    return Problem(
        montage=data.montage,
        ld=tuple(rows),
        targets=tuple(targets),
        unseen=_unseen(targets, bridged, data),
        sfreq=data.sfreq,
        n_look_ahead=round(settings.look_ahead_s * data.sfreq),
        scale=scale,
        train=tuple(s for i, s in enumerate(segments) if i not in held),
        test=tuple(s for i, s in enumerate(segments) if i in held),
        relative=False,
        continuous=False,
        notes=_marked(data),
    )


def _windows(data: SubjectData, settings: BenchmarkSettings) -> list[FloatArray]:
    """Epochs as they are, or non-overlapping windows; the end of a stretch is dropped."""
    if data.epoched:
        windows = [stretch.data_uv for stretch in data.stretches]
    else:
        window_s = data.window_s if settings.window_s is None else settings.window_s
        size = max(2, round(window_s * data.sfreq))
        windows = [
            stretch.data_uv[start : start + size]
            for stretch in data.stretches
            for start in range(0, len(stretch.data_uv) - size + 1, size)
        ]
    if len(windows) < _MIN_WINDOWS:
        raise CalibrationError(
            f"subject {data.subject} must have at least {_MIN_WINDOWS} windows or epochs, got "
            f"{len(windows)} from {data.duration_s:.1f} s. Use shorter windows or more data."
        )
    return windows


def _zscore(window: FloatArray) -> FloatArray:
    # A channel that stands still stays at zero.
    return np.asarray((window - window.mean(axis=0)) / _positive(window.std(axis=0)))


def _positive(scale: FloatArray) -> FloatArray:
    return np.where(scale > 0, scale, 1.0)


def _ours(data: SubjectData, n_ld: int, settings: BenchmarkSettings) -> Problem:
    learned, held = split(data, settings.test_share)
    sos = design_band(*settings.band_hz, data.sfreq)
    train = _filtered(data, learned, sos, settings.settle_s)
    test = _filtered(data, held, sos, settings.settle_s)
    if not train or not test:
        raise CalibrationError(
            f"subject {data.subject} must have stretches of at least {MIN_STRETCH_S:g} s on both "
            "sides of the split. Record for longer, or hold out more."
        )
    marked = {i for i, label in enumerate(data.labels) if label in data.bads}
    bad = marked | _wild(train, marked, data.sfreq)
    rows = choose_ld(n_ld, data.montage, sorted(bad))
    targets = [i for i in range(len(data.labels)) if i not in bad and i not in rows]
    # As at calibration, and again where it is scored.
    hidden = _wild(test, bad, data.sfreq) - set(rows)
    bridged = bridged_channels(np.concatenate(train), rows)
    bridged |= bridged_channels(np.concatenate(test), rows)
    train, test = ([reference(y, rows) for y in signals] for signals in (train, test))
    scale = _positive(np.concatenate(train)[:, rows].std(axis=0))
    whole = not data.epoched
    return Problem(
        montage=data.montage,
        ld=tuple(rows),
        targets=tuple(targets),
        unseen=_unseen(targets, bridged | hidden, data),
        sfreq=data.sfreq,
        n_look_ahead=round(settings.look_ahead_s * data.sfreq),
        scale=scale,
        train=tuple(_segment(y, rows, targets, scale) for y in train),
        test=tuple(_segment(y, rows, targets, scale) for y in test),
        relative=True,
        continuous=whole,
        recordings=tuple(data.select(learned).recordings()) if whole else (),
        notes=(*_marked(data), *_named("flat or wild", bad - marked, data)),
    )


def split(data: SubjectData, test_share: float) -> tuple[list[Stretch], list[Stretch]]:
    """Learned and held-out stretches: the last runs, or the end of the only one.

    A stretch that is cut starts anew on the far side: the front end settles again there, so
    that nothing of what was learned reaches what is scored.
    """
    runs = data.runs
    if len(runs) > 1:
        n_held = min(len(runs) - 1, math.ceil(test_share * len(runs)))
        held = set(runs[-n_held:])
        return (
            [stretch for stretch in data.stretches if stretch.of_run not in held],
            [stretch for stretch in data.stretches if stretch.of_run in held],
        )
    left = round((1.0 - test_share) * sum(len(stretch.data_uv) for stretch in data.stretches))
    before: list[Stretch] = []
    after: list[Stretch] = []
    for stretch in data.stretches:
        size = len(stretch.data_uv)
        cut = min(max(left, 0), size)
        if data.epoched and cut < size:  # epochs stay whole
            cut = 0
        if cut:
            before.append(Stretch(stretch.data_uv[:cut], stretch.file, *stretch.of_run[::-1]))
        if cut < size:
            after.append(Stretch(stretch.data_uv[cut:], stretch.file, *stretch.of_run[::-1]))
        left -= size
    return before, after


def _filtered(
    data: SubjectData, stretches: Sequence[Stretch], sos: FloatArray, settle_s: float
) -> list[FloatArray]:
    """Stretches after the causal front end, each from its own start, its settling cut off."""
    shortest = 0.0 if data.epoched else MIN_STRETCH_S * data.sfreq
    out = []
    for stretch in stretches:
        n_times = len(stretch.data_uv)
        if n_times < shortest:
            continue
        filtered = CausalFilter(sos, len(data.labels)).process(stretch.data_uv)
        out.append(filtered[min(round(settle_s * data.sfreq), n_times // 4) :])
    return out


def _wild(signals: Sequence[FloatArray], known: set[int], sfreq: float) -> set[int]:
    """Rows that look flat or wild beside those not known to be bad."""
    rest = [i for i in range(signals[0].shape[1]) if i not in known]
    # Epochs are shorter than the pieces that are judged; joined, they are judged together.
    joined = np.concatenate(signals)[:, rest]
    return {rest[i] for i in suspicious_channels([joined], sfreq)}


def reference(y: FloatArray, rows: Sequence[int]) -> FloatArray:
    """All channels relative to the mean of the worn ones, by the code that serves."""
    return np.asarray(y - reference_free(y[:, list(rows)])[1])


def _segment(
    y: FloatArray, rows: Sequence[int], targets: Sequence[int], scale: FloatArray
) -> Segment:
    return y[:, list(rows)] / scale, y[:, list(targets)]


def _unseen(targets: Sequence[int], left_out: set[int], data: SubjectData) -> tuple[int, ...]:
    columns = tuple(i for i, row in enumerate(targets) if row not in left_out)
    if not columns:
        raise CalibrationError(
            f"subject {data.subject} must have good channels besides the worn ones to score, got "
            "none. Use a larger factor."
        )
    return columns


def _marked(data: SubjectData) -> tuple[str, ...]:
    bad = {i for i, label in enumerate(data.labels) if label in data.bads}
    return (*data.warnings, *_named("marked bad", bad, data))


def _named(what: str, rows: set[int], data: SubjectData) -> tuple[str, ...]:
    names = ", ".join(data.labels[i] for i in sorted(rows))
    return (f"{what}, left out: {names}",) if names else ()
