"""Make the golden files: a small seeded bundle, seeded LD input, and the HD output it must give.

Run from the repository root: ``python tools/make_golden.py``. The files are committed; make
them anew only when the signal path changes on purpose, and say so in CHANGELOG.md. A new format
of bundles adds a file: those of older formats stay as they are, for they must be read for ever.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from emag_rt import Upsampler
from emag_rt.array_types import Float32Array, FloatArray
from emag_rt.bundle import (
    Baseline,
    Bundle,
    Electrode,
    FrontEndManifest,
    HeadSphere,
    Manifest,
    RenderedElectrode,
    save_bundle,
)
from emag_rt.bundle.manifest import FORMAT_VERSION
from emag_rt.core.drive import Drive, HiddenBranch
from emag_rt.core.field import GaussianField
from emag_rt.core.folding import fold
from emag_rt.core.grid import lattice
from emag_rt.core.model import FieldModel
from emag_rt.frontend import design_band

SEED = 20261122
SFREQ = 250.0
LOOK_AHEAD = 2
N_TIMES = 500
LD = ("Fp1", "Fp2", "C3", "C4", "O1", "O2")
REST = ("Fz", "Cz", "Pz", "T7", "T8", "P7", "P8")
COLUMNS = ("trigger", "o2", "EEG O1", "C4", "C3.", "FP2", "Fp1")  # as an amplifier would send


def golden_bundle(rng: np.random.Generator) -> Bundle:
    """A random field with everything in it: coupling, hidden units, look-ahead."""
    labels = LD + REST
    points = rng.normal(loc=(0.0, 0.0, 0.8), size=(len(labels), 3))
    points = np.round(95.0 * points / np.linalg.norm(points, axis=1, keepdims=True), 3)
    model = _model(rng)
    operator = fold(model, points)
    measured = [(i, i) for i in range(len(LD))]
    sos = design_band(0.5, 45.0, SFREQ)
    places = [(float(x), float(y), float(z)) for x, y, z in points]
    root = 5.0 * (np.eye(len(LD)) + rng.uniform(0.0, 0.5, (len(LD), len(LD))))
    centre = np.eye(len(LD)) - 1.0 / len(LD)
    covariance = centre @ root @ root.T @ centre
    manifest = Manifest(
        name="golden",
        created="2026-11-22T00:00:00+00:00",
        sfreq=SFREQ,
        n_lags=model.n_lags,
        look_ahead_samples=LOOK_AHEAD,
        look_ahead_s=LOOK_AHEAD / SFREQ,
        ld=[Electrode(label=labels[i], position_mm=places[i]) for i, _ in measured],
        hd=[
            RenderedElectrode(
                label=label,
                position_mm=places[i],
                origin="measured" if i < len(LD) else "rendered",
                expected_nmse=None if i < len(LD) else 0.5,
            )
            for i, label in enumerate(labels)
        ],
        head=HeadSphere(origin_mm=(0.0, 10.0, 40.0), radius_mm=95.0),
        frontend=FrontEndManifest(band_hz=(0.5, 45.0), sos=[[float(v) for v in r] for r in sos]),
        render={"n_context": operator.n_context, "activation": "gelu"},
        scores={"methods": {"field": {"nmse_unseen": 0.5, "nmse_all": 0.25}}},
    )
    bias = np.zeros(len(labels))
    ridge = Baseline(rng.normal(size=(1, len(LD), len(labels))), bias)
    return Bundle(manifest, model, operator, (covariance + covariance.T) / 2, {"ridge": ridge})


def _model(rng: np.random.Generator) -> FieldModel:
    centers = lattice(4, "cube")[::2]
    n_points, n_gaussians, n_taps, n_hidden = len(centers), 2, 2, 6
    shape = (n_points, n_gaussians)
    factor = np.zeros((*shape, 4, 4))
    factor[..., [0, 1, 2], [0, 1, 2]] = rng.uniform(1 / 60, 1 / 40, (*shape, 3))
    factor[..., [1, 2, 2], [0, 0, 1]] = rng.normal(scale=0.004, size=(*shape, 3))
    factor[..., 3, :3] = rng.normal(scale=0.008, size=(*shape, 3))
    factor[..., 3, 3] = rng.uniform(30.0, 90.0, shape)
    mu_s = rng.uniform(-0.008, 0.02, shape)
    field = GaussianField(centers, mu_s, factor, rng.normal(scale=0.1, size=shape))
    hidden = HiddenBranch(
        rng.normal(size=(n_taps, 3)),
        (
            (rng.normal(scale=0.4, size=(8, n_taps * len(LD))), rng.normal(scale=0.2, size=8)),
            (rng.normal(scale=0.4, size=(n_hidden, 8)), rng.normal(scale=0.2, size=n_hidden)),
        ),
        "gelu",
        rng.normal(scale=0.05, size=(n_points, n_hidden)),
        rng.uniform(0.5, 1.5, n_gaussians),
    )
    readout = rng.normal(scale=0.05, size=(*shape, n_taps * len(LD)))
    drive = Drive(rng.normal(size=(n_taps, 3)), readout, hidden)
    return FieldModel(field, drive, rng.uniform(4.0, 9.0, len(LD)), SFREQ, "stream", 8, LOOK_AHEAD)


def golden_input(rng: np.random.Generator) -> tuple[Float32Array, FloatArray]:
    """Drifting noise with offsets, a channel that is lost for a while, and its stamps."""
    noise = rng.normal(scale=4.0, size=(N_TIMES, len(COLUMNS)))
    ld = 0.2 * noise.cumsum(axis=0) + noise + 50.0 * np.arange(len(COLUMNS))
    ld[200:320, COLUMNS.index("C4")] = np.nan
    ld[:, 0] = np.arange(N_TIMES) % 4
    return ld.astype(np.float32), 1000.0 + np.arange(N_TIMES) / SFREQ


def make(folder: Path) -> None:
    """Write the bundle, in the newest format, and ``golden.npz``."""
    rng = np.random.default_rng(SEED)
    path = folder / f"golden_{FORMAT_VERSION}.emag"
    save_bundle(golden_bundle(rng), path)
    ld, stamps = golden_input(rng)
    upsampler = Upsampler.load(path, channels=COLUMNS, engine="direct")
    parts = [upsampler.push(ld, stamps), upsampler.flush()]
    hd = np.concatenate([part for part, _ in parts])
    np.savez_compressed(
        folder / "golden.npz",
        columns=np.array(COLUMNS),
        ld=ld,
        stamps=stamps,
        labels=np.array(upsampler.labels),
        hd=hd,
    )


@click.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(__file__).resolve().parent.parent / "tests" / "golden",
    help="Folder to write to.",
)
def main(out: Path) -> None:
    """Make the golden files."""
    out.mkdir(parents=True, exist_ok=True)
    make(out)
    for path in sorted(out.glob("golden*")):
        click.echo(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
