"""A stand-in subject of any size: the shapes that calibration writes, tame random numbers.

What serving costs depends on the shapes alone. Nothing here says anything about accuracy.
"""

from __future__ import annotations

import numpy as np

from emag_rt.array_types import Float32Array, FloatArray
from emag_rt.bundle import (
    Bundle,
    Electrode,
    FrontEndManifest,
    HeadSphere,
    Manifest,
    RenderedElectrode,
)
from emag_rt.core.alignment import unique_labels
from emag_rt.core.dilated import DilatedBlock
from emag_rt.core.drive import Drive, HiddenBranch
from emag_rt.core.field import GaussianField, isotropic_cholesky
from emag_rt.core.folding import PackedOperator
from emag_rt.core.grid import lattice, resolution_for
from emag_rt.core.model import FieldModel
from emag_rt.core.montage import Montage, fit_sphere
from emag_rt.errors import SettingsError
from emag_rt.frontend import design_band
from emag_rt.montages.standard import standard_positions
from emag_rt.synthetic.layout import N_NETWORKS, N_UNITS, Layout, layout_of
from emag_rt.synthetic.separable import fold_separable

_SCALE_UV = 15.0
_LOOP_S = 8.0
_MIN_UV = 1e-3
_LAYOUTS = {n: f"biosemi{n}" for n in (16, 32, 64, 128, 160, 256)}


def standin_bundle(
    n_ld: int,
    n_hd: int,
    sfreq: float,
    look_ahead: int = 0,
    residual: bool = True,
    *,
    resolution: int | None = None,
    seed: int = 0,
) -> Bundle:
    """Make a subject of any size, without calibration.

    Parameters
    ----------
    n_ld, n_hd : int
        Channels in and out.
    sfreq : float
        Rate in Hz.
    look_ahead : int
        Samples waited for.
    residual : bool
        Whether it has the non-linear residual, as calibration with torch makes it.
    resolution : int, optional
        Of the grid of Gaussians; by default as calibration chooses it.
    seed : int
        Of the random numbers.

    Returns
    -------
    Bundle
        Not yet saved, so without a hash. Its operator equals
        :func:`emag_rt.core.folding.fold` of its model to rounding, but takes a lag axis of
        thousands without writing it out for every pair of channels.
    """
    rng = np.random.default_rng(seed)
    montage = cap_of(n_hd)
    ld = spread(montage.positions_mm, n_ld)
    layout = layout_of(sfreq, look_ahead)
    field, solver = _field(montage, layout, resolution)
    at_electrodes = _linear(rng, montage, ld, layout)
    hidden = _hidden(rng, layout, n_ld, solver, n_hd, ld) if residual else None
    readout = np.einsum("ne,gce->ngc", solver, at_electrodes, optimize=True)
    model = FieldModel(
        field=field,
        drive=Drive(np.ones((1, 1)), readout, hidden),
        scale_uv=np.full(n_ld, _SCALE_UV),
        sfreq=sfreq,
        anchor="stream",
        n_lags=layout.n_lags,
        look_ahead=look_ahead,
    )
    operator = fold_separable(model, layout, at_electrodes, montage.positions_mm)
    return Bundle(
        manifest=_manifest(model, operator, montage, ld),
        model=model,
        operator=operator,
        covariance=_covariance(montage.positions_mm[ld]),
    )


def cap_of(n_hd: int) -> Montage:
    """Electrodes of a standard montage, evenly spread ones of the 10-05 system otherwise.

    Parameters
    ----------
    n_hd : int
        Number of electrodes.

    Returns
    -------
    Montage
        In mm about the centre of the fitted sphere.

    Raises
    ------
    SettingsError
        If no standard montage has so many electrodes.
    """
    places = standard_positions(_LAYOUTS.get(n_hd, "standard_1005"))
    labels = unique_labels(places)
    points = np.array([places[label] for label in labels])
    if len(points) < n_hd:
        raise SettingsError(
            f"case: n_hd must be 256 or at most {len(points)}, the electrodes of the standard "
            f"montages, got {n_hd}. Measure a bundle of your own with --bundle."
        )
    points = points - fit_sphere(points)[0]
    rows = spread(points, n_hd)
    return Montage(tuple(labels[i] for i in rows), np.round(points[rows], 6))


def spread(positions_mm: FloatArray, count: int) -> list[int]:
    """Evenly spread rows by farthest-point sampling from the vertex, ascending."""
    if count == len(positions_mm):
        return list(range(count))
    unit = positions_mm / np.linalg.norm(positions_mm, axis=1, keepdims=True)
    chosen = [int(np.argmax(unit[:, 2]))]
    nearest = unit @ unit[chosen[0]]
    while len(chosen) < count:
        chosen.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, unit @ unit[chosen[-1]])
    return sorted(chosen)


def _spacing(points: FloatArray) -> float:
    distance = np.linalg.norm(points[:, None] - points, axis=-1)
    np.fill_diagonal(distance, np.inf)
    return float(np.median(distance.min(axis=1)))


def _field(
    montage: Montage, layout: Layout, resolution: int | None
) -> tuple[GaussianField, FloatArray]:
    """Wide Gaussians on the grid and narrow ones at electrodes; the solver of K A = W."""
    grid = lattice(resolution or resolution_for(len(montage)), "sphere")
    centers = np.concatenate([grid, montage.positions_mm])
    widths = np.full(len(centers), 0.2 * _spacing(montage.positions_mm))
    widths[: len(grid)] = 1.15 * _spacing(grid)
    squared = ((montage.positions_mm[:, None] - centers) ** 2).sum(axis=-1)
    kernel = np.exp(-0.5 * squared / widths**2)
    solver = np.linalg.solve(kernel @ kernel.T, kernel).T
    cholesky = isotropic_cholesky(len(centers), 1.0, layout.widths_s)
    cholesky[..., [0, 1, 2], [0, 1, 2]] = 1.0 / widths[:, None, None]
    shape = (len(centers), len(layout.centers_s))
    return GaussianField(
        centers, np.tile(layout.centers_s, (shape[0], 1)), cholesky, np.zeros(shape)
    ), solver


def _linear(
    rng: np.random.Generator, montage: Montage, ld: list[int], layout: Layout
) -> FloatArray:
    """Weights at electrodes, (n_gaussians, n_ld, n_hd): interpolation now, a little of the past."""
    places = montage.positions_mm
    squared = ((places[:, None] - places[ld]) ** 2).sum(axis=-1)
    nearness = np.exp(-0.5 * squared / 40.0**2)
    now = _SCALE_UV * (nearness / nearness.sum(axis=1, keepdims=True)).T
    # Long profiles add up many samples: each gets the same share of the output.
    gain = 0.3 * _SCALE_UV / np.sqrt(len(layout.centers_s) * len(ld))
    area = np.maximum(1.0, layout.widths_s / layout.widths_s.min())
    weights = rng.normal(size=(len(layout.centers_s), *now.shape)) * (gain / area)[:, None, None]
    weights[layout.now] = now
    weights[:, :, ld] = 0.0
    weights[layout.now][:, ld] = _SCALE_UV * np.eye(len(ld))
    return weights


def _hidden(
    rng: np.random.Generator,
    layout: Layout,
    n_ld: int,
    solver: FloatArray,
    n_hd: int,
    ld: list[int],
) -> HiddenBranch:
    width = N_NETWORKS * N_UNITS
    n_in = len(layout.encoder) * n_ld

    def draw(*shape: int) -> FloatArray:
        values = rng.normal(size=shape) * (0.5 / np.sqrt(shape[-1]))
        return values.astype(np.float32).astype(np.float64)

    blocks = tuple(
        DilatedBlock(
            dilation,
            draw(N_NETWORKS, N_UNITS, 2 * N_UNITS),
            0.1 * rng.normal(size=width),
            draw(N_NETWORKS, N_UNITS, N_UNITS),
            0.1 * rng.normal(size=width),
        )
        for dilation in layout.dilations
    )
    at_electrodes = draw(n_hd, width)
    at_electrodes[ld] = 0.0
    gains = np.zeros(len(layout.centers_s))
    gains[layout.now] = 1.0
    layers = ((draw(width, n_in), 0.1 * rng.normal(size=width)),)
    return HiddenBranch(layout.encoder, layers, "gelu", solver @ at_electrodes, gains, blocks)


def _covariance(places: FloatArray) -> FloatArray:
    """Of smooth signals over the scalp, relative to their mean, with a little noise each."""
    squared = ((places[:, None] - places) ** 2).sum(axis=-1)
    full = _SCALE_UV**2 * (np.exp(-0.5 * squared / 50.0**2) + 0.05 * np.eye(len(places)))
    centre = np.eye(len(places)) - 1.0 / len(places)
    return np.asarray(centre @ full @ centre)


def _manifest(
    model: FieldModel, operator: PackedOperator, montage: Montage, ld: list[int]
) -> Manifest:
    sfreq, size = model.sfreq, f"{len(ld)}:{len(montage)}@{model.sfreq:g}"
    points = [(float(x), float(y), float(z)) for x, y, z in montage.positions_mm]
    band_hz = (0.5, min(45.0, 0.4 * sfreq))
    sos = design_band(*band_hz, sfreq)
    return Manifest(
        name=f"stand-in {size}",
        sfreq=sfreq,
        anchor="stream",
        n_lags=model.n_lags,
        look_ahead_samples=model.look_ahead,
        look_ahead_s=model.look_ahead / sfreq,
        ld=[Electrode(label=montage.labels[i], position_mm=points[i]) for i in ld],
        hd=[
            RenderedElectrode(
                label=label, position_mm=points[i], origin="measured" if i in ld else "rendered"
            )
            for i, label in enumerate(montage.labels)
        ],
        head=HeadSphere(radius_mm=float(np.median(np.linalg.norm(montage.positions_mm, axis=1)))),
        frontend=FrontEndManifest(band_hz=band_hz, sos=[[float(v) for v in row] for row in sos]),
        render={"n_context": operator.n_context, "activation": "gelu"},
        provenance={"stand_in": size},
    )


def eeg_like(
    covariance: FloatArray, sfreq: float, seed: int = 1, seconds: float = _LOOP_S
) -> Float32Array:
    """Noise with a subject's covariance and a spectrum that falls as EEG's, without a seam.

    Parameters
    ----------
    covariance : ndarray, shape (n_ld, n_ld)
        In µV², relative to the LD mean.
    sfreq : float
        Rate in Hz.
    seed : int
        Of the random numbers.
    seconds : float
        Length; the end joins the beginning.

    Returns
    -------
    ndarray, shape (n_times, n_ld), float32
        µV, in the reference of an amplifier: the LD mean is not zero.
    """
    rng = np.random.default_rng(seed)
    n_times, n_ld = max(64, round(seconds * sfreq)), len(covariance)
    hz = np.fft.rfftfreq(n_times, 1.0 / sfreq)
    amplitude = np.where(hz > 0.3, 1.0 / np.maximum(hz, 1.0), 0.0) * (hz < 0.45 * sfreq)
    shape = (len(hz), n_ld + 1)
    spectrum = amplitude[:, None] * (rng.normal(size=shape) + 1j * rng.normal(size=shape))
    sources = np.fft.irfft(spectrum, n_times, axis=0)
    sources /= sources.std(axis=0)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    scale = max(float(np.sqrt(np.trace(covariance) / n_ld)), _MIN_UV)
    common = 0.5 * scale * sources[:, n_ld:]
    return np.asarray(sources[:, :n_ld] @ root.T + common, dtype=np.float32)
