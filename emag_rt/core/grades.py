"""From an error to a word: what may be relied on, wherever a bundle is judged.

Errors are NMSE: the power of the error over that of the truth. An estimate that shrinks what it
cannot know, as ours does, correlates with the truth by about sqrt(1 - NMSE): 0.2 is a correlation
of 0.9, 0.5 one of 0.7.
"""

from __future__ import annotations

from typing import Literal

Grade = Literal["good", "fair", "poor"]
GOOD_NMSE = 0.2
FAIR_NMSE = 0.5
SHORT_S = 60.0
NOT_BETTER = 0.95
"""Share of the spline's error above which calibrating has won nothing."""


def grade_of(nmse: float) -> Grade:
    """Grade of an error; what is no number is poor."""
    if nmse <= GOOD_NMSE:
        return "good"
    return "fair" if nmse <= FAIR_NMSE else "poor"


def no_better(nmse: float, spline: float | None) -> bool:
    """Whether interpolation between the worn electrodes would do as well."""
    return spline is not None and nmse > NOT_BETTER * spline


def headline(
    nmse: float, spline: float | None, seconds: float | None, held_out: bool
) -> tuple[Grade, str]:
    """The verdict on a whole bundle.

    Parameters
    ----------
    nmse, spline : float, float or None
        Errors of the rendering and of interpolation, on channels that are not worn.
    seconds : float or None
        Seconds that it was calibrated on, where that is known.
    held_out : bool
        Whether the errors are of recordings that the calibration has not seen.

    Returns
    -------
    grade : {"good", "fair", "poor"}
        Never good where scores are of so little signal that the next run may well differ.
    text : str
        One or two sentences.
    """
    useless = no_better(nmse, spline)
    grade: Grade = "poor" if useless else grade_of(nmse)
    short = not held_out and seconds is not None and seconds < SHORT_S
    share = f"{percent(nmse)} of the power of the channels that are not worn is rendered wrongly"
    if useless:
        yet = (
            "Do not use this bundle for this person"
            if held_out
            else "Do not use the rendered channels yet"
        )
        return grade, (
            f"Poor: {share}, no better than interpolating between the worn electrodes "
            f"({percent(spline or 0.0)}). {yet}."
        )
    if short and grade != "poor":
        return "fair", (
            f"Too early to tell: {share} within these {seconds:.0f} s, and more on another "
            "run. Record 2 to 5 minutes before you rely on a channel."
        )
    told = {
        "good": f"Good: {share}, on average. The channels listed as good can be relied on.",
        "fair": f"Usable with care: {share}, on average. Use the channels listed as good; for the "
        "others look at averages over many trials, not at single moments.",
        "poor": f"Poor: {share}, on average. Do not rely on the rendered channels yet; see what "
        "to do.",
    }
    return grade, told[grade]


def percent(share: float) -> str:
    """A share, as people write it."""
    return f"{100 * share:.0f} %"
