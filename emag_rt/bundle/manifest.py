"""The manifest: what a bundle says of itself, validated."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from emag_rt.core.montage import Montage

FORMAT_VERSION = 1
Finite = Annotated[float, Field(allow_inf_nan=False)]
Point = tuple[Finite, Finite, Finite]
Count = Annotated[int, Field(ge=0, le=1_000_000)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Electrode(_Part):
    """A named electrode; position in mm, origin at the centre of the head sphere."""

    label: Annotated[str, Field(min_length=1, max_length=64)]
    position_mm: Point


class RenderedElectrode(Electrode):
    """An output electrode.

    ``origin`` tells whether its values are measured (passed through) or rendered, and
    ``expected_nmse`` the cross-validated error of its rendering. ``bad`` marks electrodes that
    were bad in calibration: they are rendered from the field at their position alone.
    """

    origin: Literal["measured", "rendered"] = "rendered"
    bad: bool = False
    expected_nmse: Finite | None = None


class HeadSphere(_Part):
    """Sphere fitted to the electrodes, in MNE's head frame."""

    origin_mm: Point = (0.0, 0.0, 0.0)
    radius_mm: Annotated[float, Field(gt=0, le=1000)] = 95.0


class FrontEndManifest(_Part):
    """Causal filter: second-order sections, started at the first sample's steady state."""

    band_hz: tuple[Finite, Finite]
    sos: Annotated[list[list[Finite]], Field(min_length=1, max_length=64)]

    @model_validator(mode="after")
    def _sections(self) -> FrontEndManifest:
        if any(len(row) != 6 or row[3] != 1.0 for row in self.sos):
            raise ValueError("sos must hold rows of 6 numbers with a0 = 1")
        return self


class Manifest(_Part):
    """Everything about a bundle that is not an array.

    ``reference`` is the reference of the rendered output: ``input`` adds the LD mean back, so
    that measured and rendered channels agree. ``scores`` holds the cross-validated scores of
    the field and of the baselines on blocks of time; ``provenance`` the inputs and versions.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[1] = 1
    name: str = ""
    created: str = ""
    sfreq: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
    anchor: Literal["stream", "window"] = "stream"
    n_lags: Annotated[int, Field(ge=1, le=100_000)]
    n_window: Annotated[int, Field(ge=1, le=100_000)] = 1
    look_ahead_samples: Count = 0
    look_ahead_s: Finite = 0.0
    ld: Annotated[list[Electrode], Field(min_length=2, max_length=10_000)]
    hd: Annotated[list[RenderedElectrode], Field(min_length=1, max_length=100_000)]
    head: HeadSphere = HeadSphere()
    frontend: FrontEndManifest
    reference: Literal["input"] = "input"
    render: dict[str, Any] = {}
    calibration: dict[str, Any] = {}
    scores: dict[str, Any] = {}
    provenance: dict[str, Any] = {}

    @property
    def ld_montage(self) -> Montage:
        """Montage of the LD channels."""
        return _montage(self.ld)

    @property
    def hd_montage(self) -> Montage:
        """Montage of the output channels."""
        return _montage(self.hd)


def _montage(electrodes: list[Electrode] | list[RenderedElectrode]) -> Montage:
    return Montage(
        tuple(e.label for e in electrodes), np.array([e.position_mm for e in electrodes])
    )
