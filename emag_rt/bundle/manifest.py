"""The manifest: what a bundle says of itself, validated."""

from __future__ import annotations

import math
import unicodedata
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from emag_rt.array_types import FloatArray
from emag_rt.core.montage import Montage
from emag_rt.errors import visible

FORMAT_VERSION = 2
MAX_RATE_HZ = 100_000.0
MAX_LD = 1024
Finite = Annotated[float, Field(allow_inf_nan=False)]
Millimetres = Annotated[float, Field(ge=-1000, le=1000, allow_inf_nan=False)]
Coefficient = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Point = tuple[Millimetres, Millimetres, Millimetres]
Count = Annotated[int, Field(ge=0, le=100_000)]


def _plain(text: str) -> str:
    """Labels end up on terminals, in XML and in file headers: no control characters."""
    if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text):
        raise ValueError("text must not hold control characters")
    return text


def _shown(text: Any) -> Any:
    """Free text is made fit to show instead: nobody loses a calibration to a file's name."""
    if not isinstance(text, str):
        return text
    return visible(text[:200])[:200]


Label = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_plain)]
Text = Annotated[str, BeforeValidator(_shown)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Electrode(_Part):
    """A named electrode; position in mm, origin at the centre of the head sphere."""

    label: Label
    position_mm: Point


def point_mm(values: FloatArray) -> Point:
    """A position in mm, shape (3,), as manifests write it: to a nanometre."""
    x, y, z = (round(float(v), 6) for v in values)
    return x, y, z


def electrodes_of(montage: Montage) -> list[Electrode]:
    """The electrodes of a montage, in its order."""
    return [
        Electrode(label=label, position_mm=point_mm(place))
        for label, place in zip(montage.labels, montage.positions_mm, strict=True)
    ]


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
    sos: Annotated[list[list[Coefficient]], Field(min_length=1, max_length=64)]

    @model_validator(mode="after")
    def _sections(self) -> FrontEndManifest:
        if any(len(row) != 6 or row[3] != 1.0 for row in self.sos):
            raise ValueError("sos must hold rows of 6 numbers with a0 = 1")
        # Both poles of 1 + a1/z + a2/z^2 lie inside the unit circle within this triangle.
        if any(not (abs(a2) < 1 and abs(a1) < 1 + a2) for *_, a1, a2 in self.sos):
            raise ValueError("sos must be stable: all poles inside the unit circle")
        if not abs(math.prod(sum(row[:3]) / sum(row[3:]) for row in self.sos)) < 1e-6:
            raise ValueError("sos must block DC (a high-pass)")
        return self

    @model_validator(mode="after")
    def _band(self) -> FrontEndManifest:
        if not 0 <= self.band_hz[0] < self.band_hz[1] <= MAX_RATE_HZ:
            raise ValueError(f"band_hz must satisfy 0 <= LO < HI, got {self.band_hz}")
        return self


class Manifest(_Part):
    """Everything about a bundle that is not an array.

    ``reference`` is the reference of the rendered output: ``input`` adds the LD mean back, so
    that measured and rendered channels agree. ``scores`` holds the cross-validated scores of
    the field and of the baselines on blocks of time; ``provenance`` the inputs and versions.
    ``format`` is the one of the file it was read from.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[1, 2] = 2
    name: Text = ""
    created: Text = ""
    sfreq: Annotated[float, Field(ge=1, le=MAX_RATE_HZ, allow_inf_nan=False)]
    anchor: Literal["stream", "window"] = "stream"
    n_lags: Annotated[int, Field(ge=1, le=100_000)]
    n_window: Annotated[int, Field(ge=1, le=100_000)] = 1
    look_ahead_samples: Count = 0
    look_ahead_s: Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False)] = 0.0
    ld: Annotated[list[Electrode], Field(min_length=2, max_length=MAX_LD)]
    hd: Annotated[list[RenderedElectrode], Field(min_length=1, max_length=100_000)]
    head: HeadSphere = HeadSphere()
    frontend: FrontEndManifest
    reference: Literal["input"] = "input"
    render: dict[str, Any] = {}
    calibration: dict[str, Any] = {}
    scores: dict[str, Any] = {}
    provenance: dict[str, Any] = {}

    @property
    def method_scores(self) -> dict[str, tuple[float | None, float | None]]:
        """Error of each method on unseen and on all channels; free content, so read with care."""
        methods = self.scores.get("methods")
        if not isinstance(methods, dict):
            return {}
        return {
            _shown(name): (_number(score.get("nmse_unseen")), _number(score.get("nmse_all")))
            for name, score in methods.items()
            if isinstance(score, dict)
        }

    @property
    def calibrated_s(self) -> float | None:
        """Seconds of the wearer's HD signal that it was calibrated on, where it says so."""
        return _number(self.calibration.get("duration_s")) if self.hd_measured else None

    @property
    def hd_measured(self) -> bool:
        """Whether it was fitted to HD recordings of the wearer, and not made of other people's."""
        return self.calibration.get("hd_measured") is not False

    @property
    def amplitudes_known(self) -> bool:
        """Whether the LD channels' amplitudes are the wearer's, and not other people's."""
        return self.calibration.get("amplitudes") != "population"

    @property
    def between_people(self) -> tuple[float, float] | None:
        """Range of the expected error over eight of ten people, without HD of the wearer."""
        found = self.scores.get("between_people")
        if not isinstance(found, dict):
            return None
        low, high = _number(found.get("nmse_low")), _number(found.get("nmse_high"))
        return None if low is None or high is None else (low, high)

    @property
    def input_hashes(self) -> set[str]:
        """SHA-256 of the recordings it was calibrated on."""
        inputs = self.provenance.get("inputs")
        entries = inputs if isinstance(inputs, list) else []
        found = [entry.get("sha256") for entry in entries if isinstance(entry, dict)]
        return {digest for digest in found if isinstance(digest, str)}

    @property
    def input_names(self) -> list[str]:
        """File names of the recordings it was calibrated on; free content, so shown with care."""
        inputs = self.provenance.get("inputs")
        entries = inputs if isinstance(inputs, list) else []
        found = [entry.get("file") for entry in entries if isinstance(entry, dict)]
        return [_shown(name) for name in found if isinstance(name, str)]

    @property
    def declared_reference(self) -> str:
        """Reference that the calibration's recordings declare; empty where they do not."""
        found = self.calibration.get("reference")
        return found if isinstance(found, str) else ""

    @property
    def left_out_nmse(self) -> float | None:
        """Error expected at electrodes nobody wore."""
        left_out = self.scores.get("left_out")
        return _number(left_out.get("nmse")) if isinstance(left_out, dict) else None

    @property
    def ld_montage(self) -> Montage:
        """Montage of the LD channels."""
        return _montage(self.ld)

    @property
    def hd_montage(self) -> Montage:
        """Montage of the output channels."""
        return _montage(self.hd)


def _number(value: Any) -> float | None:
    return value if isinstance(value, float) and math.isfinite(value) else None


def _montage(electrodes: list[Electrode] | list[RenderedElectrode]) -> Montage:
    return Montage(
        tuple(e.label for e in electrodes), np.array([e.position_mm for e in electrodes])
    )
