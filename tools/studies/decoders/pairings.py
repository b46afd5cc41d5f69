"""Which trials a decoder learns from, and which it then reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pyriemann.geometry.base import invsqrtm
from pyriemann.geometry.geodesic import geodesic
from pyriemann.geometry.mean import mean_riemann

from emag_rt.array_types import FloatArray, IndexArray
from tools.studies.decoders.trials import STATISTICS, Epochs, Lent, Trials, joined

HD, LD, LD_CENTRED = "measured HD", "LD, retrained", "LD, retrained, re-centred"
OTHERS = "others' "
_PRIOR = 10
"""Trials that the mean to start from counts for."""


@dataclass(frozen=True, eq=False)
class Pairing:
    """Trials to learn from and to read.

    Attributes
    ----------
    learned : str
        Name of what is learned from: pairings that share it share the fitted decoder.
    train, test : Epochs
        Of other times, or of other people.
    """

    learned: str
    train: Epochs
    test: Epochs


def re_centred(trials: Epochs, start: FloatArray) -> Epochs:
    """Each trial seen from the mean covariance so far, itself included: causal, without labels."""
    mean, filters = start, []
    for i, covariance in enumerate(trials.covariances):
        mean = geodesic(mean, covariance, 1 / (_PRIOR + i + 1))
        filters.append(invsqrtm(mean))
    return trials.through(np.array(filters))


def centred(trials: Epochs) -> Epochs:
    """All trials seen from their mean covariance: for those that are there beforehand."""
    return trials.through(invsqrtm(mean_riemann(trials.covariances)))


def own_pairings(trials: Trials, train: IndexArray, test: IndexArray) -> dict[str, Pairing]:
    """The person's own decoder, by name of what it reads."""
    kinds = trials.kinds
    hd = kinds["hd"].take(train)
    central = centred(hd)

    def online(kind: str) -> Epochs:
        start = mean_riemann(kinds[kind].take(train).covariances)
        return re_centred(kinds[kind].take(test), start)

    def itself(name: str, kind: str) -> dict[str, Pairing]:
        known = kinds[kind].take(train)
        return {
            name: Pairing(kind, known, kinds[kind].take(test)),
            f"{name}, re-centred": Pairing(f"{kind}, centred", centred(known), online(kind)),
        }

    return {
        **itself(HD, "hd"),
        **itself(LD, "ld"),
        "LD in its places, zeros elsewhere": Pairing("hd", hd, kinds["zeros"].take(test)),
        **{mode: Pairing("hd", hd, kinds[mode].take(test)) for mode in STATISTICS},
        "estimate, re-centred": Pairing("hd, centred", central, online("estimate")),
        **itself("rendered → rendered", "estimate"),
        "spline": Pairing("hd", hd, kinds["spline"].take(test)),
        "spline, re-centred": Pairing("hd, centred", central, online("spline")),
        **itself("spline → spline", "spline"),
    }


def others_pairings(
    trials: Trials, lent: Sequence[Lent], hd: Sequence[str], ld: Sequence[str]
) -> tuple[dict[str, Pairing], IndexArray]:
    """The decoder of other people for all trials of a new person; ``hd`` and ``ld``: labels.

    Returns
    -------
    pairings : dict of str to Pairing
        By name of what is read. Re-centring starts from the person's calibration.
    classes : ndarray
        Of the trials to learn from.
    """
    wide, narrow = [person.worn(hd) for person in lent], [person.worn(ld) for person in lent]
    plain, central = joined(wide), joined([centred(person) for person in wide])

    def online(kind: str) -> Epochs:
        start = mean_riemann(trials.resting[kind].covariances)
        return re_centred(trials.kinds[kind], start)

    kinds = trials.kinds
    found = {
        HD: Pairing("hd", plain, kinds["hd"]),
        f"{HD}, re-centred": Pairing("hd, centred", central, online("hd")),
        LD: Pairing("ld", joined(narrow), kinds["ld"]),
        LD_CENTRED: Pairing(
            "ld, centred", joined([centred(person) for person in narrow]), online("ld")
        ),
        **{mode: Pairing("hd", plain, kinds[mode]) for mode in STATISTICS},
        "estimate, re-centred": Pairing("hd, centred", central, online("estimate")),
        "spline, re-centred": Pairing("hd, centred", central, online("spline")),
    }
    return (
        {OTHERS + name: pairing for name, pairing in found.items()},
        np.concatenate([person.classes for person in lent]),
    )
