"""The exception tree: everything a caller can handle derives from :class:`EmagError`.

::

    EmagError
    ├── SettingsError        a setting or argument breaks a rule            (exit 2)
    ├── RecordingError       a recording cannot be read or used             (exit 3)
    ├── MontageError         channel labels or positions do not fit         (exit 3)
    ├── CalibrationError     a session cannot be calibrated                 (exit 4)
    ├── BundleError          a bundle is damaged, unsafe or too new         (exit 5)
    ├── EngineError          a render engine is not available               (exit 6)
    ├── StreamError          a live stream fails                            (exit 7)
    │   ├── StreamNotFound   nothing matches the query                      (exit 7)
    │   ├── StreamAmbiguous  several streams match the query                (exit 7)
    │   └── StreamMismatch   rate, labels, units or format do not fit       (exit 8)
    └── OutputError          a file or port cannot be written or opened     (exit 9)

Each class carries the process exit code that the command line returns for it.
"""

from __future__ import annotations

import reprlib
from typing import Any, ClassVar

_BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother, _REPR.maxlong = 2, 80, 80, 40


def short(value: Any) -> str:
    """A value as error messages show it: in one line, whatever its size and content."""
    return " ".join(_REPR.repr(value).split())


def visible(text: str, kept: str = "") -> str:
    r"""Text with all that cannot be seen as escapes: ``\u202e``, ``\x1b``.

    Labels and names come from amplifiers, files and bundles. A right-to-left override among them
    turns a line around, a zero-width character makes two labels look alike.

    Parameters
    ----------
    text : str
        Anything.
    kept : str
        Characters that stay as they are.

    Returns
    -------
    str
        The same object where there is nothing to escape.
    """
    if text.isprintable() and (text.isascii() or not any(c in _BLANK for c in text)):
        return text
    return "".join(
        c if (c.isprintable() and c not in _BLANK) or c in kept else escaped(c) for c in text
    )


def escaped(c: str) -> str:
    """One character as Python writes it."""
    return c.encode("unicode_escape").decode() if ord(c) > 0xFF or c < " " else f"\\x{ord(c):02x}"


class EmagError(Exception):
    """Base of all errors that a caller can handle.

    Attributes
    ----------
    exit_code : int
        Exit status of ``emag-rt`` when this error ends the process.
    """

    exit_code: ClassVar[int] = 1


class SettingsError(EmagError, ValueError):
    """A setting or an argument breaks a stated rule."""

    exit_code = 2


class RecordingError(EmagError):
    """A recording cannot be read, or lacks what is needed."""

    exit_code = 3


class MontageError(EmagError):
    """Channel labels or electrode positions do not fit."""

    exit_code = 3


class CalibrationError(EmagError):
    """A session cannot be calibrated as asked."""

    exit_code = 4


class BundleError(EmagError):
    """A ``.emag`` bundle is damaged, unsafe, or of a newer format."""

    exit_code = 5


class EngineError(EmagError):
    """A render engine is unknown or cannot start."""

    exit_code = 6


class StreamError(EmagError):
    """A live stream fails."""

    exit_code = 7


class StreamNotFound(StreamError):
    """No live stream matches the query."""


class StreamAmbiguous(StreamError):
    """Several live streams match a query that must match one."""


class StreamMismatch(StreamError):
    """A live stream's rate, labels, units or format do not fit the bundle."""

    exit_code = 8


class OutputError(EmagError):
    """A file cannot be written, or a port not be listened on: no space, no permission, taken."""

    exit_code = 9
