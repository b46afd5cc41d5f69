"""The description of an outlet, without LSL."""

import numpy as np
import pytest

from emag_rt.errors import SettingsError
from emag_rt.streams.metadata import OutletSpec, buffer_seconds, description


def children(tree, *path):
    for name in path:
        tree = next(content for key, content in tree if key == name)
    return dict(tree) if not isinstance(tree, str) else tree


def spec(**values):
    defaults = {
        "name": "hd",
        "source_id": "hd-1",
        "labels": ("Fp1", "Cz"),
        "sfreq": 160.0,
        "positions_mm": np.array([[-30.0, 80.0, 0.0], [0.0, 0.0, 95.0]]),
        "origin_mm": (1.0, 10.0, 40.0),
    }
    return OutletSpec(**{**defaults, **values})


def test_channels_tell_label_unit_type_position_and_origin():
    tree = description(
        spec(
            channel_origin=("measured", "rendered"),
            expected_nmse=(None, 0.125),
            statistics="simulated",
            highpass=0.5,
        )
    )
    first, second = (dict(content) for _, content in dict(tree)["channels"])
    assert (first["label"], first["unit"], first["type"]) == ("Fp1", "microvolts", "EEG")
    assert dict(first["location"]) == {"X": "-30", "Y": "80", "Z": "0"}
    assert dict(first["loc"])["R0y"] == "0.09"
    assert dict(second["loc"])["R0z"] == "0.135"
    assert (first["kind"], first["coil_type"], first["coord_frame"]) == ("2", "1", "4")
    assert first["origin"] == "measured"
    assert "expected_nmse" not in first
    assert "statistics" not in first, "what is measured is nobody's estimate"
    assert second["statistics"] == "simulated"
    assert (second["origin"], second["expected_nmse"]) == ("rendered", "0.125")
    assert dict(second["filtering"]) == {"highpass": "0.5"}


def test_blocks_of_the_header():
    tree = description(
        spec(
            reference={"label": "CMS", "subtracted": "No", "common_average": "No"},
            highpass=0.5,
            lowpass=45.0,
            compensated_lag_s=0.004,
            model="m1",
            can_drop_samples=True,
            vendor={"version": "1", "empty": ""},
        )
    )
    assert children(tree, "reference")["label"] == "CMS"
    assert children(tree, "filters") == {"highpass": "0.5", "lowpass": "45"}
    assert children(tree, "acquisition") == {
        "manufacturer": "emag_rt",
        "model": "m1",
        "compensated_lag": "0.004",
    }
    assert children(tree, "synchronization") == {"offset_mean": "0", "can_drop_samples": "true"}
    assert children(tree, "emag_rt") == {"version": "1"}
    assert len(dict(tree)["dig"]) == 2


def test_irregular_streams_have_no_filters_and_unknown_positions_are_left_out():
    positions = np.array([[np.nan] * 3, [0.0, 0.0, 95.0]])
    tree = description(spec(sfreq=0.0, highpass=1.0, positions_mm=positions))
    first, second = (dict(content) for _, content in dict(tree)["channels"])
    assert "filters" not in dict(tree)
    assert "location" not in first
    assert "loc" not in first
    assert "location" in second
    assert len(dict(tree)["dig"]) == 1


def test_other_types_are_not_called_eeg():
    tree = description(spec(type="Quality", units=("ms", "count"), positions_mm=None))
    first, second = (dict(content) for _, content in dict(tree)["channels"])
    assert "kind" not in first
    assert (first["unit"], second["unit"]) == ("ms", "count")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"name": ""}, "name must not be empty"),
        ({"source_id": ""}, "source_id must not be empty"),
        ({"labels": ()}, "at least one channel"),
        ({"sfreq": -1.0}, "sfreq"),
        ({"sfreq": float("nan")}, "sfreq"),
        ({"positions_mm": np.zeros((3, 3))}, r"\(2, 3\)"),
        ({"channel_origin": ("measured",)}, "channel_origin"),
        ({"virtual": (True,)}, "virtual"),
        ({"units": ("uV",)}, "units"),
    ],
)
def test_bad_values_are_refused(values, text):
    with pytest.raises(SettingsError, match=text):
        spec(**values)


def test_buffer_is_six_minutes_unless_that_is_too_much():
    assert buffer_seconds(64, 160.0) == 360
    assert buffer_seconds(1, 0.0) == 360
    wide = buffer_seconds(256, 8000.0)
    assert 10 <= wide < 60
    assert wide * 8000 * 256 * 4 < 256e6
    assert buffer_seconds(10_000, 100_000.0) == 1
