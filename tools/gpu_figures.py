"""What a GPU is worth here: single samples, the unfolded mixture, dense maps, training steps.

    python tools/gpu_figures.py --device cuda --json figures.json
    python tools/gpu_figures.py --device cpu --quick

Subjects are made at random, in the sizes of real ones. Needs torch; ONNX Runtime is timed where it
is installed. Every time is from host to host: copies to and from the device are in it. Sections
are measured one after another; one that fails is named, and the exit code is then 1.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from calibration.paper.training import fit_paper
from calibration.regression.blocks import held_out_rows, make_blocks, training_rows
from calibration.residual.task import ResidualSettings, Task
from calibration.residual.training import train
from calibration.settings.paper_options import PaperOptions
from emag_rt import __version__
from emag_rt.cli.options import check_output
from emag_rt.core.dilated import DilatedBlock
from emag_rt.core.drive import Drive, HiddenBranch
from emag_rt.core.field import GaussianField, isotropic_cholesky
from emag_rt.core.folding import fold
from emag_rt.core.grid import lattice, scalp_points
from emag_rt.core.model import FieldModel
from emag_rt.errors import EmagError
from emag_rt.render import ENGINES, Renderer, RenderPlan, make_renderer
from emag_rt.render.torch_engine import TorchRenderer

SFREQ, N_LD, N_HD, RADIUS_MM = 256.0, 32, 256, 95.0
DENSE_RATE_HZ = 60.0
FULL = {"hops": 20_000, "dense": 10_000, "frames": 600, "grid": 20, "window": 100,
        "naive": 3, "steps": 200, "epochs": 3, "nets": 8, "samples": 30_000}  # fmt: skip
QUICK = {"hops": 30, "dense": 500, "frames": 5, "grid": 5, "window": 10,
         "naive": 1, "steps": 2, "epochs": 3, "nets": 2, "samples": 1_000}  # fmt: skip


def subject(seed: int, n_nets: int) -> FieldModel:
    """As calibration leaves one: 26 profiles over 141 lags, a bag of dilated networks."""
    rng = np.random.default_rng(seed)
    n_units, width, dilations = 32, 32 * n_nets, [2**k for k in range(8)]
    centers = lattice(8, "sphere")  # serving does not see how many points there are
    mu = np.concatenate([np.arange(16.0), np.geomspace(17, 140, 10)])
    spread = np.concatenate([[0.1], np.full(15, 0.4), 0.6 * np.diff(np.geomspace(15, 140, 11))])
    shape = (len(centers), len(mu))

    def uniform(*size: int, fan: int) -> np.ndarray:
        return rng.uniform(-1, 1, size) / np.sqrt(fan)

    blocks = tuple(
        DilatedBlock(
            dilation,
            uniform(n_nets, n_units, 2 * n_units, fan=2 * n_units),
            uniform(width, fan=2 * n_units),
            uniform(n_nets, n_units, n_units, fan=n_units),
            uniform(width, fan=n_units),
        )
        for dilation in dilations
    )
    first = (uniform(width, N_LD, fan=N_LD), uniform(width, fan=N_LD))
    # The first profile is under a sample wide: the networks act on the present alone.
    gains, readout = np.eye(len(mu))[0], uniform(shape[0], width, fan=width)
    hidden = HiddenBranch(np.ones((1, 1)), (first,), "gelu", readout, gains, blocks)
    field = GaussianField(
        centers,
        np.broadcast_to(mu / SFREQ, shape),
        isotropic_cholesky(len(centers), 25.0, spread / SFREQ),
        np.zeros(shape),
    )
    drive = Drive(np.ones((1, 1)), rng.normal(size=(*shape, N_LD)), hidden)
    return FieldModel(field, drive, np.full(N_LD, 15.0), SFREQ, "stream", 141)


def paper_subject(seed: int, grid: int, n_window: int) -> FieldModel:
    """The paper's: a whole cube, three Gaussians a point, an encoder of single samples."""
    rng = np.random.default_rng(seed)
    centers = lattice(grid, "cube")
    shape = (len(centers), 3)
    factor = np.zeros((*shape, 4, 4))
    factor[..., [0, 1, 2], [0, 1, 2]] = rng.uniform(0.8, 1.2, (*shape, 3)) / 15.0
    factor[..., 3, 3] = rng.uniform(8.0, 12.0, shape)
    factor[..., 3, :3] = rng.normal(scale=0.005, size=(*shape, 3))
    sizes = ((64, N_LD), (32, 64), (64, 32))
    layers = tuple((rng.normal(size=s) / np.sqrt(s[1]), rng.normal(size=s[0])) for s in sizes)
    readout = rng.normal(size=(shape[0], 64))
    hidden = HiddenBranch(np.ones((1, 1)), layers, "relu", readout, np.ones(3))
    field = GaussianField(centers, rng.uniform(0, 0.5, shape), factor, rng.normal(size=shape))
    drive = Drive(np.ones((1, 1)), np.zeros((*shape, N_LD)), hidden)
    return FieldModel(field, drive, np.full(N_LD, 15.0), 200.0, "window", 1, 0, n_window)


def plan_of(model: FieldModel, n_out: int) -> RenderPlan:
    positions = scalp_points(n_out, RADIUS_MM)
    return RenderPlan(model, fold(model, positions), positions)


class Naive:
    """The paper's equation in plain torch.

    At each place of the window, every Gaussian at every electrode. float32, on the device; the
    window comes from the host and goes back to it.
    """

    def __init__(self, plan: RenderPlan, device: str) -> None:
        model, to = plan.model, {"dtype": torch.float32, "device": device}
        hidden = model.drive.hidden
        self._to, self._tau = to, [float(tau) for tau in model.tau_s]
        offset = plan.positions_mm[:, None] - model.field.centers_mm
        self._offset = torch.tensor(offset[:, :, None], **to)
        self._mu = torch.tensor(model.field.mu_s, **to)
        self._factor = torch.tensor(model.field.cholesky, **to)
        self._base = torch.tensor(model.field.amplitudes, **to)
        self._readout = torch.tensor(hidden.readout, **to)
        self._layers = [tuple(torch.tensor(part, **to) for part in la) for la in hidden.layers]
        self._scale = torch.tensor(model.scale_uv, **to)

    @torch.inference_mode()
    def push(self, ld: np.ndarray) -> np.ndarray:
        x = torch.tensor(ld, **self._to)
        mean = x.mean(dim=1, keepdim=True)
        h = (x - mean) / self._scale
        for weight, bias in self._layers:
            h = torch.relu(h @ weight.T + bias)
        delta = h @ self._readout.T
        rows = []
        for i, tau in enumerate(self._tau):
            space = self._offset.expand(-1, -1, self._mu.shape[1], -1)
            step = (tau - self._mu).expand(len(space), -1, -1)[..., None]
            d = torch.cat([space, step], dim=-1)
            whitened = torch.einsum("ngij,engi->engj", self._factor, d)
            kernel = torch.exp(-0.5 * (whitened**2).sum(dim=-1))
            amplitude = self._base + delta[i][:, None]
            rows.append((kernel * amplitude).sum(dim=(1, 2)))
        return (torch.stack(rows) + mean).cpu().numpy()


def seconds(call: Callable[[], Any], n: int, warm: int = 3) -> np.ndarray:
    """Wall-clock of each of n calls, which wait for their result themselves."""
    for _ in range(warm):
        call()
    took = np.empty(n)
    gc.collect()
    gc.disable()
    try:
        for i in range(n):
            start = time.perf_counter()
            call()
            took[i] = time.perf_counter() - start
    finally:
        gc.enable()
    return took


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """As in `serve`: one sample's products are too small to share."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    limit: Any = contextlib.nullcontext()
    if importlib.util.find_spec("threadpoolctl"):
        from threadpoolctl import threadpool_limits

        limit = threadpool_limits(1)
    try:
        with limit:
            yield
    finally:
        torch.set_num_threads(before)


def noise(n: int, seed: int = 0) -> np.ndarray:
    return 15.0 * np.random.default_rng(seed).standard_normal((n, N_LD))


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def engines(plan: RenderPlan, device: str) -> Iterator[tuple[str, Renderer | str]]:
    """Every live engine that starts, and why another does not."""
    wanted = [(name, False) for name in ENGINES if name != "direct"]
    wanted += [("onnx", True)] if device == "cuda" else []
    for name, gpu in wanted:
        try:
            own = name == "torch"
            renderer = TorchRenderer(plan, device=device) if own else make_renderer(name, plan, gpu)
            yield renderer.name, renderer
        except (EmagError, ImportError) as error:
            yield name + "-cuda" * gpu, str(error)


def hop(device: str, size: dict[str, int]) -> dict[str, Any]:
    """One sample in, one out: 32 → 256 channels, from host to host."""
    plan = plan_of(subject(0, size["nets"]), N_HD)
    ld = noise(300)
    wanted = make_renderer("packed", plan).push(ld)
    figures: dict[str, Any] = {}
    for name, renderer in engines(plan, device):
        if isinstance(renderer, str):
            figures.setdefault(name, {"failed": renderer})
            continue
        if name in figures:
            continue
        error = relative(np.concatenate([renderer.push(ld[i : i + 1]) for i in range(300)]), wanted)
        sample = ld[:1].copy()
        with one_thread():
            took = 1e3 * seconds(lambda r=renderer, x=sample: r.push(x), size["hops"], 200)
        p50, p99, p999 = (float(np.percentile(took, q)) for q in (50, 99, 99.9))
        figures[name] = {"p50_ms": p50, "p99_ms": p99, "p99.9_ms": p999, "relative_error": error}
    return figures


def mixture(device: str, size: dict[str, int]) -> dict[str, Any]:
    """One window of the paper's mixture: summed as written, and folded."""
    model = paper_subject(1, size["grid"], size["window"])
    plan, ld = plan_of(model, N_HD), noise(size["window"])
    naive = Naive(plan, device)
    wanted = naive.push(ld)
    slow = float(np.median(seconds(lambda: naive.push(ld), size["naive"], 1)))
    n_gaussians = model.field.n_points * model.field.n_gaussians
    figures: dict[str, Any] = {"n_gaussians": n_gaussians, "naive": {"ms": 1e3 * slow}}
    folded: dict[str, Renderer] = {
        "folded torch": TorchRenderer(plan, device=device, sizes=(size["window"],)),
        "folded packed (CPU)": make_renderer("packed", plan),
    }
    for name, renderer in folded.items():
        error = relative(renderer.push(ld), wanted)
        quick = float(np.median(seconds(lambda r=renderer: r.push(ld), 20 * size["naive"])))
        figures[name] = {"ms": 1e3 * quick, "times_faster": slow / quick, "relative_error": error}
    return figures


def dense(device: str, size: dict[str, int]) -> dict[str, Any]:
    """Frames of a map: the newest sample at many points, the samples before it not rendered."""
    plan = plan_of(subject(2, size["nets"]), size["dense"])
    n_new = round(SFREQ / DENSE_RATE_HZ)
    ld = noise(n_new)
    figures: dict[str, Any] = {"n_points": size["dense"], "samples_a_frame": n_new}
    for name, renderer in {
        "torch": TorchRenderer(plan, device=device),
        "packed (CPU)": make_renderer("packed", plan),
    }.items():

        def frame(r: Renderer = renderer) -> None:
            r.advance(ld[:-1])
            r.push(ld[-1:])

        took = 1e3 * seconds(frame, size["frames"], 20)
        newest = 1e3 * seconds(lambda r=renderer: r.push(ld[-1:]), size["frames"], 20)
        figures[name] = {
            "frame_p50_ms": float(np.median(took)),
            "frame_p99_ms": float(np.percentile(took, 99)),
            "newest_sample_alone_p50_ms": float(np.median(newest)),
            "frames_a_second": float(1e3 / took.mean()),
        }
    return figures


def residual_task(n: int) -> Task:
    """What the residual's networks learn from, at random."""
    rng = np.random.default_rng(3)
    blocks = make_blocks([n])
    return Task(
        z=rng.standard_normal((n, N_LD)).astype(np.float32),
        r=rng.standard_normal((n, N_HD)).astype(np.float32),
        sample_weight=np.ones(n, dtype=np.float32),
        z_scale=np.ones(N_LD),
        r_scale=np.ones(N_HD),
        lengths=(n,),
        blocks=blocks,
        train=tuple(training_rows([n], blocks, k, 16) for k in range(5)),
        held=tuple(np.flatnonzero(held_out_rows([n], blocks, k)) for k in range(5)),
        step=1,
    )


def training(device: str, size: dict[str, int]) -> dict[str, Any]:
    """Steps a second of both trainings, on the device and on the CPU."""
    task, n_steps = residual_task(size["samples"]), size["steps"]
    options = PaperOptions(
        grid_resolution=size["grid"], grid_support="cube", epochs=size["epochs"], patience=10**6
    )
    segments = [(noise(size["samples"], 4) / 15.0, noise(size["samples"] * 8, 5).reshape(-1, N_HD))]
    figures: dict[str, Any] = {}
    for where in dict.fromkeys((device, "cpu")):

        def trained(n: int, where: str = where) -> float:
            settings = ResidualSettings(min_steps=n, max_steps=n, n_checks=1)
            start = time.perf_counter()
            train(task, settings, 0, where, lambda *_: None)
            return time.perf_counter() - start

        trained(2)
        # Start and validation are the same in both: the difference is steps alone.
        few = max(2, n_steps // 4)
        spent = trained(few + n_steps) - trained(few)
        ends: list[float] = []

        def heard(_share: float, what: str, ends: list[float] = ends) -> None:
            if "held out" in what:
                ends.append(time.perf_counter())

        scalp = scalp_points(N_HD, RADIUS_MM)
        fit_paper(segments, scalp, 200.0, size["window"], options, device=where, progress=heard)
        # All samples of a place fit into one step; scoring the held-out blocks is in it.
        n_chunks = -(-size["window"] // options.time_chunk)
        figures[where] = {
            "residual_steps_a_second": n_steps / max(spent, 1e-9),
            "paper_steps_a_second": n_chunks * (len(ends) - 1) / (ends[-1] - ends[0]),
        }
    return figures


SECTIONS = {"hop": hop, "mixture": mixture, "dense": dense, "training": training}


def environment(device: str, quick: bool) -> dict[str, Any]:
    """What the figures belong to."""
    git = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=12",
    ]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    onnx = sys.modules.get("onnxruntime")
    return {
        "command": " ".join(["python tools/gpu_figures.py", *sys.argv[1:]]),
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU alone",
        "cpu": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "torch": torch.__version__,
        "cuda": torch.version.cuda or "none",
        "onnxruntime": getattr(onnx, "__version__", "not used"),
        "python": platform.python_version(),
        "emag_rt": f"{__version__}, commit {commit}",
        "sizes": "quick: a smoke test, no figures" if quick else "full",
    }


def markdown(figures: dict[str, Any]) -> str:
    """One table a section: a row for each thing measured."""
    lines = ["| | |", "| --- | --- |"]
    lines += [f"| {key} | {value} |" for key, value in figures["environment"].items()]
    for name, found in figures.items():
        if name == "environment":
            continue
        notes = ", ".join(f"{k}: {v}" for k, v in found.items() if not isinstance(v, dict))
        rows = {k: v for k, v in found.items() if isinstance(v, dict)}
        columns = list(dict.fromkeys(key for row in rows.values() for key in row))
        lines += ["", f"**{name}** {notes}".rstrip(), ""]
        if rows:
            lines += [f"| | {' | '.join(columns)} |", "| --- " * (len(columns) + 1) + "|"]
        for label, row in rows.items():
            cells = [row.get(column, "") for column in columns]
            shown = [f"{c:.3g}" if isinstance(c, float) else str(c) for c in cells]
            lines.append(f"| {label} | {' | '.join(shown)} |")
    return "\n".join(lines)


@click.command()
@click.option("--device", type=click.Choice(["cuda", "cpu"]), required=True)
@click.option("--section", "sections", type=click.Choice(list(SECTIONS)), multiple=True)
@click.option("--quick", is_flag=True, help="Small sizes: does it run at all?")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path))
def main(device: str, sections: tuple[str, ...], quick: bool, json_path: Path | None) -> None:
    """Measure on DEVICE, and print Markdown tables."""
    if device == "cuda" and not torch.cuda.is_available():
        raise click.UsageError("--device cuda: torch sees no CUDA device here.")
    if json_path is not None:
        check_output("--json", str(json_path), ())
    size, failed = QUICK if quick else FULL, False
    figures: dict[str, Any] = {}
    for name in sections or SECTIONS:
        click.echo(f"measuring: {name}", err=True)
        try:
            figures[name] = SECTIONS[name](device, size)
        except (EmagError, RuntimeError) as error:  # out of memory: the others still tell
            figures[name], failed = {"failed": f"{type(error).__name__}: {error}"}, True
        figures = {"environment": environment(device, quick)} | figures
        if json_path is not None:
            json_path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    click.echo(markdown(figures))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
