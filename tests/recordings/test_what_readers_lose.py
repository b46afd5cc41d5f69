"""Files as laboratories have them: what readers lose in silence, or refuse without need."""

import mne
import numpy as np
import pytest
from scipy.io import savemat

from emag_rt.core.labels import cut_common
from emag_rt.errors import RecordingError
from emag_rt.recordings.positions import template, ten_five
from emag_rt.recordings.read import read_recording
from emag_rt.recordings.xdf_write import XdfWriter
from tests.recordings.edf_files import write_edf
from tests.recordings.test_xdf import START, channel, eeg, head, write

SFREQ = 160
NAMES = ["Fp1", "Fp2", "F3", "F4", "Fz", "C3", "C4", "Cz", "P3", "P4", "Pz", "O1", "O2", "Oz"]


def signal(n_channels=14, n=20 * SFREQ, seed=0):
    return np.random.default_rng(seed).normal(scale=20.0, size=(n, n_channels))


def edf(path, labels=NAMES, **more):
    data = signal(len(labels))
    write_edf(path, dict(zip(labels, data.T, strict=True)), SFREQ, **more)
    return data


def test_an_interrupted_edf_keeps_its_times(tmp_path):
    """EDF+D: the hole is a hole, annotations stand where they were made."""
    onsets = np.array([*range(10), *range(14, 24)], dtype=float)
    marks = [(5.0, 0.0, "before"), (15.5, 1.0, "BAD after"), (22.0, 0.0, "last")]
    data = edf(tmp_path / "d.edf", onsets=onsets, marks=marks)
    recording = read_recording(tmp_path / "d.edf")
    assert recording.segments == (
        (0, 10 * SFREQ),
        (14 * SFREQ, int(15.5 * SFREQ)),
        (int(16.5 * SFREQ), 24 * SFREQ),
    )
    assert [(t, text) for t, _, text in recording.events] == [
        (5.0, "before"),
        (10.0, "BAD_gap"),
        (15.5, "BAD after"),
        (22.0, "last"),
    ]
    np.testing.assert_allclose(recording.data_uv[14 * SFREQ :], data[10 * SFREQ :], atol=0.05)
    assert np.isnan(recording.data_uv[10 * SFREQ : 14 * SFREQ]).all()
    assert any("interrupted 1 times, 4.0 s" in note for note in recording.warnings)


def test_a_long_interruption_is_cut_out(tmp_path):
    onsets = np.array([*range(10), *range(1000, 1010)], dtype=float)
    edf(tmp_path / "d.edf", onsets=onsets, marks=[(1002.0, 0.0, "late")])
    recording = read_recording(tmp_path / "d.edf")
    assert recording.segments == ((0, 10 * SFREQ), (10 * SFREQ, 20 * SFREQ))
    assert (12.0, 0.0, "late") in recording.events


def test_an_interrupted_edf_without_times_is_refused(tmp_path):
    edf(tmp_path / "d.edf", onsets=np.arange(20)[::-1].astype(float))
    with pytest.raises(RecordingError, match="when each record begins, in order"):
        read_recording(tmp_path / "d.edf")


def test_a_quick_ecg_does_not_set_the_rate(tmp_path):
    data = signal()
    ecg = np.zeros(20 * 500)
    write_edf(
        tmp_path / "e.edf",
        {**dict(zip(NAMES, data.T, strict=True)), "ECG": ecg},
        SFREQ,
        rates={"ECG": 500},
    )
    recording = read_recording(tmp_path / "e.edf")
    assert recording.sfreq == SFREQ
    assert recording.labels == tuple(NAMES)
    np.testing.assert_allclose(recording.data_uv, data, atol=0.05)
    assert any("faster than the EEG, left out: ECG" in note for note in recording.warnings)


def test_latin_1_annotations_are_read(tmp_path):
    edf(tmp_path / "l.edf", marks=[(3.0, 0.0, "Augen auf, müde")], encoding="latin-1")
    recording = read_recording(tmp_path / "l.edf")
    assert [text for _, _, text in recording.events] == ["Augen auf, müde"]
    assert any("read as Latin-1" in note for note in recording.warnings)


@pytest.mark.parametrize("pattern", ["{}-A1A2", "EEG-{}", "{}-Pz", "EEG {}-REF", "eeg:{}:x"])
def test_what_all_labels_share_is_cut(pattern, tmp_path):
    edf(tmp_path / "a.edf", [pattern.format(name) for name in NAMES])
    recording = read_recording(tmp_path / "a.edf")
    assert recording.labels == tuple(NAMES)
    assert recording.unplaced == ()


@pytest.mark.parametrize("labels", [NAMES, ["E1", "E2", "E3"], ["A1", "A2", "A3"], ["Fz"]])
def test_labels_that_need_no_cut_are_left(labels):
    assert cut_common(labels, ten_five()) == (labels, "")


@pytest.mark.parametrize(
    "labels",
    [
        [f"{n}-{'M2' if n[-1] in '13z' else 'M1'}" for n in NAMES],
        [f"EEG {n}-{'A1' if n[-1] in '13z' else 'A2'}" for n in NAMES],
        ["Fp1-F3", "F3-C3", "C3-P3", "P3-O1"],
    ],
)
def test_labels_of_two_references_are_refused(labels, tmp_path):
    edf(tmp_path / "r.edf", labels)
    with pytest.raises(RecordingError, match="must have one reference"):
        read_recording(tmp_path / "r.edf")


@pytest.mark.parametrize(
    ("n", "net"), [(16, "biosemi16"), (32, "biosemi32"), (64, "biosemi64"), (128, "biosemi128")]
)
def test_nets_that_share_numbers_are_told_by_their_size(n, net, tmp_path):
    labels = [f"{'ABCD'[i // 32]}{i % 32 + 1}" for i in range(n)]
    edf(tmp_path / "b.edf", labels)
    recording = read_recording(tmp_path / "b.edf")
    wanted = np.array(list(template(net).values()))
    np.testing.assert_allclose(recording.positions_mm + recording.origin_mm, wanted)
    assert recording.template.startswith(net)
    assert any(f"template {net}" in note for note in recording.warnings)


@pytest.mark.parametrize(
    ("n", "net"), [(32, "GSN-HydroCel-32"), (64, "GSN-HydroCel-64_1.0"), (100, "GSN-HydroCel-128")]
)
def test_so_are_those_of_egi(n, net, tmp_path):
    edf(tmp_path / "b.edf", [f"E{i + 1}" for i in range(n)])
    assert read_recording(tmp_path / "b.edf").template == net


def placed(path, places):
    """A FIF file with positions of its own, in mm."""
    raw = mne.io.RawArray(
        signal(len(NAMES), 400).T * 1e-6, mne.create_info(NAMES, SFREQ, "eeg"), verbose="ERROR"
    )
    for ch in raw.info["chs"]:
        ch["loc"][:3] = places.get(ch["ch_name"], np.full(3, np.nan)) / 1000.0
    raw.save(path, verbose="ERROR")
    return path


def own_places(seed=0):
    """A head that is not the template's: larger, and every electrode a few mm off."""
    rng = np.random.default_rng(seed)
    return {name: 1.05 * template()[name] + rng.normal(0, 3, 3) for name in NAMES}


def errors_mm(recording):
    there = np.array([template()[label] for label in recording.labels])
    return np.linalg.norm(recording.positions_mm + recording.origin_mm - there, axis=1)


def test_positions_of_a_head_of_its_own_are_left(tmp_path):
    places = own_places()
    recording = read_recording(placed(tmp_path / "p_raw.fif", places))
    np.testing.assert_allclose(
        recording.positions_mm + recording.origin_mm,
        [places[name] for name in NAMES],
        atol=1e-4,
    )
    assert recording.template == ""
    assert recording.warnings == ()


@pytest.mark.parametrize(
    "frame",
    [
        lambda p: np.array([p[1], -p[0], p[2]]),  # EEGLAB: the nose is x
        lambda p: p + np.array([0.0, 20.0, -45.0]),
        lambda p: p * np.array([-1.0, 1.0, 1.0]),
        lambda p: 0.01 * p,
    ],
)
def test_positions_in_another_frame_are_brought_home(frame, tmp_path):
    places = {name: frame(place) for name, place in own_places().items()}
    del places["Cz"], places["O2"]
    recording = read_recording(placed(tmp_path / "p_raw.fif", places))
    assert errors_mm(recording).max() < 15.0
    assert any("another frame" in note for note in recording.warnings)
    assert recording.unplaced == ()


def test_missing_positions_follow_the_fit_of_the_others(tmp_path):
    places = own_places()
    truth = places.pop("Cz")
    recording = read_recording(placed(tmp_path / "p_raw.fif", places))
    found = (recording.positions_mm + recording.origin_mm)[NAMES.index("Cz")]
    assert np.linalg.norm(found - truth) < 8.0


@pytest.mark.parametrize("factor", [10.0, 0.3, -1.0])
def test_one_wrong_place_bends_nothing(factor, tmp_path):
    places = own_places()
    places["Oz"] = factor * places["Oz"]
    recording = read_recording(placed(tmp_path / "p_raw.fif", places))
    assert errors_mm(recording).max() < 15.0
    (note,) = [note for note in recording.warnings if "far from where" in note]
    assert "Oz" in note
    assert "Fz" not in note


def test_brainvision_without_coordinates_is_placed_by_label(tmp_path):
    data = np.round(signal() * 10).astype("<i2")
    (tmp_path / "c.eeg").write_bytes(data.tobytes())
    (tmp_path / "c.vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\nCodepage=UTF-8\n"
        "DataFile=c.eeg\n[Marker Infos]\nMk1=New Segment,,1,1,0\n",
        encoding="utf-8",
    )
    channels = "".join(f"Ch{i}={name},,0.1,µV\n" for i, name in enumerate(NAMES, 1))
    places = "".join(f"Ch{i}=0,0,0\n" for i in range(1, len(NAMES) + 1))
    (tmp_path / "c.vhdr").write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nCodepage=UTF-8\n"
        "DataFile=c.eeg\nMarkerFile=c.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
        f"NumberOfChannels={len(NAMES)}\nSamplingInterval={1e6 / SFREQ}\n[Binary Infos]\n"
        f"BinaryFormat=INT_16\n[Channel Infos]\n{channels}[Coordinates]\n{places}",
        encoding="utf-8",
    )
    recording = read_recording(tmp_path / "c.vhdr")
    assert recording.labels == tuple(NAMES)
    assert errors_mm(recording).max() < 1e-6
    np.testing.assert_allclose(recording.data_uv, data / 10, atol=1e-9)


@pytest.mark.parametrize("code", [-99, "boundary"])
def test_eeglab_boundaries_however_they_are_coded(code, tmp_path):
    n = 20 * SFREQ
    events = np.array(
        [(code, 5 * SFREQ + 0.5, 100.0), (1 if code == -99 else "1", 9 * SFREQ + 1.0, 0.0)],
        dtype=[("type", object), ("latency", float), ("duration", float)],
    )
    content = {
        "setname": "s", "nbchan": len(NAMES), "trials": 1, "pnts": n, "srate": float(SFREQ),
        "xmin": 0.0, "xmax": (n - 1) / SFREQ, "data": signal().T, "icawinv": [], "epoch": [],
        "chanlocs": np.array([(name,) for name in NAMES], dtype=[("labels", object)]),
        "event": events,
    }  # fmt: skip
    savemat(tmp_path / "b.set", {"EEG": content}, appendmat=False)
    recording = read_recording(tmp_path / "b.set")
    ((_, first), (second, stop)) = recording.segments
    assert first == second
    assert abs(first - 5 * SFREQ) <= 1
    assert stop == n


def test_stamps_in_bursts_are_one_even_recording(tmp_path):
    """Each sample stamped when its packet was pushed: 9 at a time, some of them late."""
    n, rng = 6400, np.random.default_rng(3)
    data = eeg(n)
    for size in (2, 9, 16):
        due = START + (np.arange(n) // size * size + size - 1) / 200.0
        late = np.repeat(rng.exponential(0.004, n // size + 1), size)[:n]
        stamps = np.maximum.accumulate(due + late) + 1e-5 * (np.arange(n) % size)
        path = write(tmp_path / f"{size}.xdf", stamps, data.astype(np.float32))
        recording = read_recording(path)
        assert recording.segments == ((0, n),)
        assert recording.sfreq == 200.0
        assert recording.warnings == ()


def test_a_loss_among_bursts_is_found(tmp_path):
    n, size = 6400, 9
    stamps = START + (np.arange(n) // size * size + size - 1) / 200.0
    stamps = stamps + 1e-5 * (np.arange(n) % size)
    kept = np.r_[0:2700, 3150:n]
    recording = read_recording(write(tmp_path / "l.xdf", stamps[kept], eeg(len(kept))))
    (before, after) = recording.segments
    assert before == (0, 2700)
    assert abs(after[0] - 3150) <= 1


@pytest.mark.parametrize("where", [0, 4, -1])
def test_one_clock_offset_that_cannot_be_true(where, tmp_path):
    n = 8000
    stamps = START + np.arange(n) / 200.0
    with XdfWriter(tmp_path / "o.xdf") as writer:
        number = writer.add_stream(head())
        times = np.arange(START, START + n / 200.0 + 5.0, 5.0)
        offsets = np.full(len(times), 0.25)
        offsets[where] = -4000.0
        for time, offset in zip(times, offsets, strict=True):
            writer.clock_offset(number, time, offset)
        writer.samples(number, eeg(n), stamps)
    recording = read_recording(tmp_path / "o.xdf")
    assert recording.segments == ((0, n),)
    assert any("1 of" in note and "cannot be true" in note for note in recording.warnings)


def test_what_has_no_unit_of_voltage_is_no_eeg(tmp_path):
    rows = [channel("Timestamp", "seconds"), channel("Counter", "")]
    rows += [channel(label) for label in ("Fp1", "Fz", "Cz", "C3", "C4", "Pz")]
    path = write(
        tmp_path / "e.xdf",
        START + np.arange(2000) / 200.0,
        eeg(2000),
        description=head(channels=rows),
    )
    recording = read_recording(path)
    assert recording.labels == ("Fp1", "Fz", "Cz", "C3", "C4", "Pz")
    assert any("left out: Timestamp, Counter" in note for note in recording.warnings)


def test_labels_under_name_and_a_type_of_its_own(tmp_path):
    rows = [channel(label, kind="ExG").replace("label>", "name>") for label in NAMES[:8]]
    path = write(
        tmp_path / "x.xdf",
        START + np.arange(2000) / 200.0,
        eeg(2000),
        description=head(name="Explore", kind="ExG", channels=rows),
    )
    assert read_recording(f"{path}#Explore").labels == tuple(NAMES[:8])


@pytest.mark.parametrize("rate", [1e300, "1e300", 0.01])
def test_an_absurd_rate_is_one_line(rate, tmp_path):
    path = write(
        tmp_path / "r.xdf", START + np.arange(50) / 5.0, eeg(50), description=head(rate=rate)
    )
    with pytest.raises(RecordingError, match="from 1 to 100,000 Hz"):
        read_recording(path)
