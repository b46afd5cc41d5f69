"""The field that each method fits, with what it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from calibration.field.placement import SpatialStart
from calibration.field.refinement import Refinement
from calibration.paper.paper_fit import PaperFit
from calibration.regression.closed_form import LinearFit
from calibration.regression.other_people import People
from calibration.regression.window_closed_form import WindowFit
from calibration.residual.residual_net import ResidualNet
from emag_rt.array_types import FloatArray
from emag_rt.core.model import FieldModel

WITHIN_SESSION = "cross-validated on blocks of time within the session"
"""How an error was found, in words."""


@dataclass(frozen=True, eq=False)
class StreamField:
    """Field of the ``stream`` anchor: a closed form, and the networks trained upon it.

    Attributes
    ----------
    model : FieldModel
        The field.
    linear : LinearFit
        Closed form on the targets.
    start : SpatialStart
        Width of the Gaussians, and the solver that goes with it.
    residual : ResidualNet or None
        Non-linear branch, the session's own or other people's; None where none was asked for or
        helped.
    refinement : Refinement or None
        What the gradient steps on the Gaussians gave; None where none were taken.
    people : People or None
        Other people whom the closed form could lean on.
    notes : tuple of str
        What the user should know.
    """

    model: FieldModel
    linear: LinearFit
    start: SpatialStart
    residual: ResidualNet | None = None
    refinement: Refinement | None = None
    people: People | None = None
    notes: tuple[str, ...] = ()

    protocol: ClassVar[str] = WITHIN_SESSION

    @property
    def cv_nmse(self) -> FloatArray:
        """Error of each target over its power: closed form, times what the networks left of it."""
        error = self.linear.cv_nmse
        if self.residual is not None:
            error = error * float(np.mean(self.residual.split_ratios))
        if self.refinement is not None:
            error = error * self.refinement.validation_ratio
        return error

    @property
    def width_mm(self) -> float:
        """Spatial width of the Gaussians, the median where they differ."""
        return self.start.width_mm

    @property
    def leaning(self) -> tuple[str, ...]:
        """How much other people count, in words; empty where they do not."""
        seconds = self.linear.prior.people_s
        if self.people is None or seconds == 0:
            return ()
        who = f"{self.people.n_people} other people ({self.people.name})"
        return (f"the field leans on {who}: in part of it they count as {seconds:g} s of signal",)

    def facts(self) -> dict[str, object]:
        """For the manifest."""
        residual, refinement, people = self.residual, self.refinement, self.people
        return {
            "width_mm": self.width_mm,
            "prior": None
            if people is None
            else {
                "name": people.name,
                "n_people": people.n_people,
                "counts_as_s": self.linear.prior.people_s,
            },
            "closed_form": {"bank": self.linear.bank, "gamma": list(self.linear.gamma)},
            "residual": None if residual is None else residual.facts(),
            "refinement": None if refinement is None else refinement.report,
        }


@dataclass(frozen=True, eq=False)
class WindowField:
    """Field of the ``window`` anchor, in closed form.

    Attributes
    ----------
    model : FieldModel
        The field.
    window : WindowFit
        Closed form on the targets.
    start : SpatialStart
        Width of the Gaussians, and the solver that goes with it.
    """

    model: FieldModel
    window: WindowFit
    start: SpatialStart

    notes: ClassVar[tuple[str, ...]] = ()
    protocol: ClassVar[str] = WITHIN_SESSION

    @property
    def cv_nmse(self) -> FloatArray:
        """Error of each target over its power."""
        return self.window.cv_nmse

    @property
    def width_mm(self) -> float:
        """Spatial width of the Gaussians, the median where they differ."""
        return self.start.width_mm

    def facts(self) -> dict[str, object]:
        """For the manifest."""
        return {"width_mm": self.width_mm, "residual": None, "refinement": None}


@dataclass(frozen=True, eq=False)
class PaperField:
    """The paper's field: all by gradient, in windows.

    Attributes
    ----------
    model : FieldModel
        The field.
    paper : PaperFit
        What was trained; its outputs are the targets, then the LD channels.
    """

    model: FieldModel
    paper: PaperFit

    protocol: ClassVar[str] = (
        "blocks of time within the session: the field on one split, which also chose its epochs, "
        "the others cross-validated"
    )

    @property
    def cv_nmse(self) -> FloatArray:
        """Error of each target over its power."""
        return self.paper.cv_nmse[: len(self.paper.cv_nmse) - self.model.n_ld]

    @property
    def width_mm(self) -> float:
        """Spatial width of the Gaussians, the median where they differ."""
        return self.paper.width_mm

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know."""
        if self.paper.converged:
            return ()
        return (
            f"the paper's model had not converged after {len(self.paper.history) - 1} epochs: "
            "give it more with --epochs",
        )

    def facts(self) -> dict[str, object]:
        """For the manifest."""
        return {
            # A forward matrix in the place of Gaussians in space has no width.
            "width_mm": self.width_mm if self.model.forward is None else None,
            "paper": self.paper.report,
            "residual": None,
            "refinement": None,
        }


CalibratedField = StreamField | WindowField | PaperField
