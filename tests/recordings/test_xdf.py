"""XDF files: written by us, read by pyxdf and by us."""

import builtins
import os
from pathlib import Path

import numpy as np
import pytest
import pyxdf

from emag_rt.errors import OutputError, RecordingError
from emag_rt.recordings.read import read_recording
from emag_rt.recordings.stamps import place_on_grid
from emag_rt.recordings.xdf import read_xdf, split_stream
from emag_rt.recordings.xdf_write import BOUNDARY_MARK, XdfWriter

LABELS = ("Fp1", "Fz", "Cz", "C3", "C4", "Pz", "O1", "O2")
SFREQ = 200.0
START = 5000.0


def eeg(n, seed=0):
    return np.random.default_rng(seed).normal(scale=20.0, size=(n, len(LABELS)))


def channel(label, unit="microvolts", kind="EEG", more=""):
    return f"<channel><label>{label}</label><unit>{unit}</unit><type>{kind}</type>{more}</channel>"


def head(name="amp", kind="EEG", channels=None, rate=SFREQ, form="float32", source_id="id"):
    rows = [channel(label) for label in LABELS] if channels is None else channels
    return (
        f'<?xml version="1.0"?><info><name>{name}</name><type>{kind}</type>'
        f"<channel_count>{len(rows)}</channel_count><nominal_srate>{rate}</nominal_srate>"
        f"<channel_format>{form}</channel_format><source_id>{source_id}</source_id>"
        f"<desc><channels>{''.join(rows)}</channels></desc></info>"
    )


MARKERS = head("marks", "Markers", [channel("m", "", "")], 0, "string", "m")


def write(path, stamps, data, *, description=None, markers=(), offset=0.0, marker_offset=0.0):
    with XdfWriter(path) as writer:
        number = writer.add_stream(description or head())
        for time in np.arange(stamps[0], stamps[-1] + 5.0, 5.0):
            writer.clock_offset(number, time, offset)
        for part in np.array_split(np.arange(len(stamps)), 7):
            writer.samples(number, data[part], stamps[part])
        if markers:
            other = writer.add_stream(MARKERS)
            for time in np.arange(stamps[0], stamps[-1] + 5.0, 5.0):
                writer.clock_offset(other, time - marker_offset, marker_offset)
            writer.samples(other, [[text] for _, text in markers], [t for t, _ in markers])
    return path


def test_pyxdf_reads_back_every_bit(tmp_path):
    stamps, data = START + np.arange(1000) / 3.7, eeg(1000).astype(np.float32)
    with XdfWriter(tmp_path / "a.xdf") as writer:
        numbers = {
            form: writer.add_stream(head(form, form=form))
            for form in ("float32", "double64", "int16", "int32", "int64", "int8")
        }
        marks = writer.add_stream(MARKERS)
        for form, number in numbers.items():
            values = data if form in ("float32", "double64") else np.round(data).astype(np.int8)
            writer.samples(number, values, stamps)
        writer.samples(marks, [["left"], ["µ" * 300]], stamps[:2])
        writer.samples(marks, [], [])
        writer.boundary()
        writer.clock_offset(marks, 1.0, 0.25)
    streams, file_header = pyxdf.load_xdf(
        tmp_path / "a.xdf", synchronize_clocks=False, dejitter_timestamps=False
    )
    assert file_header["info"]["version"] == ["1.0"]
    found = {s["info"]["name"][0]: s for s in streams}
    for form in numbers:
        np.testing.assert_array_equal(found[form]["time_stamps"], stamps)
        wanted = data if form in ("float32", "double64") else np.round(data)
        np.testing.assert_array_equal(found[form]["time_series"], wanted)
    assert found["marks"]["time_series"] == [["left"], ["µ" * 300]]
    assert (found["marks"]["clock_times"], found["marks"]["clock_values"]) == ([1.0], [0.25])
    assert found["int8"]["footer"]["info"]["sample_count"] == ["1000"]
    with pytest.raises(OutputError, match="must not exist yet"):
        XdfWriter(tmp_path / "a.xdf")


def test_values_labels_positions_units_and_markers(tmp_path):
    """Markers of another computer are brought to the time of the samples by the clock offsets."""
    positions = np.random.default_rng(1).normal(0, 60, (8, 3))
    places = {
        label: f"<location><X>{x}</X><Y>{y}</Y><Z>{z}</Z></location>"
        for label, (x, y, z) in zip(LABELS, positions.tolist(), strict=True)
    }
    rows = [channel(label, "V", "EEG", places[label]) for label in LABELS]
    rows += [channel("HEOG", "V", "EOG"), channel("counter", "none", "AUX")]
    stamps, data = START + np.arange(2000) / SFREQ, eeg(2000)
    values = np.column_stack([data * 1e-6, data[:, 0], np.arange(2000)])
    path = write(
        tmp_path / "v.xdf",
        stamps,
        values,
        description=head(channels=rows, form="double64"),
        markers=[(START + 2.5 - 100.0, "left"), (START + 5.0 - 100.0, "right"), (1.0, "early")],
        marker_offset=100.0,
    )
    recording = read_recording(path)
    assert recording.labels == LABELS
    np.testing.assert_allclose(recording.data_uv, data, rtol=1e-12)
    assert recording.segments == ((0, 2000),)
    assert recording.unplaced == ()
    moved = recording.positions_mm + recording.origin_mm
    np.testing.assert_allclose(moved, positions, atol=1e-3)
    events = [(round(onset, 6), text) for onset, _, text in recording.events]
    assert events == [(2.5, "left"), (5.0, "right")]
    assert any("1 markers lie before" in note for note in recording.warnings)
    assert recording.meas_date is not None


def test_gaps_become_breaks_and_time_stays_right(tmp_path):
    index = np.r_[0:700, 760:1400, 1420:2000]
    stamps, data = START + index / SFREQ, eeg(len(index))
    path = write(tmp_path / "g.xdf", stamps, data, markers=[(START + 8.0, "late")])
    recording = read_recording(path)
    assert recording.segments == ((0, 700), (760, 1400), (1420, 2000))
    assert len(recording.data_uv) == 2000
    assert np.isnan(recording.data_uv[700:760]).all()
    np.testing.assert_allclose(recording.data_uv[index], data.astype(np.float32), rtol=1e-6)
    events = [
        (round(onset, 4), round(duration, 4), text) for onset, duration, text in recording.events
    ]
    assert events == [(3.5, 0.3, "BAD_gap"), (7.0, 0.1, "BAD_gap"), (8.0, 0.0, "late")]
    assert any("80 samples are missing in 2 gaps" in note for note in recording.warnings)


def test_a_pause_of_minutes_is_cut_out_and_splits(tmp_path):
    stamps = START + np.r_[np.arange(1000), np.arange(1000) + 100_000] / SFREQ
    path = write(tmp_path / "p.xdf", stamps, eeg(2000), markers=[(stamps[1500], "after")])
    recording = read_recording(path)
    assert recording.segments == ((0, 1000), (1000, 2000))
    assert recording.events[0] == (5.0, 0.0, "BAD boundary")
    assert recording.events[1][0] == pytest.approx(7.5)


def test_one_of_several_streams_is_named(tmp_path):
    stamps = START + np.arange(2000) / SFREQ
    with XdfWriter(tmp_path / "two.xdf") as writer:
        for name in ("amp", "s01-HD"):
            rows = [channel(label, more="<origin>rendered</origin>") for label in LABELS]
            number = writer.add_stream(
                head(name, channels=rows if name == "s01-HD" else None, source_id=f"id-{name}")
            )
            writer.samples(number, eeg(2000, len(name)), stamps)
    with pytest.raises(RecordingError, match=r"one stream of type EEG, got 2 of: #amp .*#s01-HD"):
        read_recording(tmp_path / "two.xdf")
    with pytest.raises(RecordingError, match="one stream named 'none'"):
        read_recording(tmp_path / "two.xdf#none")
    wanted = eeg(2000, len("s01-HD")).astype(np.float32)
    for name in ("s01-HD", "id-s01-HD", "2"):
        recording = read_recording(f"{tmp_path / 'two.xdf'}#{name}")
        np.testing.assert_allclose(recording.data_uv, wanted, rtol=1e-6)
        assert recording.path.name == "two.xdf"
        assert any("8 of 8 channels were rendered" in note for note in recording.warnings)
    assert not read_recording(tmp_path / "two.xdf#amp").warnings
    assert split_stream("a.fif#x")[1] == ""


def test_a_boundary_has_all_before_it_on_the_disk(tmp_path, monkeypatch):
    path, synced = tmp_path / "a.xdf", []
    with XdfWriter(path) as writer:
        number = writer.add_stream(head())
        writer.samples(number, eeg(3), [1.0, 2.0, 3.0])
        monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_size))
        writer.boundary()
        assert synced == [path.stat().st_size]
        assert path.read_bytes().endswith(BOUNDARY_MARK)


def test_cut_at_any_byte_it_is_read_up_to_its_last_whole_chunk(tmp_path):
    """pyxdf alone stumbles over some, and makes up the rest of a sample at others."""
    path, n_before = tmp_path / "a.xdf", 60
    data = eeg(90).astype(np.float32)
    stamps = START + np.arange(90) / SFREQ
    sizes = []
    with XdfWriter(path) as writer:
        number, marks = writer.add_stream(head()), writer.add_stream(MARKERS)
        writer.samples(number, data[:n_before], stamps[:n_before])
        writer.boundary()
        sizes.append(path.stat().st_size)
        writer.clock_offset(number, START, 0.0)
        writer.samples(marks, [["left"]], [START + 0.1])
        writer.samples(number, data[n_before:], stamps[n_before:])
        writer.boundary()
        sizes.append(path.stat().st_size - 20)
    content, whole = path.read_bytes(), 0
    for size in range(sizes[0] + 1, len(content)):
        path.write_bytes(content[:size])
        notes = []
        raw = read_xdf(path, "", notes)
        n = 90 if size >= sizes[1] else n_before
        np.testing.assert_allclose(raw.get_data().T * 1e6, data[:n], rtol=1e-6)
        assert all("cut in the middle of a chunk: its last" in note for note in notes)
        whole += not notes
    assert whole == 5, "after a clock offset, markers, samples, a boundary, a footer"


def test_what_xml_cannot_hold_is_written_all_the_same(tmp_path):
    """LSL sends control characters on as &#07;, of which no XML reader wants to know."""
    path = tmp_path / "a.xdf"
    odd = "A&#07;B&#x1F;C\x01D\ud800E&#233;&#1234567;"
    description = head(channels=[channel(odd), *(channel(label) for label in LABELS[1:])])
    with XdfWriter(path) as writer:
        number, marks = writer.add_stream(description), writer.add_stream(MARKERS)
        writer.samples(number, eeg(400), START + np.arange(400) / SFREQ)
        writer.samples(marks, [["\ud83d سلام 😀\x07"]], [START + 1.0])
    recording = read_recording(path)
    assert recording.labels[0] == "A?B?C?D?Eé?"
    assert [text for _, _, text in recording.events] == ["? سلام 😀?"]


def test_a_recording_cut_short_is_read_up_to_there(tmp_path):
    stamps = START + np.arange(2000) / SFREQ
    whole = write(tmp_path / "w.xdf", stamps, eeg(2000)).read_bytes()
    cut = tmp_path / "cut.xdf"
    cut.write_bytes(whole[: len(whole) // 2])
    recording = read_recording(cut)
    assert 500 < len(recording.data_uv) < 1100
    np.testing.assert_allclose(
        recording.data_uv, eeg(2000)[: len(recording.data_uv)].astype(np.float32), rtol=1e-6
    )
    assert any("cut in the middle of a chunk" in note for note in recording.warnings)


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (head(channels=[channel("", "") for _ in LABELS]), "must label each of the 8 channels"),
        (head(channels=[channel("Cz") for _ in LABELS]), "labels must be unique"),
        (head(channels=[channel(label, "furlong") for label in LABELS]), "unit of voltage"),
        (head(rate=0), "constant rate|one stream of type EEG"),
        (head(rate=256), "declares, 256 Hz, got 200 Hz"),
        (head(kind="Gyro"), "one stream of type EEG, got 0"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path, description, message):
    stamps = START + np.arange(4000) / SFREQ
    path = write(tmp_path / "x.xdf", stamps, eeg(4000), description=description)
    with pytest.raises(RecordingError, match=message):
        read_recording(path)


def test_no_xdf_and_no_samples_and_no_pyxdf(tmp_path, monkeypatch):
    (tmp_path / "no.xdf").write_bytes(b"RIFF" + bytes(100))
    with pytest.raises(RecordingError, match="must be a readable XDF file"):
        read_recording(tmp_path / "no.xdf")
    with XdfWriter(tmp_path / "empty.xdf") as writer:
        writer.add_stream(head())
    with pytest.raises(RecordingError, match="at least 2 samples"):
        read_recording(tmp_path / "empty.xdf")
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "pyxdf":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(RecordingError, match=r"pip install 'emag-rt\[xdf\]'"):
        read_recording(tmp_path / "empty.xdf")


def jittered(index, seed, chunk):
    """Stamps of arrival: some ms late, now and then 80, even within a chunk."""
    rng = np.random.default_rng(seed)
    ends = np.append(np.flatnonzero(np.arange(len(index)) % chunk == chunk - 1), len(index) - 1)
    delay = rng.exponential(0.001, len(ends)) + 0.08 * (rng.random(len(ends)) < 0.01)
    arrival = np.maximum.accumulate(index[ends] / SFREQ + delay)
    which = np.searchsorted(ends, np.arange(len(index)))
    return START + arrival[which] - (index[ends][which] - index) / SFREQ * (1 + 2e-5)


@pytest.mark.parametrize("chunk", [1, 8, 32])
def test_jitter_is_no_gap_and_gaps_are_found_in_jitter(chunk):
    n = 20_000
    whole = place_on_grid(jittered(np.arange(n), 1, chunk), SFREQ)
    assert whole.gaps == whole.cuts == ()
    assert abs(whole.sfreq / SFREQ - 1) < 1e-3
    lost = np.r_[4000:4064, 4160:4192, 12_000:12_800]
    index = np.setdiff1d(np.arange(n), lost)
    grid = place_on_grid(jittered(index, 2, chunk), SFREQ)
    assert grid.rows[-1] == n - 1
    assert sum(b - a for a, b in grid.gaps) == len(lost)
    assert np.abs(grid.rows - index).max() <= max(1, chunk)
    assert grid.cuts == ()


def test_a_clock_set_back_splits_and_fills_nothing():
    stamps = np.r_[START + np.arange(2000) / SFREQ, START - 50.0 + np.arange(2000) / SFREQ]
    grid = place_on_grid(stamps, SFREQ)
    assert (grid.cuts, grid.gaps, grid.lost_s) == ((2000,), (), 0.0)
    np.testing.assert_array_equal(grid.rows, np.arange(4000))


def test_a_clock_set_back_by_less_than_a_second_is_cut_at_its_sample():
    stamps = START + np.arange(4000) / SFREQ
    stamps[2000:] -= 0.4
    grid = place_on_grid(stamps, SFREQ)
    assert (grid.cuts, grid.gaps) == ((2000,), ())


def test_markers_cut_nothing_and_keep_all_digits(tmp_path):
    stamps = START + np.arange(2000) / SFREQ
    texts = ["bad answer", "boundary", "New Segment", "a{COLON}b", "plain"]
    markers = [(START + 1.0 + i, text) for i, text in enumerate(texts)]
    path = write(tmp_path / "m.xdf", stamps, eeg(2000), markers=markers)
    recording = read_recording(path)
    assert recording.segments == ((0, 2000),)
    assert [text for _, _, text in recording.events] == [
        *("marker bad answer", "bound_ary", "New_Segment", "a:b", "plain")
    ]
    with XdfWriter(tmp_path / "n.xdf") as writer:
        writer.samples(writer.add_stream(head()), eeg(2000), stamps)
        number = writer.add_stream(head("t", "Stim", [channel("m")], 0, "double64", "t"))
        writer.samples(number, [[1234567.0], [0.5]], stamps[200:202])
    assert [text for _, _, text in read_recording(tmp_path / "n.xdf").events] == ["1234567", "0.5"]


@pytest.mark.parametrize("name", ["", "<name/>"])
def test_a_stream_without_a_name_is_told(tmp_path, name):
    stamps = START + np.arange(2000) / SFREQ
    nameless = head().replace("<name>amp</name>", name)
    path = write(tmp_path / "x.xdf", stamps, eeg(2000), description=nameless)
    with pytest.raises(RecordingError, match="header of stream 1 must have a name"):
        read_recording(path)
    with XdfWriter(tmp_path / "m.xdf") as writer:
        writer.samples(writer.add_stream(head()), eeg(2000), stamps)
        marks = writer.add_stream(MARKERS.replace("<name>marks</name>", name))
        writer.samples(marks, [["lost"]], stamps[:1])
    recording = read_recording(tmp_path / "m.xdf")
    assert not recording.events
    assert any("without a name are left out: 2" in note for note in recording.warnings)


def test_streams_are_named_in_files_of_any_case(tmp_path):
    for name in ("A.XDF", "a.xdf", "b.Xdf.GZ", "c.xdfz", "d#1.xdf"):
        assert split_stream(f"{tmp_path / name}#AMP#2") == (tmp_path / name, "AMP#2")
    assert split_stream("İ.XDF#AMP") == (Path("İ.XDF"), "AMP")
    assert split_stream("a.xdf#") == (Path("a.xdf#"), "")
    assert split_stream("a.fif#AMP") == (Path("a.fif#AMP"), "")


def test_a_disk_that_is_full_at_the_end_is_an_output_error():
    writer = XdfWriter("/dev/full", overwrite=True)
    writer.add_stream(head())
    with pytest.raises(OutputError, match="No space left"):
        writer.close()
    writer.close()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("<a>" * 40 + "</a>" * 40, "at most 32 levels"),
        ("<a/>" * 500_000, "400,000 elements"),
        ("x" * (9 << 20), "at most 8 MiB, got 9"),
    ],
    ids=["deep", "many", "long"],
)
def test_headers_that_are_deep_or_huge_are_refused_before_they_are_read(
    tmp_path, monkeypatch, more, words
):
    monkeypatch.setattr(pyxdf, "resolve_streams", None)  # what would take the memory
    text = head(channels=[channel("Fz", more=more), channel("Cz")])
    path = write(tmp_path / "big.xdf", np.arange(10) / SFREQ, eeg(10)[:, :2], description=text)
    with pytest.raises(RecordingError, match=words):
        read_recording(path)


def test_stamps_that_are_wrong_move_neither_samples_nor_events(tmp_path):
    n = 4000
    true = START + np.arange(n) / SFREQ
    stamps = true.copy()
    stamps[399::500] = np.inf
    stamps[777] += 0.7
    stamps[1777] -= 0.7
    markers = [(true[i], f"event {i}") for i in (780, 900, 1700, 3000)]
    data = eeg(n)
    recording = read_recording(write(tmp_path / "wrong.xdf", stamps, data, markers=markers))
    assert recording.segments == ((0, n),)
    np.testing.assert_allclose(recording.data_uv, data, atol=1e-4)
    onsets = [round(onset * SFREQ) for onset, _, _ in recording.events]
    assert onsets == [780, 900, 1700, 3000]


def test_the_reference_that_a_stream_declares_is_kept(tmp_path):
    stamps = START + np.arange(2000) / SFREQ
    said = head().replace("<desc>", "<desc><reference><label>CMS/DRL</label></reference>")
    path = write(tmp_path / "r.xdf", stamps, eeg(2000), description=said)
    assert read_recording(path).reference == "CMS/DRL"
    assert read_recording(write(tmp_path / "n.xdf", stamps, eeg(2000))).reference == ""
