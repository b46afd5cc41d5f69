"""Small random models and bundles: no data, seeded, ready in milliseconds."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from hypothesis import settings
from numpy.typing import NDArray

from emag_rt.bundle import (
    Baseline,
    Bundle,
    Electrode,
    FrontEndManifest,
    HeadSphere,
    Manifest,
    RenderedElectrode,
)
from emag_rt.core.activation import Activation
from emag_rt.core.cross_spectra import N_BINS, CrossSpectra
from emag_rt.core.dilated import DilatedBlock
from emag_rt.core.drive import Drive, HiddenBranch
from emag_rt.core.field import GaussianField
from emag_rt.core.folding import fold
from emag_rt.core.grid import lattice
from emag_rt.core.model import Anchor, FieldModel
from emag_rt.core.montage import Montage
from emag_rt.core.output_statistics import OutputStatistics
from emag_rt.frontend import design_band
from emag_rt.native import why_not
from emag_rt.render import ENGINES

FloatArray = NDArray[np.float64]
RADIUS_MM = 95.0
LD = ("Fp1", "F7", "F8", "Cz", "T7", "T8", "O1", "O2")
REST = ("Fp2", "F3", "F4", "C3", "C4", "P3", "Pz", "P4", "P7", "P8", "Oz")

prop = settings(max_examples=25, deadline=None, derandomize=True, database=None)
"""For property tests: seeded, no database, no time limit on a busy machine."""


def on_sphere(rng: np.random.Generator, n: int) -> FloatArray:
    """Electrodes on the upper part of the head sphere, shape (n, 3), mm."""
    points = rng.normal(size=(n, 3))
    points[:, 2] = np.abs(points[:, 2]) - 0.2
    return RADIUS_MM * points / np.linalg.norm(points, axis=1, keepdims=True)


def random_field(
    rng: np.random.Generator, n_gaussians: int = 2, *, coupled: bool = True, resolution: int = 5
) -> GaussianField:
    """Wide Gaussians on a coarse lattice, with or without space-time coupling."""
    centers = lattice(resolution, "sphere")
    shape = (len(centers), n_gaussians)
    factor = np.zeros((*shape, 4, 4))
    factor[..., [0, 1, 2], [0, 1, 2]] = rng.uniform(1 / 60, 1 / 30, (*shape, 3))
    rows, columns = np.tril_indices(3, k=-1)
    factor[..., rows, columns] = rng.normal(scale=0.005, size=(*shape, 3))
    if coupled:
        factor[..., 3, 3] = rng.uniform(20.0, 80.0, shape)
        factor[..., 3, :3] = rng.normal(scale=0.01, size=(*shape, 3))
        mu = rng.uniform(-0.01, 0.04, shape)
    else:
        factor[..., 3, 3] = rng.uniform(20.0, 80.0, n_gaussians)
        mu = np.broadcast_to(rng.uniform(-0.01, 0.04, n_gaussians), shape)
    return GaussianField(centers, mu, factor, rng.normal(size=shape))


def random_hidden(
    rng: np.random.Generator,
    field: GaussianField,
    n_ld: int,
    activation: Activation = "gelu",
    n_lags: int = 3,
) -> HiddenBranch:
    """Two dense layers on two encoder taps."""
    n_taps, wide, narrow = 2, 7, 5
    layers = (
        (rng.normal(scale=0.4, size=(wide, n_taps * n_ld)), rng.normal(scale=0.3, size=wide)),
        (rng.normal(scale=0.4, size=(narrow, wide)), rng.normal(scale=0.3, size=narrow)),
    )
    return HiddenBranch(
        rng.normal(size=(n_taps, n_lags)),
        layers,
        activation,
        rng.normal(size=(field.n_points, narrow)),
        rng.uniform(0.5, 1.5, field.n_gaussians),
    )


def random_dilated(rng: np.random.Generator, field: GaussianField, n_ld: int) -> HiddenBranch:
    """Three networks with blocks of memory on two encoder taps."""
    n_taps, n_nets, n_units = 2, 3, 4
    width = n_nets * n_units

    def block(dilation: int) -> DilatedBlock:
        return DilatedBlock(
            dilation,
            rng.normal(scale=0.4, size=(n_nets, n_units, 2 * n_units)),
            rng.normal(scale=0.3, size=width),
            rng.normal(scale=0.4, size=(n_nets, n_units, n_units)),
            rng.normal(scale=0.3, size=width),
        )

    weight = rng.normal(scale=0.4, size=(width, n_taps * n_ld))
    return HiddenBranch(
        rng.normal(size=(n_taps, 3)),
        ((weight, rng.normal(scale=0.3, size=width)),),
        "gelu",
        rng.normal(size=(field.n_points, width)),
        rng.uniform(0.5, 1.5, field.n_gaussians),
        tuple(block(dilation) for dilation in (1, 2, 5)),
    )


def random_model(
    seed: int = 0,
    *,
    n_ld: int = len(LD),
    anchor: Anchor = "stream",
    look_ahead: int = 0,
    coupled: bool = True,
    hidden: Activation | Literal["dilated"] | None = None,
    n_memory: int = 2,
    sfreq: float = 200.0,
) -> FieldModel:
    """A field with its drive, everything drawn at random."""
    rng = np.random.default_rng(seed)
    field = random_field(rng, coupled=coupled)
    shape = (field.n_points, field.n_gaussians)
    n_taps = 1 if n_memory == 1 else 2
    branch = None
    if hidden == "dilated":
        branch = random_dilated(rng, field, n_ld)
    elif hidden is not None:
        branch = random_hidden(rng, field, n_ld, hidden)
    taps = np.ones((1, 1)) if n_memory == 1 else rng.normal(size=(n_taps, n_memory))
    drive = Drive(taps, rng.normal(size=(*shape, n_taps * n_ld)), branch)
    scale = rng.uniform(5.0, 20.0, n_ld)
    return FieldModel(field, drive, scale, sfreq, anchor, 6, look_ahead, 5)


def ld_signal(
    n_times: int, n_ld: int = len(LD), seed: int = 0, scale_uv: float = 15.0
) -> FloatArray:
    """Correlated, coloured noise that looks enough like EEG, µV."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(n_times, n_ld))
    for i in range(1, n_times):
        noise[i] += 0.9 * noise[i - 1]
    return scale_uv * noise @ mixing(n_ld) / np.sqrt(1 / (1 - 0.81))


def mixing(n_ld: int) -> FloatArray:
    """How the noise of :func:`ld_signal` spreads over channels, shape (n_ld, n_ld)."""
    distance = np.abs(np.subtract.outer(np.arange(n_ld), np.arange(n_ld)))
    return np.exp(-0.5 * (distance / 1.5) ** 2) + 0.2 * np.eye(n_ld)


def ld_covariance(n_ld: int = len(LD), scale_uv: float = 15.0) -> FloatArray:
    """Covariance of :func:`ld_signal` relative to the LD mean, µV²."""
    centre = np.eye(n_ld) - 1.0 / n_ld
    return scale_uv**2 * centre @ mixing(n_ld).T @ mixing(n_ld) @ centre


def make_bundle(
    seed: int = 0,
    *,
    labels: tuple[str, ...] = LD,
    band_hz: tuple[float, float] = (0.5, 45.0),
    model: FieldModel | None = None,
    **model_options: Any,
) -> Bundle:
    """A bundle around a random model; the LD channels come first among the HD ones."""
    model = model or random_model(seed, n_ld=len(labels), **model_options)
    rng = np.random.default_rng(seed + 1)
    hd = labels + REST
    montage = Montage(hd, np.round(on_sphere(rng, len(hd)), 3))
    operator = fold(model, montage.positions_mm)
    rows = list(range(len(labels)))
    points = [tuple(float(v) for v in p) for p in montage.positions_mm]
    sos = design_band(*band_hz, model.sfreq)
    manifest = Manifest(
        name=f"random {seed}",
        created="2026-01-01T00:00:00+00:00",
        sfreq=model.sfreq,
        anchor=model.anchor,
        n_lags=model.n_lags,
        n_window=model.n_window,
        look_ahead_samples=model.look_ahead,
        look_ahead_s=model.look_ahead / model.sfreq,
        ld=[Electrode(label=hd[i], position_mm=points[i]) for i in rows],
        hd=[
            RenderedElectrode(
                label=label,
                position_mm=points[i],
                origin="measured" if i in rows else "rendered",
                expected_nmse=None if i in rows else 0.25,
            )
            for i, label in enumerate(hd)
        ],
        head=HeadSphere(radius_mm=RADIUS_MM),
        frontend=FrontEndManifest(band_hz=band_hz, sos=[[float(v) for v in r] for r in sos]),
        render={"activation": model.drive.hidden.activation if model.drive.hidden else "gelu"},
        scores={"methods": {"field": {"nmse_unseen": 0.25, "nmse_all": 0.125}}},
        provenance={"inputs": [{"file": "none", "sha256": "0" * 64}]},
    )
    return Bundle(
        manifest=manifest,
        model=model,
        operator=operator,
        covariance=ld_covariance(len(labels)),
        baselines={
            "ridge": Baseline(rng.normal(size=(1, len(labels), len(hd))), np.zeros(len(hd)))
        },
    )


def with_statistics(bundle: Bundle, seed: int = 3) -> Bundle:
    """The bundle with a map and noise in what is not LD, drawn at random."""
    rng = np.random.default_rng(seed)
    n_hd, n_ld = len(bundle.manifest.hd), len(bundle.manifest.ld)
    transport, mixing = np.eye(n_hd), np.zeros((n_hd, 4))
    transport[n_ld:, n_ld:] += rng.normal(scale=0.2, size=(n_hd - n_ld, n_hd - n_ld))
    mixing[n_ld:] = rng.normal(scale=5.0, size=(n_hd - n_ld, 4))
    reflection = rng.uniform(-0.8, 0.8, (4, 3))
    return replace(bundle, statistics=OutputStatistics(transport, mixing, reflection, 0.2, 0.8))


def with_cross_spectra(bundle: Bundle, seed: int = 4) -> Bundle:
    """The bundle with a map for decoders, drawn at random: rendered is a part of measured."""
    rng = np.random.default_rng(seed)
    n_hd, n_ld = len(bundle.manifest.hd), len(bundle.manifest.ld)
    upper = np.triu_indices(n_hd)
    pair = []
    for rank in (2 * n_hd, n_ld):
        parts = rng.normal(size=(N_BINS, n_hd, rank))
        pair.append((parts @ parts.transpose(0, 2, 1))[:, *upper].astype(np.float32))
    return replace(bundle, cross_spectra=CrossSpectra(2.0, *pair))


def random_cuts(rng: np.random.Generator, n: int, n_cuts: int) -> list[slice]:
    """Cut n samples into chunks; some may be empty."""
    edges = [0, *sorted(int(c) for c in rng.integers(0, n + 1, n_cuts)), n]
    return [slice(a, b) for a, b in pairwise(edges)]


def relative(found: NDArray[np.floating], wanted: NDArray[np.floating]) -> float:
    """Largest difference over the largest value."""
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def native_takes(model: FieldModel) -> bool:
    """Whether the ``native`` engine is there and renders such a field."""
    hidden = model.drive.hidden
    return not why_not() and model.anchor == "stream" and (hidden is None or bool(hidden.blocks))


def engines_for(model: FieldModel) -> list[str]:
    """All engines that render a field."""
    return [name for name in ENGINES if name != "native" or native_takes(model)]


def filtered_noise(
    seed: int = 0, n: int = 1500, noise: float = 0.5
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Two segments of four inputs, and two outputs that are three lags of them, and noise."""
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((3, 4, 2))
    segments = []
    for _ in range(2):
        x = rng.standard_normal((n, 4)).cumsum(axis=0) * 0.1 + rng.standard_normal((n, 4))
        y = sum(np.roll(x, lag, axis=0) @ mix[lag] for lag in range(3)) + 3.0
        segments.append((x, y + noise * rng.standard_normal((n, 2))))
    return segments
