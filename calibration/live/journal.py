"""A recording on its way to the disk: an XDF file that grows while the session runs."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np

from calibration.live.channels import LiveChannels
from calibration.live.parts import Part
from emag_rt.errors import EmagError, OutputError
from emag_rt.recordings.xdf_write import XdfWriter
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.lsl import Marker
from emag_rt.system import flush_folder

_EVERY_S = 1.0
"""A process that is killed loses what came since, and what it had not pulled."""

_PATIENCE_S = 60.0


class Journal:
    """Keeps what is recorded, on a thread of its own: a disk that stalls holds nothing up.

    The file is XDF, which any script fits into, and which is readable wherever it ends. Gaps and
    jumps of the clock show in its stamps. Without a sample there is none once it is closed.

    Parameters
    ----------
    writer : XdfWriter
        A file without streams.
    stream : StreamFormat
        What is recorded.
    channels : LiveChannels
        Its channels.

    Attributes
    ----------
    path : Path
        The file.
    error : EmagError or None
        Why it is not whole.
    """

    def __init__(self, writer: XdfWriter, stream: StreamFormat, channels: LiveChannels) -> None:
        self.path = writer.path
        self.error: EmagError | None = None
        self._stream, self._channels = stream, channels
        self._empty = True
        self._writer = writer
        self._samples = writer.add_stream(_description(stream, channels))
        self._markers = writer.add_stream(_info("markers", "Markers", 1, 0.0, "string", "markers"))
        writer.boundary()
        flush_folder(self.path.parent)
        self._came: queue.SimpleQueue[tuple[Sequence[Part], Sequence[Marker]]] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def add(self, parts: Sequence[Part], markers: Sequence[Marker]) -> None:
        """Take in what has come; does not wait."""
        if parts or markers:
            self._came.put((parts, markers))

    def close(self) -> None:
        """Wait until all is on the disk; nothing the second time."""
        if self._ended.is_set():  # the name may be another session's by now
            return
        self._ended.set()
        self._thread.join(_PATIENCE_S)
        if self._thread.is_alive():
            self.error = OutputError(
                f"recording {self.path}: must be on the disk within {_PATIENCE_S:g} s, it is not: "
                "the disk hangs."
            )
        elif self._empty:
            self.remove()

    def again(self, folder: Path) -> Journal:
        """An empty one of the same name and channels in another folder.

        Raises
        ------
        OutputError
            If it cannot be written there.
        """
        return Journal(XdfWriter(folder / self.path.name), self._stream, self._channels)

    def remove(self) -> None:
        """Remove the file, closed before: all is elsewhere, or nothing was recorded."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _run(self) -> None:
        try:
            ended = False
            while not ended:
                ended = self._ended.wait(_EVERY_S)
                self._write()
            self._writer.close()
        except Exception as error:  # a thread that ends unheard would lose a recording
            self.error = (
                error
                if isinstance(error, EmagError)
                else OutputError(f"recording {self.path}: cannot be written: {error!r}.")
            )
            with contextlib.suppress(EmagError):
                self._writer.close()

    def _write(self) -> None:
        parts: list[Part] = []
        markers: list[Marker] = []
        while not self._came.empty():
            more_parts, more_markers = self._came.get()
            # What was made up shows as missing.
            parts += [part for part in more_parts if part.kind == "data"]
            markers += more_markers
        if parts:
            samples = np.concatenate([part.samples for part in parts])
            stamps = np.concatenate([part.stamps for part in parts])
            self._empty = False
            self._writer.samples(self._samples, samples, stamps)
        if markers:
            texts, times = [[m.text] for m in markers], [m.stamp for m in markers]
            self._writer.samples(self._markers, texts, times)
        if parts or markers:
            self._writer.boundary()


def _description(stream: StreamFormat, channels: LiveChannels) -> str:
    """Of the samples as they are recorded: in µV, on this host's clock."""
    root = Element("channels")
    for label, kind, place in zip(
        channels.labels, channels.kinds, channels.positions_mm.tolist(), strict=True
    ):
        voltage = kind != "misc"
        channel = SubElement(root, "channel")
        SubElement(channel, "label").text = label
        SubElement(channel, "type").text = kind.upper()
        SubElement(channel, "unit").text = "microvolts" if voltage else ""
        if np.isfinite(place).all():
            location = SubElement(channel, "location")
            for axis, value in zip("XYZ", place, strict=True):
                SubElement(location, axis).text = repr(value)
    reference = Element("reference")
    SubElement(reference, "label").text = stream.reference
    form = "float32" if stream.channel_format == "float32" else "double64"
    n_channels = len(channels.labels)
    name = stream.name or "EEG"
    return _info(name, "EEG", n_channels, stream.sfreq, form, stream.source_id, (root, reference))


def _info(
    name: str,
    kind: str,
    n_channels: int,
    sfreq: float,
    form: str,
    source_id: str,
    desc: Sequence[Element] = (),
) -> str:
    info = Element("info")
    for tag, text in (
        ("name", name),
        ("type", kind),
        ("channel_count", str(n_channels)),
        ("nominal_srate", repr(sfreq)),
        ("channel_format", form),
        ("source_id", source_id),
    ):
        SubElement(info, tag).text = text
    SubElement(info, "desc").extend(desc)
    return tostring(info, encoding="unicode")
