"""Streams by one word: a source id, or a name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from emag_rt.streams.query import StreamQuery, xpath_literal


@dataclass(frozen=True)
class NamedStream(StreamQuery):
    """The stream whose source id or name is the given word.

    Attributes
    ----------
    source_id : str
        The word.
    """

    def predicate(self, ignore_source_ids: Iterable[str] = (), strings: bool = False) -> str:
        """XPath 1.0 predicate of the numeric (or string) streams that the word means."""
        ignored = [f"source_id!={xpath_literal(value)}" for value in ignore_source_ids]
        kind = f"channel_format{'=' if strings else '!='}'string'"
        return " and ".join([named(self.source_id or ""), kind, *ignored])

    def __str__(self) -> str:
        return f"source id or name {self.source_id!r}"


def named(word: str) -> str:
    """XPath 1.0 predicate of the streams whose source id or name is a word."""
    literal = xpath_literal(word)
    return f"(source_id={literal} or name={literal})"
