"""Ablations of the field's space and time, at electrodes it knows and at electrodes left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from calibration.field.placement import spatial_kernel
from calibration.regression.closed_form import fit_linear
from calibration.regression.profiles import DELAY_WIDTH, DILATED, Bank, candidate_banks
from calibration.result import Calibration
from emag_rt.array_types import FloatArray
from emag_rt.core.grid import lattice
from emag_rt.core.montage import spread_choice
from tools.studies.simulation.experiments import (
    FLOOR_LAGS,
    Plan,
    Row,
    Say,
    problems,
    split,
    subject_of,
)
from tools.studies.simulation.methods import (
    calibrate,
    draw_test,
    field_weights,
    session_of,
)
from tools.studies.simulation.point_sets import (
    Interpolation,
    gaussian_kernel,
    interpolate,
    power_points,
    random_points,
    spline_interpolation,
)
from tools.studies.simulation.wiener import LinearProblem

_CONDITION = "bursts and blinks"
_SECONDS = 120.0
_LEFT_OUT = 1.0 / 4.0
SHIPPED = "as calibrated (the average, with beliefs)"


def space(plan: Plan, say: Say) -> Iterator[Row]:
    """Grids, point sets, widths and stretched Gaussians; a quarter of the electrodes left out.

    Rows carry exact NMSE over the floor, ``known`` at unseen electrodes of the calibration and
    ``virtual`` at electrodes that it did not have.
    """
    for seed in plan.seeds:
        say(f"ablation of space: subject {seed}")
        subject = subject_of(_CONDITION, seed, plan.channels)
        ld, rest = split(subject, plan.n_lds[0])
        places = subject.montage.positions_mm
        chosen = spread_choice(places[rest], round(_LEFT_OUT * len(rest)))
        virtual = [rest[i] for i in chosen]
        known = [i for i in rest if i not in virtual]
        at_known, _ = problems(subject, ld, known)
        at_virtual, _ = problems(subject, ld, virtual)
        data, _ = subject.draw(round(_SECONDS * subject.sfreq), 1000 + seed)
        calibration = calibrate(subject, data, ld, rows=sorted([*known, *ld]))
        weights = _all_known(calibration)
        floors = [p.nmse(p.optimal(FLOOR_LAGS)) for p in (at_known, at_virtual)]
        for group, name, basis in _spaces(plan, calibration, places[virtual], seed):
            yield {
                "seed": seed,
                "group": group,
                "name": name,
                "width_mm": basis.width_mm,
                "known": _nmse(at_known, weights, basis.known[: len(known)]) / floors[0],
                "virtual": _nmse(at_virtual, weights, basis.virtual) / floors[1],
                "floor_known": floors[0],
                "floor_virtual": floors[1],
            }


def _all_known(calibration: Calibration) -> FloatArray:
    """The fit as a filter to the electrodes known: targets, then the LD channels themselves."""
    session, linear = calibration.session, calibration.stream.linear
    weights = field_weights(linear, session.scale_uv)
    n_lags, n_ld, _ = weights.shape
    own = np.zeros((n_lags, n_ld, n_ld))
    own[linear.n_look_ahead] = np.eye(n_ld)
    return np.concatenate([weights, own], axis=2)


def _nmse(problem: LinearProblem, weights: FloatArray, basis: FloatArray) -> float:
    return problem.nmse(weights @ basis.T)


def _spaces(
    plan: Plan, calibration: Calibration, virtual: FloatArray, seed: int
) -> Iterator[tuple[str, str, Interpolation]]:
    session, start = calibration.session, calibration.stream.start
    rows = [*session.targets, *session.ld]
    known = session.montage.positions_mm[rows]
    samples = np.concatenate([y[:, rows] for _, y in session.segments])[::8].T
    radius = float(np.linalg.norm(known, axis=1).mean())

    def with_points(
        points: FloatArray, ratio: float = 1.0, width: float | None = None
    ) -> Interpolation:
        kernel = gaussian_kernel(points, ratio)
        if width is None:
            return interpolate(kernel, known, virtual, samples)
        return interpolate(kernel, known, virtual, samples, (width,))

    shipped = [spatial_kernel(start.centers_mm, p, start.widths_mm) for p in (known, virtual)]
    yield (
        "as shipped",
        "lattice + a narrow Gaussian at each electrode, following kriging",
        Interpolation(start.width_mm, shipped[0] @ start.solver, shipped[1] @ start.solver),
    )
    yield (
        "no Gaussians",
        "spherical spline between known electrodes",
        spline_interpolation(known, virtual),
    )
    for resolution in plan.resolutions:
        points = lattice(resolution, "sphere")
        yield "resolution", f"sphere, R = {resolution} ({len(points)} points)", with_points(points)
    middle = 8 if 8 in plan.resolutions else plan.resolutions[-1]
    ball = lattice(middle, "sphere")
    n = len(ball)
    for support in ("cube", "surface"):
        points = lattice(middle, support)
        yield "point set", f"{support}, R = {middle} ({len(points)} points)", with_points(points)
    yield "point set", f"the {len(known)} known electrodes", with_points(known)
    by_power = power_points(n, known, samples, seed)
    yield "point set", f"k-means of scalp power ({n} points)", with_points(by_power)
    anywhere = random_points(n, radius, seed)
    yield "point set", f"random in the ball ({n} points)", with_points(anywhere)
    for width in (10.0, 15.0, 22.0, 33.0, 50.0):
        yield "width", f"isotropic, {width:g} mm", with_points(ball, width=width)
    for stretched in (0.5, 2.0, 4.0):
        yield (
            "precision",
            f"radial = {stretched:g} x tangential width",
            with_points(ball, stretched),
        )


def time(plan: Plan, say: Say) -> Iterator[Row]:
    """Number, kind and width of the temporal Gaussians; exact NMSE over the floor."""
    for seed in plan.seeds:
        subject = subject_of(_CONDITION, seed, plan.channels)
        ld, out = split(subject, plan.n_lds[0])
        noisy, _ = problems(subject, ld, out)
        floor = noisy.nmse(noisy.optimal(FLOOR_LAGS))
        for seconds in plan.time_seconds:
            say(f"ablation of time: subject {seed}, {seconds:g} s")
            data, _ = subject.draw(round(seconds * subject.sfreq), 1000 + seed)
            calibration = calibrate(subject, data, ld)
            session, shipped = calibration.session, calibration.stream.linear
            segments = session.target_segments
            for name, banks in _banks(session.sfreq).items():
                linear = (
                    shipped if name == SHIPPED else fit_linear(segments, session.sfreq, banks=banks)
                )
                weights = field_weights(linear, session.scale_uv)
                yield {
                    "seed": seed,
                    "seconds": seconds,
                    "name": name,
                    "over_floor": noisy.nmse(weights) / floor,
                }


def _banks(sfreq: float) -> dict[str, list[Bank] | None]:
    def bank(centers: FloatArray, widths: FloatArray) -> list[Bank]:
        return [Bank("ablation", np.asarray(centers) / sfreq, np.asarray(widths) / sfreq)]

    def delays(n: int) -> list[Bank]:
        return bank(np.arange(n, dtype=float), np.full(n, DELAY_WIDTH))

    def dilated(n: int, width: float) -> list[Bank]:
        centers = np.array(DILATED[:n], dtype=float)
        return bank(centers, np.concatenate([[DELAY_WIDTH], width * np.diff(centers)]))

    named = {b.name: [b] for b in candidate_banks(sfreq)}
    return {
        "1 delay": delays(1),
        "3 delays": delays(3),
        "8 delays": delays(8),
        "16 delays": delays(16),
        "32 delays": delays(32),
        "3 Gaussians, to 2 samples": dilated(3, 0.6),
        "6 Gaussians, to 5": dilated(6, 0.6),
        "9 Gaussians, to 15": dilated(9, 0.6),
        "12 Gaussians, to 50, width 0.2 x gap": dilated(12, 0.2),
        "12 Gaussians, to 50, width 0.6 x gap": dilated(12, 0.6),
        "12 Gaussians, to 50, width 1.2 x gap": dilated(12, 1.2),
        "12 Gaussians, to 50, width 2 x gap": dilated(12, 2.0),
        "16 delays and a coarse tail": named["long"],
        "average of the banks": None,
        SHIPPED: None,
    }


def trained(plan: Plan, say: Say) -> Iterator[Row]:
    """The paper's own model by gradient: covariances, moving points, a matrix for the Gaussians.

    NMSE on held-out signal over the best linear filter's on the same.
    """
    from calibration.paper.baseline import PaperBaseline, fit_paper_like
    from calibration.settings.paper_options import PaperOptions

    if not plan.paper_epochs:
        return
    base = PaperOptions(grid_resolution=8, epochs=plan.paper_epochs)
    variants = {
        "full_4d": base,
        "diagonal_4d": replace(base, covariance="diagonal_4d"),
        "isotropic": replace(base, covariance="isotropic"),
        "full_4d, points move (data-driven)": replace(base, learn_centers=True),
        "learned matrix instead of Gaussians in space": replace(base, forward="linear"),
    }
    subject = subject_of(_CONDITION, plan.seeds[0], plan.channels)
    ld, rest = split(subject, plan.n_lds[0])
    places = subject.montage.positions_mm
    virtual = [rest[i] for i in spread_choice(places[rest], round(_LEFT_OUT * len(rest)))]
    known = [i for i in rest if i not in virtual]
    data, _ = subject.draw(round(_SECONDS * subject.sfreq), 1000 + plan.seeds[0])
    session = session_of(subject, data, ld, sorted([*known, *ld]))
    segments = session.target_segments
    known_test, virtual_test = (draw_test(subject, 120.0, 5000, ld, r) for r in (known, virtual))
    floors = [
        p.nmse(p.optimal(FLOOR_LAGS))
        for p in (problems(subject, ld, r)[0] for r in (known, virtual))
    ]
    x = known_test.x / session.scale_uv
    for name, options in variants.items():
        say(f"ablation by gradient: {name}")
        trained = fit_paper_like(segments, places[known], subject.sfreq, options)
        yield {
            "name": name,
            "epochs": trained.fit.epochs,
            "known": known_test.nmse(trained.predict(x)) / floors[0],
            "virtual": (
                virtual_test.nmse(PaperBaseline(trained.fit, places[virtual]).predict(x))
                / floors[1]
                if options.forward == "splat"
                else float("nan")
            ),
        }
