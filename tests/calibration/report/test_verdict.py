"""The rules of the verdict, on good and on poor cases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from calibration.report.facts import Facts
from calibration.report.verdict import judge
from emag_rt.core.grades import grade_of

GOOD = Facts(
    nmse=0.1,
    spline=0.2,
    lagged_ridge=0.11,
    channels={"Pz": 0.05, "Iz": 0.15},
    bands={"alpha": 0.08, "beta": 0.19, "gamma": 0.1},
    seconds=180.0,
    held_out=False,
    n_channels=64,
    nearest_ld_mm={"Pz": 30.0, "Iz": 35.0},
    longer_gain=0.01,
    waiting_gain=0.02,
)


def says(verdict, *words):
    text = " ".join(verdict.advice)
    return all(word in text for word in words)


def test_a_good_case_needs_nothing_and_still_warns():
    verdict = judge(GOOD)
    assert verdict.grade == "good"
    assert verdict.headline.startswith("Good: 10 %")
    assert verdict.advice == ("Nothing needs to be done.",)
    assert verdict.channels["good"] == ("Pz", "Iz")
    caveats = " ".join(verdict.caveats)
    assert "slightly optimistic" in caveats
    assert "mostly not there" in caveats
    assert "lagged ridge" not in caveats
    assert "leans on" not in caveats


def test_what_does_not_fit_comes_first():
    advice = judge(replace(GOOD, seconds=20.0, misfits=("LD does not fit the bundle",))).advice
    assert advice[0] == "LD does not fit the bundle."
    assert "Record for longer" in advice[1]


def test_better_electrodes_are_named_where_they_are_markedly_better():
    middling = replace(GOOD, nmse=0.22, spline=0.4)
    unknown = judge(middling).advice
    assert len(unknown) == 1
    assert unknown[0].startswith("No fault was found. Whether other electrodes")
    costly = judge(replace(middling, other_cost_s=90.0)).advice[0]
    assert "about 90 s" in costly
    found = judge(replace(middling, other_set=("Pz", "Oz"), other_nmse=0.135)).advice
    assert len(found) == 1
    assert "leave 14 % wrong instead of 22 %" in found[0]
    assert "Pz, Oz" in found[0]
    assert "--count 2" in found[0]
    alike = judge(replace(middling, other_set=("Pz", "Oz"), other_nmse=0.21)).advice
    assert alike == ("Nothing needs to be done.",)


def test_gamma_is_never_called_good():
    assert judge(GOOD).bands == {"good": ("alpha", "beta"), "fair": ("gamma",), "poor": ()}
    poor = judge(replace(GOOD, bands={"gamma": 0.6}))
    assert poor.bands["poor"] == ("gamma",)
    assert "60 % of its power is wrong" in " ".join(poor.caveats)


@pytest.mark.parametrize(
    ("nmse", "grade"),
    [(0.2, "good"), (0.21, "fair"), (0.5, "fair"), (0.51, "poor"), (float("nan"), "poor")],
)
def test_grades(nmse, grade):
    assert grade_of(nmse) == grade
    assert judge(replace(GOOD, nmse=nmse, spline=2.0)).grade == grade


def test_a_test_run_is_not_blamed_on_the_calibration():
    verdict = judge(
        replace(GOOD, held_out=True, seconds=None, bad=["F1"], bad_here=["F2"], interpolated=True)
    )
    assert not says(verdict, "Record for longer")
    assert says(verdict, "Bad in the calibration and not learned from: F1.")
    assert says(verdict, "Bad in this recording: not scored: F2.")
    assert says(verdict, "channels of this recording were interpolated", "report again")
    assert not says(verdict, "calibrate again")


def test_held_out_scores_are_called_so():
    caveats = " ".join(judge(replace(GOOD, held_out=True)).caveats)
    assert "has not seen" in caveats
    assert "optimistic" not in caveats


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seconds": 25.0}, ("25 s is short", "2 to 5 minutes")),
        ({"longer_gain": 0.12}, ("twice the length", "12 %")),
        ({"seconds": 90.0, "nmse": 0.4, "spline": 0.8}, ("90 s", "2 to 5 minutes")),
        ({"bad": [f"E{i}" for i in range(9)]}, ("9 of 64 channels are bad", "and 1 more", "gel")),
        ({"bad": ["T7"]}, ("Bad and not learned from: T7",)),
        ({"noisy": [f"E{i}" for i in range(20)]}, ("Line noise", "20 of 64", "ground")),
        ({"interpolated": True}, ("interpolated", "mark them as bad")),
        ({"waiting_gain": 0.1}, ("--look-ahead-s 0.05", "10 %")),
    ],
)
def test_each_fault_has_its_remedy(change, words):
    assert says(judge(replace(GOOD, **change)), *words)
    assert not says(judge(GOOD), words[0])


def test_poor_channels_far_from_what_is_worn_are_named():
    far = replace(GOOD, channels={"Pz": 0.1, "Iz": 0.9, "O9": 0.7}, nearest_ld_mm={"Iz": 70.0})
    assert says(judge(far), "Iz: rendered poorly", "45 mm", "(Iz first)", "emag-rt montage")
    near = replace(far, nearest_ld_mm={"Iz": 30.0, "O9": 30.0})
    assert says(judge(near), "although worn electrodes are near", "muscle")


def test_no_better_than_interpolation_is_poor_whatever_the_number():
    verdict = judge(replace(GOOD, nmse=0.195, spline=0.2))
    assert verdict.grade == "poor"
    assert "no better than interpolating" in verdict.headline
    assert says(verdict, "labels belong to the right electrodes")


def test_a_poor_case_always_has_something_to_do():
    verdict = judge(replace(GOOD, nmse=0.7, spline=0.9, channels={"Pz": 0.3}, bands={}))
    assert verdict.grade == "poor"
    assert says(verdict, "Wear more electrodes")
    assert not any(verdict.bands.values())


def test_ridge_that_does_as_well_is_told():
    assert "0.090 against 0.100" in " ".join(judge(replace(GOOD, lagged_ridge=0.09)).caveats)


def test_little_signal_is_no_reassurance():
    """19 s promised 6 %, and the next run had 9."""
    short = judge(replace(GOOD, seconds=19.0, longer_gain=None))
    assert short.grade == "fair"
    assert short.headline.startswith("Too early to tell: 10 %")
    assert "relied on." not in short.headline
    assert judge(replace(GOOD, seconds=19.0, held_out=True)).grade == "good", "seen on another run"


def test_a_bundle_that_wins_nothing_on_this_person_is_called_by_its_name():
    verdict = judge(replace(GOOD, nmse=0.25, spline=0.25, held_out=True))
    assert "Do not use this bundle for this person." in verdict.headline
