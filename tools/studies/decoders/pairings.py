"""Which trials a decoder learns from, and which it then reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pyriemann.geometry.base import invsqrtm
from pyriemann.geometry.geodesic import geodesic_riemann
from pyriemann.geometry.mean import mean_riemann

from emag_rt.array_types import FloatArray, IndexArray
from emag_rt.bundle import Bundle
from emag_rt.decoding import AlignedEpochs, Aligner
from tools.studies.decoders.trials import BAND_HZ, STATISTICS, Epochs, Lent, Trials, joined

HD, LD, LD_CENTRED = "measured HD", "LD, retrained", "LD, retrained, re-centred"
ALIGNED = "estimate, aligned"
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
        mean = geodesic_riemann(mean, covariance, 1 / (_PRIOR + i + 1))
        filters.append(invsqrtm(mean))
    return trials.through(np.array(filters))


def mean_of(trials: Epochs) -> FloatArray:
    """Mean covariance (affine-invariant)."""
    return mean_riemann(trials.covariances, tol=1e-6)


def centred(trials: Epochs) -> Epochs:
    """All trials seen from their mean covariance: for those that are there beforehand."""
    return trials.through(invsqrtm(mean_of(trials)))


def own_pairings(
    bundle: Bundle, trials: Trials, train: IndexArray, test: IndexArray
) -> dict[str, Pairing]:
    """The person's own decoder, by name of what it reads."""
    kinds = trials.kinds
    known = {kind: kinds[kind].take(train) for kind in ("hd", "ld", "estimate", "spline")}
    start = {kind: mean_of(some) for kind, some in known.items()}
    central = {kind: some.through(invsqrtm(start[kind])) for kind, some in known.items()}
    hd = known["hd"]

    def read(kind: str) -> Epochs:
        return kinds[kind].take(test)

    def itself(name: str, kind: str) -> dict[str, Pairing]:
        online = re_centred(read(kind), start[kind])
        return {
            name: Pairing(kind, known[kind], read(kind)),
            f"{name}, re-centred": Pairing(f"{kind}, centred", central[kind], online),
        }

    def moved(kind: str) -> Pairing:
        return Pairing("hd, centred", central["hd"], re_centred(read(kind), start[kind]))

    labels = [e.label for e in bundle.manifest.hd]
    return {
        **itself(HD, "hd"),
        **itself(LD, "ld"),
        "LD in its places, zeros elsewhere": Pairing("hd", hd, read("zeros")),
        **{mode: Pairing("hd", hd, read(mode)) for mode in STATISTICS},
        "estimate, re-centred": moved("estimate"),
        **aligned(bundle, [(hd, labels)], read("estimate")),
        **itself("rendered → rendered", "estimate"),
        "spline": Pairing("hd", hd, read("spline")),
        "spline, re-centred": moved("spline"),
        **itself("spline → spline", "spline"),
    }


def aligned(
    bundle: Bundle, measured: Sequence[tuple[Epochs, Sequence[str]]], rendered: Epochs
) -> dict[str, Pairing]:
    """As `emag_rt.decoding` does it, online, beginning with what the bundle knows.

    Parameters
    ----------
    bundle : Bundle
        Of the person who is rendered.
    measured : sequence of (Epochs, sequence of str)
        Trials to learn from, and their channels: each person aligned by a mean of their own.
    rendered : Epochs
        Trials to read, in the order they came in.
    """

    def both(aligner: Aligner) -> tuple[list[FloatArray], FloatArray]:
        known = [
            aligner.fit(some.signals, channels).measured(some.signals, channels)
            for some, channels in measured
        ]
        return known, aligner.rendered(rendered.signals)

    covariances, found = both(Aligner(bundle, BAND_HZ))
    signals, read = both(AlignedEpochs(bundle, BAND_HZ))
    return {
        ALIGNED: Pairing(ALIGNED, Epochs(None, np.concatenate(covariances)), Epochs(None, found)),
        "aligned epochs": Pairing(
            "aligned epochs", Epochs.of(np.concatenate(signals)), Epochs.of(read)
        ),
    }


def others_pairings(
    bundle: Bundle, trials: Trials, lent: Sequence[Lent]
) -> tuple[dict[str, Pairing], IndexArray]:
    """The decoder of other people for all trials of a new person.

    Returns
    -------
    pairings : dict of str to Pairing
        By name of what is read. Re-centring starts from the person's calibration.
    classes : ndarray
        Of the trials to learn from.
    """
    hd, ld = ([e.label for e in some] for some in (bundle.manifest.hd, bundle.manifest.ld))
    wide, narrow = [person.worn(hd) for person in lent], [person.worn(ld) for person in lent]
    plain, central = joined(wide), joined([centred(person) for person in wide])
    kinds = trials.kinds

    def online(kind: str) -> Epochs:
        return re_centred(kinds[kind], mean_of(trials.resting[kind]))

    found = {
        HD: Pairing("hd", plain, kinds["hd"]),
        f"{HD}, re-centred": Pairing("hd, centred", central, online("hd")),
        LD: Pairing("ld", joined(narrow), kinds["ld"]),
        LD_CENTRED: Pairing(
            "ld, centred", joined([centred(person) for person in narrow]), online("ld")
        ),
        **{mode: Pairing("hd", plain, kinds[mode]) for mode in STATISTICS},
        "estimate, re-centred": Pairing("hd, centred", central, online("estimate")),
        **aligned(bundle, [(person, hd) for person in wide], kinds["estimate"]),
        "spline, re-centred": Pairing("hd, centred", central, online("spline")),
    }
    return (
        {OTHERS + name: pairing for name, pairing in found.items()},
        np.concatenate([person.classes for person in lent]),
    )
