"""Lab Streaming Layer: finding, reading and publishing streams.

Only :mod:`emag_rt.streams.lsl.library` imports pylsl, and translates its errors.
"""

from emag_rt.streams.lsl.channels import channel_fields
from emag_rt.streams.lsl.discovery import FoundStream, find_stream, list_streams
from emag_rt.streams.lsl.library import configure, library_versions, local_clock, quick_clock
from emag_rt.streams.lsl.marker_source import LslMarkerSource
from emag_rt.streams.lsl.markers import LslMarkerReader, Marker
from emag_rt.streams.lsl.namesakes import LslNamesakes
from emag_rt.streams.lsl.sink import LslMarkerSink, LslSink
from emag_rt.streams.lsl.source import LslSource
from emag_rt.streams.metadata import OutletSpec
from emag_rt.streams.query import StreamQuery

__all__ = [
    "FoundStream",
    "LslMarkerReader",
    "LslMarkerSink",
    "LslMarkerSource",
    "LslNamesakes",
    "LslSink",
    "LslSource",
    "Marker",
    "OutletSpec",
    "StreamQuery",
    "channel_fields",
    "configure",
    "find_stream",
    "library_versions",
    "list_streams",
    "local_clock",
    "quick_clock",
]
