"""The description of an outlet, without LSL."""

import numpy as np
import pytest
import scipy.signal

from emag_rt import Upsampler
from emag_rt.daemon.hd_outlet import outlet_spec
from emag_rt.daemon.settings import ServeSettings
from emag_rt.errors import SettingsError
from emag_rt.frontend.filters import butterworth_edges
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.metadata import OutletSpec, buffer_seconds, description
from tests.factories import LD, make_bundle


def on_sphere_of(labels):
    """Where the bundle of the tests has its electrodes, mm."""
    montage = make_bundle(1).manifest.ld_montage
    return np.array([montage.positions_mm[montage.labels.index(label)] for label in labels])


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
    assert "filtering" not in second


def turned(places_mm):
    """By 90 degrees, and twice as large."""
    return 2.0 * places_mm[:, [1, 0, 2]] * [-1, 1, 1]


SOURCE = (
    (
        "channels",
        tuple(
            (
                "channel",
                (
                    ("label", label),
                    ("location", (("X", str(x)), ("Y", str(y)), ("Z", str(z)))),
                    ("impedance", "4.5"),
                    ("hardware", (("model", "active\u202e"), ("material", "Ag-AgCl"))),
                    ("filtering", (("notch", (("type", "IIR"), ("center", "50"))),)),
                ),
            )
            # The bundle's own places, turned by 90 degrees and in another unit.
            for label, (x, y, z) in zip(LD, turned(on_sphere_of(LD)), strict=True)
        ),
    ),
    (
        "fiducials",
        (
            (
                "fiducial",
                (("label", "nasion"), ("location", (("X", "-190"), ("Y", "0"), ("Z", "0")))),
            ),
        ),
    ),
    ("cap", (("name", "EasyCap"), ("size", "58"), ("labelscheme", "10-20"), ("evil", "x"))),
    (
        "acquisition",
        (("manufacturer", "Acme"), ("model", "A1"), ("precision", "24"), ("compensated_lag", "1")),
    ),
)


def test_what_the_source_says_of_amplifier_cap_and_sensors_is_passed_on():
    upsampler = Upsampler(make_bundle(1), engine="packed")
    stream = StreamFormat("amp", "EEG", "a", upsampler.sfreq, LD, ("uV",) * len(LD))
    tree = description(outlet_spec(upsampler, stream, ServeSettings(), SOURCE))
    assert children(tree, "acquisition") == {
        "manufacturer": "Acme",
        "model": "A1",
        "precision": "24",
        "compensated_lag": "0",
    }
    assert children(tree, "cap") == {"name": "EasyCap", "size": "58", "labelscheme": "10-20"}
    nasion = children(tree, "fiducials", "fiducial")
    assert nasion["label"] == "nasion"
    place = [float(text) for _, text in nasion["location"]]
    np.testing.assert_allclose(place, [0.0, 95.0, 0.0], atol=1e-3)
    for _, channel in dict(tree)["channels"]:
        parts = dict(channel)
        if parts["origin"] == "measured":
            assert dict(parts["hardware"]) == {"model": r"active\u202e", "material": "Ag-AgCl"}
            assert parts["impedance"] == "4.5"
            assert dict(dict(parts["filtering"])["notch"]) == {"type": "IIR", "center": "50"}
        else:
            assert not {"hardware", "impedance"} & set(parts)


def test_the_filters_are_those_of_the_front_end():
    bundle = make_bundle(1)
    upsampler = Upsampler(bundle, engine="packed")
    stream = StreamFormat("amp", "EEG", "a", upsampler.sfreq, LD, ("uV",) * len(LD))
    tree = description(outlet_spec(upsampler, stream, ServeSettings()))
    filtering = dict(dict(dict(tree)["channels"][0][1])["filtering"])
    high, low = dict(filtering["highpass"]), dict(filtering["lowpass"])
    band = bundle.manifest.frontend.band_hz
    assert (high["type"], high["design"], high["order"]) == ("IIR", "Butterworth", "2")
    assert (low["type"], low["design"], low["order"]) == ("IIR", "Butterworth", "4")
    at_hz = [float(f) for f in (high["lower"], high["upper"], low["lower"], low["upper"])]
    assert (at_hz[1], at_hz[2]) == band
    sos = bundle.manifest.frontend.sos
    _, response = scipy.signal.sosfreqz(sos, at_hz, fs=upsampler.sfreq)
    np.testing.assert_allclose(20 * np.log10(np.abs(response)), [-20, -3, -3, -20], atol=0.1)
    assert butterworth_edges(np.array(sos) * [2, 2, 2, 1, 1, 1], *band, upsampler.sfreq) is None


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


@pytest.mark.parametrize(
    ("said", "wanted", "told"),
    [
        (
            (("label", "average"), ("subtracted", "Yes"), ("common_average", "Yes")),
            "input",
            ("average", "Yes", "Yes"),
        ),
        ((("label", "CMS"), ("subtracted", "No")), "input", ("CMS", "No", "No")),
        ((("label", "M1"), ("subtracted", "Yes")), "input", ("M1", "Yes", "No")),
        ((), "input", ("input", "No", "No")),
        ((("label", "CMS"), ("subtracted", "No")), "average", ("average", "Yes", "Yes")),
    ],
)
def test_the_reference_of_the_source_is_passed_on_as_it_is(said, wanted, told):
    upsampler = Upsampler(make_bundle(1), engine="packed", reference=wanted)
    label = dict(said).get("label", "")
    stream = StreamFormat(
        "amp", "EEG", "a", upsampler.sfreq, LD, ("uV",) * len(LD), reference=label
    )
    settings = ServeSettings.model_validate({"output": {"reference": wanted}})
    tree = description(outlet_spec(upsampler, stream, settings, (("reference", said),)))
    names = ("label", "subtracted", "common_average")
    assert dict(tree)["reference"] == tuple(zip(names, told, strict=True))
