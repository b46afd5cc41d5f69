"""What an outlet says of itself: the XDF description, and the fields MNE-LSL reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Union

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.errors import SettingsError

# An XML tree as (name, text) or (name, children) pairs.
Node = tuple[str, Union[str, "Tree"]]
Tree = tuple[Node, ...]


@dataclass(frozen=True)
class AppliedFilter:
    """A filter as XDF describes one.

    Attributes
    ----------
    kind : {"highpass", "lowpass"}
        What it keeps.
    type, design : str
        ``FIR``, ``IIR`` or ``Analog``; ``Butterworth``, ... Empty where not known.
    lower_hz, upper_hz : float or None
        Edges of its transition band.
    order : int or None
        Its order.
    """

    kind: str
    type: str
    design: str = ""
    lower_hz: float | None = None
    upper_hz: float | None = None
    order: int | None = None


_EMPTY: Mapping[str, str] = MappingProxyType({})
_MAX_BUFFER_BYTES = 256e6
_MAX_BUFFER_S = 360
# liblsl's bookkeeping for each buffered sample (header, queue slot), rounded up.
_SAMPLE_OVERHEAD_BYTES = 96


@dataclass(frozen=True, eq=False)
class OutletSpec:
    """Everything fixed about an outlet; LSL lets none of it change while the outlet lives.

    Attributes
    ----------
    name, source_id : str
        LSL header fields, not empty. Receivers reconnect by ``source_id``, so it must be the
        same after a restart and differ between models.
    labels : tuple of str
        Channel labels.
    sfreq : float
        Nominal rate in Hz, 0 when irregular.
    type : str
        Content type of the stream and of its channels.
    units : str or tuple of str
        Unit of all channels, or of each.
    positions_mm : ndarray, shape (n_channels, 3), or None
        Electrode positions (x right, y front, z up), origin at the centre of the fitted sphere.
        Rows of NaN are unknown positions.
    origin_mm : tuple of float
        Centre of that sphere in MNE's head frame.
    channel_origin : tuple of str
        ``measured`` or ``rendered`` for each channel, or empty.
    expected_nmse : tuple of float or None
        Held-out error of each channel, or empty.
    virtual : tuple of bool
        Channels at which nobody wore an electrode in calibration, or empty.
    statistics : str
        Of the rendered channels: ``estimate``, ``matched``, ``simulated``; empty where unknown.
    reference : mapping of str to str
        ``desc/reference`` (XDF: label, subtracted, common_average).
    highpass, lowpass : float or None
        Pass band of the data in Hz.
    compensated_lag_s : float
        Lag already removed from the stamps, in seconds.
    model, manufacturer : str
        ``desc/acquisition``.
    filters : tuple of AppliedFilter
        What every channel has gone through: ``channel/filtering``.
    acquisition, cap : tuple of (str, str)
        ``desc/acquisition`` beside these, and ``desc/cap``.
    fiducials : tuple of (str, ndarray)
        Label and place, shape (3,), mm, in the frame of ``positions_mm``.
    sensors : tuple of tuple
        More nodes of each channel (``hardware``, ``impedance``), or empty.
    can_drop_samples : bool
        Whether the outlet may leave samples out (policy ``skip``).
    vendor : mapping of str to str
        ``desc/emag_rt``: versions, model hash, input stream and so on.
    """

    name: str
    source_id: str
    labels: tuple[str, ...]
    sfreq: float
    type: str = "EEG"
    units: str | tuple[str, ...] = "microvolts"
    positions_mm: FloatArray | None = None
    origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    channel_origin: tuple[str, ...] = ()
    expected_nmse: tuple[float | None, ...] = ()
    virtual: tuple[bool, ...] = ()
    statistics: str = ""
    reference: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    highpass: float | None = None
    lowpass: float | None = None
    compensated_lag_s: float = 0.0
    model: str = ""
    manufacturer: str = "emag_rt"
    filters: tuple[AppliedFilter, ...] = ()
    acquisition: tuple[tuple[str, str], ...] = ()
    cap: tuple[tuple[str, str], ...] = ()
    fiducials: tuple[tuple[str, FloatArray], ...] = ()
    sensors: tuple[Tree, ...] = ()
    can_drop_samples: bool = False
    vendor: Mapping[str, str] = field(default_factory=lambda: _EMPTY)

    def __post_init__(self) -> None:
        for key in ("name", "source_id"):
            if not getattr(self, key):
                raise SettingsError(
                    f"outlet: {key} must not be empty. Receivers find and recover a stream by it."
                )
        n = len(self.labels)
        if n == 0:
            raise SettingsError("outlet: labels must name at least one channel, got none.")
        if not (np.isfinite(self.sfreq) and self.sfreq >= 0):
            raise SettingsError(
                f"outlet: sfreq must be a rate in Hz or 0 for irregular, got {self.sfreq}."
            )
        if self.positions_mm is not None and np.shape(self.positions_mm) != (n, 3):
            raise SettingsError(
                f"outlet: positions_mm must have shape ({n}, 3), one row for each label, got "
                f"{np.shape(self.positions_mm)}."
            )
        each: dict[str, tuple[object, ...]] = {
            "channel_origin": self.channel_origin,
            "expected_nmse": self.expected_nmse,
            "virtual": self.virtual,
            "sensors": self.sensors,
        }
        if not isinstance(self.units, str):
            each["units"] = self.units
        for key, values in each.items():
            if values and len(values) != n:
                raise SettingsError(
                    f"outlet: {key} must hold one entry for each of {n} labels, got {len(values)}."
                )


def buffer_seconds(n_channels: int, sfreq: float) -> int:
    """Seconds an outlet keeps for each receiver: 6 minutes, fewer where that takes > 256 MB.

    Six minutes (LSL's default) let a recorder bridge an outage, but 256 channels at 8 kHz would
    need 3 GB for them.
    """
    if sfreq <= 0:
        return _MAX_BUFFER_S
    bytes_per_s = (4 * n_channels + _SAMPLE_OVERHEAD_BYTES) * sfreq
    return int(min(_MAX_BUFFER_S, max(1.0, _MAX_BUFFER_BYTES / bytes_per_s)))


def description(spec: OutletSpec) -> Tree:
    """Children of ``desc`` for an outlet.

    Parameters
    ----------
    spec : OutletSpec
        The outlet.

    Returns
    -------
    tuple
        Nested (name, text or children) pairs, in document order.

    Notes
    -----
    XDF wants ``location`` in millimetres; MNE-LSL reads only its own fields: ``loc`` in metres
    in the head frame, FIFF codes, ``filters`` and ``dig``. Both are written.
    """
    regular = spec.sfreq > 0
    tree: list[Node] = [
        ("channels", tuple(("channel", _channel(spec, i)) for i in range(len(spec.labels))))
    ]
    if spec.reference:
        tree.append(("reference", _texts(spec.reference)))
    band = _band(spec)
    if band and regular:  # MNE-LSL warns of filters on an irregular stream
        tree.append(("filters", band))
    if spec.fiducials:
        tree.append(("fiducials", tuple(("fiducial", _fiducial(*f)) for f in spec.fiducials)))
    if spec.cap:
        tree.append(("cap", spec.cap))
    acquisition = {"manufacturer": spec.manufacturer, "model": spec.model} | dict(spec.acquisition)
    tree.append(
        (
            "acquisition",
            (*_texts(acquisition), ("compensated_lag", _number(spec.compensated_lag_s))),
        )
    )
    can_drop = "true" if spec.can_drop_samples else "false"
    tree.append(("synchronization", (("offset_mean", "0"), ("can_drop_samples", can_drop))))
    if spec.positions_mm is not None:
        tree.append(("dig", _dig(spec)))
    if spec.vendor:
        tree.append(("emag_rt", _texts(spec.vendor)))
    return tuple(tree)


def _channel(spec: OutletSpec, i: int) -> Tree:
    unit = spec.units if isinstance(spec.units, str) else spec.units[i]
    nodes: list[Node] = [("label", spec.labels[i]), ("unit", unit), ("type", spec.type)]
    if spec.channel_origin:
        nodes.append(("origin", spec.channel_origin[i]))
        if spec.statistics and spec.channel_origin[i] == "rendered":
            nodes.append(("statistics", spec.statistics))
    if spec.virtual:
        nodes.append(("virtual", "true" if spec.virtual[i] else "false"))
    if spec.expected_nmse and spec.expected_nmse[i] is not None:
        nodes.append(("expected_nmse", _number(float(spec.expected_nmse[i] or 0.0))))
    filtering: Tree = tuple((f.kind, _filter(f)) for f in spec.filters)
    more = spec.sensors[i] if spec.sensors else ()
    filtering += tuple(
        node
        for name, part in more
        if name == "filtering" and isinstance(part, tuple)
        for node in part
    )
    if filtering:
        nodes.append(("filtering", filtering))
    nodes += [node for node in more if node[0] != "filtering"]
    if spec.type.lower() == "eeg":
        # FIFFV_EEG_CH, FIFFV_COIL_EEG, FIFFV_COORD_HEAD
        nodes += [("kind", "2"), ("coil_type", "1"), ("coord_frame", "4")]
    if spec.positions_mm is not None and np.isfinite(spec.positions_mm[i]).all():
        millimetres = spec.positions_mm[i]
        metres = (millimetres + np.asarray(spec.origin_mm)) / 1000.0
        nodes.append(("location", _vector(("X", "Y", "Z"), millimetres)))
        # E** would hold the position of the reference electrode: zeros mean 'unknown' in MNE.
        names = ("R0x", "R0y", "R0z", "Exx", "Exy", "Exz")
        nodes.append(("loc", _vector(names, np.concatenate([metres, np.zeros(3)]))))
    return tuple(nodes)


def _filter(f: AppliedFilter) -> Tree:
    numbers = {"lower": f.lower_hz, "upper": f.upper_hz, "order": f.order}
    told = {key: _number(value) for key, value in numbers.items() if value is not None}
    return _texts({"type": f.type, "design": f.design} | told)


def _fiducial(label: str, place_mm: FloatArray) -> Tree:
    return ("label", label), ("location", _vector(("X", "Y", "Z"), place_mm))


def _dig(spec: OutletSpec) -> Tree:
    """EEG points (FIFFV_POINT_EEG), so that ``StreamLSL.get_montage`` knows the electrodes."""
    assert spec.positions_mm is not None
    metres = (np.asarray(spec.positions_mm) + np.asarray(spec.origin_mm)) / 1000.0
    return tuple(
        (
            "point",
            (("kind", "3"), ("ident", str(i + 1)), ("loc", _vector(("X", "Y", "Z"), row))),
        )
        for i, row in enumerate(metres)
        if np.isfinite(row).all()
    )


def _band(spec: OutletSpec) -> Tree:
    edges = (("highpass", spec.highpass), ("lowpass", spec.lowpass))
    return tuple((key, _number(value)) for key, value in edges if value is not None)


def _vector(names: tuple[str, ...], values: FloatArray) -> Tree:
    return tuple((name, _number(float(v))) for name, v in zip(names, values, strict=True))


def _number(value: float) -> str:
    return f"{value:.9g}"


def _texts(mapping: Mapping[str, str]) -> Tree:
    return tuple((key, str(value)) for key, value in mapping.items() if str(value))
