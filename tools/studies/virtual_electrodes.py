"""Accuracy at electrodes nobody wore, on real recordings, held-out runs, with baselines.

    EMAG_RT_DATA=... python -m tools.studies.virtual_electrodes
        [--no-refine] [--more] [--case NAME]...

An eighth of the HD electrodes, evenly spread and never LD, is left out of calibration altogether;
the field is calibrated on the rest and rendered at the places of those left out, through the
serving engine; the mean over several choices of electrodes. Beside it stand spherical splines from
the LD channels, from the rendered HD channels (what a user would do with an ordinary HD
amplifier), and from the true HD channels. Ratios are of means.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import click
import numpy as np

from calibration.estimator import FieldCalibrator
from calibration.session.segments import Session, make_session
from calibration.settings.calibration_settings import SETTLE_S, CalibrationSettings
from emag_rt.array_types import FloatArray, IndexArray
from emag_rt.bundle import Bundle
from emag_rt.core.drive import reference_free
from emag_rt.core.labels import canonical, match_labels
from emag_rt.core.montage import Montage
from emag_rt.core.spline import spherical_spline
from emag_rt.engine.offline import render_recording
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import CalibrationError, RecordingError
from emag_rt.frontend import CausalFilter
from emag_rt.recordings.read import Recording
from tools.studies.cases import CASES, USUAL, data_folder, read_case

METHODS = ("field", "spline_from_ld", "spline_from_rendered", "spline_from_true")


@dataclass(frozen=True, eq=False)
class VirtualScores:
    """One choice of electrodes left out.

    Attributes
    ----------
    left_out : tuple of str
        Electrodes that calibration did not have.
    nmse : dict of str to float
        For each of ``METHODS``, pooled over these electrodes and all test runs.
    expected : float
        What the bundle expected of the field, pooled with the electrodes' true power; NaN where
        it does not tell.
    """

    left_out: tuple[str, ...]
    nmse: dict[str, float]
    expected: float


def left_out_groups(positions_mm: FloatArray, size: int, n_groups: int) -> list[list[int]]:
    """Evenly spread groups of electrodes, each used about as often as any other.

    Parameters
    ----------
    positions_mm : ndarray, shape (n_electrodes, 3)
        Candidates, origin at the centre of the sphere.
    size, n_groups : int
        Electrodes a group, and how many groups.

    Returns
    -------
    list of list of int
        Rows; groups differ, and are disjoint while there are enough candidates.

    Raises
    ------
    CalibrationError
        If there are fewer candidates than a group has.
    """
    if not 1 <= size <= len(positions_mm):
        raise CalibrationError(
            f"size must be from 1 to the {len(positions_mm)} electrodes that may be left out, got "
            f"{size}."
        )
    unit = positions_mm / np.linalg.norm(positions_mm, axis=1, keepdims=True)
    distance = np.arccos(np.clip(unit @ unit.T, -1.0, 1.0))
    from_top = np.argsort(-unit[:, 2], kind="stable")
    used = np.zeros(len(unit), dtype=int)
    groups = []
    for rotation in range(n_groups):
        group: list[int] = []
        while len(group) < size:
            free = [i for i in range(len(unit)) if i not in group]
            least = min(used[i] for i in free)
            free = [i for i in free if used[i] == least]
            if group:
                chosen = max(free, key=lambda i: float(distance[i, group].min()))
            else:  # another start each time, so that later rounds differ from the first
                ranked = [int(i) for i in from_top if i in free]
                chosen = ranked[rotation % len(ranked)]
            group.append(chosen)
            used[chosen] += 1
        groups.append(sorted(group))
    return groups


def without(recording: Recording, labels: Sequence[str]) -> Recording:
    """A recording as if some channels had never been recorded."""
    gone = {canonical(label) for label in labels}
    keep = [i for i, label in enumerate(recording.labels) if canonical(label) not in gone]
    return replace(
        recording,
        labels=tuple(recording.labels[i] for i in keep),
        data_uv=recording.data_uv[:, keep],
        positions_mm=None if recording.positions_mm is None else recording.positions_mm[keep],
        unplaced=tuple(x for x in recording.unplaced if canonical(x) not in gone),
        bads=tuple(x for x in recording.bads if canonical(x) not in gone),
    )


def score_virtual(
    train: Sequence[Recording],
    test: Sequence[Recording],
    ld: int | Sequence[str],
    settings: CalibrationSettings,
    n_rotations: int = 8,
    share: float = 0.125,
) -> list[VirtualScores]:
    """Run the protocol.

    Parameters
    ----------
    train, test : sequence of Recording
        HD recordings of one subject: to calibrate on, and held out.
    ld : int or sequence of str
        LD channels, chosen once, from all good channels.
    settings : CalibrationSettings
        How to calibrate.
    n_rotations : int
        How many choices of electrodes to leave out.
    share : float
        Share of the HD electrodes left out each time.

    Returns
    -------
    list of VirtualScores
        One for each rotation.
    """
    whole = make_session(train, ld, settings)
    good = [i for i in whole.unseen if not _bad_in(whole.montage.labels[i], test)]
    groups = left_out_groups(
        whole.montage.positions_mm[good], round(share * len(whole.montage)), n_rotations
    )
    names = [whole.montage.labels[i] for i in whole.ld]
    scores = []
    for group in groups:
        rows = [good[i] for i in group]
        labels = [whole.montage.labels[i] for i in rows]
        fitted = FieldCalibrator(names, settings).fit([without(r, labels) for r in train]).result_
        scores.append(
            score_left_out(fitted.bundle, fitted.session, whole.montage.select(rows), test)
        )
    return scores


def score_left_out(
    bundle: Bundle, session: Session, left_out: Montage, test: Sequence[Recording]
) -> VirtualScores:
    """Score a bundle at electrodes that its calibration did not have.

    Parameters
    ----------
    bundle : Bundle
        Calibrated without them.
    session : Session
        What it was calibrated on: its good electrodes are those the splines start from.
    left_out : Montage
        The electrodes, in the bundle's frame.
    test : sequence of Recording
        Held-out recordings that have them.

    Returns
    -------
    VirtualScores
        Relative to the LD mean, after the same causal front end, the first second left out.

    Raises
    ------
    RecordingError
        If a recording lacks a channel that is needed.
    """
    known = session.montage.select([*session.targets, *session.ld])
    n_known, n_ld = len(known), len(session.ld)
    everything = Montage(
        known.labels + left_out.labels, np.concatenate([known.positions_mm, left_out.positions_mm])
    )
    from_ld = spherical_spline(known.positions_mm[-n_ld:], left_out.positions_mm)
    from_hd = spherical_spline(known.positions_mm, left_out.positions_mm)
    power = np.zeros(len(left_out))
    errors = {name: np.zeros(len(left_out)) for name in METHODS}
    expected: Sequence[float | None] = ()
    for recording in test:
        upsampler = Upsampler(
            bundle, channels=recording.labels, engine="packed", montage=everything
        )
        if not all(upsampler.virtual[n_known:]):
            raise RecordingError(
                "left_out must hold electrodes that calibration did not have, got ones it had: "
                f"{', '.join(left_out.labels)}. Calibrate without them."
            )
        expected = upsampler.expected_nmse[n_known:]
        truth, mean, rows = _filtered(bundle, recording, everything)
        raw = np.nan_to_num(np.asarray(recording.data_uv, dtype=np.float64))
        rendered = render_recording(upsampler, raw)[rows].astype(np.float64) - mean
        wanted = truth[:, n_known:]
        estimates = {
            "field": rendered[:, n_known:],
            "spline_from_ld": truth[:, n_known - n_ld : n_known] @ from_ld.T,
            "spline_from_rendered": rendered[:, :n_known] @ from_hd.T,
            "spline_from_true": truth[:, :n_known] @ from_hd.T,
        }
        power += (wanted**2).sum(axis=0)
        for name, values in estimates.items():
            errors[name] += ((values - wanted) ** 2).sum(axis=0)
    told = np.array([np.nan if e is None else e for e in expected])
    return VirtualScores(
        left_out.labels,
        {name: float(error.sum() / power.sum()) for name, error in errors.items()},
        float((told * power).sum() / power.sum()),
    )


def _bad_in(label: str, recordings: Sequence[Recording]) -> bool:
    return any(canonical(label) in map(canonical, recording.bads) for recording in recordings)


def _filtered(
    bundle: Bundle, recording: Recording, montage: Montage
) -> tuple[FloatArray, FloatArray, IndexArray]:
    """Truth (n_scored, n_electrodes) relative to the LD mean, that mean, and the rows scored."""
    who = recording.path.name
    columns = match_labels(montage.labels, recording.labels, who)
    ld = match_labels(bundle.manifest.ld_montage.labels, recording.labels, who)
    raw = np.nan_to_num(np.asarray(recording.data_uv, dtype=np.float64))
    sos = np.array(bundle.manifest.frontend.sos)
    filtered = CausalFilter(sos, len(recording.labels)).process(raw)
    mean = reference_free(filtered[:, ld])[1]
    rows = np.concatenate([np.arange(start, stop) for start, stop in recording.segments])
    rows = rows[rows >= round(SETTLE_S * recording.sfreq)]
    if not len(rows):
        raise RecordingError(f"{who}: must hold more than {SETTLE_S:g} s of usable signal.")
    return (filtered[:, columns] - mean)[rows], mean[rows], rows


def row_of(name: str, scores: list[VirtualScores], seconds: float) -> str:
    """A line of the table."""
    mean = {m: float(np.mean([s.nmse[m] for s in scores])) for m in METHODS}
    worst = max(s.nmse["field"] / s.nmse["spline_from_rendered"] for s in scores)
    expected = float(np.mean([s.expected for s in scores]))
    return (
        f"| {name} | {mean['field']:.3f} | {expected:.3f} | {mean['spline_from_ld']:.3f} "
        f"| {mean['spline_from_rendered']:.3f} | {mean['spline_from_true']:.3f} "
        f"| {mean['field'] / mean['spline_from_ld']:.3f} "
        f"| {mean['field'] / mean['spline_from_rendered']:.3f} (worst {worst:.3f}) "
        f"| {len(scores)} x {len(scores[0].left_out)} | {seconds:.0f} s |"
    )


@click.command()
@click.option("--refine/--no-refine", default=True)
@click.option("--case", "names", multiple=True, type=click.Choice(list(CASES)))
@click.option("--more", is_flag=True, help="Recordings that no choice was made on.")
@click.option("--rotations", default=8, show_default=True, help="Choices of electrodes left out.")
@click.option("--json", "as_json", is_flag=True)
def main(refine: bool, names: tuple[str, ...], more: bool, rotations: int, as_json: bool) -> None:
    """Print the table."""
    folder, settings = data_folder(), CalibrationSettings(refine=refine, prior="none")
    chosen = names or (tuple(name for name in CASES if name not in USUAL) if more else USUAL)
    results = {}
    click.echo(
        "| recording (LD → HD) | field | expected | spline from LD | spline from rendered HD "
        "| spline from true HD | field / from LD | field / from rendered | left out | took |"
    )
    click.echo("| " + " | ".join(["---"] * 10) + " |")
    for name in chosen:
        started = time.perf_counter()
        case = CASES[name]
        train, test = read_case(folder, case)
        scores = score_virtual(train, test, case.n_ld, settings, rotations)
        results[name] = [asdict(score) for score in scores]
        click.echo(row_of(name, scores, time.perf_counter() - started))
    if as_json:
        click.echo(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
