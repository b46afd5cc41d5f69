"""Does a stream fit a bundle: said with the command that mends it."""

from dataclasses import replace

import pytest

from emag_rt.engine.matching import check_return, match_input
from emag_rt.errors import SettingsError, StreamMismatch
from emag_rt.montages.headsets import channel_names
from emag_rt.streams.base import StreamFormat
from tests.factories import LD, make_bundle

BUNDLE = make_bundle(1)
AMP = StreamFormat("Amp", "EEG", "amp-1", 200.0, LD, ("microvolts",) * len(LD))


def test_a_stream_that_fits():
    match = match_input(AMP, BUNDLE)
    assert match.channels == LD
    assert set(match.units) == {"microvolts"}
    assert match.warnings == ()


def test_rounded_rates_order_aliases_and_extras_fit():
    labels = ("AUX", *(label.lower() for label in LD[::-1] if label != "T7"), "T3", "trigger")
    units = ("", *["mV"] * len(LD), "ohm")
    match = match_input(
        replace(AMP, sfreq=199.9, labels=labels, units=units, n_channels=10), BUNDLE
    )
    assert match.channels == labels
    assert match.units[1] == "mV"
    (warning,) = match.warnings
    assert "199.9 Hz is no whole number. OpenViBE would take the output for 199 Hz" in warning


@pytest.mark.parametrize("sfreq", [250.0, 198.0, float("nan")])
def test_other_rates_are_refused_with_the_command(sfreq):
    with pytest.raises(StreamMismatch) as caught:
        match_input(replace(AMP, sfreq=sfreq), BUNDLE)
    text = str(caught.value)
    assert "'Amp' (source_id 'amp-1')" in text
    assert "200 Hz" in text
    assert f"emag-rt calibrate RECORDING --ld {','.join(LD)} --sfreq {sfreq:g}" in text
    assert caught.value.exit_code == 8


def test_missing_channels_are_refused_by_name():
    labels = tuple(label for label in LD if label not in ("T7", "O2"))
    with pytest.raises(StreamMismatch, match="missing T7, O2"):
        match_input(replace(AMP, labels=labels, units=("uV",) * 6, n_channels=6), BUNDLE)


def test_streams_without_labels():
    nameless = replace(AMP, labels=(), n_channels=8)
    match = match_input(nameless, BUNDLE)
    assert match.channels == LD
    assert "names no channels" in match.warnings[0]
    with pytest.raises(StreamMismatch, match="exactly the 8 of the bundle, got 9"):
        match_input(replace(nameless, n_channels=9), BUNDLE)


def test_units():
    silent = match_input(replace(AMP, units=()), BUNDLE)
    assert set(silent.units) == {"microvolts"}
    assert "declares no unit" in silent.warnings[0]
    told = match_input(replace(AMP, units=()), BUNDLE, unit="mV")
    assert set(told.units) == {"mV"}
    assert told.warnings == ()
    with pytest.raises(StreamMismatch, match=r"'Amp'.*V, mV.*'ohm'.*--unit"):
        match_input(replace(AMP, units=("ohm",) * 8), BUNDLE)
    assert match_input(replace(AMP, units=("ohm",) * 8), BUNDLE, unit="V").units[0] == "V"
    with pytest.raises(StreamMismatch, match="a unit for each of its 8"):
        match_input(replace(AMP, units=("uV",) * 3), BUNDLE)


def test_an_irregular_rate_is_refused():
    with pytest.raises(StreamMismatch, match=r"200 Hz as calibrated, got an irregular rate"):
        match_input(replace(AMP, sfreq=0.0), BUNDLE)


def test_a_source_that_comes_back_as_it_was():
    assert not check_return(AMP, replace(AMP, uid="another", hostname="elsewhere"))
    assert not check_return(AMP, replace(AMP, labels=tuple(label.upper() for label in LD)))
    assert not check_return(replace(AMP, labels=(), units=()), replace(AMP, labels=(), units=()))


def test_another_order_of_channels_can_be_helped():
    mixed = replace(AMP, units=("V", *AMP.units[1:]))
    assert check_return(mixed, replace(mixed, labels=LD[::-1], units=mixed.units[::-1]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sfreq": 250.0}, "rate 200 Hz became 250 Hz"),
        ({"labels": ("X", *LD[1:])}, "labels Fp1,.* became X,"),
        ({"channel_format": "int16"}, "format float32 became int16"),
        ({"n_channels": 9}, "8 channels became 9"),
        ({"units": ("V",) * 8}, r"units \['microvolts'\] became \['V'\]"),
        ({"labels": LD[::-1], "units": ("V", *AMP.units[1:])}, "units"),
    ],
)
def test_a_source_that_comes_back_changed(change, message):
    with pytest.raises(StreamMismatch, match=f"must come back as it was: {message}"):
        check_return(AMP, replace(AMP, **change))


@pytest.mark.parametrize("pattern", ["EEG-{}", "{}-Pz", "eeg {}-A1A2"])
def test_what_all_labels_share_is_cut_and_said(pattern):
    labels = tuple(pattern.format(label) for label in LD)
    match = match_input(replace(AMP, labels=labels), BUNDLE)
    assert match.channels == LD
    (warning,) = match.warnings
    assert "all labels" in warning


def test_labels_of_two_references_are_refused():
    labels = tuple(f"{label}-{'M1' if i % 2 else 'M2'}" for i, label in enumerate(LD))
    with pytest.raises(StreamMismatch, match="must have one reference"):
        match_input(replace(AMP, labels=labels), BUNDLE)


CH = tuple(f"Ch{i + 1}" for i in range(8))


def test_a_stream_that_describes_some_of_its_channels_is_never_read_in_order():
    partly = replace(AMP, labels=(), units=(), n_channels=8, described=LD[::-1][:7])
    with pytest.raises(StreamMismatch, match=r"describe each of its 8 .*got 7.*--channels A,B"):
        match_input(partly, BUNDLE)
    named = match_input(partly, BUNDLE, names=channel_names(None, ",".join(LD[::-1])))
    assert named.channels == LD[::-1]
    with pytest.raises(StreamMismatch, match="must not contradict the source"):
        match_input(partly, BUNDLE, names=channel_names(None, ",".join(LD)))


def test_labels_that_name_no_electrode_are_refused_with_what_names_them():
    amp = replace(AMP, labels=CH)
    with pytest.raises(StreamMismatch, match=r"got Ch1, Ch2.*--headset NAME.*--channels A,B"):
        match_input(amp, BUNDLE)
    match = match_input(amp, BUNDLE, names=channel_names(None, ",".join(LD[::-1])))
    assert match.channels == LD[::-1]
    assert "named in order by --channels: Ch1 O2" in match.warnings[0]


def test_a_headset_is_not_taken_in_order_where_one_of_its_names_comes():
    cyton = channel_names("openbci-cyton-8", None)
    with pytest.raises(StreamMismatch, match="must send every EEG channel of headset"):
        match_input(replace(AMP, labels=(cyton.channels[1], *CH[1:])), BUNDLE, names=cyton)
    partly = replace(AMP, labels=(), units=(), n_channels=8, described=cyton.channels[:7])
    with pytest.raises(StreamMismatch, match="must send every EEG channel of headset"):
        match_input(partly, BUNDLE, names=cyton)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("Fp1,Fp2", r"each of its 8 channels in order, got 2 names. It calls them Fp1"),
        (",".join(LD[::-1]), "must not contradict the source"),
    ],
)
def test_names_that_do_not_fit_are_refused(names, message):
    with pytest.raises(StreamMismatch, match=message):
        match_input(AMP, BUNDLE, names=channel_names(None, names))


@pytest.mark.parametrize(
    ("headset", "channels", "message"),
    [
        ("gtec-16", "Fz,Cz", "exclude each other"),
        (None, "Fz,,Cz", "must name each channel"),
        (None, "Fz,T3,T7", "must be unique"),
        ("no-such", None, "emag-rt headsets"),
    ],
)
def test_names_that_say_nothing_are_refused(headset, channels, message):
    with pytest.raises(SettingsError, match=message):
        channel_names(headset, channels)
