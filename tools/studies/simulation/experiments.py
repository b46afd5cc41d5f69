"""The experiments of ``docs/simulation.md``; each gives rows of plain numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from calibration.result import Calibration
from emag_rt.array_types import BoolArray, FloatArray
from emag_rt.core.grid import lattice
from emag_rt.core.montage import spread_choice
from emag_rt.frontend import design_band
from tools.studies.simulation.forward import brain_grid
from tools.studies.simulation.localise import (
    BLOCK_S,
    SLoreta,
    gain,
    in_band,
    miss,
    plant,
    ratio,
)
from tools.studies.simulation.methods import (
    calibrate,
    draw_test,
    linear_methods,
    served,
)
from tools.studies.simulation.point_sets import gaussian_kernel, interpolate
from tools.studies.simulation.subject import BAND_HZ, SimulatedSubject, make_subject
from tools.studies.simulation.wiener import LinearProblem, apply, linear_problem

Row = dict[str, Any]
Say = Callable[[str], None]

N_LAGS = 160
"""Lags of the exact statistics: longer than any bank of the closed form reaches."""
FLOOR_LAGS = 100
"""Lags of the optimal filter; more lower its error by less than 0.1 %."""


@dataclass(frozen=True)
class Plan:
    """How much is run.

    Attributes
    ----------
    channels : int
        HD channels.
    seeds : tuple of int
        Subjects.
    n_lds : tuple of int
        LD channels.
    seconds, time_seconds : tuple of float
        Lengths of the calibration, for the floor and for the ablation of time.
    refined : tuple of (str, int, float)
        Condition, seed and length of the calibrations that go through torch.
    n_places : int
        Planted sources for each depth and SNR.
    depths, snrs : tuple of float
        Radius of the sources over that of the scalp; amplitudes, see ``localise.plant``.
    resolutions : tuple of int
        Of the grid.
    paper_epochs : int
        Of the models trained by gradient; 0 leaves them out.
    """

    channels: int = 64
    seeds: tuple[int, ...] = (0, 1, 2)
    n_lds: tuple[int, ...] = (16, 8)
    seconds: tuple[float, ...] = (30.0, 60.0, 120.0, 240.0)
    time_seconds: tuple[float, ...] = (30.0, 120.0)
    refined: tuple[tuple[str, int, float], ...] = (
        ("bursts and blinks", 0, 60.0),
        ("bursts and blinks", 0, 240.0),
        ("bursts and blinks", 1, 240.0),
        ("Gaussian", 0, 240.0),
    )
    n_places: int = 6
    depths: tuple[float, ...] = (0.85, 0.65, 0.45)
    snrs: tuple[float, ...] = (1.0, 3.0)
    resolutions: tuple[int, ...] = (4, 5, 6, 8, 10, 14, 20)
    paper_epochs: int = 60


QUICK = Plan(
    channels=32,
    seeds=(0,),
    n_lds=(8,),
    seconds=(30.0,),
    time_seconds=(30.0,),
    refined=(),
    n_places=1,
    depths=(0.85,),
    snrs=(3.0,),
    resolutions=(4, 8),
    paper_epochs=0,
)

CONDITIONS = ("Gaussian", "bursts and blinks")


def subject_of(condition: str, seed: int, channels: int) -> SimulatedSubject:
    """The subject of a seed, with or without what is not Gaussian."""
    return make_subject(seed, channels=channels, gaussian=condition == "Gaussian")


def problems(
    subject: SimulatedSubject, ld: Sequence[int], out: Sequence[int]
) -> tuple[LinearProblem, LinearProblem]:
    """Exact statistics for outputs as measured, and for outputs without electrode noise."""
    sos = design_band(*BAND_HZ, subject.sfreq)
    measured = subject.covariances(N_LAGS, sos)
    wanted = subject.covariances(N_LAGS, sos, wanted_only=True)
    return linear_problem(measured, measured, ld, out), linear_problem(measured, wanted, ld, out)


def split(subject: SimulatedSubject, n_ld: int) -> tuple[list[int], list[int]]:
    """LD rows, evenly spread, and the other rows."""
    ld = spread_choice(subject.montage.positions_mm, n_ld)
    return ld, [i for i in range(len(subject.montage)) if i not in ld]


def distance_to_floor(plan: Plan, say: Say) -> Iterator[Row]:
    """Every linear method against the optimal filter; errors are exact, not sampled."""
    for seed in plan.seeds:
        for condition in CONDITIONS:
            subject = subject_of(condition, seed, plan.channels)
            for n_ld in plan.n_lds:
                ld, out = split(subject, n_ld)
                noisy, clean = problems(subject, ld, out)
                best = noisy.optimal(FLOOR_LAGS)
                floors = noisy.nmse(best), clean.nmse(best)
                for seconds in plan.seconds:
                    say(f"floor: {condition}, subject {seed}, {n_ld} LD, {seconds:g} s")
                    data, _ = subject.draw(round(seconds * subject.sfreq), 1000 + seed)
                    calibration = calibrate(subject, data, ld)
                    for method, weights in linear_methods(calibration).items():
                        yield {
                            "condition": condition,
                            "seed": seed,
                            "n_ld": n_ld,
                            "seconds": seconds,
                            "method": method,
                            "floor": floors[0],
                            "floor_clean": floors[1],
                            "nmse": noisy.nmse(weights),
                            "nmse_clean": clean.nmse(weights),
                        }


def memory(plan: Plan, say: Say) -> Iterator[Row]:
    """How the floor falls with the lags it may use."""
    say("floor: lags")
    for condition in CONDITIONS:
        subject = subject_of(condition, plan.seeds[0], plan.channels)
        for n_ld in plan.n_lds:
            noisy, _ = problems(subject, *split(subject, n_ld))
            for n_lags in (1, 2, 4, 8, 16, 32, 64, FLOOR_LAGS, N_LAGS):
                floor = noisy.nmse(noisy.optimal(n_lags))
                yield {"condition": condition, "n_ld": n_ld, "n_lags": n_lags, "floor": floor}


def refinement(plan: Plan, say: Say, test_seconds: float = 300.0) -> Iterator[Row]:
    """The non-linear field on held-out signal, beside the best linear filter on the same."""
    n_ld = plan.n_lds[-1]
    for condition, seed, seconds in plan.refined:
        say(f"refined: {condition}, subject {seed}, {n_ld} LD, {seconds:g} s")
        subject = subject_of(condition, seed, plan.channels)
        ld, out = split(subject, n_ld)
        noisy, _ = problems(subject, ld, out)
        signal = draw_test(subject, test_seconds, 5000 + seed, ld, out)
        data, _ = subject.draw(round(seconds * subject.sfreq), 1000 + seed)
        calibration = calibrate(subject, data, ld, refine=True)
        methods, networks = linear_methods(calibration), calibration.stream
        best = apply(noisy.optimal(FLOOR_LAGS), signal.x)
        refined = served(calibration, subject, signal)
        yield {
            "condition": condition,
            "seed": seed,
            "n_ld": n_ld,
            "seconds": seconds,
            "floor_exact": noisy.nmse(noisy.optimal(FLOOR_LAGS)),
            "floor_sample": signal.nmse(best),
            "lagged_ridge": signal.nmse(apply(methods["lagged_ridge"], signal.x)),
            "field": signal.nmse(apply(methods["field"], signal.x)),
            "plain": signal.nmse(apply(methods["plain"], signal.x)),
            "refined": signal.nmse(refined),
            "floor_sample_clean": signal.nmse(best, clean=True),
            "refined_clean": signal.nmse(refined, clean=True),
            "residual_kept": networks.residual is not None,
            "precision_steps": networks.refinement.steps if networks.refinement else 0,
        }


def localisation(plan: Plan, say: Say, seconds: float = 60.0) -> Iterator[Row]:
    """Planted dipoles, by the field's power maps and by sLORETA, all on the same recordings."""
    subject = subject_of("bursts and blinks", plan.seeds[0], plan.channels)
    sfreq, n_ld = subject.sfreq, plan.n_lds[0]
    ld, _ = split(subject, n_ld)
    background, _ = subject.draw(round(seconds * sfreq), 2000)
    quiet = in_band(background, sfreq)
    off = (np.arange(len(background)) // round(BLOCK_S * sfreq)) % 2 == 0
    grid = brain_grid(subject.head, 8.0)
    loretas = {
        "sLORETA, LD": SLoreta(subject.head, ld, quiet[off], grid),
        "sLORETA, HD": SLoreta(subject.head, range(plan.channels), quiet[off], grid),
    }
    bases = _bases(calibrate(subject, background, ld), max(plan.resolutions))
    rng = np.random.default_rng(7)
    for depth in plan.depths:
        for k in range(plan.n_places):
            outward = _upward(rng)
            tangent = np.cross(outward, rng.standard_normal(3))
            moment = outward if k % 2 == 0 else tangent / np.linalg.norm(tangent)
            for snr in plan.snrs:
                say(f"localisation: depth {depth:g}, source {k + 1}, SNR {snr:g}")
                place = depth * subject.radius_mm * outward
                planted = plant(subject, background, place, moment, snr, 100 * k)
                calibration = calibrate(subject, planted.data_uv, ld)
                maps = _field_maps(calibration, planted.on, bases)
                filtered = in_band(planted.data_uv, sfreq)
                for name, loreta in loretas.items():
                    maps[name] = (loreta.power(filtered, planted.on), grid)
                for name, (power, places) in maps.items():
                    found = miss(power, places, place)
                    yield {
                        "map": name,
                        "depth": depth,
                        "orientation": "radial" if k % 2 == 0 else "tangential",
                        "snr": snr,
                        "distance": found.distance,
                        "lateral": found.lateral,
                        "radial": found.depth,
                    }


def _upward(rng: np.random.Generator) -> FloatArray:
    """A direction in the part of the head that the cap covers."""
    height = rng.uniform(0.1, 0.95)
    angle = rng.uniform(0.0, 2.0 * np.pi)
    ring = np.sqrt(1.0 - height**2)
    return np.array([ring * np.cos(angle), ring * np.sin(angle), height])


def _bases(calibration: Calibration, resolution: int) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Points and solvers from electrodes (targets, then LD) to amplitudes.

    The field as it ships, its lattice's points alone; and the paper's fine lattice with the
    smallest amplitudes.
    """
    session, start = calibration.session, calibration.stream.start
    rows = [*session.targets, *session.ld]
    known = session.montage.positions_mm[rows]
    n_grid = start.solver.shape[0] - (len(rows) if len(start.centers_mm) > len(rows) else 0)
    centers = lattice(resolution, "sphere")
    samples = np.concatenate([y[:, rows] for _, y in session.segments])[::8].T
    kernel = gaussian_kernel(centers)
    width = interpolate(kernel, known, known[:1], samples).width_mm
    return {
        "field": (start.centers_mm[:n_grid], start.solver[:n_grid]),
        f"field, R = {resolution}": (
            centers,
            np.asarray(np.linalg.pinv(kernel(known, width), rcond=3e-5), dtype=np.float64),
        ),
    }


def _field_maps(
    calibration: Calibration, on: BoolArray, bases: dict[str, tuple[FloatArray, FloatArray]]
) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Maps of the amplitudes that the field has at run time, and of those HD itself would give.

    Amplitudes are ``S v`` for what the field renders at the electrodes it knows, v: the sum over
    a point's Gaussians of readout and profile is the solver times the same sum of the fit.
    """
    session, linear = calibration.session, calibration.stream.linear
    x, y = session.segments[0]
    now = on[len(on) - len(x) :]
    rows = [*session.targets, *session.ld]
    rendered = np.hstack([linear.predict(x), y[:, list(session.ld)]])
    rendered, measured = (in_band(v, session.sfreq) for v in (rendered, y[:, rows]))
    maps = {}
    for name, (centers, solver) in bases.items():
        maps[f"{name}: power, LD"] = (gain(solver, rendered, now), centers)
        maps[f"{name}: power ratio, LD"] = (ratio(solver, rendered, now), centers)
        maps[f"{name}: power ratio, HD"] = (ratio(solver, measured, now), centers)
    return maps
