"""The rules of the verdict: from numbers to what to trust and what to do, in plain words.

Errors are NMSE: the power of the error over that of the truth. An estimate that shrinks what it
cannot know, as ours does, correlates with the truth by about sqrt(1 - NMSE): 0.2 is a correlation
of 0.9, 0.5 one of 0.7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from calibration.report.facts import Facts, Grade, Verdict

GOOD_NMSE = 0.2
FAIR_NMSE = 0.5
SHORT_S = 60.0
ADVISED_S = 120.0
BAD_SHARE = 0.1
FAR_MM = 45.0
"""An electrode further than this from every LD electrode is far: caps of 64 lie 30 mm apart."""
NOT_BETTER = 0.95
"""Share of the spline's error above which calibrating has won nothing."""
LONGER_PAYS = 0.05
WAITING_PAYS = 0.05
NOISY_CHANNELS = 0.25
CAUTIOUS_BANDS = ("gamma",)
"""Bands that are never called good: at unseen places they are mostly local, or muscle."""


def grade_of(nmse: float) -> Grade:
    """Grade of an error; what is no number is poor."""
    if nmse <= GOOD_NMSE:
        return "good"
    return "fair" if nmse <= FAIR_NMSE else "poor"


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
    useless = facts.spline is not None and facts.nmse > NOT_BETTER * facts.spline
    grade: Grade = "poor" if useless else grade_of(facts.nmse)
    if grade == "good" and _too_short(facts):
        grade = "fair"
    return Verdict(
        grade,
        _headline(facts, grade, useless),
        _sorted(facts.channels),
        _band_grades(facts.bands),
        tuple(_advice(facts, grade, useless)),
        tuple(_caveats(facts)),
    )


def _headline(facts: Facts, grade: Grade, useless: bool) -> str:
    share = (
        f"{_percent(facts.nmse)} of the power of the channels that are not worn is rendered wrongly"
    )
    if useless:
        yet = (
            "Do not use this bundle for this person"
            if facts.held_out
            else ("Do not use the rendered channels yet")
        )
        return (
            f"Poor: {share}, no better than interpolating between the worn electrodes "
            f"({_percent(facts.spline or 0.0)}). {yet}."
        )
    if _too_short(facts) and grade == "fair":
        return (
            f"Too early to tell: {share} within these {facts.seconds:.0f} s, and more on another "
            "run. Record 2 to 5 minutes before you rely on a channel."
        )
    if grade == "good":
        return f"Good: {share}, on average. The channels listed as good can be relied on."
    if grade == "fair":
        return (
            f"Usable with care: {share}, on average. Use the channels listed as good; for the "
            "others look at averages over many trials, not at single moments."
        )
    return f"Poor: {share}, on average. Do not rely on the rendered channels yet; see what to do."


def _too_short(facts: Facts) -> bool:
    """Whether the scores are of so little signal that the next run may well tell another tale."""
    return not facts.held_out and facts.seconds is not None and facts.seconds < SHORT_S


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
    found = _about_data(facts)
    if useless:
        found.append(
            "Check that the labels belong to the right electrodes and that all channels have the "
            "same reference: a calibration that wins nothing over interpolation is mostly a "
            "mix-up, or one of the problems above."
        )
    found += _about_electrodes(facts)
    if facts.waiting_gain is not None and facts.waiting_gain > WAITING_PAYS:
        found.append(
            f"If 50 ms more of latency do no harm, calibrate with --look-ahead-s 0.05: about "
            f"{_percent(facts.waiting_gain)} less error."
        )
    if grade == "poor" and not found:
        found.append(
            "Wear more electrodes, or better placed ones: emag-rt montage chooses them from this "
            "recording. Look at the traces below for muscle and movement, and record again, "
            "with the subject sitting still."
        )
    return found or ["Nothing needs to be done."]


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
            f"Record for longer: twice the length still took {_percent(gain)} off the "
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
        start += f"; here {_percent(nmse)} of its power is wrong"
    return f"{start}. What is rendered is what the worn electrodes share with them, often muscle."


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _named(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
