"""Options of ``emag-rt calibrate`` that belong to ``--method paper``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, get_args

import click
from click.core import ParameterSource

from calibration.paper.options import (
    Conditioning,
    Covariance,
    Forward,
    OffDiagonals,
    PaperOptions,
)
from emag_rt.cli.options import FiniteFloat, Whole
from emag_rt.errors import SettingsError

_F = TypeVar("_F", bound=Callable[..., Any])

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


def take_paper_options(options: dict[str, Any]) -> dict[str, Any]:
    """Turn the options above into settings, and refuse those that would do nothing.

    Parameters
    ----------
    options : dict
        All options of the command but its arguments.

    Returns
    -------
    dict
        Keyword arguments of :class:`calibration.CalibrationSettings`.

    Raises
    ------
    SettingsError
        If an option was given that the method does not use, or options contradict each other.
    """
    context = click.get_current_context()

    def given(name: str) -> bool:
        return context.get_parameter_source(name) is ParameterSource.COMMANDLINE

    own = {name: options.pop(name) for name in PAPER_NAMES}
    if options["method"] != "paper":
        idle = [_flag(name) for name in PAPER_NAMES if given(name)]
        if idle:
            raise SettingsError(
                f"{', '.join(idle)} must go with --method paper, got --method "
                f"{options['method']}. Leave it out."
            )
        return options
    if given("anchor") and options["anchor"] != "window":
        raise SettingsError(
            f"--anchor must be window with --method paper, got {options['anchor']}. Leave it out."
        )
    if given("refine"):
        raise SettingsError("--refine and --no-refine do nothing with --method paper. Leave out.")
    grid = {"grid_support": options["grid_support"]}
    if options["grid_resolution"] is not None:
        grid["grid_resolution"] = options["grid_resolution"]
    return {**options, "anchor": "window", "paper": PaperOptions(**own, **grid)}


def _flag(name: str) -> str:
    return "--gaussians" if name == "n_gaussians" else "--" + name.replace("_", "-")
