"""Tables of what was decided: means over people, intervals, McNemar's test, and the targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, bootstrap

from emag_rt.array_types import BoolArray, FloatArray
from tools.studies.decoders.pairings import ALIGNED, HD, LD, LD_CENTRED, OTHERS

Right = Mapping[str, Mapping[str, BoolArray]]
"""Which trials were decided right, by name of what was read, and by person."""


@dataclass(frozen=True)
class Beside:
    """What was read beside another: people and trials are those of both.

    Attributes
    ----------
    gain, low, high : float
        Difference of the mean accuracies, and its 95 % interval.
    p : float
        Of McNemar's exact test over the trials of all people.
    """

    gain: float
    low: float
    high: float
    p: float

    def __str__(self) -> str:
        return f"{self.gain:+.3f} ({self.low:+.3f} to {self.high:+.3f}), p = {self.p:.2g}"


def interval(values: FloatArray) -> tuple[float, float]:
    """95 % of the mean over people, who are drawn anew 9999 times; their own spread with one."""
    if len(values) < 2 or np.ptp(values) == 0:
        return float(values.min()), float(values.max())
    drawn = bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(0))
    return float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)


def accuracies(right: Mapping[str, BoolArray]) -> FloatArray:
    """Of each person."""
    return np.array([hits.mean() for hits in right.values()])


def beside(one: Mapping[str, BoolArray], other: Mapping[str, BoolArray]) -> Beside:
    """How much better the one is than the other."""
    people = sorted(set(one) & set(other))
    gains = np.array([one[name].mean() - other[name].mean() for name in people])
    a, b = (np.concatenate([which[name] for name in people]) for which in (one, other))
    gained, lost = int((a & ~b).sum()), int((b & ~a).sum())
    p = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return Beside(float(gains.mean()), *interval(gains), p)


def table(right: Right) -> list[str]:
    """Markdown: a row for each kind that was read, beside LD as it is and re-centred."""
    lines = ["| read | accuracy | over LD | over LD, re-centred |", "| --- | --- | --- | --- |"]
    for name, hits in right.items():
        values = accuracies(hits)
        low, high = interval(values)
        whose = OTHERS if name.startswith(OTHERS) else ""
        compared = [
            str(beside(hits, right[whose + ld])) if whose + ld != name else ""
            for ld in (LD, LD_CENTRED)
        ]
        cells = f"{values.mean():.3f} ({low:.3f} to {high:.3f})", *compared
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def overview(by_column: Mapping[str, Right]) -> list[str]:
    """Markdown: mean accuracies alone, a column for each decoder and number of LD channels."""
    names = list(dict.fromkeys(name for right in by_column.values() for name in right))
    lines = [f"| read | {' | '.join(by_column)} |", "| --- |" + " --- |" * len(by_column)]
    for name in names:
        cells = [
            f"{accuracies(right[name]).mean():.3f}" if name in right else "–"
            for right in by_column.values()
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


@dataclass(frozen=True)
class Target:
    """One accuracy must be that of another, plus something, or more."""

    factor: int
    name: str
    other: str
    plus: float

    def __str__(self) -> str:
        return f"{self.factor}x: {self.name} at least {self.other} {self.plus:+.2f}"


TARGETS = (
    Target(4, ALIGNED, LD, 0.0),
    Target(4, ALIGNED, HD, -0.02),
    Target(8, ALIGNED, LD, 0.01),
    Target(4, "matched", LD, -0.03),
    Target(8, "matched", LD, -0.03),
    Target(8, "rendered → rendered", LD, 0.02),
)


def judged(by_count: Mapping[int, Right], n_hd: int = 64) -> list[str]:
    """A line for each target that was measured: hit or miss, and the figures."""
    lines = []
    for target in TARGETS:
        right = by_count.get(n_hd // target.factor, {})
        if target.name not in right or target.other not in right:
            continue
        one, other = (float(accuracies(right[n]).mean()) for n in (target.name, target.other))
        said = "hit" if one >= other + target.plus - 1e-9 else "miss"
        lines.append(f"- {said}: {target}: {one:.3f}, {other:.3f}")
    return lines


def right_of(results: Mapping[str, Sequence[Mapping[str, object]]]) -> Right:
    """Results of each person as trials that were decided right."""
    found: dict[str, dict[str, BoolArray]] = {}
    for person, parts in results.items():
        for part in parts:
            classes, decided = np.array(part["classes"]), part["decided"]
            assert isinstance(decided, Mapping)
            for name, told in decided.items():
                found.setdefault(name, {})[person] = np.asarray(np.array(told) == classes)
    return found
