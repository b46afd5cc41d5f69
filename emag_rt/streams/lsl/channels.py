"""What a stream's description says of each channel, beyond labels and units."""

from __future__ import annotations

from collections.abc import Sequence

from emag_rt.streams.description import children, text_at
from emag_rt.streams.lsl.discovery import FoundStream
from emag_rt.streams.lsl.library import Inlet


def channel_fields(
    stream: FoundStream, names: Sequence[str], timeout_s: float = 5.0
) -> list[dict[str, str]]:
    """Texts of the description of each channel.

    Parameters
    ----------
    stream : FoundStream
        The stream.
    names : sequence of str
        Fields; ``location/X`` is X within location.
    timeout_s : float
        Time allowed for the answer, in seconds.

    Returns
    -------
    list of dict
        One for each channel described; empty strings where a field is absent.

    Raises
    ------
    StreamError
        If the stream does not answer in time.
    """
    inlet = Inlet(stream.handle, f"stream {stream.format.name!r}")
    nodes = children(inlet.description(timeout_s), "channels")
    channels = [c if isinstance(c, tuple) else () for name, c in nodes if name == "channel"]
    return [{name: text_at(channel, name) for name in names} for channel in channels]
