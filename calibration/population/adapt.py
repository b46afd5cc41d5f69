"""A bundle for another day or another state, from LD recordings alone.

Sources that the HD session found keep their places; how strong each is now is read off the LD
channels. What the sources say of the best linear operator, now less then, is added to the field.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from calibration.population.wearer import read_ld
from calibration.regression.sources import Sources, find_sources, follow_powers, ld_model
from emag_rt import __version__
from emag_rt.array_types import FloatArray
from emag_rt.bundle import Bundle
from emag_rt.core.drive import Drive, reference_free
from emag_rt.core.folding import fold
from emag_rt.core.labels import canonical
from emag_rt.core.ld_bands import block_covariances, mean_bands
from emag_rt.core.misfit import MIN_CHANNELS, misfit
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import CalibrationError

PULL = 0.4
_LEAST_DB = 1.0
"""Where LD power changed by less, over all bands, the state is the session's."""
_SPLITS = 3
# Of the mean power of what the operator is fed: what no source explains.
_NOISE = 1e-2
_SMALLEST = 1e-3
_FREQUENCY_STEP_HZ = 0.1


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
    likelihood : float
        Gain in the log-likelihood of LD blocks that the adaptation did not see, for each band
        and block; below 0 where the sources fit them worse than before.
    change : float
        Root mean square of what the adapted bundle renders differently, over what it renders.
    """

    bundle: Bundle
    seconds: float
    power_db: tuple[tuple[float, float, float], ...]
    likelihood: float
    change: float


def adapt(bundle: Bundle, recordings: Sequence[str | Path]) -> Adaptation:
    """Follow the wearer's present state.

    Parameters
    ----------
    bundle : Bundle
        Calibrated on HD, anchor ``stream``.
    recordings : sequence of path-like
        LD recordings of the state to come.

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
    profiles = _profiles(bundle)
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
    assert bundle.hd_bands is not None
    edges_hz = bundle.hd_bands.edges_hz
    sources = find_sources(bundle.hd_bands)
    ld = _ld_rows(bundle)
    basis = np.linalg.svd(np.eye(len(ld)) - 1.0 / len(ld))[0][:, : len(ld) - 1]
    mixing = basis.T @ sources.mixing[ld]
    blocks = basis.T @ np.array(block_covariances(signals, edges_hz, manifest.sfreq)) @ basis
    now, before = blocks.mean(axis=0), ld_model(mixing, sources.powers)
    power = np.trace(now, axis1=1, axis2=2) / np.trace(before, axis1=1, axis2=2)
    power_db = 10.0 * np.log10(power)
    adapted = bundle
    if np.sqrt((power_db**2).mean()) >= _LEAST_DB:
        powers = follow_powers(mixing, sources.powers, now, PULL)
        change = _operator(bundle, replace(sources, powers=powers), profiles)
        change -= _operator(bundle, sources, profiles)
        adapted = _with_change(bundle, change, profiles, recorded.inputs, recorded.seconds)
    return Adaptation(
        adapted,
        recorded.seconds,
        tuple(
            (float(a), float(b), float(db))
            for a, b, db in zip(edges_hz[:-1], edges_hz[1:], power_db, strict=True)
        ),
        _held_out_gain(mixing, sources.powers, blocks),
        0.0 if adapted is bundle else _size_of(bundle, adapted, signals),
    )


def _profiles(bundle: Bundle) -> FloatArray:
    """Temporal profiles of the field's Gaussians, shape (n_lags, n_gaussians)."""
    if bundle.hd_bands is None:
        raise CalibrationError(
            "the bundle holds nothing to adapt by: it is of an older version, or nobody's HD was "
            "measured. Calibrate again with HD."
        )
    model = bundle.model
    shared = model.field.shared_profiles()
    plain = model.anchor == "stream" and model.drive.taps.size == 1 and model.forward is None
    if shared is None or not plain:
        raise CalibrationError(
            f"only fields of the stream anchor can be adapted, got a {model.anchor} field or one "
            "of the paper's. Calibrate with --anchor stream."
        )
    mu_s, rate = shared
    return np.asarray(np.exp(-0.5 * ((model.tau_s[:, None] - mu_s) * rate) ** 2))


def _require_fit(bundle: Bundle, signals: Sequence[FloatArray]) -> None:
    """Another person's LD would be followed as well, to no good."""
    old = bundle.ld_bands
    if old is None or len(bundle.manifest.ld) < MIN_CHANNELS:
        return
    now = mean_bands(signals, old.edges_hz, bundle.manifest.sfreq)
    if now is None:
        return
    every = np.arange(len(bundle.manifest.ld))
    found = misfit(old, now.covariances, now.n_blocks, every)
    if not found.fits:
        pair = [bundle.manifest.ld[i].label for i in found.exchanged or ()]
        why = f": {' and '.join(pair)} seem to be in each other's place" if pair else ""
        raise CalibrationError(
            f"LD recordings must fit the bundle, got {found.excess / found.limit:.1f} times the "
            f"limit of what may differ{why}. Is this the wearer's bundle, and every electrode in "
            "its place?"
        )


def _ld_rows(bundle: Bundle) -> list[int]:
    rows = {canonical(e.label): i for i, e in enumerate(bundle.manifest.hd)}
    return [rows[canonical(e.label)] for e in bundle.manifest.ld]


def _operator(bundle: Bundle, sources: Sources, profiles: FloatArray) -> FloatArray:
    """The best operator on LD filtered by the profiles' span, as (n_lags, n_ld, n_hd)."""
    assert bundle.hd_bands is not None
    model, ld = bundle.model, _ld_rows(bundle)
    left, values, _ = np.linalg.svd(profiles, full_matrices=False)
    taps = left[:, values > _SMALLEST * values[0]]
    lags = np.arange(len(taps))
    size = taps.shape[1] * len(ld)
    inner, outer = np.zeros((size, size)), np.zeros((size, len(sources.mixing)))
    for a, b, power in zip(
        bundle.hd_bands.edges_hz[:-1], bundle.hd_bands.edges_hz[1:], sources.powers, strict=True
    ):
        hz = np.arange(a, b, _FREQUENCY_STEP_HZ)
        angle = 2.0 * np.pi * hz[:, None] / model.sfreq
        response = np.exp(-1j * angle * lags) @ taps
        between = (response.conj().T @ response).real / len(hz)
        to_now = (response.conj() * np.exp(-1j * angle * model.look_ahead)).real.mean(axis=0)
        covariance = (sources.mixing * power) @ sources.mixing.T
        inner += np.kron(between, covariance[np.ix_(ld, ld)])
        outer += np.kron(to_now[:, None], covariance[ld])
    inner += _NOISE * np.trace(inner) / size * np.eye(size)
    weights = np.linalg.solve(inner, outer).reshape(taps.shape[1], len(ld), -1)
    return np.asarray(np.tensordot(taps, weights, axes=1))


def _with_change(
    bundle: Bundle,
    change: FloatArray,
    profiles: FloatArray,
    inputs: tuple[tuple[Path, str], ...],
    seconds: float,
) -> Bundle:
    """The field with so much more at the electrodes that were learned from."""
    model, manifest = bundle.model, bundle.manifest
    assert bundle.hd_bands is not None
    known = np.flatnonzero(np.diag(bundle.hd_bands.covariances.sum(axis=(0, 1))) > 0)
    change = change[:, :, known].copy()
    ld = set(_ld_rows(bundle))
    change[:, :, [i for i, row in enumerate(known) if row in ld]] = 0.0
    by_profile = np.tensordot(np.linalg.pinv(profiles, rcond=_SMALLEST), change, axes=1)
    kernel = model.field.spatial_kernel(manifest.hd_montage.positions_mm[known])
    readout = model.drive.readout.copy()
    for g in range(kernel.shape[2]):
        solver = np.linalg.pinv(kernel[:, :, g], rcond=_SMALLEST)
        readout[:, g] += solver @ (by_profile[g].T * model.scale_uv)
    adapted = replace(model, drive=Drive(model.drive.taps, readout, model.drive.hidden))
    note = {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "emag_rt": __version__,
        "seconds": round(seconds, 2),
        "inputs": [{"file": path.name, "sha256": digest} for path, digest in inputs],
        "from": bundle.sha256,
    }
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
