"""Every headset that is shipped: right by its schema, known to MNE, and listed."""

import json

import mne
import pytest
from click.testing import CliRunner

from emag_rt.cli.main import cli
from emag_rt.core.labels import canonical
from emag_rt.errors import SettingsError
from emag_rt.montages.headsets import Headset, headset_names, read_headset
from emag_rt.recordings.positions import template

# EEG channels, and the MNE montage that has them all.
EXPECTED = {
    "1020-19": (19, "standard_1005"),
    "ant-waveguard-32": (32, "standard_1005"),
    "ant-waveguard-64": (63, "standard_1005"),
    "biosemi-32": (32, "biosemi32"),
    "biosemi-64": (64, "biosemi64"),
    "biosemi-128": (128, "biosemi128"),
    "dsi-24": (18, "standard_1005"),
    "egi-hydrocel-128": (128, "GSN-HydroCel-128"),
    "egi-hydrocel-256": (256, "GSN-HydroCel-256"),
    "emotiv-epoc-14": (14, "standard_1005"),
    "gtec-16": (16, "standard_1005"),
    "gtec-32": (32, "standard_1005"),
    "openbci-cyton-8": (8, "standard_1005"),
    "openbci-cyton-daisy-16": (16, "standard_1005"),
}


def test_all_of_them_are_tested():
    assert set(headset_names()) == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_headset(name):
    headset = read_headset(name)
    count, montage = EXPECTED[name]
    assert len(headset.labels) == count
    known = {canonical(label) for label in template(montage)}
    assert [label for label in headset.labels if canonical(label) not in known] == []
    assert len({canonical(label) for label in headset.channels}) == len(headset.channels)
    assert headset.source
    assert headset.quirks
    if headset.sends:
        assert [headset.names.electrode_of(label) for label in headset.sends] == list(
            headset.channels
        )


@pytest.mark.parametrize(("name", "montage"), [("biosemi-32", 32), ("biosemi-64", 64)])
def test_biosemi_is_in_the_order_of_mne(name, montage):
    """A1 is the first of MNE's template, and so on: a wrong order would rename electrodes."""
    labels = mne.channels.make_standard_montage(f"biosemi{montage}").ch_names
    assert list(read_headset(name).channels) == labels


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"channels": ("Fz", "FZ")}, "Fz"),
        ({"sends": ("A1",)}, "each of the channels"),
        ({"not_eeg": ("EOG",)}, "must name channels"),
        ({"unit": "furlong"}, "unit must be one of"),
        ({"sfreq": ()}, "at least 1"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_a_wrong_one_is_refused(change, reason):
    right = {
        "name": "x",
        "title": "X",
        "channels": ("Fz", "Cz"),
        "sfreq": (250.0,),
        "unit": "V",
        "reference": "Pz",
        "source": "a test",
    }
    Headset(**right)
    with pytest.raises(ValueError, match=reason):
        Headset(**right | change)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("openbci", " (nearest: openbci-cyton-8, openbci-cyton-daisy-16)"),
        ("eego", " (nearest: ant-waveguard-32, ant-waveguard-64)"),
        ("biosemi", " (nearest: biosemi-128, biosemi-32, biosemi-64)"),
        ("biosemi64", " (nearest: biosemi-64, biosemi-32, biosemi-128)"),
        ("muse", ""),
        ("", ""),
    ],
)
def test_of_an_unknown_one_the_nearest_are_named_and_never_all(name, near):
    with pytest.raises(SettingsError) as caught:
        read_headset(name)
    assert f"that `emag-rt headsets` lists{near}, got {name!r}" in str(caught.value)


def test_the_list_and_all_of_one():
    run = CliRunner().invoke
    listed = json.loads(run(cli, ["headsets", "--json"]).output)
    assert [entry["name"] for entry in listed] == sorted(EXPECTED)
    assert "emotiv-epoc-14" in run(cli, ["headsets"]).output
    shown = run(cli, ["headsets", "dsi-24"]).output
    assert "not EEG: CM, A1" in shown
    assert "source: Wearable Sensing" in shown
