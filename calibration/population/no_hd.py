"""A bundle for a head whose HD nobody measured: the population's conditional estimate."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from calibration.baselines.spatial import spatial_matrices
from calibration.field.kriging import spacing_mm
from calibration.field.model import LeftOutScores
from calibration.population.electrodes_of import apart_by_name, hd_montage, ld_montage
from calibration.population.estimate import (
    Expected,
    Places,
    Timing,
    expected_errors,
    make_timing,
)
from calibration.population.network import ACTIVATION, PopulationNetwork, network_of
from calibration.population.no_hd_field import expected_field
from calibration.population.people import ADULT, Population, load_population
from calibration.population.wearer import Wearer, read_ld, read_wearer
from calibration.provenance import provenance
from calibration.scores.cross_validated import CrossValidatedScores, MethodScore
from calibration.settings.calibration_settings import CalibrationSettings
from emag_rt.array_types import FloatArray
from emag_rt.bundle import (
    Bundle,
    FrontEndManifest,
    HeadSphere,
    Manifest,
    RenderedElectrode,
    electrodes_of,
    point_mm,
)
from emag_rt.core.folding import fold
from emag_rt.core.labels import canonical
from emag_rt.core.model import FieldModel
from emag_rt.core.montage import Montage
from emag_rt.frontend import design_band

PROTOCOL = "nobody's HD was measured: each person of the population by the field of the others"
"""How the errors were found, in words."""
_SAME_MM = 1.0


@dataclass(frozen=True)
class NoHdSettings:
    """What ``calibrate --no-hd`` can be told.

    Attributes
    ----------
    ld : int or tuple of str
        LD channels: labels, or how many of the best ones of HD.
    hd : str
        Electrodes to render.
    sfreq : float
        Rate of the LD amplifier in Hz.
    band_hz : tuple of (float, float)
        Pass band of the causal front end in Hz.
    look_ahead_s : float
        Seconds waited for.
    population : str
        Name of a population in the package, or its file.
    refine : bool
        Whether to use the network that was trained on the population's people, if there is one.
    """

    ld: int | tuple[str, ...]
    hd: str
    sfreq: float
    band_hz: tuple[float, float] = (0.5, 45.0)
    look_ahead_s: float = 0.0
    population: str = ADULT
    refine: bool = True

    def __post_init__(self) -> None:
        # The rules of rate, band and look-ahead are those of any calibration.
        CalibrationSettings(self.sfreq, self.band_hz, self.look_ahead_s)


@dataclass(frozen=True, eq=False)
class Heads:
    """What a bundle without HD is made of: whose heads, at which electrodes.

    Attributes
    ----------
    settings : NoHdSettings
        Rate, band and look-ahead; whether to use a network.
    people : Population
        Whom to expect.
    ld, hd : Montage
        Electrodes, in the population's frame.
    network : PopulationNetwork or None
        Trained on these people. It is used where it was judged, else a note says why not.
    notes : tuple of str
        What the user should know of the electrodes.
    """

    settings: NoHdSettings
    people: Population
    ld: Montage
    hd: Montage
    network: PopulationNetwork | None
    notes: tuple[str, ...] = ()

    @cached_property
    def timing(self) -> Timing:
        """Temporal profiles of the field."""
        look_ahead = round(self.settings.look_ahead_s * self.settings.sfreq)
        return make_timing(self.people, self.settings.sfreq, look_ahead)


@dataclass(frozen=True, eq=False)
class NoHdCalibration:
    """A bundle made without HD, and what is known of it.

    Attributes
    ----------
    bundle : Bundle
        Ready to save or serve.
    population : Population
        Whom it comes from.
    ld, hd : Montage
        Electrodes, in the population's frame.
    expected : Expected
        What to expect, person by person.
    wearer : Wearer
        What the LD recordings told.
    rendered : tuple of int
        Rows of HD that are not worn: those that ``expected`` is about.
    network : PopulationNetwork or None
        What was put upon the field, if anything.
    notes : tuple of str
        What the user should know.
    """

    bundle: Bundle
    population: Population
    ld: Montage
    hd: Montage
    expected: Expected
    wearer: Wearer
    rendered: tuple[int, ...]
    network: PopulationNetwork | None
    notes: tuple[str, ...]


def calibrate_without_hd(
    settings: NoHdSettings,
    ld_recordings: Sequence[str | Path] = (),
    population: Population | None = None,
    network: PopulationNetwork | None = None,
) -> NoHdCalibration:
    """Make a bundle from other people's heads.

    Parameters
    ----------
    settings : NoHdSettings
        What was asked for.
    ld_recordings : sequence of path-like
        Recordings of the wearer's LD channels: for scale, noise, and whom the wearer is like;
        may be empty.
    population : Population, optional
        Already loaded; else the one that is named.
    network : PopulationNetwork, optional
        Already loaded; else the one beside the population. It is used where it was trained on the
        population's people and judged, else a note says why not.

    Returns
    -------
    NoHdCalibration
        With what to expect of it.

    Raises
    ------
    EmagError
        If electrodes are not known, recordings do not fit, or the rate or band is out of range.
    """
    people = population or load_population(settings.population)
    hd, notes = hd_montage(settings.hd, people)
    ld = ld_montage(settings.ld, hd, people)
    hd, renamed = apart_by_name(hd, ld)
    network = network or network_of(settings.population)
    heads = Heads(settings, people, ld, hd, network, (*notes, *renamed))
    mean, wearer = people.mean(), Wearer(people.amplitude_uv)
    if ld_recordings:
        sfreq, band_hz = settings.sfreq, settings.band_hz
        recorded = read_ld(ld_recordings, ld.labels, sfreq, design_band(*band_hz, sfreq))
        mean, wearer = read_wearer(ld_recordings, recorded, ld, sfreq, band_hz, people)
    return make_without_hd(heads, mean, wearer)


def make_without_hd(heads: Heads, mean: FloatArray, wearer: Wearer) -> NoHdCalibration:
    """Make the bundle of what is expected of a wearer.

    Parameters
    ----------
    heads : Heads
        What to make it of.
    mean : ndarray, shape (n_lags, n_places, n_places)
        What is expected at the population's places.
    wearer : Wearer
        What is known besides.

    Returns
    -------
    NoHdCalibration
        With what to expect of it.
    """
    settings, people, ld, hd = heads.settings, heads.people, heads.ld, heads.hd
    sos = design_band(*settings.band_hz, settings.sfreq)
    timing = heads.timing
    rendered = _rendered_rows(ld, hd)
    places = Places(people, ld.positions_mm, hd.positions_mm[list(rendered)])
    network, against = _usable(heads, timing)
    model, covariance, lagged = expected_field(places, timing, mean, wearer, network)
    matrices = spatial_matrices(places.ld_mm, places.hd_mm, covariance)
    expected = expected_errors(places, timing, wearer.noise, matrices)
    if network is not None:
        expected = replace(expected, error=expected.error * network.error_left(len(ld)))
    all_notes = (*heads.notes, *wearer.notes, *remarks(settings, people, wearer), *against)
    scores = _scores(expected, [hd.labels[i] for i in rendered], places)
    manifest = _manifest(settings, people, ld, hd, sos, model, wearer, scores, expected, all_notes)
    if network is not None:
        manifest.render["activation"] = ACTIVATION
        manifest.calibration["network"] = network.facts(len(ld))
    operator = fold(model, hd.positions_mm)
    manifest.render["n_context"] = operator.n_context
    bundle = Bundle(
        manifest,
        model,
        operator,
        covariance,
        lagged_covariance=lagged,
        ld_bands=wearer.bands,
    )
    return NoHdCalibration(bundle, people, ld, hd, expected, wearer, rendered, network, all_notes)


def _usable(heads: Heads, timing: Timing) -> tuple[PopulationNetwork | None, tuple[str, ...]]:
    """The network where it was judged; else None, and why not."""
    settings, network = heads.settings, heads.network
    if network is None or not settings.refine:
        return None, ()
    against = network.reason_against(heads.people, settings.band_hz, timing, len(heads.ld))
    if against:
        return None, (f"the field alone, without the network of many people: {against}",)
    return network, ()


def _rendered_rows(ld: Montage, hd: Montage) -> tuple[int, ...]:
    """Rows of HD that no worn electrode is: neither by name nor by place."""
    worn = {canonical(label) for label in ld.labels}
    apart = np.linalg.norm(hd.positions_mm[:, None] - ld.positions_mm, axis=-1).min(axis=1)
    return tuple(
        i for i, a in enumerate(hd.labels) if canonical(a) not in worn and apart[i] > _SAME_MM
    )


def remarks(settings: NoHdSettings, people: Population, wearer: Wearer) -> list[str]:
    """What the user should know of a bundle whose HD nobody measured."""
    found = [
        f"nobody's HD was measured: the field is that of {people.n_people} other people "
        f"({people.name}), and the expected errors are theirs"
    ]
    if isinstance(settings.ld, int):
        found.append(
            f"the {settings.ld} LD electrodes are those of --hd from which these people are "
            "rendered best: wear them, or name what you wear (--ld)"
        )
    if not wearer.seconds:
        low, high = people.amplitudes_uv.min(), people.amplitudes_uv.max()
        found.append(
            f"amplitudes are those of the population ({people.amplitude_uv:.2g} µV, from "
            f"{low:.2g} to {high:.2g}): give an LD recording for the wearer's own"
        )
    if settings.band_hz != people.band_hz:
        found.append(
            f"the population is known from {people.band_hz[0]:g} to {people.band_hz[1]:g} Hz: "
            "with another --band the expected errors are a guide only"
        )
    return found


def _scores(expected: Expected, labels: Sequence[str], places: Places) -> CrossValidatedScores:
    per_channel = {a: round(float(e), 6) for a, e in zip(labels, expected.per_channel, strict=True)}
    nmse = {name: float(np.median(expected.nmse(name))) for name in ("field", *expected.spatial)}
    # Over all channels: what is worn has power too, and no error.
    share = len(labels) / (len(labels) + len(places.ld_mm))
    return CrossValidatedScores(
        PROTOCOL,
        {name: MethodScore(value, value * share) for name, value in nmse.items()},
        per_channel,
        LeftOutScores(
            PROTOCOL,
            round(nmse["field"], 6),
            round(spacing_mm(np.concatenate([places.hd_mm, places.ld_mm])), 3),
            per_channel,
        ),
    )


def _manifest(
    settings: NoHdSettings,
    people: Population,
    ld: Montage,
    hd: Montage,
    sos: FloatArray,
    model: FieldModel,
    wearer: Wearer,
    scores: CrossValidatedScores,
    expected: Expected,
    notes: Sequence[str],
) -> Manifest:
    worn = {canonical(label) for label in ld.labels}
    nmse = expected.nmse()
    low, high = np.percentile(nmse, [10, 90])
    facts = provenance(wearer.inputs)
    return Manifest(
        name=wearer.inputs[0][0].stem if wearer.inputs else f"population {people.name}",
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        sfreq=settings.sfreq,
        anchor=model.anchor,
        n_lags=model.n_lags,
        look_ahead_samples=model.look_ahead,
        look_ahead_s=model.look_ahead / settings.sfreq,
        ld=electrodes_of(ld),
        hd=[
            RenderedElectrode(
                label=label,
                position_mm=point_mm(position),
                origin="measured" if canonical(label) in worn else "rendered",
                expected_nmse=scores.per_channel.get(label),
            )
            for label, position in zip(hd.labels, hd.positions_mm, strict=True)
        ],
        head=HeadSphere(origin_mm=point_mm(people.origin_mm), radius_mm=people.radius_mm),
        frontend=FrontEndManifest(band_hz=settings.band_hz, sos=sos.tolist()),
        render={
            "input": "LD channels after frontend.sos, in µV, in the input's reference; "
            "(n_context + n_times, n_ld), float32",
            "output": "HD channels in µV in the same reference, measured ones passed through; "
            "row i belongs to input row i + n_context - look_ahead_samples",
            "activation": "gelu",
        },
        calibration={
            "method": "population",
            "hd_measured": False,
            "amplitudes": "LD recordings" if wearer.seconds else "population",
            "duration_s": round(wearer.seconds, 2),
            "amplitude_uv": round(wearer.amplitude_uv, 3),
            "noise": round(wearer.noise, 4),
            "population": {"n_people": people.n_people, **people.texts},
            "notes": list(notes),
        },
        scores={
            **scores.as_dict(),
            "between_people": {
                "nmse_low": round(float(low), 6),
                "nmse_high": round(float(high), 6),
                "nmse_worst": round(float(nmse.max()), 6),
                "over_spline": round(float(np.median(nmse / expected.nmse("spherical_spline"))), 6),
            },
        },
        provenance=facts,
    )
