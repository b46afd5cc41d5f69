"""liblsl through pylsl: the only module that imports pylsl. Its errors are translated here."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pylsl
from pylsl.util import LostError, handle_error
from pylsl.util import TimeoutError as LslTimeout

from emag_rt.array_types import Float32Array, FloatArray
from emag_rt.core.values import value_text
from emag_rt.errors import SettingsError, StreamError
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.config import (
    LslSettings,
    Scope,
    environment_config_file,
    lsl_config_text,
    user_config_file,
)
from emag_rt.streams.description import MAX_DEPTH, NodeBudget, require_sane
from emag_rt.streams.lsl.full_info import port_here, require_small
from emag_rt.streams.lsl.ports import used_up
from emag_rt.streams.metadata import Node, Tree

logger = logging.getLogger("emag_rt.lsl")

pylsl.lib.lib.lsl_time_correction_ex.restype = ctypes.c_double

_FORMAT_NAMES = {
    pylsl.cf_float32: "float32",
    pylsl.cf_double64: "double64",
    pylsl.cf_string: "string",
    pylsl.cf_int8: "int8",
    pylsl.cf_int16: "int16",
    pylsl.cf_int32: "int32",
    pylsl.cf_int64: "int64",
}


def configure(
    scope: Scope | None = None, session_id: str | None = None, *, log_level: int = -3
) -> None:
    """Set LSL's reach; call it before anything else of this package.

    A settings file named by the environment variable ``LSLAPICFG`` wins over everything here.
    Any other file that liblsl would read (``lsl_api.cfg``, ``~/lsl_api``, ``/etc/lsl_api``)
    is kept, with these values on top.

    Parameters
    ----------
    scope : {'machine', 'link', 'site', 'organization', 'global'} or None
        How far streams are looked for and seen. ``machine`` also turns IPv6 off. LSL has no
        authentication: within the scope, anybody can read and imitate a stream.
    session_id : str or None
        Streams of other sessions are invisible.
    log_level : int
        Messages of liblsl on stderr: -3 fatal (default: errors are raised or logged by
        emag_rt), -2 errors, -1 warnings, 0 information.

    Raises
    ------
    SettingsError
        If a value is not allowed, if LSL was set otherwise before, or is in use already.
    """
    wanted = (scope, session_id, log_level)
    own = environment_config_file()
    base = None if own else user_config_file()
    text = lsl_config_text(scope, session_id, log_level, base.read_text() if base else "")
    with LslSettings.lock:
        before = LslSettings.chosen
        if before == wanted:
            return
        if before is not None or (LslSettings.in_use and (scope or session_id) and not own):
            raise SettingsError(
                "LSL settings (scope, session id, log level) must be given once, before LSL is "
                f"used, got {wanted} after {before or 'its defaults'}. Use another process."
            )
        LslSettings.chosen = wanted
        if own is None and not LslSettings.in_use:
            pylsl.set_config_content(text)
        elif own is not None and (scope or session_id):
            logger.info("LSLAPICFG is set: its LSL settings are used, scope and session id not")


def local_clock() -> float:
    """Time on this host's LSL clock, in seconds."""
    LslSettings.in_use = True
    return float(pylsl.local_clock())


def quick_clock() -> Callable[[], float]:
    """A function that gives LSL's time as quickly as may be.

    On Linux LSL's clock is Python's monotonic one, which is asked without going through ctypes;
    where the two differ, it is :func:`local_clock`.
    """
    for _ in range(3):
        before, ours, after = time.monotonic(), local_clock(), time.monotonic()
        if not before <= ours <= after:
            return local_clock
    return time.monotonic


def library_versions() -> dict[str, str]:
    """Versions of pylsl and of the liblsl it loaded."""
    number = pylsl.library_version()
    detail = pylsl.library_info().split("/")[0].removeprefix("git:")
    return {"pylsl": str(pylsl.__version__), "liblsl": f"{number // 100}.{number % 100} ({detail})"}


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn pylsl's errors into ours; ``what`` names the stream in the message."""
    try:
        yield
    except LslTimeout as error:
        raise StreamError(
            f"{what}: the stream must answer in time, it did not. Check that its process runs "
            "and that no firewall blocks LSL (UDP and TCP ports 16571-16604)."
        ) from error
    except LostError as error:
        raise StreamError(
            f"{what}: the stream was lost for good. Give its outlet a source id, by which it "
            "can be found again, or start over."
        ) from error
    except RuntimeError as error:  # the base class of pylsl's other errors
        raise StreamError(f"{what}: liblsl failed: {error}") from error


class Resolver:
    """A search that goes on in the background for streams that match an XPath predicate."""

    def __init__(self, predicate: str) -> None:
        LslSettings.in_use = True
        self._resolver = pylsl.ContinuousResolver(pred=predicate)

    def results(self) -> list[Any]:
        """Handles of the streams seen within the last five seconds."""
        return list(self._resolver.results())


def resolve(predicate: str, timeout_s: float) -> list[Any]:
    """Handles of streams: the first that match a predicate, or all when it is empty."""
    LslSettings.in_use = True
    if not predicate:
        return list(pylsl.resolve_streams(timeout_s))
    return list(pylsl.resolve_bypred(predicate, 1, timeout_s))


def header(info: Any) -> StreamFormat:
    """Header of a stream, from its handle."""
    return StreamFormat(
        name=info.name(),
        type=info.type(),
        source_id=info.source_id(),
        uid=info.uid(),
        hostname=info.hostname(),
        sfreq=float(info.nominal_srate()),
        labels=(),
        units=(),
        channel_format=_FORMAT_NAMES.get(info.channel_format(), "undefined"),
        n_channels=info.channel_count(),
    )


def _full_format(info: Any) -> StreamFormat:
    """Header and description of a stream whose full information was fetched."""
    head = header(info)
    desc = info.desc()
    labels, units = list[str](), list[str]()
    channel = desc.child("channels").child("channel")
    while not channel.empty() and len(labels) <= head.n_channels:
        labels.append(channel.child_value("label") or channel.child_value("name"))
        units.append(channel.child_value("unit"))
        channel = channel.next_sibling("channel")
    told = len(labels) == head.n_channels
    try:
        lag = float(desc.child("acquisition").child_value("compensated_lag") or 0.0)
    except ValueError:
        lag = 0.0
    values = {
        **head.__dict__,
        "labels": tuple(labels) if told and any(labels) else (),
        "units": tuple(units) if told else (),
        "described": () if told else tuple(labels),
        "compensated_lag_s": lag if math.isfinite(lag) else 0.0,
        "reference": desc.child("reference").child_value("label"),
    }
    return StreamFormat(**values)


class Inlet:
    """A connection to a stream.

    Parameters
    ----------
    info : pylsl.StreamInfo
        Handle of the stream.
    what : str
        Names the stream in messages.
    max_buffer_s : int
        Seconds that liblsl buffers (hundreds of samples for irregular streams).
    recover : bool
        Whether liblsl takes the stream up again when it comes back.
    our_clock : bool
        Whether liblsl brings stamps to this host's clock: to milliseconds, good enough for events.
    """

    def __init__(
        self,
        info: Any,
        what: str,
        max_buffer_s: int = 1,
        recover: bool = False,
        our_clock: bool = False,
    ) -> None:
        LslSettings.in_use = True
        self.what = what
        self._here = port_here(info)
        require_sane(header(info), what)
        flags = pylsl.proc_clocksync if our_clock else 0
        with translated(what):
            self._inlet = pylsl.StreamInlet(
                info, max_buffer_s, recover=recover, processing_flags=flags
            )
        self.dtype = np.dtype(self._inlet.np_dtype)
        self._errcode = ctypes.c_int()

    def full_format(self, timeout_s: float) -> StreamFormat:
        """Fetch the full description, once: liblsl repeats the first answer for ever."""
        return _full_format(self._info(timeout_s))

    def header_xml(self, timeout_s: float) -> str:
        """Fetch the whole description as the XML that recordings keep."""
        return str(self._info(timeout_s).as_xml())

    def _info(self, timeout_s: float) -> Any:
        """All that the stream says of itself, which liblsl takes in whatever its size.

        On this host it is weighed first; where another one's is, liblsl does not tell.
        """
        if self._here:
            require_small(self._here, self.what, timeout_s)
        with translated(self.what):
            return self._inlet.info(timeout_s)

    def take_all(self) -> tuple[Any, FloatArray]:
        """Take what has arrived, in any format, strings too; does not wait.

        Returns
        -------
        values : ndarray, shape (n_times, n_channels), or list of list of str
            As sent.
        stamps : ndarray, shape (n_times,)
            As sent, on the clock of the stream's host.
        """
        # Strings as bytes: what is not UTF-8 must not end a recording.
        with translated(self.what):
            values, stamps = self._inlet.pull_chunk(0.0, max_samples=4096, as_numpy=True)
        if self._inlet.np_dtype is None:
            values = [
                [_decoded(value) for value in row] for row in (() if values is None else values)
            ]
        return values, np.asarray(stamps, dtype=np.float64)

    def pull_texts(self) -> list[tuple[str, float]]:
        """Events that have arrived, with their stamps; numbers become text."""
        rows, stamps = self.take_all()
        texts = (";".join(value_text(value) for value in row) for row in rows)
        return list(zip(texts, stamps.tolist(), strict=True))

    def description(self, timeout_s: float) -> Tree:
        """Children of the stream's ``desc``, as nested (name, text or children) pairs."""
        info = self._info(timeout_s)  # owns the nodes
        return _read_tree(info.desc(), MAX_DEPTH, NodeBudget(self.what))

    def pull_text(self, timeout_s: float) -> tuple[str, float] | None:
        """Wait for one string and its stamp; None when the time ran out."""
        with translated(self.what):
            rows, stamps = self._inlet.pull_chunk(timeout_s, max_samples=1, as_numpy=True)
        return (_decoded(rows[0][0]), float(stamps[0])) if len(stamps) else None

    def open_stream(self, timeout_s: float) -> None:
        """Let data come in."""
        with translated(self.what):
            self._inlet.open_stream(timeout_s)

    def clock_correction(self, timeout_s: float) -> tuple[float, float, float]:
        """What to add to the source's stamps, measured by round trips every two seconds.

        liblsl's own post-processing stays off: it takes over each measurement as it comes, and
        its dejittering bends stamps for minutes.

        Parameters
        ----------
        timeout_s : float
            For the first measurement, which takes 0.64 s; later calls return the newest one.

        Returns
        -------
        offset_s, round_trip_s, remote_s : float
            Offset, the round trip it was measured by, and the source's clock at that time.
        """
        remote, trip, errcode = ctypes.c_double(), ctypes.c_double(), ctypes.c_int()
        offset = pylsl.lib.lib.lsl_time_correction_ex(
            self._inlet.obj,
            ctypes.byref(remote),
            ctypes.byref(trip),
            ctypes.c_double(timeout_s),
            ctypes.byref(errcode),
        )
        with translated(self.what):
            handle_error(errcode)
        return float(offset), trip.value, remote.value

    def pull_into(
        self, samples: int, stamps: int, n_values: int, n_samples: int, timeout_s: float
    ) -> int:
        """Let liblsl write up to ``n_samples`` at two memory addresses; returns the values written.

        pylsl's own ``pull_chunk`` makes new stamps and ctypes arrays on each call.
        """
        inlet, errcode = self._inlet, self._errcode
        errcode.value = 0
        written = inlet.do_pull_chunk(
            inlet.obj,
            ctypes.c_void_p(samples),
            ctypes.c_void_p(stamps),
            ctypes.c_size_t(n_values),
            ctypes.c_size_t(n_samples),
            ctypes.c_double(timeout_s),
            ctypes.byref(errcode),
        )
        if errcode.value:
            with translated(self.what):
                handle_error(errcode)
        return int(written)

    def samples_available(self) -> int:
        """Samples that wait in the buffer."""
        return int(self._inlet.samples_available())


# An outlet that is destroyed drops what its threads are still sending, and frees it under their
# hands: liblsl 1.18 crashes the process once in some hundred times. Receivers on this host need
# far less.
_LINGER_S = 0.3


class Outlet:
    """A stream on the network, float32, int32 or string, until it is closed.

    Parameters
    ----------
    head : StreamFormat
        Name, type, source id, rate, number and format of channels.
    desc : tuple
        Children of ``desc`` (see :func:`emag_rt.streams.metadata.description`).
    max_buffer_s : int
        Seconds kept for each receiver (hundreds of samples for irregular streams).

    Attributes
    ----------
    uid : str
        What tells it from every other outlet.
    """

    def __init__(self, head: StreamFormat, desc: Tree, max_buffer_s: int) -> None:
        LslSettings.in_use = True
        self.what = f"outlet {head.name!r}"
        ports = used_up()
        if ports:
            logger.warning("%s: %s", self.what, ports)
        with translated(f"{self.what}{': ' if ports else ''}{ports}"):
            what = head.name, head.type, head.n_channels, head.sfreq
            info = pylsl.StreamInfo(*what, head.channel_format, head.source_id)
            _append(info.desc(), desc)
            # Never transp_sync_blocking: one receiver that stalls would block every push.
            self._outlet = pylsl.StreamOutlet(info, max_buffered=max_buffer_s)
            self.uid = str(self._outlet.get_info().uid())
        self._pushed = -math.inf

    def push_chunk(self, samples: Float32Array, stamps: FloatArray) -> None:
        """Send C-contiguous arrays, (n_times, n_channels) and (n_times,), without copying them.

        pylsl's ``push_chunk`` converts stamps one by one in Python.
        """
        outlet = self._outlet
        self._pushed = time.monotonic()
        code = outlet.do_push_chunk_n(
            outlet.obj,
            ctypes.c_void_p(samples.ctypes.data),
            ctypes.c_ulong(samples.size),
            ctypes.c_void_p(stamps.ctypes.data),
            ctypes.c_int(1),
        )
        if code:
            with translated(self.what):
                handle_error(code)

    def push_value(self, value: str | int, stamp: float) -> None:
        """Send one string, or one number, by the outlet's format."""
        self._pushed = time.monotonic()
        with translated(self.what):
            self._outlet.push_sample([value], stamp)

    def wait_for_consumers(self, timeout_s: float) -> bool:
        """Wait for a receiver; returns whether there is one."""
        return bool(self._outlet.wait_for_consumers(timeout_s))

    def close(self) -> None:
        """Give receivers a moment to take what was sent last, then leave the network."""
        rest_s = self._pushed + _LINGER_S - time.monotonic()
        if rest_s > 0 and self._outlet.have_consumers():
            time.sleep(rest_s)
        del self._outlet


def _decoded(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _append(parent: Any, tree: Tree) -> None:
    for name, content in tree:
        if isinstance(content, str):
            parent.append_child_value(name, content)
        else:
            _append(parent.append_child(name), content)


def _read_tree(parent: Any, depth: int, budget: NodeBudget) -> Tree:
    nodes: list[Node] = []
    child = parent.first_child()
    while not child.empty():
        budget.take()
        inner = child.first_child()
        leaf = depth == 0 or inner.empty() or inner.is_text()
        content = child.child_value() if leaf else _read_tree(child, depth - 1, budget)
        nodes.append((child.name(), content))
        child = child.next_sibling()
    return tuple(nodes)
