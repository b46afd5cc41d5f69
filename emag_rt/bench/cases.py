"""What is measured: channels in and out, rate, samples a chunk."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from emag_rt.bundle import Bundle
from emag_rt.errors import SettingsError
from emag_rt.synthetic.standin import standin_bundle

_PATTERN = re.compile(r"(\d{1,5}):(\d{1,5})@(\d{1,6}(?:\.\d{1,6})?)(?:/(\d{1,5}))?")
MAX_CHANNELS = 4096
MAX_RATE_HZ = 100_000.0
MAX_CHUNK = 10_000


@dataclass(frozen=True)
class Case:
    """One setting of an amplifier and a subject.

    Attributes
    ----------
    n_ld, n_hd : int
        Channels in and out.
    sfreq : float
        Sampling rate in Hz.
    chunk : int
        Samples in what the amplifier sends at once.
    look_ahead : int
        Samples waited for.
    residual : bool
        Whether the subject has the non-linear residual, as calibration with torch makes it.
    """

    n_ld: int
    n_hd: int
    sfreq: float
    chunk: int = 1
    look_ahead: int = 0
    residual: bool = True

    def __post_init__(self) -> None:
        rules = (
            ("n_ld", self.n_ld, 2 <= self.n_ld <= self.n_hd, "from 2 to n_hd"),
            ("n_hd", self.n_hd, self.n_hd <= MAX_CHANNELS, f"at most {MAX_CHANNELS}"),
            ("rate", self.sfreq, 16 <= self.sfreq <= MAX_RATE_HZ, f"16 to {MAX_RATE_HZ:g} Hz"),
            ("chunk", self.chunk, 1 <= self.chunk <= MAX_CHUNK, f"from 1 to {MAX_CHUNK} samples"),
            (
                "look_ahead",
                self.look_ahead,
                0 <= self.look_ahead <= MAX_CHUNK,
                f"from 0 to {MAX_CHUNK} samples",
            ),
        )
        for name, value, holds, rule in rules:
            if not holds:
                raise SettingsError(
                    f"case: {name} must be {rule}, got {value}. Write N_LD:N_HD@RATE/CHUNK, such "
                    "as 16:64@250/1."
                )

    def __str__(self) -> str:
        return f"{self.n_ld}:{self.n_hd}@{self.sfreq:.12g}/{self.chunk}"

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.n_ld} → {self.n_hd} at {self.sfreq:g} Hz, chunk {self.chunk}"

    @property
    def subject(self) -> Case:
        """The same without the chunk: cases that share a subject are equal in this."""
        return replace(self, chunk=1)

    def standin(self, resolution: int | None = None) -> Bundle:
        """Make a stand-in subject of this size."""
        return standin_bundle(
            *(self.n_ld, self.n_hd, self.sfreq, self.look_ahead, self.residual),
            resolution=resolution,
        )


def parse_case(text: str) -> Case:
    """Read a case.

    Parameters
    ----------
    text : str
        ``N_LD:N_HD@RATE``, or with ``/CHUNK`` at the end: ``16:64@250``, ``64:256@8000/8``.

    Returns
    -------
    Case
        With chunk 1 unless given.

    Raises
    ------
    SettingsError
        If it is not written so, or out of range.
    """
    match = _PATTERN.fullmatch(text.strip())
    if match is None:
        raise SettingsError(
            f"--case must be N_LD:N_HD@RATE or N_LD:N_HD@RATE/CHUNK, got {text!r}. Write for "
            "example 16:64@250, or 64:256@8000/8."
        )
    n_ld, n_hd, sfreq, chunk = match.groups()
    return Case(int(n_ld), int(n_hd), float(sfreq), int(chunk or 1))


_MONTAGES = ("16:64@250", "32:128@500", "32:256@1000", "32:256@2000")
CHUNKS = (1, 5, 10)
SETS: dict[str, tuple[str, ...]] = {
    "quick": ("16:64@250/1",),
    "hop1": tuple(f"{case}/1" for case in _MONTAGES),
    "all": (*(f"{case}/{n}" for case in _MONTAGES for n in CHUNKS), "64:256@8000/8"),
}
"""Lists of cases by name."""


def choose_cases(
    named: str | None,
    texts: Iterable[str],
    *,
    chunks: Iterable[int] = (),
    look_ahead: int = 0,
    residual: bool = True,
) -> list[Case]:
    """Cases from the command line.

    Parameters
    ----------
    named : str or None
        A key of :data:`SETS`.
    texts : iterable of str
        Cases, see :func:`parse_case`.
    chunks : iterable of int
        Chunk sizes in the place of the cases' own.
    look_ahead, residual
        As for :class:`Case`.

    Returns
    -------
    list of Case
        Without repetitions; ``quick`` when nothing was named.

    Raises
    ------
    SettingsError
        If a name or a case is not allowed.
    """
    given = list(texts)
    if named is not None and named not in SETS:
        raise SettingsError(f"--cases must be one of {', '.join(SETS)}, got {named!r}.")
    if named is not None or not given:
        given = [*SETS[named or "quick"], *given]
    sizes = list(chunks)
    cases = []
    for text in given:
        case = replace(parse_case(text), look_ahead=look_ahead, residual=residual)
        cases += [replace(case, chunk=size) for size in sizes] if sizes else [case]
    return list(dict.fromkeys(cases))
