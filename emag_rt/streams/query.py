"""Which live stream is meant: the query, and the words for none or several matches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from emag_rt.errors import SettingsError, StreamAmbiguous, StreamNotFound
from emag_rt.streams.base import StreamFormat


@dataclass(frozen=True)
class StreamQuery:
    """Properties that the wanted stream must have, all of them.

    Attributes
    ----------
    source_id, name, type : str or None
        LSL header fields, compared exactly; None leaves a field open.
    hostname : str or None
        The sender's host, on top of one of these.
    """

    source_id: str | None = None
    name: str | None = None
    type: str | None = None
    hostname: str | None = None

    def __post_init__(self) -> None:
        if not (self.source_id or self.name or self.type):
            raise SettingsError(
                "stream query must name a source id, a name or a type, got none of them. "
                "Pass at least one; the source id is the safest."
            )

    def given(self) -> dict[str, str]:
        """The fields that are set."""
        fields = {
            "source_id": self.source_id,
            "name": self.name,
            "type": self.type,
            "hostname": self.hostname,
        }
        return {key: value for key, value in fields.items() if value}

    def predicate(self, ignore_source_ids: Iterable[str] = (), strings: bool = False) -> str:
        """XPath 1.0 predicate of the numeric (or string) streams with these properties."""
        tests = [f"{key}={xpath_literal(value)}" for key, value in self.given().items()]
        # Strings cannot be rendered, so marker streams never compete with a signal.
        tests.append(f"channel_format{'=' if strings else '!='}'string'")
        tests += [f"source_id!={xpath_literal(value)}" for value in ignore_source_ids]
        return " and ".join(tests)

    def __str__(self) -> str:
        return " and ".join(f"{key} {value!r}" for key, value in self.given().items())


def describe(stream: StreamFormat) -> str:
    """One line that tells a stream from others."""
    rate = f"{stream.sfreq:g} Hz" if stream.sfreq else "irregular rate"
    return (
        f"{stream.name!r} (type {stream.type!r}, source id {stream.source_id!r}, "
        f"host {stream.hostname!r}, {stream.n_channels} channels, {rate}, {stream.channel_format})"
    )


def listing(streams: Iterable[StreamFormat]) -> str:
    """Streams as indented lines, sorted by name."""
    lines = sorted(describe(stream) for stream in streams)
    return "".join(f"\n  - {line}" for line in lines)


def require_one(query: StreamQuery, found: Sequence[StreamFormat]) -> StreamFormat:
    """Return the only match.

    Parameters
    ----------
    query : StreamQuery
        What was asked, for the message.
    found : sequence of StreamFormat
        Matches, each outlet once.

    Returns
    -------
    StreamFormat
        The match.

    Raises
    ------
    StreamAmbiguous
        If there are several, listing them.
    """
    if len(found) > 1:
        same = len({stream.source_id for stream in found}) == 1
        remedy = (
            "Two live outlets share one source id: stop all but one of them."
            if same
            else "Name the one you mean by its source id."
        )
        raise StreamAmbiguous(
            f"stream query: exactly one stream must have {query}, got {len(found)}:"
            f"{listing(found)}\n{remedy}"
        )
    return found[0]


def not_found(
    query: StreamQuery, waited_s: float, seen: Sequence[StreamFormat], session_id: str = ""
) -> StreamNotFound:
    """Error for a query that nothing matched, listing what is there.

    ``session_id`` is LSL's, where it is not the default one.
    """
    there = f"Streams seen:{listing(seen)}" if seen else "No stream at all was seen."
    session = f" (here {session_id!r})" if session_id else ""
    near = _near(query, seen)
    meant = f"Did you mean {near}? Else start" if near else "Start"
    return StreamNotFound(
        f"stream query: a numeric stream must have {query}, none appeared in {waited_s:.1f} s. "
        f"{there}\n{meant} the amplifier's LSL outlet or correct the query; sender and receiver "
        f"must share the LSL session id{session}, the scope and the network (firewall)."
    )


def _near(query: StreamQuery, seen: Sequence[StreamFormat]) -> str:
    """What is spelled nearly as in the query, of a numeric stream in sight."""
    named = ("name", "source_id")  # one may be taken for the other
    for key, value in query.given().items():
        known = {
            text.casefold(): f"{field.replace('_', ' ')} {text!r}"
            for field in (named if key in named else (key,))
            for stream in seen
            if stream.channel_format != "string" and (text := getattr(stream, field))
            if (field, text) != (key, value)
        }
        for found in get_close_matches(value.casefold(), known, n=1, cutoff=0.7):
            return known[found]
    return ""


def xpath_literal(text: str) -> str:
    """Quote text for XPath 1.0, which has no escape character."""
    if "'" not in text:
        return f"'{text}'"
    if '"' not in text:
        return f'"{text}"'
    parts = (f"'{part}'" for part in text.split("'"))
    return f"""concat({''', "'", '''.join(parts)})"""
