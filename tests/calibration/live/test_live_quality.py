"""Bad channels, in plain words; what is shown of them; what a stream's channels are taken for."""

import io

import numpy as np
import pytest

from calibration.live.channels import eeg_labels, live_channels
from calibration.live.display import LiveState, picture
from calibration.live.ld_labels import read_ld
from calibration.live.parts import Counts
from calibration.live.quality import QualityWatch
from emag_rt.errors import MontageError, SettingsError, StreamMismatch
from emag_rt.montages.headsets import read_headset
from tests.calibration.live.stage import LABELS, Said, eeg, stream

N = len(LABELS)


def line(n, amplitude_uv):
    return amplitude_uv * np.sin(2 * np.pi * 50.0 * np.arange(n) / 250.0)[:, None]


def spoiled(kind):
    """Ten seconds of EEG whose fourth channel (Cz) is bad; 250 Hz."""
    data = eeg(10.0, sfreq=250.0).astype(np.float64)
    if kind == "flat":
        data[:, 3] = 40.0
    elif kind == "railed":
        data[:, 3] = 187_500.0
    elif kind == "clipped":
        data[:, 3] = 3000.0 * np.sign(data[:, 3])
    elif kind == "wild":
        data[:, 3] *= 20.0
    elif kind == "missing":
        data[500:1500, 3] = np.nan
    elif kind == "line noise":
        data[:, 3:4] += line(len(data), 60.0)
    return data


def watch(data, sfreq=250.0):
    quality = QualityWatch(LABELS, sfreq, (0.5, 45.0))
    for i in range(0, len(data), 37):
        quality.add(data[i : i + 37])
    return quality


@pytest.mark.parametrize("kind", ["flat", "railed", "clipped", "wild", "missing", "line noise"])
def test_each_fault_is_told_with_what_to_do(kind):
    (found,) = watch(spoiled(kind)).judge()
    assert (found.label, found.kind) == ("Cz", kind)
    assert found.advice.startswith("Cz: ")
    if kind == "line noise":
        assert found.advice == "Cz: line noise; check the electrode"


def test_good_channels_are_not_blamed_and_bad_ones_are_forgiven():
    assert watch(spoiled("")).judge() == []
    quality = watch(spoiled("wild"))
    assert len(quality.judge()) == 1
    quality.add(spoiled("")[:2500])
    quality.add(spoiled("")[:2500])
    assert quality.judge() == [], "ten seconds later"


def test_what_all_channels_have_is_blamed_on_none():
    (found,) = watch(spoiled("") + line(2500, 60.0)).judge()
    assert found.advice.startswith("all channels: line noise; check the ground and reference")
    (found,) = watch(np.full((2500, N), 7.0)).judge()
    assert found.advice.startswith("all channels: flat; is the amplifier measuring")


def state(findings, **changes):
    values = {
        "phase": "recording",
        "seconds": 30.0,
        "wanted_s": 120.0,
        "n_channels": N,
        "findings": findings,
        "counts": Counts(gaps=2),
        "n_markers": 3,
        "time_s": 0.0,
    } | changes
    return LiveState(**values)


def test_lines_tell_what_is_new_and_the_picture_everything():
    from rich.console import Console

    findings = watch(spoiled("line noise")).judge()
    said = Said()
    for time_s, now in ((0.0, findings), (0.5, findings), (1.0, []), (12.0, [])):
        said.update(state(now, time_s=time_s))
    figures = "recording: 30 of 120 s, {} of 8 channels good, 2 gaps, 3 markers"
    assert said.lines[0] == figures.format(7)
    assert said.lines[1].startswith("  Cz: line noise; check the electrode (")
    assert said.lines[2:] == ["  Cz: good again", figures.format(8)]

    console = Console(file=io.StringIO(), width=120)
    console.print(picture(state(findings)))
    shown = console.file.getvalue()
    assert "Cz: line noise; check the electrode" in shown
    assert "7 of 8 channels good" in shown
    assert "━" in shown


def test_units_and_labels_must_be_known_before_anything_is_recorded():
    channels = live_channels(stream(units=("V",) * N))
    np.testing.assert_array_equal(channels.factors, 1e6)
    assert channels.notes == ()
    channels = live_channels(stream(units=()))
    assert "declares no unit: taken to be microvolts" in channels.notes[0]
    assert live_channels(stream(units=()), unit="mV").notes == ()
    with pytest.raises(StreamMismatch, match="channel Fp1: unit must be one of V"):
        live_channels(stream(units=("furlong",) * N))
    with pytest.raises(StreamMismatch, match="irregular rate"):
        live_channels(stream(sfreq=0.0))
    with pytest.raises(StreamMismatch, match=r"8 without labels.*--headset"):
        live_channels(stream(labels=(), n_channels=N))
    unknown = tuple(f"ch{i}" for i in range(N - 3))
    with pytest.raises(MontageError, match=r"got 3 of 8 .*10-05 system"):
        live_channels(stream(labels=(*LABELS[:3], *unknown)))
    notes = live_channels(stream(labels=(*LABELS[:7], "ch8"))).notes
    assert notes == ("positions unknown: ch8: recorded, but not learned from",)
    with pytest.raises(MontageError, match="T3"):
        live_channels(stream(labels=(*LABELS[:6], "T7", "T3")))


def test_the_streams_own_positions_count_where_they_are_those_of_a_head():
    by_label = live_channels(stream()).positions_mm
    own = by_label * 1.1
    keys = [f"location/{axis}" for axis in "XYZ"]
    fields = [{"type": "EEG", **dict(zip(keys, map(str, row), strict=True))} for row in own]
    np.testing.assert_allclose(live_channels(stream(), fields).positions_mm, own)
    keys = [f"loc/R0{axis}" for axis in "xyz"]
    metres = [dict(zip(keys, map(str, row), strict=True)) for row in own / 1e3]
    np.testing.assert_allclose(live_channels(stream(), metres).positions_mm, own)
    wrong = [dict.fromkeys(f, "0.08") | {"type": "EEG"} for f in fields]  # one place for all
    channels = live_channels(stream(), wrong)
    np.testing.assert_array_equal(channels.positions_mm, by_label)
    assert "not those of a head" in channels.notes[0]


def test_a_headset_names_what_the_stream_does_not():
    cyton = read_headset("openbci-cyton-8")
    bare = stream(labels=(), units=(), n_channels=11)
    channels = live_channels(bare, names=cyton.names)
    assert channels.labels == (*cyton.labels, "channel 9", "channel 10", "channel 11")
    assert channels.kinds == ("eeg",) * 8 + ("misc",) * 3
    assert len(channels.notes) == 2, "labels and unit are taken on trust, and said"
    with pytest.raises(StreamMismatch, match="8 channels of headset"):
        live_channels(stream(labels=(), n_channels=4, units=()), names=cyton.names)


def test_a_headset_is_never_taken_in_order_where_labels_say_another_one():
    cyton = read_headset("openbci-cyton-8")
    one_less = (*cyton.channels[1:], "X9", "X10")
    units = ("microvolts",) * len(one_less)
    with pytest.raises(StreamMismatch, match=f"1 of 8 are lacking: {cyton.channels[0]}\\."):
        live_channels(stream(labels=one_less, units=units), names=cyton.names)
    foreign = tuple(f"ch{i}" for i in range(8))
    assert live_channels(stream(labels=foreign), names=cyton.names).labels == cyton.channels
    dsi = read_headset("dsi-24")
    channels = live_channels(
        stream(labels=dsi.labels, units=("uV",) * len(dsi.labels)), names=dsi.names
    )
    assert channels.labels == dsi.labels, "what is no EEG may be switched off"


def test_biosemi_says_a1_where_it_means_fp1():
    cap = read_headset("biosemi-32")
    sent = ("Trig1", *cap.sends, "EX1")
    form = stream(labels=sent, units=("microvolts",) * 34)
    channels = live_channels(form, names=cap.names)
    assert channels.labels == ("Trig1", *cap.labels, "EX1")
    assert [channels.labels[i] for i in channels.eeg] == list(cap.labels)
    assert "A1 Fp1" in channels.notes[0]


def test_ld_may_be_a_headset_or_what_it_was():
    assert read_ld("8").ld == 8
    assert read_ld("@headset:Emotiv-EPOC-14").ld[0] == "AF3"
    dsi, emotiv = read_ld("@headset:dsi-24"), read_ld("@headset:emotiv-epoc-14")
    assert len(dsi.ld) == 18
    assert dsi.sfreq == 300.0, "it has no other rate"
    assert emotiv.sfreq is None
    assert "128 or 256 Hz: say yours with --sfreq" in emotiv.note
    with pytest.raises(SettingsError, match="nearest: biosemi"):
        read_ld("@headset:biosemi")
    fields = [{"type": "EEG"}] * 7 + [{"type": "AUX"}]
    assert eeg_labels(stream(), fields) == list(LABELS[:7])
