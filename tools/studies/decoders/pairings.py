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
ALIGNED, ALIGNED_EPOCHS = "estimate, aligned", "estimate, aligned epochs"
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

    aligners = Aligner(bundle, BAND_HZ), AlignedEpochs(bundle, BAND_HZ)
    return {
        **itself(HD, "hd"),
        **itself(LD, "ld"),
        "LD in its places, zeros elsewhere": Pairing("hd", hd, read("zeros")),
        **{mode: Pairing("hd", hd, read(mode)) for mode in STATISTICS},
        "estimate, re-centred": moved("estimate"),
        **{
            name: Pairing(name, learned(aligner, hd), rendered(aligner, read("estimate")))
            for name, aligner in zip((ALIGNED, ALIGNED_EPOCHS), aligners, strict=True)
        },
        **itself("rendered → rendered", "estimate"),
        "spline": Pairing("hd", hd, read("spline")),
        "spline, re-centred": moved("spline"),
        **itself("spline → spline", "spline"),
    }


def learned(aligner: Aligner, measured: Epochs) -> Epochs:
    """One person's trials, aligned by their own mean."""
    assert measured.signals is not None
    return _made_by(aligner, aligner.fit(measured.signals).measured(measured.signals))


def rendered(aligner: Aligner, trials: Epochs) -> Epochs:
    """Trials in the order they came in, aligned online; the first by what the bundle knows."""
    assert trials.signals is not None
    return _made_by(aligner, aligner.rendered(trials.signals))


def _made_by(aligner: Aligner, found: FloatArray) -> Epochs:
    return Epochs.of(found) if isinstance(aligner, AlignedEpochs) else Epochs(None, found)


def others_pairings(
    bundle: Bundle, trials: Trials, lent: Sequence[Lent], signals: bool
) -> tuple[dict[str, Pairing], IndexArray]:
    """The decoder of other people for all trials of a new person.

    Parameters
    ----------
    bundle, trials
        Of the new person.
    lent : sequence of Lent
        The others.
    signals : bool
        Keep their signals, too: those of a hundred people are large.

    Returns
    -------
    pairings : dict of str to Pairing
        By name of what is read. Re-centring starts from the person's calibration.
    classes : ndarray
        Of the trials to learn from.
    """
    aligner, waves = Aligner(bundle, BAND_HZ), AlignedEpochs(bundle, BAND_HZ)
    hd, ld = ([e.label for e in some] for some in (bundle.manifest.hd, bundle.manifest.ld))
    parts: dict[str, list[Epochs]] = {}
    for person in lent:
        wide, narrow = person.worn(hd), person.worn(ld)
        for name, part in (
            ("hd", wide),
            ("hd, centred", centred(wide)),
            ("ld", narrow),
            ("ld, centred", centred(narrow)),
            (ALIGNED, learned(aligner, wide)),
            (ALIGNED_EPOCHS, learned(waves, wide)),
        ):
            kept = part if signals else Epochs(None, part.covariances)
            parts.setdefault(name, []).append(kept)
    known = {name: joined(some) for name, some in parts.items()}
    kinds = trials.kinds

    def online(kind: str) -> Epochs:
        return re_centred(kinds[kind], mean_of(trials.resting[kind]))

    read = {
        HD: ("hd", kinds["hd"]),
        f"{HD}, re-centred": ("hd, centred", online("hd")),
        LD: ("ld", kinds["ld"]),
        LD_CENTRED: ("ld, centred", online("ld")),
        **{mode: ("hd", kinds[mode]) for mode in STATISTICS},
        "estimate, re-centred": ("hd, centred", online("estimate")),
        ALIGNED: (ALIGNED, rendered(aligner, kinds["estimate"])),
        ALIGNED_EPOCHS: (ALIGNED_EPOCHS, rendered(waves, kinds["estimate"])),
        "spline, re-centred": ("hd, centred", online("spline")),
    }
    return (
        {OTHERS + name: Pairing(of, known[of], test) for name, (of, test) in read.items()},
        np.concatenate([person.classes for person in lent]),
    )
