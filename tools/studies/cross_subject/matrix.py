"""One subject's field on another subject's recordings, with no refit (the paper's appendix)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from calibration.estimator import FieldCalibrator
from calibration.scores.held_out import Evaluation, evaluate_recording
from calibration.settings.calibration_settings import CalibrationSettings
from emag_rt.array_types import FloatArray
from emag_rt.bundle import Bundle
from emag_rt.core.labels import canonical
from emag_rt.errors import CalibrationError
from emag_rt.recordings.read import Recording, read_recording


@dataclass(frozen=True)
class Part:
    """A recording, or the part of it between two fractions of its length."""

    path: Path
    start: float = 0.0
    stop: float = 1.0


@dataclass(frozen=True)
class Subject:
    """A subject's recordings, to fit on and to score on.

    Attributes
    ----------
    name : str
        For the table.
    train, test : tuple of Part
        They must not overlap.
    """

    name: str
    train: tuple[Part, ...]
    test: tuple[Part, ...]

    def __post_init__(self) -> None:
        if not self.name or not self.train or not self.test:
            raise CalibrationError(
                "a subject must have a name, recordings to fit on and recordings to score on; got "
                f"{self.name!r} with {len(self.train)} and {len(self.test)}."
            )
        for one, other in combinations((*self.train, *self.test), 2):
            apart = one.stop <= other.start or other.stop <= one.start
            if one.path.resolve() == other.path.resolve() and not apart:
                raise CalibrationError(
                    f"subject {self.name}: parts of {one.path.name} must not overlap, got "
                    f"{one.start:g} to {one.stop:g} and {other.start:g} to {other.stop:g}. What a "
                    "field was fitted on says nothing of it."
                )


def parse_subject(text: str) -> Subject:
    """Read ``NAME=train1,train2:test1,test2``.

    Parameters
    ----------
    text : str
        Each recording may end in ``@FROM-TO``, fractions of its length: ``r_raw.fif@0-0.75``.

    Returns
    -------
    Subject
        Files are not opened.

    Raises
    ------
    CalibrationError
        If the text has another form, or parts overlap.
    """
    name, equals, rest = text.partition("=")
    train, colon, test = rest.partition(":")
    if not (name.strip() and equals and colon and train.strip() and test.strip()):
        raise CalibrationError(
            f"--subject must be NAME=train1,train2:test1,test2, got {text!r}. A recording may end "
            "in @FROM-TO, fractions of its length."
        )
    return Subject(
        name.strip(),
        *(tuple(_part(p.strip()) for p in side.split(",") if p.strip()) for side in (train, test)),
    )


def _part(text: str) -> Part:
    path, at, span = text.rpartition("@")
    if not at:
        return Part(Path(text))
    first, _, last = span.partition("-")
    try:
        start, stop = float(first), float(last)
    except ValueError:
        start = stop = float("nan")
    if not 0.0 <= start < stop <= 1.0:
        raise CalibrationError(
            f"a part must be FILE@FROM-TO with 0 <= FROM < TO <= 1, got {text!r}; such as "
            "r_raw.fif@0-0.75."
        )
    return Part(Path(path), start, stop)


def read_part(part: Part, sfreq: float | None = None) -> Recording:
    """Read a part of a recording.

    Parameters
    ----------
    part : Part
        Which.
    sfreq : float, optional
        Rate in Hz to resample to.

    Returns
    -------
    Recording
        Cut to the part; its hash tells parts of one file apart.

    Raises
    ------
    RecordingError
        If the file is missing or cannot be used.
    CalibrationError
        If the part holds no usable stretch.
    """
    recording = read_recording(part.path, sfreq=sfreq)
    if (part.start, part.stop) == (0.0, 1.0):
        return recording
    n = len(recording.data_uv)
    first, last = round(part.start * n), round(part.stop * n)
    cut = [(max(a, first) - first, min(b, last) - first) for a, b in recording.segments]
    segments = tuple((a, b) for a, b in cut if b - a >= 2)
    if not segments:
        raise CalibrationError(
            f"{part.path.name}: the part from {part.start:g} to {part.stop:g} must hold usable "
            "signal, got none."
        )
    begin, end = first / recording.sfreq, last / recording.sfreq
    return replace(
        recording,
        data_uv=recording.data_uv[first:last],
        segments=segments,
        events=tuple((t - begin, d, text) for t, d, text in recording.events if begin <= t < end),
        sha256=f"{recording.sha256}@{part.start:g}-{part.stop:g}",
    )


@dataclass(frozen=True, eq=False)
class CrossMatrix:
    """Scores of every field on every subject, on unseen channels of held-out recordings.

    Attributes
    ----------
    names : tuple of str
        Subjects.
    ld : tuple of str
        LD channels, the same for all.
    nmse : ndarray, shape (n_subjects, n_subjects)
        Of the field of the row's subject on the recordings of the column's.
    baselines : dict of str to ndarray, shape (n_subjects,)
        Of the column subject's own baselines, on the same channels and recordings.
    channels : tuple of tuple of str
        Scored for each column: in all montages, good for all, unseen for all.
    seconds : tuple of float
        Scored for each column.
    """

    names: tuple[str, ...]
    ld: tuple[str, ...]
    nmse: FloatArray
    baselines: dict[str, FloatArray]
    channels: tuple[tuple[str, ...], ...]
    seconds: tuple[float, ...]

    @property
    def ratios(self) -> FloatArray:
        """NMSE over that of the column subject's own field."""
        return np.asarray(self.nmse / np.diag(self.nmse))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "subjects": list(self.names),
            "ld": list(self.ld),
            "nmse_unseen": self.nmse.tolist(),
            "ratio_to_own_field": self.ratios.tolist(),
            "baselines": {name: values.tolist() for name, values in self.baselines.items()},
            "channels": [list(labels) for labels in self.channels],
            "seconds": list(self.seconds),
        }

    def as_markdown(self) -> str:
        """Table with a row for each field, and the baselines below."""
        cells = [
            [f"{e:.3f} ({r:.2f})" for e, r in zip(errors, ratios, strict=True)]
            for errors, ratios in zip(self.nmse, self.ratios, strict=True)
        ]
        rows = [[f"field of {name}", *row] for name, row in zip(self.names, cells, strict=True)]
        own = np.diag(self.nmse)
        rows += [
            [f"*{name}*", *(f"{v:.3f} ({v / o:.2f})" for v, o in zip(values, own, strict=True))]
            for name, values in self.baselines.items()
        ]
        rows.append(["channels scored", *(str(len(labels)) for labels in self.channels)])
        head = ["NMSE unseen (over own field)", *(f"on {name}" for name in self.names)]
        lines = [head, ["---"] * len(head), *rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cross_subject(
    subjects: Sequence[Subject],
    ld: int | Sequence[str],
    settings: CalibrationSettings | None = None,
    engine: str = "auto",
    tell: Callable[[str], None] | None = None,
) -> CrossMatrix:
    """Fit each subject's field, and score it on every subject's held-out recordings.

    All fields take the same LD channels by label. A subject is scored on the channels that all
    montages have under one label, that are good for all, and unseen for all.

    Parameters
    ----------
    subjects : sequence of Subject
        Two or more.
    ld : int or sequence of str
        LD channels by label; a number is spread evenly over the first subject's good channels.
    settings : CalibrationSettings, optional
        For every fit.
    engine : {"auto", "onnx", "packed", "torch", "direct"}
        Render engine.
    tell : callable, optional
        Called with what is being done.

    Returns
    -------
    CrossMatrix
        NMSE pooled over channels and time; several recordings are weighted by their length.

    Raises
    ------
    CalibrationError, MontageError, RecordingError, SettingsError
        If recordings are missing, or montages and rates do not fit.
    """
    if len(subjects) < 2 or len({s.name for s in subjects}) < len(subjects):
        raise CalibrationError(
            "subjects must be two or more with different names, got "
            f"{', '.join(s.name for s in subjects) or 'none'}."
        )
    settings = settings or CalibrationSettings()
    say = tell or (lambda _what: None)
    # All are read before the first fit: a missing file must not cost an hour.
    read = {
        s.name: [[read_part(p, settings.sfreq) for p in side] for side in (s.train, s.test)]
        for s in subjects
    }
    rates = {name: {r.sfreq for side in sides for r in side} for name, sides in read.items()}
    if len(set().union(*rates.values())) > 1:
        text = ", ".join(f"{n} {'/'.join(f'{v:g}' for v in sorted(r))}" for n, r in rates.items())
        raise CalibrationError(
            f"recordings of all subjects must have one rate, got {text} Hz. Resample: --sfreq."
        )
    bundles: dict[str, Bundle] = {}
    for name, (train, _) in read.items():
        say(f"fitting {name}")
        bundles[name] = FieldCalibrator(ld, settings).fit(train).result_.bundle
        ld = bundles[name].manifest.ld_montage.labels
    columns = [_column(name, bundles, tests, engine, say) for name, (_, tests) in read.items()]
    own = [column[name] for name, column in zip(read, columns, strict=True)]
    kinds = [name for name in own[0][0].methods if name != "field"]
    return CrossMatrix(
        names=tuple(read),
        ld=tuple(ld) if not isinstance(ld, int) else (),
        nmse=np.array([[_pooled(column[name], "field") for column in columns] for name in read]),
        baselines={kind: np.array([_pooled(runs, kind) for runs in own]) for kind in kinds},
        channels=tuple(runs[0].unseen for runs in own),
        seconds=tuple(sum(run.seconds for run in runs) for runs in own),
    )


def _column(
    name: str,
    bundles: dict[str, Bundle],
    tests: Sequence[Recording],
    engine: str,
    say: Callable[[str], None],
) -> dict[str, list[Evaluation]]:
    """Every field on one subject's recordings, on the channels that count for all of them."""

    def score(only: set[str] | None) -> dict[str, list[Evaluation]]:
        return {
            other: [evaluate_recording(bundle, test, engine, only=only) for test in tests]
            for other, bundle in bundles.items()
        }

    say(f"scoring all fields on {name}")
    found = score(None)
    each = [{canonical(a) for a in run.unseen} for runs in found.values() for run in runs]
    common = set.intersection(*each)
    if not common:
        raise CalibrationError(
            f"all subjects must share good unseen channels by label with {name}, got none. Their "
            "montages differ."
        )
    return found if all(labels == common for labels in each) else score(common)


def _pooled(runs: Sequence[Evaluation], method: str) -> float:
    errors = [run.methods[method]["unseen"]["nmse"] for run in runs]
    return float(np.average(errors, weights=[run.seconds for run in runs]))
