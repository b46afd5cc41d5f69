"""Scores of a bundle on a held-out HD recording, beside the baselines, in one run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from calibration.baselines.spatial import SPATIAL_METHODS, spatial_matrices
from calibration.scores.modes import ModeScores, mode_scores, other_modes
from calibration.session.channel_quality import bridged_channels, suspicious_channels
from calibration.settings.calibration_settings import SETTLE_S
from emag_rt.array_types import FloatArray, IndexArray
from emag_rt.bundle import Baseline, Bundle
from emag_rt.core.drive import causal_fir, reference_free
from emag_rt.core.labels import canonical, match_labels
from emag_rt.core.scores import band_nmse, band_psd_error, nmse, nmse_per_channel, pcc, snr_db
from emag_rt.engine.fit_watch import FitWatch
from emag_rt.engine.offline import open_for, render_recording
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import RecordingError
from emag_rt.frontend import CausalFilter
from emag_rt.recordings.read import Recording

METHODS = ("field", "lagged_ridge", "ridge", *SPATIAL_METHODS)
"""All methods; a bundle without ridges (an imported one) is scored beside the spatial ones."""


@dataclass(frozen=True, eq=False)
class Estimates:
    """A recording's truth and what each method makes of its LD channels.

    Attributes
    ----------
    labels : tuple of str
        Channels scored, as in :class:`Evaluation`.
    unseen : tuple of int
        Columns of those that are neither LD nor bridged to an LD channel.
    truth : ndarray, shape (n_times, n_channels)
        In µV, relative to the LD mean, after the causal front end.
    methods : dict of str to ndarray, shape (n_times, n_channels)
        Likewise; LD channels are passed through.
    held_out : bool
        False when the bundle was calibrated on this very recording.
    modes : dict of str to ndarray, shape (n_times, n_channels)
        Other statistics of the output than the estimate's, where the bundle has them.
    misfits : tuple of str
        How LD does not fit the bundle; empty where it does, and within the first minute.
    """

    labels: tuple[str, ...]
    unseen: tuple[int, ...]
    truth: FloatArray
    methods: dict[str, FloatArray]
    held_out: bool
    modes: dict[str, FloatArray] = field(default_factory=dict)
    misfits: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was scored.

    Attributes
    ----------
    labels : tuple of str
        Channels scored: of the bundle, in the recording, good.
    unseen : tuple of str
        Those that are neither LD nor bridged to an LD channel.
    methods : dict of str to dict
        For each method ``all`` and ``unseen``: NMSE, PCC, SNR in dB.
    ratios : dict of str to float
        NMSE of the field on unseen channels over each other method's.
    per_channel : dict of str to float
        NMSE of the field.
    bands : dict of str to dict
        NMSE on unseen channels in each band, by method.
    seconds : float
        Seconds of signal scored.
    held_out : bool
        False when the bundle was calibrated on this very recording.
    psd_errors : dict of str to dict
        Relative error of band power on unseen channels, by method.
    statistics : dict of str to ModeScores
        Of unseen channels: see :func:`calibration.scores.modes.mode_scores`.
    misfits : tuple of str
        As in :class:`Estimates`.
    """

    labels: tuple[str, ...]
    unseen: tuple[str, ...]
    methods: dict[str, dict[str, dict[str, float]]]
    ratios: dict[str, float]
    per_channel: dict[str, float]
    bands: dict[str, dict[str, float]]
    seconds: float
    held_out: bool = True
    psd_errors: dict[str, dict[str, float]] = field(default_factory=dict)
    statistics: dict[str, ModeScores] = field(default_factory=dict)
    misfits: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "seconds": round(self.seconds, 2),
            "held_out": self.held_out,
            "ld_misfits": list(self.misfits),
            "n_channels": len(self.labels),
            "n_unseen": len(self.unseen),
            "reference": "relative to the LD mean",
            "methods": self.methods,
            "ratios_unseen": self.ratios,
            "bands_unseen": self.bands,
            "psd_errors_unseen": self.psd_errors,
            "statistics_unseen": {k: asdict(v) for k, v in self.statistics.items()},
            "per_channel": self.per_channel,
            "unseen": list(self.unseen),
        }


def evaluate_bundle(bundle: Bundle, path: str | Path, engine: str = "auto") -> Evaluation:
    """Score a bundle on an HD recording it has not seen; see :func:`evaluate_recording`.

    Parameters
    ----------
    bundle : Bundle
        The calibrated subject.
    path : path-like
        HD recording at the bundle's rate.
    engine : {"auto", "onnx", "packed", "torch", "direct"}
        Render engine.

    Returns
    -------
    Evaluation
        Scores of all methods.

    Raises
    ------
    RecordingError
        If the recording cannot be read, is of another rate, shares no unseen channel with the
        bundle, or has nothing to score.
    """
    return evaluate_recording(bundle, open_for(bundle, path), engine)


def evaluate_recording(
    bundle: Bundle,
    recording: Recording,
    engine: str = "auto",
    *,
    only: Collection[str] | None = None,
) -> Evaluation:
    """Score a bundle on a recording at its rate that has been read.

    Everything is scored in µV relative to the LD mean, after the same causal front end; the
    field runs through the serving engine, on the raw LD channels alone.

    Parameters
    ----------
    bundle : Bundle
        The calibrated subject.
    recording : Recording
        HD recording.
    engine : {"auto", "onnx", "packed", "torch", "direct"}
        Render engine.
    only : collection of str, optional
        Score no other channels than these.

    Returns
    -------
    Evaluation
        Scores of all methods.

    Raises
    ------
    RecordingError
        If the recording shares no unseen channel with the bundle, or has nothing to score.
    """
    found = estimate_recording(bundle, recording, engine, only=only)
    result = _score(found, recording.sfreq)
    return replace(result, held_out=found.held_out, misfits=found.misfits)


def estimate_recording(
    bundle: Bundle,
    recording: Recording,
    engine: str = "auto",
    *,
    only: Collection[str] | None = None,
) -> Estimates:
    """Render a recording by every method; arguments and errors of :func:`evaluate_recording`.

    Returns
    -------
    Estimates
        Usable samples after the first second.
    """
    if sum(stop - start for start, stop in recording.segments) < 2 * SETTLE_S * recording.sfreq:
        raise RecordingError(
            f"{recording.path.name}: must hold at least {2 * SETTLE_S:g} s of usable signal to "
            "score. Use a longer recording."
        )
    montage = bundle.manifest.hd_montage
    shared, columns = _shared(bundle, recording)
    filtered = CausalFilter(np.array(bundle.manifest.frontend.sos), len(recording.labels)).process(
        _without_gaps(recording.data_uv)
    )
    ld_labels = bundle.manifest.ld_montage.labels
    ld_columns = match_labels(ld_labels, recording.labels, str(recording.path))
    centred, mean = reference_free(filtered[:, ld_columns])
    rows = usable_rows(recording, SETTLE_S)
    scored, unseen = _choose(bundle, recording, filtered, columns, ld_columns, rows, only)
    truth = (filtered[:, columns] - mean)[rows]
    rendered, misfits = _field(bundle, recording, engine)
    rendered -= mean
    estimates = {"field": rendered[:, shared]}
    for name in bundle.baselines:
        estimates[name] = _ridge(bundle, name, centred)[:, shared]
    matrices = spatial_matrices(
        bundle.manifest.ld_montage.positions_mm, montage.positions_mm[shared], bundle.covariance
    )
    estimates |= {name: centred @ matrix.T for name, matrix in matrices.items()}
    modes = {
        mode: values[:, shared][rows]
        for mode, values in other_modes(bundle.statistics, range(len(montage)), rendered).items()
    }
    order = [name for name in METHODS if name in estimates]
    order += [name for name in estimates if name not in METHODS]
    estimates = {name: estimates[name][rows] for name in order}
    # LD channels are measured: every method passes them through.
    measured = [i for i, column in enumerate(columns) if column in ld_columns]
    for values in estimates.values():
        values[:, measured] = truth[:, measured]
    return Estimates(
        labels=tuple(montage.labels[shared[i]] for i in scored),
        unseen=tuple(scored.index(i) for i in unseen),
        truth=truth[:, scored],
        methods={name: values[:, scored] for name, values in estimates.items()},
        held_out=recording.sha256 not in bundle.manifest.input_hashes,
        modes={mode: values[:, scored] for mode, values in modes.items()},
        misfits=misfits,
    )


def usable_rows(recording: Recording, settle_s: float) -> IndexArray:
    """Samples of a recording that are scored."""
    rows = [np.arange(start, stop) for start, stop in recording.segments]
    everything = np.concatenate(rows)
    return everything[everything >= round(settle_s * recording.sfreq)]


def _without_gaps(data_uv: FloatArray) -> FloatArray:
    return np.nan_to_num(np.asarray(data_uv, dtype=np.float64))


def _shared(bundle: Bundle, recording: Recording) -> tuple[list[int], list[int]]:
    """Rows of the bundle's HD montage that the recording has too, and their columns there."""
    known = {canonical(label): i for i, label in enumerate(recording.labels)}
    pairs = [
        (row, known[canonical(e.label)])
        for row, e in enumerate(bundle.manifest.hd)
        if canonical(e.label) in known
    ]
    return [row for row, _ in pairs], [column for _, column in pairs]


def _choose(
    bundle: Bundle,
    recording: Recording,
    filtered: FloatArray,
    columns: list[int],
    ld_columns: list[int],
    rows: IndexArray,
    only: Collection[str] | None,
) -> tuple[list[int], list[int]]:
    """Positions among the shared channels that are scored, and those that are unseen."""
    bad = {canonical(label) for label in recording.bads}
    bad |= {canonical(e.label) for e in bundle.manifest.hd if e.bad}
    if only is not None:
        bad |= {canonical(x) for x in recording.labels} - {canonical(x) for x in only}
    wild = suspicious_channels([filtered[rows]], recording.sfreq)
    bridged = bridged_channels(filtered[rows], ld_columns)
    labels = [recording.labels[c] for c in columns]
    scored = [i for i, c in enumerate(columns) if canonical(labels[i]) not in bad and c not in wild]
    unseen = [i for i in scored if columns[i] not in bridged and columns[i] not in ld_columns]
    if not unseen or not len(rows):
        raise RecordingError(
            f"{recording.path.name}: must have good HD channels of the bundle besides the LD "
            f"ones to score against, got {len(unseen)} of {len(columns)} shared. Is it an HD "
            "recording of the same cap?"
        )
    return scored, unseen


def _field(bundle: Bundle, recording: Recording, engine: str) -> tuple[FloatArray, tuple[str, ...]]:
    """What is rendered, and how LD does not fit."""
    upsampler = Upsampler(bundle, channels=recording.labels, engine=engine, mismatch="warn")
    fit = FitWatch(bundle)
    upsampler.watch_blocks(fit.take)
    rendered = render_recording(upsampler, _without_gaps(recording.data_uv)).astype(np.float64)
    return rendered, tuple(fit.misfits())


def _ridge(bundle: Bundle, name: str, centred: FloatArray) -> FloatArray:
    baseline: Baseline = bundle.baselines[name]
    x = centred / bundle.model.scale_uv
    n_lags, n_ld, n_hd = baseline.weights.shape
    ahead = bundle.manifest.look_ahead_samples if name == "lagged_ridge" else 0
    padded = np.concatenate([np.zeros((n_lags - 1 - ahead, n_ld)), x, np.zeros((ahead, n_ld))])
    z = causal_fir(np.eye(n_lags), padded)
    return np.asarray(z @ baseline.weights.reshape(-1, n_hd) + baseline.bias)


def _score(found: Estimates, sfreq: float) -> Evaluation:
    labels, truth, estimates = found.labels, found.truth, found.methods
    unseen = list(found.unseen)

    def of(y: FloatArray, z: FloatArray) -> dict[str, float]:
        return {"nmse": nmse(y, z), "pcc": pcc(y, z), "snr_db": snr_db(y, z)}

    hidden = truth[:, unseen]
    methods = {
        name: {"all": of(truth, values), "unseen": of(hidden, values[:, unseen])}
        for name, values in estimates.items()
    }
    ours = methods["field"]["unseen"]["nmse"]
    per_channel = nmse_per_channel(truth, estimates["field"])
    return Evaluation(
        labels=labels,
        unseen=tuple(labels[i] for i in unseen),
        methods=methods,
        ratios={
            name: ours / methods[name]["unseen"]["nmse"] for name in methods if name != "field"
        },
        per_channel={
            label: round(float(e), 6) for label, e in zip(labels, per_channel, strict=True)
        },
        bands={
            name: band_nmse(hidden, values[:, unseen], sfreq) for name, values in estimates.items()
        },
        seconds=len(truth) / sfreq,
        psd_errors={
            name: band_psd_error(hidden, values[:, unseen], sfreq)
            for name, values in estimates.items()
        },
        statistics=mode_scores(
            hidden,
            {
                "estimate": estimates["field"][:, unseen],
                **{mode: values[:, unseen] for mode, values in found.modes.items()},
            },
            sfreq,
        ),
    )
