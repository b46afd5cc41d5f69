"""Options of ``emag-rt calibrate`` that belong to ``--method paper``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypedDict, TypeVar, get_args

import click
from click.core import ParameterSource

from calibration.settings.calibration_settings import CalibrationSettings
from calibration.settings.paper_options import (
    Conditioning,
    Covariance,
    Forward,
    OffDiagonals,
    PaperOptions,
)
from emag_rt.cli.options import FiniteFloat, Whole
from emag_rt.core.grid import GridSupport
from emag_rt.core.model import Anchor
from emag_rt.errors import SettingsError

_F = TypeVar("_F", bound=Callable[..., object])


class FitOptions(TypedDict):
    """Values of the options below, and of those of the command that they change."""

    method: Literal["ridge_start", "paper"]
    covariance: Covariance
    off_diagonals: OffDiagonals | None
    learn_centers: bool
    conditioning: Conditioning
    forward: Forward
    forward_rank: int | None
    lead_field: str | None
    point_share: float
    n_gaussians: int
    epochs: int
    sfreq: float | None
    look_ahead_s: float
    refine: bool
    prior: str | None
    networks: Literal["bag", "one"]
    anchor: Anchor
    window_s: float
    grid_resolution: int | None
    grid_support: GridSupport
    seed: int
    device: Literal["auto", "cpu", "cuda"]


_OPTIONS = (
    click.option(
        "--method",
        type=click.Choice(["ridge_start", "paper"]),
        default="ridge_start",
        show_default=True,
        help="ridge_start: closed form, then refinement; paper: all by gradient, in windows.",
    ),
    click.option(
        "--covariance",
        type=click.Choice(get_args(Covariance)),
        default="full_4d",
        show_default=True,
        help="Shape of the Gaussians. This and what follows: with --method paper alone.",
    ),
    click.option(
        "--off-diagonals",
        type=click.Choice(get_args(OffDiagonals)),
        help="Elements of L below its diagonal (default: all that the covariance has).",
    ),
    click.option("--learn-centers", is_flag=True, help="Let the grid points move."),
    click.option(
        "--conditioning",
        type=click.Choice(get_args(Conditioning)),
        default="per_grid",
        show_default=True,
        help="What the LD channels drive.",
    ),
    click.option(
        "--forward",
        type=click.Choice(get_args(Forward)),
        default="splat",
        show_default=True,
        help="From points to electrodes: the Gaussians, a learned matrix, a given one.",
    ),
    click.option(
        "--forward-rank", type=Whole(1, 10_000), metavar="N", help="Rank, with --forward linear."
    ),
    click.option(
        "--lead-field",
        type=click.Path(dir_okay=False),
        help=".npy of shape (n_hd, n_points), with --forward lead_field.",
    ),
    click.option(
        "--point-share",
        type=FiniteFloat(0, 1, min_open=True),
        metavar="SHARE",
        default=1.0,
        show_default=True,
        help="Share of the grid points that carry Gaussians.",
    ),
    click.option(
        "--gaussians",
        "n_gaussians",
        type=Whole(1, 64),
        metavar="N",
        default=3,
        show_default=True,
        help="Gaussians at each grid point.",
    ),
    click.option(
        "--epochs",
        type=Whole(1, 1_000_000),
        metavar="N",
        default=PaperOptions.epochs,
        show_default=True,
        help="At most: blocks of time held out say when to stop.",
    ),
)
PAPER_NAMES = (
    "covariance",
    "off_diagonals",
    "learn_centers",
    "conditioning",
    "forward",
    "forward_rank",
    "lead_field",
    "point_share",
    "n_gaussians",
    "epochs",
)
"""Parameters that are of no use without ``--method paper``."""


def paper_options(command: _F) -> _F:
    """Add ``--method`` and the options of the paper's model to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def calibration_settings(band: tuple[float, float], options: FitOptions) -> CalibrationSettings:
    """Settings from options; those that would do nothing are refused.

    Parameters
    ----------
    band : tuple of (float, float)
        Pass band in Hz.
    options : FitOptions
        Those above, and the command's own.

    Returns
    -------
    CalibrationSettings
        As asked for.

    Raises
    ------
    SettingsError
        If an option was given that the method does not use, or options contradict each other.
    """
    paper = options["method"] == "paper"
    if paper:
        _refuse_other_methods(options)
    else:
        idle = [_flag(name) for name in PAPER_NAMES if _given(name)]
        if idle:
            raise SettingsError(
                f"{', '.join(idle)} must go with --method paper, got --method "
                f"{options['method']}. Leave it out."
            )
    return CalibrationSettings(
        sfreq=options["sfreq"],
        band_hz=band,
        look_ahead_s=options["look_ahead_s"],
        refine=options["refine"],
        prior=options["prior"],
        networks=options["networks"],
        anchor="window" if paper else options["anchor"],
        window_s=options["window_s"],
        grid_resolution=options["grid_resolution"],
        grid_support=options["grid_support"],
        seed=options["seed"],
        device=options["device"],
        method=options["method"],
        paper=_paper(options) if paper else None,
    )


def _paper(options: FitOptions) -> PaperOptions:
    return PaperOptions(
        covariance=options["covariance"],
        off_diagonals=options["off_diagonals"],
        learn_centers=options["learn_centers"],
        conditioning=options["conditioning"],
        forward=options["forward"],
        forward_rank=options["forward_rank"],
        lead_field=options["lead_field"],
        point_share=options["point_share"],
        n_gaussians=options["n_gaussians"],
        grid_resolution=options["grid_resolution"] or PaperOptions.grid_resolution,
        grid_support=options["grid_support"],
        epochs=options["epochs"],
    )


def _refuse_other_methods(options: FitOptions) -> None:
    if _given("anchor") and options["anchor"] != "window":
        raise SettingsError(
            f"--anchor must be window with --method paper, got {options['anchor']}. Leave it out."
        )
    if _given("refine"):
        raise SettingsError("--refine and --no-refine do nothing with --method paper. Leave out.")


def _given(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is ParameterSource.COMMANDLINE


def _flag(name: str) -> str:
    return "--gaussians" if name == "n_gaussians" else "--" + name.replace("_", "-")
