"""A bundle for another day or another state, from LD recordings alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from calibration.population.remake import heads_of, remade
from calibration.population.state import PULL, State, fit_of
from calibration.population.wearer import read_ld, read_wearer
from calibration.provenance import adapted_from
from calibration.regression.sources import follow_powers, ld_model
from emag_rt.array_types import FloatArray
from emag_rt.bundle import Bundle
from emag_rt.core.drive import reference_free
from emag_rt.core.folding import fold
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import CalibrationError

_SPLITS = 3


@dataclass(frozen=True, eq=False)
class Adaptation:
    """A bundle adapted, and what that changed.

    Attributes
    ----------
    bundle : Bundle
        Not yet saved; as it was, where the state is still the session's.
    seconds : float
        Of LD signal.
    power_db : tuple of (float, float, float)
        Band from and to in Hz, and by how much the LD channels' power changed there, in dB.
    likelihood : float or None
        Gain in the log-likelihood of LD blocks that the adaptation did not see, for each band
        and block; below 0 where the sources fit them worse than before. None without HD.
    change : float
        Root mean square of what the adapted bundle renders differently, over what it renders.
    notes : tuple of str
        What the user should know.
    """

    bundle: Bundle
    seconds: float
    power_db: tuple[tuple[float, float, float], ...]
    likelihood: float | None
    change: float
    notes: tuple[str, ...] = ()


def adapt(
    bundle: Bundle, recordings: Sequence[str | Path], population: str | None = None
) -> Adaptation:
    """Follow the wearer's present state; without HD, find whom the wearer is like.

    Parameters
    ----------
    bundle : Bundle
        Anchor ``stream``.
    recordings : sequence of path-like
        LD recordings of the state to come.
    population : str, optional
        File of the population of a bundle without HD, where it is none of the package's.

    Returns
    -------
    Adaptation
        With the bundle.

    Raises
    ------
    CalibrationError
        If the bundle holds nothing to adapt by, or LD does not fit it.
    EmagError
        If a recording cannot be used.
    """
    if not bundle.manifest.hd_measured:
        return _without_hd(bundle, recordings, population)
    state = State(bundle)
    manifest = bundle.manifest
    labels = [electrode.label for electrode in manifest.ld]
    sos = np.array(manifest.frontend.sos)
    recorded = read_ld(recordings, labels, manifest.sfreq, sos)
    if recorded.odd:
        names = ", ".join(f"{labels[i]} ({why})" for i, why in recorded.odd.items())
        raise CalibrationError(
            f"LD recordings must have all LD channels good, got {names}. Mend them, record again."
        )
    signals = [reference_free(x)[0] for x in recorded.signals]
    _require_fit(bundle, signals)
    blocks = state.contrasts(signals, manifest.sfreq)
    now = blocks.mean(axis=0)
    power_db = state.power_db(now)
    adapted = bundle
    if state.differs(power_db):
        change = state.readout_change(now)
        adapted = with_change(bundle, change, recorded.seconds, recorded.inputs)
    return Adaptation(
        adapted,
        recorded.seconds,
        state.by_band(power_db),
        _held_out_gain(state.mixing, state.powers, blocks),
        0.0 if adapted is bundle else _size_of(bundle, adapted, signals),
    )


def _without_hd(
    bundle: Bundle, recordings: Sequence[str | Path], population: str | None
) -> Adaptation:
    manifest, heads = bundle.manifest, heads_of(bundle, population)
    ld, sfreq = heads.ld, manifest.sfreq
    recorded = read_ld(recordings, ld.labels, sfreq, np.array(manifest.frontend.sos))
    signals = [reference_free(x)[0] for x in recorded.signals]
    if not recorded.odd:
        _require_fit(bundle, signals)
    band_hz = manifest.frontend.band_hz
    found = read_wearer(recordings, recorded, ld, sfreq, band_hz, heads.people)
    made = remade(bundle, heads, *found)
    size = _size_of(bundle, made.bundle, signals)
    return Adaptation(made.bundle, recorded.seconds, (), None, size, made.wearer.notes)


def _require_fit(bundle: Bundle, signals: Sequence[FloatArray]) -> None:
    found = fit_of(bundle, signals, bundle.manifest.sfreq)
    if found is not None and not found.fits:
        pair = [bundle.manifest.ld[i].label for i in found.exchanged or ()]
        why = f": {' and '.join(pair)} seem to be in each other's place" if pair else ""
        raise CalibrationError(
            f"LD recordings must fit the bundle, got {found.excess / found.limit:.1f} times the "
            f"limit of what may differ{why}. Is this the wearer's bundle, and every electrode in "
            "its place?"
        )


def with_change(
    bundle: Bundle,
    readout_change: FloatArray,
    seconds: float,
    inputs: Sequence[tuple[Path, str]] = (),
) -> Bundle:
    """A bundle whose drive's readout has gained so much.

    Parameters
    ----------
    bundle : Bundle
        As it was.
    readout_change : ndarray, shape (n_points, n_gaussians, n_ld)
        As :meth:`calibration.population.state.State.readout_change` gives it.
    seconds : float
        Of LD that it was learned from.
    inputs : sequence of (Path, str)
        The recordings and their SHA-256; none where it was learned live.
    """
    model, manifest = bundle.model, bundle.manifest
    drive = model.drive
    adapted = replace(model, drive=replace(drive, readout=drive.readout + readout_change))
    note = adapted_from(bundle, seconds, inputs)
    calibration = {**manifest.calibration, "adapted": note}
    return replace(
        bundle,
        manifest=manifest.model_copy(update={"calibration": calibration}),
        model=adapted,
        operator=fold(adapted, manifest.hd_montage.positions_mm),
        sha256="",
    )


def _held_out_gain(mixing: FloatArray, powers: FloatArray, blocks: FloatArray) -> float:
    gains = []
    for split in range(_SPLITS):
        seen = np.arange(len(blocks)) % _SPLITS != split
        now = follow_powers(mixing, powers, blocks[seen].mean(axis=0), PULL)
        left_out = blocks[~seen].mean(axis=0)
        gains.append(_fit(mixing, now, left_out) - _fit(mixing, powers, left_out))
    return float(np.mean(gains))


def _fit(mixing: FloatArray, powers: FloatArray, covariances: FloatArray) -> float:
    """Gaussian log-likelihood, the mean over bands."""
    model = ld_model(mixing, powers)
    cost = np.trace(np.linalg.solve(model, covariances), axis1=1, axis2=2)
    return float(-0.5 * (cost + np.linalg.slogdet(model)[1]).mean())


def _size_of(before: Bundle, after: Bundle, signals: Sequence[FloatArray]) -> float:
    """Of the linear part, over what is rendered, on the LD recordings."""
    raw = signals[0][: round(60 * before.manifest.sfreq)]
    old, new = (Upsampler(b, mismatch="ignore").push(raw)[0] for b in (before, after))
    rendered = [i for i, e in enumerate(before.manifest.hd) if e.origin == "rendered"]
    old, new = old[:, rendered].astype(np.float64), new[:, rendered].astype(np.float64)
    return float(np.sqrt(((new - old) ** 2).mean() / (old**2).mean()))
