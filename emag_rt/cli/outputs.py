"""Standard output and error: they take any text, and show all of it."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Sequence
from typing import TextIO

import click

from emag_rt.errors import escaped, visible
from emag_rt.system import command_line

_PLAIN = {"µ": "u", "μ": "u", "→": "->", "…": "...", "–": "-", "—": "-", "×": "x", "±": "+-"}
_LINES = {"─": "-", "━": "-", "═": "-", "│": "|", "┃": "|", "║": "|"}
_TERMINAL = "\n\r\t\x1b\x07\x08"


def _in_plain(error: UnicodeError) -> tuple[str, int]:
    """What an output's encoding lacks, in characters that every one has."""
    assert isinstance(error, UnicodeEncodeError)
    return "".join(_plain(c) for c in error.object[error.start : error.end]), error.end


def _plain(c: str) -> str:
    if "\u2500" <= c <= "\u257f":  # frames of tables
        return _LINES.get(c, "+")
    return "#" if "\u2580" <= c <= "\u259f" else _PLAIN.get(c) or escaped(c)


class _Output(io.TextIOWrapper):
    """Standard output or error that never fails for what is written, and hides nothing.

    It says that it takes UTF-8, and writes what the true encoding has: else rich and click would
    each go round it in their own way.
    """

    def __init__(self, stream: TextIO) -> None:
        self._true = stream.encoding
        self._narrow = codecs.lookup(stream.encoding).name not in ("utf-8", "utf-8-sig")
        buffered = getattr(stream, "line_buffering", False)
        encoding = stream.encoding if sys.platform == "win32" else "utf-8"
        super().__init__(
            stream.detach(),  # type: ignore[attr-defined]
            encoding=encoding,
            errors="backslashreplace",
            line_buffering=buffered,
        )

    def write(self, text: str, /) -> int:
        """Write text; the number of characters is that of the text given."""
        if not text.isascii():
            shown = visible(text, _TERMINAL)
            if self._narrow:
                shown = shown.encode(self._true, "emag_rt.plain").decode(self._true)
            super().write(shown)
            return len(text)
        return super().write(text)


def say_next(*commands: Sequence[str]) -> None:
    """Tell on the error stream, where no program reads, which commands usually come next.

    Parameters
    ----------
    *commands : sequence of str
        Words of each, without ``emag-rt``.
    """
    for words in commands:
        click.echo(f"next: {command_line(['emag-rt', *words])}", err=True)


def prepare_outputs() -> None:
    """Make sure that there are a standard input, output and error, which take any text.

    Where a descriptor is closed (``2>&-``) the next file or socket would get its number, and
    what libraries print would go there.
    """
    codecs.register_error("emag_rt.plain", _in_plain)
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(number, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        if isinstance(stream, io.TextIOWrapper) and not isinstance(stream, _Output):
            stream.flush()
            setattr(sys, name, _Output(stream))
