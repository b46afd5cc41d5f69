"""The rules of the verdict: from numbers to what to trust and what to do, in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from calibration.report.facts import Facts, Verdict
from emag_rt.core.grades import (
    GOOD_NMSE,
    SHORT_S,
    Grade,
    grade_of,
    headline,
    no_better,
    percent,
)

ADVISED_S = 120.0
BAD_SHARE = 0.1
FAR_MM = 45.0
"""An electrode further than this from every LD electrode is far: caps of 64 lie 30 mm apart."""
LONGER_PAYS = 0.05
WAITING_PAYS = 0.05
NOISY_CHANNELS = 0.25
OTHER_SET_PAYS = 0.15
"""Share of the error that other electrodes must take away to be named."""
CAUTIOUS_BANDS = ("gamma",)
"""Bands that are never called good: at unseen places they are mostly local, or muscle."""


def judge(facts: Facts) -> Verdict:
    """Apply the rules.

    Parameters
    ----------
    facts : Facts
        Numbers of a report.

    Returns
    -------
    Verdict
        In plain words.
    """
    grade, told = headline(facts.nmse, facts.spline, facts.seconds, facts.held_out)
    useless = no_better(facts.nmse, facts.spline)
    return Verdict(
        grade,
        told,
        _sorted(facts.channels),
        _band_grades(facts.bands),
        tuple(_advice(facts, grade, useless)),
        tuple(_caveats(facts)),
    )


def _sorted(values: Mapping[str, float]) -> dict[Grade, tuple[str, ...]]:
    found: dict[Grade, list[str]] = {"good": [], "fair": [], "poor": []}
    for name, value in values.items():
        found[grade_of(value)].append(name)
    return {grade: tuple(names) for grade, names in found.items()}


def _band_grades(bands: Mapping[str, float]) -> dict[Grade, tuple[str, ...]]:
    careful = {
        name: max(value, 1.01 * GOOD_NMSE) if name in CAUTIOUS_BANDS else value
        for name, value in bands.items()
    }
    return _sorted(careful)


def _advice(facts: Facts, grade: Grade, useless: bool) -> list[str]:
    found = [f"{text}." for text in facts.misfits] + _about_data(facts)
    if useless:
        found.append(
            "Check that the labels belong to the right electrodes and that all channels have the "
            "same reference: a calibration that wins nothing over interpolation is mostly a "
            "mix-up, or one of the problems above."
        )
    found += [*_about_other_set(facts), *_about_electrodes(facts)]
    if facts.waiting_gain is not None and facts.waiting_gain > WAITING_PAYS:
        found.append(
            f"If 50 ms more of latency do no harm, calibrate with --look-ahead-s 0.05: about "
            f"{percent(facts.waiting_gain)} less error."
        )
    if grade == "poor" and not found:
        found.append(
            "Wear more electrodes, or better placed ones: emag-rt montage chooses them from this "
            "recording. Look at the traces below for muscle and movement, and record again, "
            "with the subject sitting still."
        )
    if not found and grade != "good" and facts.other_nmse is None:
        took = f" (it would take about {facts.other_cost_s:.0f} s)" if facts.other_cost_s else ""
        found.append(
            f"No fault was found. Whether other electrodes would do better was not computed{took}: "
            "emag-rt montage RECORDING --count N tells."
        )
    return found or ["Nothing needs to be done."]


def _about_other_set(facts: Facts) -> list[str]:
    if facts.other_nmse is None or facts.other_nmse > (1 - OTHER_SET_PAYS) * facts.nmse:
        return []
    count = len(facts.other_set)
    return [
        f"Wear other electrodes: as many, at better places, leave {percent(facts.other_nmse)} "
        f"wrong instead of {percent(facts.nmse)}. For example {', '.join(facts.other_set)}. "
        f"emag-rt montage RECORDING --count {count} looks further, and takes what your cap has."
    ]


def _about_data(facts: Facts) -> list[str]:
    found = [*_about_length(facts), *_about_bad(facts)]
    here = " of this recording" if facts.held_out else ""
    if len(facts.noisy) > NOISY_CHANNELS * facts.n_channels:
        found.append(
            f"Line noise dominates {len(facts.noisy)} of {facts.n_channels} channels{here}: check "
            "the ground electrode, and move mains adapters and cables away."
        )
    if facts.interpolated:
        again = "report again" if facts.held_out else "calibrate again"
        found.append(
            f"Some channels{here} were interpolated from others, which flatters every score here: "
            f"mark them as bad in the recording (info['bads']) and {again}."
        )
    return found


def _about_length(facts: Facts) -> list[str]:
    seconds, gain = facts.seconds, facts.longer_gain
    if seconds is not None and seconds < SHORT_S:
        return [
            f"Record for longer: {seconds:.0f} s is short, 2 to 5 minutes make a much better field."
        ]
    if gain is not None and gain > LONGER_PAYS:
        return [
            f"Record for longer: twice the length still took {percent(gain)} off the "
            "error (see the curve), so more will help."
        ]
    if seconds is not None and seconds < ADVISED_S and grade_of(facts.nmse) != "good":
        return [f"Record for longer: {seconds:.0f} s; 2 to 5 minutes are good."]
    return []


def _about_bad(facts: Facts) -> list[str]:
    found = []
    when = "were bad in the calibration" if facts.held_out else "are bad"
    if facts.bad and len(facts.bad) > BAD_SHARE * facts.n_channels:
        found.append(
            f"Mend the electrodes: {len(facts.bad)} of {facts.n_channels} channels {when} "
            f"({_named(facts.bad)}). Put gel in, lower the impedance, and record again."
        )
    elif facts.bad:
        unscored = "" if facts.held_out else ", and no score below is about them"
        found.append(
            f"Bad{' in the calibration' if facts.held_out else ''} and not learned from: "
            f"{_named(facts.bad)}. They are rendered from their place alone{unscored}."
        )
    if facts.bad_here:
        found.append(f"Bad in this recording: not scored: {_named(facts.bad_here)}.")
    return found


def _about_electrodes(facts: Facts) -> list[str]:
    weak = [name for name, value in facts.channels.items() if grade_of(value) == "poor"]
    far = [name for name in weak if facts.nearest_ld_mm.get(name, 0.0) > FAR_MM]
    if far:
        worst = max(far, key=lambda name: facts.channels[name])
        return [
            f"{_named(far)}: rendered poorly, and more than {FAR_MM:g} mm from every worn "
            f"electrode. Wear one of them too ({worst} first), or let emag-rt montage choose."
        ]
    if len(weak) > 0.25 * max(1, len(facts.channels)):
        return [
            "Many channels are rendered poorly although worn electrodes are near: look for "
            "muscle, movement and loose electrodes in the traces, then let emag-rt montage "
            "choose what to wear."
        ]
    return []


def _caveats(facts: Facts) -> list[str]:
    if not facts.hd_measured:
        found = [
            "The field is other people's: nobody's HD was measured for this bundle. These "
            "recordings tell how it does on this head; emag-rt calibrate makes a better one "
            "of them."
        ]
    elif facts.held_out:
        found = ["The scores are from recordings that the calibration has not seen."]
    else:
        found = [
            "The scores are cross-validated: every stretch was rendered by a fit that had not "
            "seen it, but within one session. That is slightly optimistic, because electrodes "
            "and the subject's state drift: expect a few per cent more, and more on another "
            "day. For a number without that, record another run and give it to "
            "emag-rt report BUNDLE RECORDING."
        ]
    if facts.missing_people:
        found.append(
            f"The bundle leans on {facts.missing_people}, whose file is not part of emag_rt: the "
            "scores are of a field fitted without them, and may look worse than the bundle is."
        )
    found.append(_about_gamma(facts.bands.get("gamma")))
    found.append(
        "Rendered channels hold nothing that the worn electrodes do not, and have less power than "
        "the truth where they are unsure: do not count them as independent measurements."
    )
    ridge = facts.lagged_ridge
    if ridge is not None and facts.nmse > ridge:
        found.append(
            f"A plain lagged ridge regression does no worse here ({ridge:.3f} against "
            f"{facts.nmse:.3f}): the field gives you other electrode positions, not accuracy."
        )
    return found


def _about_gamma(nmse: float | None) -> str:
    start = "Gamma (30 Hz and up) of channels that are not worn is mostly not there, as a rule"
    if nmse is not None:
        start += f"; here {percent(nmse)} of its power is wrong"
    return f"{start}. What is rendered is what the worn electrodes share with them, often muscle."


def _named(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
