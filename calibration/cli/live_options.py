"""Options of ``emag-rt calibrate`` that belong to a live stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypedDict, TypeVar

import click

from emag_rt.cli.options import FiniteFloat, lsl_options, refuse_idle
from emag_rt.errors import SettingsError

if TYPE_CHECKING:
    from calibration.live.record_live import LiveRequest
    from emag_rt.streams.config import Scope

_F = TypeVar("_F", bound=Callable[..., object])


class LiveOptions(TypedDict):
    """Values of the options below."""

    stream: str | None
    headset: str | None
    channels: str | None
    unit: str | None
    duration: float
    markers: tuple[str, ...]
    start_marker: str | None
    stop_marker: str | None
    wait_for_key: bool
    timeout: float
    patience: float
    scope: Scope | None
    session_id: str | None


_OPTIONS = (
    click.option(
        "--stream",
        help="Record from this live HD stream (LSL source id or name), instead of RECORDINGS. The "
        "recording is kept beside OUT. This and what follows: for live streams.",
    ),
    click.option("--unit", help="Unit of the stream, over what it declares: V, mV, µV, nV."),
    click.option(
        "--duration",
        type=FiniteFloat(10, 3600),
        metavar="S",
        default=120.0,
        show_default=True,
        help="Record S seconds of signal; gaps do not count.",
    ),
    click.option(
        "--markers",
        multiple=True,
        help="Marker stream to keep as annotations (source id or name; repeatable), or none. "
        "Default: all of the LSL session, also such as come up later.",
    ),
    click.option("--start-marker", metavar="TEXT", help="Start with this marker."),
    click.option("--stop-marker", metavar="TEXT", help="Stop with this marker, if before S."),
    click.option("--wait-for-key", is_flag=True, help="Start with Enter or the space bar."),
    click.option(
        "--timeout",
        type=FiniteFloat(0, 86_400),
        metavar="S",
        default=10.0,
        show_default=True,
        help="Give up looking for the stream after S seconds.",
    ),
    click.option(
        "--patience",
        type=FiniteFloat(1, 86_400),
        metavar="S",
        default=120.0,
        show_default=True,
        help="Give up a stream that has been silent for S seconds.",
    ),
)
_OWN = (
    "unit",
    "duration",
    "markers",
    "start_marker",
    "stop_marker",
    "wait_for_key",
    "patience",
)
_LSL = ("timeout", "scope", "session_id")
LIVE_NAMES = ("stream", *_OWN, *_LSL)
"""Parameters of the options above."""


def live_options(command: _F) -> _F:
    """Add ``--stream`` and what belongs to it to a command."""
    command = lsl_options("How far LSL looks.")(command)
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def live_request(
    recordings: Sequence[str],
    ld: str,
    band: tuple[float, float],
    options: LiveOptions,
    needs_signal: bool = True,
) -> LiveRequest | None:
    """Understand the options above, set LSL up if need be, and refuse what would do nothing.

    Parameters
    ----------
    recordings : sequence of str
        Files given.
    ld : str
        ``--ld``, which may name a stream.
    band : tuple of (float, float)
        Pass band in Hz.
    options : LiveOptions
        Those above.
    needs_signal : bool
        Whether there must be files or a stream.

    Returns
    -------
    LiveRequest or None
        What to record; None: the files count.

    Raises
    ------
    SettingsError
        If both or neither of files and stream are given, or options contradict each other.
    """
    stream = options["stream"]
    if stream and recordings:
        raise SettingsError(
            f"--stream and RECORDINGS exclude each other, got {stream!r} and {recordings[0]}. "
            "Drop one of them."
        )
    if needs_signal and not (stream or recordings):
        raise SettingsError(
            "RECORDINGS or --stream must say what to fit, got neither. No HD recording of this "
            "person? emag-rt calibrate --no-hd does without."
        )
    on_lsl = bool(stream) or ld.startswith(("@stream:", "stream:"))
    idle = (() if stream else _OWN) + (() if on_lsl else _LSL)
    refuse_idle(idle, "go with --stream, got files")
    if on_lsl:
        from emag_rt.streams.lsl import configure

        configure(options["scope"], options["session_id"])
    return _request(stream, band, options) if stream else None


def _request(stream: str, band: tuple[float, float], own: LiveOptions) -> LiveRequest:
    from calibration.live.record_live import LiveRequest
    from calibration.live.session import Plan
    from emag_rt.montages.headsets import channel_names

    markers = own["markers"]
    if own["wait_for_key"] and own["start_marker"]:
        raise SettingsError("--wait-for-key and --start-marker exclude each other. Drop one.")
    if "none" in markers and (len(markers) > 1 or own["start_marker"] or own["stop_marker"]):
        raise SettingsError(
            "--markers none must stand alone, without --start-marker and --stop-marker."
        )
    plan = Plan(own["duration"], own["wait_for_key"], own["start_marker"], own["stop_marker"])
    return LiveRequest(
        stream,
        plan,
        names=channel_names(own["headset"], own["channels"]),
        unit=own["unit"],
        markers=markers,
        timeout_s=own["timeout"],
        patience_s=own["patience"],
        band_hz=band,
    )
