"""What the HD outlet of a daemon says of itself, read from its LSL description."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.errors import visible
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.description import children, texts
from emag_rt.streams.metadata import Tree

MAX_CHANNELS = 2048
_MAX_TEXT = 60


def clean(text: str, limit: int = _MAX_TEXT) -> str:
    """Text from the network as it may be shown: printable, and of bounded length."""
    shown = visible(text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


@dataclass(frozen=True, eq=False)
class HdOutlet:
    """The daemon's HD outlet.

    Attributes
    ----------
    name, source_id : str
        LSL header fields.
    sfreq : float
        Rate in Hz.
    labels : tuple of str
        HD channels, for show.
    positions_mm : ndarray, shape (n_hd, 3)
        NaN where unknown; origin at the centre of the head sphere.
    kinds : tuple of str
        ``measured``, ``rendered`` or ``virtual`` for each channel.
    nmse : tuple of float or None
        Held-out error of each channel.
    ld_labels : tuple of str
        LD channels that are read.
    input_name, input_source_id : str
        The LD stream that is read.
    band_hz : tuple of float or None
        Pass band of the data, (high-pass, low-pass).
    hold_s : float
        How long the daemon itself withholds samples: look-ahead and hop, in s.
    status_interval_s : float
        Between two statuses.
    renders_on : bool
        Whether it renders with too many bad channels, too.
    bundle_sha256 : str
        Of the bundle that is served; empty where it is not told.
    facts : dict of str to str
        More that is worth showing.
    """

    name: str
    source_id: str
    sfreq: float
    labels: tuple[str, ...]
    positions_mm: FloatArray
    kinds: tuple[str, ...]
    nmse: tuple[float | None, ...]
    ld_labels: tuple[str, ...]
    input_name: str
    input_source_id: str
    band_hz: tuple[float, float] | None
    hold_s: float
    status_interval_s: float
    renders_on: bool
    bundle_sha256: str
    facts: dict[str, str]


def read_hd_outlet(head: StreamFormat, description: Tree) -> HdOutlet:
    """Read what the outlet says; whatever it leaves out, or says badly, is taken as unknown.

    Parameters
    ----------
    head : StreamFormat
        Header of the stream.
    description : tuple
        Children of its ``desc``.

    Returns
    -------
    HdOutlet
        As far as it is told.
    """
    channels = channels_of(description)
    if len(channels) != head.n_channels:
        channels = [()] * head.n_channels
    labels = head.labels or tuple(f"channel {i + 1}" for i in range(head.n_channels))
    vendor = dict(texts(children(description, "emag_rt")))
    band = {k: _number(v) for k, v in texts(children(description, "filters"))}
    low, high = band.get("highpass"), band.get("lowpass")
    hop = _number(vendor.get("hop", "")) or 0.0
    hold_s = (_number(vendor.get("look_ahead_s", "")) or 0.0) + hop / max(head.sfreq, 1.0)
    interval_s = _number(vendor.get("status_interval_s", "")) or 1.0
    reference = dict(texts(children(description, "reference"))).get("label", "")
    facts = {
        "engine": vendor.get("engine", ""),
        "look-ahead": f"{vendor.get('look_ahead_s', '?')} s",
        "reference": reference,
        "statistics": _statistics(vendor),
        "emag_rt": vendor.get("version", ""),
        "bundle": vendor.get("bundle_sha256", "")[:12],
        "HD session": "none: other people's field" * (vendor.get("hd_measured") == "false"),
    }
    return HdOutlet(
        name=clean(head.name),
        source_id=head.source_id,
        sfreq=head.sfreq,
        labels=tuple(clean(label) for label in labels),
        positions_mm=positions_of(channels),
        kinds=tuple(_kind(dict(texts(tree))) for tree in channels),
        nmse=tuple(_number(dict(texts(tree)).get("expected_nmse", "")) for tree in channels),
        ld_labels=tuple(x for x in vendor.get("ld_labels", "").split(",") if x)[:MAX_CHANNELS],
        input_name=vendor.get("input_name", ""),
        input_source_id=vendor.get("input_source_id", ""),
        band_hz=(low, high) if low and high else None,
        hold_s=min(max(hold_s, 0.0), 3600.0),
        status_interval_s=min(max(interval_s, 0.0), 3600.0),
        renders_on=vendor.get("too_many_bad_policy") == "fill",
        bundle_sha256=vendor.get("bundle_sha256", ""),
        facts={key: clean(value) for key, value in facts.items() if value},
    )


def positions_of(channels: list[Tree]) -> FloatArray:
    """Positions (X right, Y front, Z up) from ``location``, shape (n, 3); NaN where unknown."""
    found = np.full((len(channels), 3), np.nan)
    for row, tree in zip(found, channels, strict=True):
        place = dict(texts(children(tree, "location")))
        values = [_number(place.get(axis, "")) for axis in ("X", "Y", "Z")]
        if None not in values:
            row[:] = values
    return found


def channels_of(description: Tree) -> list[Tree]:
    """The ``channel`` nodes of a description."""
    nodes = children(description, "channels")
    return [tree for name, tree in nodes if name == "channel" and isinstance(tree, tuple)]


def _kind(fields: dict[str, str]) -> str:
    if fields.get("virtual") == "true":
        return "virtual"
    return "measured" if fields.get("origin") == "measured" else "rendered"


def _statistics(vendor: dict[str, str]) -> str:
    mode, mix = vendor.get("statistics", ""), vendor.get("statistics_mix", "1")
    return mode if mode in ("", "estimate") or mix == "1" else f"{mode}, mix {mix}"


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
