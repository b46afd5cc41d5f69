"""XDF 1.0 files, chunk by chunk, as LabRecorder writes them.

Source: the format's specification, https://github.com/sccn/xdf/wiki/Specifications.
"""

from __future__ import annotations

import os
import re
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emag_rt.array_types import FloatArray
from emag_rt.errors import OutputError, RecordingError

_FILE_HEADER, _STREAM_HEADER, _SAMPLES, _CLOCK_OFFSET, _BOUNDARY, _FOOTER = range(1, 7)
BOUNDARY_MARK = bytes.fromhex("43a546dccbf5410fb30ed5467383cbe4")
"""Readers look for these bytes to find their way after a damaged chunk."""

# XML 1.0 holds neither control characters nor halves of surrogate pairs, and no names for them.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_REFERENCE = re.compile(r"&#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}));")
_NUMBERS = {
    "float32": "<f4",
    "double64": "<f8",
    "int8": "i1",
    "int16": "<i2",
    "int32": "<i4",
    "int64": "<i8",
}


@dataclass
class _Stream:
    """What the footer will tell of a stream."""

    n_channels: int
    channel_format: str
    count: int = 0
    first: float = 0.0
    last: float = 0.0
    offsets: list[tuple[float, float]] = field(default_factory=list)


class XdfWriter:
    """A growing XDF file. Whatever was written stays readable if the process dies.

    Parameters
    ----------
    path : path-like
        File to make.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    OutputError
        If the file exists and must not be replaced, or cannot be written.
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._streams: dict[int, _Stream] = {}
        try:
            self._file = self.path.open("wb" if overwrite else "xb")
        except FileExistsError as error:
            raise OutputError(
                f"recording {self.path}: the file must not exist yet, it does. Choose another "
                "name, or allow overwriting."
            ) from error
        except OSError as error:
            raise self._failed(error) from error
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        head = f'<?xml version="1.0"?><info><version>1.0</version><datetime>{now}</datetime></info>'
        with self._lock:
            self._put(b"XDF:")
            self._chunk(_FILE_HEADER, head.encode())

    def add_stream(self, xml: str) -> int:
        """Write a stream's header.

        Parameters
        ----------
        xml : str
            The stream's description, element ``info``, as LSL gives it. What XML cannot hold
            becomes a question mark.

        Returns
        -------
        int
            Number of the stream in this file, from 1.

        Raises
        ------
        RecordingError
            If the description lacks the number or the format of the channels.
        """
        xml = _REFERENCE.sub(_if_xml, _NOT_XML.sub("?", xml))
        try:
            info = ElementTree.fromstring(xml)  # noqa: S314 - of a stream the user chose
            stream = _Stream(
                int(info.findtext("channel_count", "")), info.findtext("channel_format", "")
            )
        except (ElementTree.ParseError, ValueError) as error:
            raise RecordingError(
                f"{self.path.name}: a stream's description must be XML with channel_count and "
                f"channel_format, got: {error}."
            ) from error
        if stream.channel_format not in (*_NUMBERS, "string"):
            raise RecordingError(
                f"{self.path.name}: channel_format must be string or one of "
                f"{', '.join(_NUMBERS)}, got {stream.channel_format!r}."
            )
        with self._lock:
            number = len(self._streams) + 1
            self._streams[number] = stream
            self._chunk(_STREAM_HEADER, struct.pack("<I", number) + xml.encode())
        return number

    def samples(
        self, number: int, values: NDArray[np.generic] | Sequence[Any], stamps: ArrayLike
    ) -> None:
        """Write samples, each with its stamp.

        Parameters
        ----------
        number : int
            The stream.
        values : array_like, shape (n_times, n_channels), or nested sequence of str
            In the format of the stream.
        stamps : array_like, shape (n_times,)
            On the clock of the stream's own host, in seconds.
        """
        stream = self._streams[number]
        times = np.asarray(stamps, dtype=np.float64)
        if not len(times):
            return
        if stream.channel_format == "string":
            body = b"".join(
                b"\x08" + struct.pack("<d", t) + b"".join(_text(v) for v in row)
                for t, row in zip(times, values, strict=True)
            )
        else:
            body = _rows(np.asarray(values), times, stream)
        with self._lock:
            stream.first = stream.first if stream.count else float(times[0])
            stream.count, stream.last = stream.count + len(times), float(times[-1])
            self._chunk(_SAMPLES, struct.pack("<I", number) + _length(len(times)) + body)

    def clock_offset(self, number: int, time_s: float, offset_s: float) -> None:
        """Write a measurement of a stream's clock: when, by that clock, and what to add to it."""
        with self._lock:
            self._streams[number].offsets.append((time_s, offset_s))
            self._chunk(_CLOCK_OFFSET, struct.pack("<Idd", number, time_s, offset_s))

    def boundary(self) -> None:
        """Mark a place from which a damaged file can be read on, and have all before it on disk.

        LabRecorder marks one every 10 s.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        with self._lock:
            self._chunk(_BOUNDARY, BOUNDARY_MARK)
            self._flush()

    def close(self) -> None:
        """Write the footers and close; nothing the second time.

        Raises
        ------
        OutputError
            If they, or what was still buffered, cannot be written.
        """
        with self._lock:
            if self._file.closed:
                return
            try:
                for number, stream in self._streams.items():
                    self._chunk(_FOOTER, struct.pack("<I", number) + _footer(stream))
                self._flush()
            finally:
                self._close_file()

    def __enter__(self) -> XdfWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _chunk(self, tag: int, content: bytes) -> None:
        self._put(_length(len(content) + 2) + struct.pack("<H", tag) + content)

    def _put(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise self._failed(error) from error

    def _flush(self) -> None:
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._failed(error) from error

    def _close_file(self) -> None:
        try:
            self._file.close()  # writes what is buffered, and closes even if it cannot
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(
            f"recording {self.path}: cannot be written: {error.strerror or error}. What was "
            "written before is readable; make room or choose another place."
        )


def _length(n: int) -> bytes:
    """A number with the count of its bytes before it."""
    if n < 1 << 8:
        return struct.pack("<BB", 1, n)
    return struct.pack("<BI", 4, n) if n < 1 << 32 else struct.pack("<BQ", 8, n)


def _if_xml(found: re.Match[str]) -> str:
    """A character by its number, or a question mark where XML has no such."""
    code = int(found[1], 16) if found[1] else int(found[2])
    return found[0] if code <= 0x10FFFF and not _NOT_XML.match(chr(code)) else "?"


def _text(value: str) -> bytes:
    data = value.encode("utf-8", "replace")  # halves of surrogate pairs are in no file
    return _length(len(data)) + data


def _rows(values: NDArray[np.generic], times: FloatArray, stream: _Stream) -> bytes:
    shape = (len(times), stream.n_channels)
    if values.shape != shape:
        raise RecordingError(
            f"samples must have shape {shape}, one row for each stamp, got {values.shape}."
        )
    kind = _NUMBERS[stream.channel_format]
    packed = np.empty(
        len(times), dtype=[("n", "u1"), ("t", "<f8"), ("v", kind, (stream.n_channels,))]
    )
    packed["n"], packed["t"], packed["v"] = 8, times, values
    return packed.tobytes()


def _footer(stream: _Stream) -> bytes:
    offsets = "".join(
        f"<offset><time>{time!r}</time><value>{value!r}</value></offset>"
        for time, value in stream.offsets
    )
    return (
        f'<?xml version="1.0"?><info><first_timestamp>{stream.first!r}</first_timestamp>'
        f"<last_timestamp>{stream.last!r}</last_timestamp>"
        f"<sample_count>{stream.count}</sample_count>"
        f"<clock_offsets>{offsets}</clock_offsets></info>"
    ).encode()
