"""Recording a live stream: what is kept, what is marked, how it ends."""

import errno
import itertools
import signal
import stat
import threading
from dataclasses import replace

import mne
import numpy as np
import pytest

import calibration.live.session_file as session_file
from calibration.live.journal import Journal
from calibration.live.record_live import LiveRequest, record_live
from calibration.live.session import Plan
from emag_rt.errors import OutputError, RecordingError, StreamError, StreamMismatch, StreamNotFound
from emag_rt.recordings.read import read_recording
from emag_rt.recordings.xdf import read_xdf
from emag_rt.streams.lsl import Marker
from emag_rt.streams.memory import Chunk, Lost, Silence, scripted_chunks
from tests.calibration.live.stage import (
    JOURNALS,
    LABELS,
    SFREQ,
    START_S,
    eeg,
    stage,
    stream,
)

PLAYED = eeg(30.0)


@pytest.fixture(autouse=True)
def closed():
    """No file stays open."""
    yield
    while JOURNALS:
        Journal.close(JOURNALS.pop())


def chunks(samples, start_s=START_S, sfreq=SFREQ):
    return scripted_chunks(samples, sfreq, 10, start_s)


def stamp(sample):
    return START_S + sample / SFREQ


def recorded(session):
    raw = mne.io.read_raw_fif(session.path, verbose="ERROR")
    return raw, raw.get_data().T * 1e6


def marks_of(raw):
    found = raw.annotations
    return zip(found.onset, found.duration, map(str, found.description), strict=True)


def marks(raw):
    found = raw.annotations
    return [
        (round(float(a) * SFREQ), round(float(b) * SFREQ), str(text))
        for a, b, text in zip(found.onset, found.duration, found.description, strict=True)
    ]


def run_until_lost(session):
    with pytest.raises(StreamError, match="lost for good"):
        session.run()


def test_every_sample_is_kept_until_the_duration_is_full(tmp_path):
    session, said = stage(tmp_path, chunks(PLAYED), plan=Plan(20.0))
    session.run()
    raw, data = recorded(session)
    assert tuple(raw.ch_names) == LABELS
    np.testing.assert_allclose(data, PLAYED[:2000], rtol=1e-6)
    assert marks(raw) == []
    assert raw.info["meas_date"] is not None
    assert "recording: 0 of 20 s, 8 of 8 channels good" in said.lines[0]
    assert "recorded: 20 of 20 s" in said.lines[-1]
    read = read_recording(session.path)
    assert read.segments == ((0, 2000),)
    assert read.positions_mm.shape == (8, 3), "placed by label"


def test_what_is_missing_is_marked_and_never_joined(tmp_path):
    """A long gap is left out, a short one bridged, a clock that jumps splits."""
    events = [
        *chunks(PLAYED[:1000]),
        *chunks(PLAYED[1200:1500], stamp(1200)),  # 2 s missing
        *chunks(PLAYED[1503:1800], stamp(1503)),  # 3 samples missing
        *chunks(PLAYED[1800:2000], stamp(1800) - 500.0),  # the clock is set back
        Lost(),
    ]
    session, said = stage(tmp_path, events)
    run_until_lost(session)
    raw, data = recorded(session)
    assert marks(raw) == [(1000, 200, "BAD_gap"), (1500, 3, "bridged"), (1800, 0, "boundary")]
    np.testing.assert_allclose(data[1000:1200], np.tile(PLAYED[999], (200, 1)), rtol=1e-6)
    came = [i for i in range(2000) if not (1000 <= i < 1200 or 1500 <= i < 1503)]
    np.testing.assert_allclose(data[came], PLAYED[came], rtol=1e-6)
    # The last sample before a gap is held in it, and so is taken for padding.
    assert read_recording(session.path).segments == ((0, 999), (1200, 1800), (1800, 2000))
    counts = session.recorder.counts
    assert (counts.gaps, counts.missing, counts.bridged, counts.jumps) == (1, 200, 3, 1)
    assert session.recorder.seconds == pytest.approx(18.0), "gaps do not count"
    assert "gap of 2.01 s: 200 samples are missing" in said


def test_a_source_that_is_away_is_waited_for_and_taken_up_in_its_new_order(tmp_path):
    back = LABELS[::-1]
    events = [
        *chunks(PLAYED[:1000]),
        *[Silence()] * 20,
        stream(labels=back, uid="new"),
        *chunks(PLAYED[1200:1400, ::-1], stamp(1200)),
        Lost(),
    ]
    session, said = stage(tmp_path, events)
    run_until_lost(session)
    raw, data = recorded(session)
    np.testing.assert_allclose(data[1200:], PLAYED[1200:1400], rtol=1e-6)
    assert marks(raw) == [(1000, 200, "BAD_gap")]
    assert session.recorder.counts.silences == session.recorder.counts.remapped == 1
    for text in ("the source is silent", "the source is back", "another order: remapped"):
        assert text in said


@pytest.mark.parametrize(
    ("anew", "on_s"), [(True, -0.6), (True, 0.0), (True, 0.04), (True, 30.0), (False, 0.0)]
)
def test_an_outlet_made_anew_does_not_go_on_whatever_its_stamps_say(tmp_path, anew, on_s):
    """A second one may stamp as if nothing were missing; a stalled network really misses nothing.

    30 s on is a time that has not been when the samples arrive.
    """
    events = [
        *chunks(PLAYED[:1000]),
        *[Silence()] * 20,
        *([stream(uid="new")] if anew else []),
        *[replace(c, arrives_s=START_S) for c in chunks(PLAYED[1000:1400], stamp(1000) + on_s)],
        Lost(),
    ]
    session, said = stage(tmp_path, events)
    run_until_lost(session)
    raw, data = recorded(session)
    np.testing.assert_allclose(data, PLAYED[:1400], rtol=1e-6)
    assert marks(raw) == ([(1000, 0, "boundary")] if anew else [])
    assert len(read_recording(session.path).segments) == 1 + anew
    assert "the source is back" in said


def test_what_came_while_the_source_did_not_say_what_it_is_is_doubted(tmp_path):
    """It answers after a second, and turns out to be in another order."""
    events = [
        *chunks(PLAYED[:1000]),
        *[Silence()] * 20,
        stream(labels=LABELS[::-1], uid="new"),
        *chunks(PLAYED[1200:1500, ::-1], stamp(1200)),
        Lost(),
    ]
    session, said = stage(tmp_path, events)
    source, clock = session.recorder.source, session.clock
    answer = source.current_format

    def busy(timeout_s):
        if clock() < stamp(1300):
            raise StreamError("no answer")
        return answer(timeout_s)

    source.current_format = busy
    session.journal.remove = lambda: None
    run_until_lost(session)
    raw, data = recorded(session)
    (gap, (start, n, text)) = marks(raw)
    assert gap == (1000, 200, "BAD_gap")
    assert (start, text) == (1200, "BAD_unverified")
    assert 100 <= n <= 220
    np.testing.assert_allclose(data[1200 + n :], PLAYED[1200 + n : 1500], rtol=1e-6)
    assert "could not be checked after its return" in said
    journal = read_xdf(session.journal.path, "", []).get_data().T * 1e6
    np.testing.assert_allclose(journal[:1000], PLAYED[:1000], rtol=1e-6)
    np.testing.assert_allclose(journal[1200 + n :], PLAYED[1200 + n : 1500], rtol=1e-6)
    assert np.isnan(journal[1000 : 1200 + n]).all(), "nothing that is doubted"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sfreq": 200.0}, "rate 100 Hz became 200 Hz"),
        ({"labels": ("X1", *LABELS[1:])}, "labels .* became X1"),
        ({"units": ("V",) * 8}, "units"),
        ({"labels": (), "n_channels": 4}, "8 channels became 4"),
    ],
)
def test_a_source_that_comes_back_changed_ends_it_with_all_saved(tmp_path, change, reason):
    events = [*chunks(PLAYED[:1000]), *[Silence()] * 20, stream(**change)]
    if "n_channels" not in change:  # LSL itself would not take that up
        events += chunks(PLAYED[1200:1400], stamp(1200))
    session, _ = stage(tmp_path, [*events, *[Silence()] * 20])
    with pytest.raises(StreamMismatch, match=reason):
        session.run()
    _, data = recorded(session)
    np.testing.assert_allclose(data, PLAYED[:1000], rtol=1e-6)


def test_a_source_silent_for_too_long_is_lost_with_all_saved(tmp_path):
    session, said = stage(tmp_path, [*chunks(PLAYED[:700])], patience_s=3.0)
    with pytest.raises(StreamError, match="nothing came for 3 s"):
        session.run()
    assert len(recorded(session)[1]) == 700
    assert "silent for" in said


@pytest.mark.parametrize("sends", [200.0, 50.0])
def test_a_source_that_sends_at_another_rate_than_it_says(tmp_path, sends):
    session, _ = stage(tmp_path, chunks(PLAYED, sfreq=sends))
    with pytest.raises(StreamMismatch, match=f"declared 100 Hz, got {sends:g} samples a second"):
        session.run()
    assert session.saved


def test_a_rate_slightly_off_is_told(tmp_path):
    session, _ = stage(tmp_path, chunks(PLAYED, sfreq=102.4), plan=Plan(29.0))
    session.run()
    assert "sent 102.40 samples a second" in session.recorder.rate_note


def test_markers_fall_on_their_samples_and_bound_the_recording(tmp_path):
    texts = [
        (105, "too early"),
        (309.6, "go"),
        (500.3, "S  1"),
        (620, "bad trial"),
        (700, "a{COLON}b"),
        (900.4, "halt"),
        (900.45, "too late, but within a sample"),
        (903, "too late"),
    ]
    markers = [Marker(stamp(sample), text, "task") for sample, text in texts]
    plan = Plan(60.0, start_marker="go", stop_marker="halt")
    session, said = stage(tmp_path, chunks(PLAYED), plan=plan, markers=markers)
    session.run()
    raw, data = recorded(session)
    np.testing.assert_allclose(data, PLAYED[310:901], rtol=1e-6)
    expected = [(0, "go"), (190, "S 1"), (310, "marker bad trial"), (390, "a:b"), (590, "halt")]
    assert [(onset, text) for onset, _, text in marks(raw)][:5] == expected
    assert "too late" not in str(marks(raw)[5:]).replace("too late, but", "")
    assert len(read_recording(session.path).segments) == 1, "no marker cuts EEG out"
    assert "waiting for marker 'go'" in said


def test_a_recording_that_fif_cannot_hold_stays_in_its_journal(tmp_path, monkeypatch):
    monkeypatch.setattr(session_file, "marker_text", lambda _text: "a{COLON}b")
    marker = Marker(stamp(500), "stimulus", "task")
    session, said = stage(tmp_path, chunks(PLAYED), plan=Plan(20.0), markers=[marker])
    session.run()
    assert session.path == tmp_path / "s01_raw.xdf"
    monkeypatch.undo()
    read = read_recording(session.path)
    np.testing.assert_allclose(read.data_uv, PLAYED[:2000], rtol=1e-6)
    assert [(round(onset, 6), text) for onset, _, text in read.events] == [(5.0, "stimulus")]
    assert "cannot be written" in said
    assert "kept as XDF instead" in said


def test_markers_on_their_way_at_the_end_are_waited_for(tmp_path):
    """A busy computer brings nothing for a moment in their midst, and they may never end."""
    session, said = stage(tmp_path, chunks(PLAYED), plan=Plan(20.0))
    ticks = itertools.count()

    def pull():
        i, none = divmod(next(ticks), 2) if session._over() else (0, True)
        return [] if none else [Marker(stamp(100 * i), f"m{i}", "task")]

    session.markers.pull = pull
    session.run()
    assert [text for _, _, text in marks(recorded(session)[0])] == [f"m{i}" for i in range(21)]
    assert next(ticks) < 100, "later ones may be without end"
    assert "fell outside" not in said


def test_markers_that_come_late_are_kept(tmp_path):
    markers = [Marker(stamp(900 + 10 * i), f"m{i}", "task") for i in range(10)]
    plan = Plan(1000 / SFREQ)
    session, said = stage(tmp_path, chunks(PLAYED), plan=plan, markers=markers, late_s=0.3)
    session.run()
    assert [text for _, _, text in marks(recorded(session)[0])] == [f"m{i}" for i in range(10)]
    assert "fell outside" not in said


def test_markers_outside_are_counted(tmp_path):
    markers = [Marker(stamp(s), "S 1", "task") for s in (-500, 500)]
    session, said = stage(tmp_path, chunks(PLAYED), plan=Plan(20.0), markers=markers)
    session.run()
    assert [text for _, _, text in marks(recorded(session)[0])] == ["S 1"]
    assert "1 of 2 markers fell outside the recording: left out" in said


def stepped(session, n):
    """Of the recorder, what it keeps after so many more chunks."""
    for _ in range(n):
        session.recorder.take(0.1)
    parts = session.recorder.recorded.parts
    return np.concatenate([part.samples for part in parts]) if parts else np.zeros((0, 8))


def test_a_marker_that_is_ahead_of_the_samples_starts_at_its_sample(tmp_path):
    session, _ = stage(tmp_path, chunks(PLAYED))
    stepped(session, 3)
    session.recorder.start(stamp(34.5))
    np.testing.assert_array_equal(stepped(session, 2), PLAYED[35:50])
    assert session.recorder.seconds == pytest.approx(0.15)


@pytest.mark.parametrize("ahead_s", [0.5, 3600.0], ids=["then a jump", "of another clock"])
def test_a_start_that_is_never_reached_waits_for_ever_for_nothing(tmp_path, ahead_s):
    shift = 0.0 if ahead_s > 1 else -500.0
    events = [*chunks(PLAYED[:30]), *chunks(PLAYED[30:100], stamp(30) + shift)]
    session, _ = stage(tmp_path, events)
    stepped(session, 3)
    session.recorder.start(stamp(30) + ahead_s)
    np.testing.assert_array_equal(stepped(session, 7), PLAYED[30:100])


def test_starts_and_stops_are_of_the_clock_after_it_was_set_back(tmp_path):
    """All before has later stamps, and is neither kept by the start nor lost by the stop."""
    back = chunks(PLAYED[100:200], stamp(100) - 500.0)
    session, _ = stage(tmp_path, [*chunks(PLAYED[:100]), *back])
    stepped(session, 15)
    session.recorder.start(stamp(120) - 500.0 - 1e-6)
    np.testing.assert_array_equal(stepped(session, 0), PLAYED[120:150])

    session, _ = stage(tmp_path, [*chunks(PLAYED[:100]), *back])
    session.recorder.start()
    stepped(session, 20)
    session.recorder.stop_at(stamp(180) - 500.0 + 1e-6)
    np.testing.assert_array_equal(stepped(session, 0), PLAYED[:181])
    assert session.recorder.seconds == pytest.approx(1.81)


def test_a_stop_marker_ends_it_although_the_samples_clock_was_set_back(tmp_path):
    back = chunks(PLAYED[1000:], stamp(1000) - 500.0)
    plan = Plan(60.0, stop_marker="halt")
    session, _ = stage(tmp_path, [*chunks(PLAYED[:1000]), *back], plan=plan)
    turns = iter(range(1000))

    def pull():
        return [Marker(stamp(1500), "halt", "task")] if next(turns) == 149 else []

    session.markers.pull = pull
    session.run()
    np.testing.assert_allclose(recorded(session)[1], PLAYED[:1500], rtol=1e-6)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_stream_is_looked_for_ends_it_as_itself(tmp_path, monkeypatch, number):
    """SIGTERM is not Ctrl-C: the command line gives them other exit codes."""

    class Ended(Exception):
        pass

    def end(number, _frame):
        raise Ended(number)

    def never(_query, _timeout_s, stop):
        signal.raise_signal(number)
        assert stop()
        raise StreamNotFound("none")

    monkeypatch.setattr("calibration.live.record_live.find_stream", never)
    request = LiveRequest("amp", Plan(10.0))
    before = signal.signal(signal.SIGTERM, end)
    try:
        with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else Ended):
            record_live(request, tmp_path / "s01.emag", lambda *_: None, quiet=True)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_keys_start_it_and_stop_it_early(tmp_path):
    session, said = stage(tmp_path, chunks(PLAYED), plan=Plan(60.0, wait_for_key=True))
    typed = {250: "q", 100: "x \n"}  # in turns; q before the start would end it

    def keys():
        keys.turns += 1
        return typed.get(keys.turns, "")

    keys.turns = 0
    session.keys = keys
    session.run()
    _, data = recorded(session)
    np.testing.assert_allclose(data, PLAYED[1000:2500], rtol=1e-6)
    assert "press Enter to start" in said


@pytest.mark.parametrize(
    ("numbers", "abandoned"),
    [([signal.SIGINT], False), ([signal.SIGINT] * 2, True), ([signal.SIGTERM], True)],
)
def test_signals_once_to_stop_twice_to_give_up(tmp_path, numbers, abandoned):
    session, _ = stage(tmp_path, chunks(PLAYED))

    def keys():
        for number in numbers:
            session.stop.heard(number)
        return ""

    session.keys = keys
    session.run()
    assert session.stop.abandoned is abandoned
    assert session.stop.signal == (numbers[-1] if abandoned else None)
    assert len(recorded(session)[1]) == 10, "kept in each case"


def test_a_full_disk_costs_no_recording(tmp_path, monkeypatch):
    """It is kept elsewhere rather than not at all, where nobody foresees or opens it."""
    spare = tmp_path / "spare"
    spare.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (spare / "s01_raw.xdf").symlink_to(victim)
    monkeypatch.setattr("tempfile.tempdir", str(spare))

    def full(path, what="output", **_options):
        raise OutputError(f"{what} {path}: {errno.errorcode[errno.ENOSPC]}")

    monkeypatch.setattr(session_file, "replacing", full)
    session, said = stage(tmp_path, chunks(PLAYED), plan=Plan(25.0))
    whole, turn = session.journal._writer._put, session._turn

    def fill(data):
        if session.recorder.seconds > 10.0:
            raise OutputError("No space left on device.")
        whole(data)

    def wait():  # for the journal: there is no time here
        turn()
        if session.recorder.seconds > 12.0 and session.journal.error is None:
            session.journal._ended.set()
            session.journal._thread.join()

    session.journal._writer._put, session._turn = fill, wait
    session.run()
    assert session.path.parent.parent == spare
    assert stat.S_IMODE(session.path.parent.stat().st_mode) == 0o700
    assert victim.read_text() == "precious"
    np.testing.assert_allclose(read_recording(session.path).data_uv, PLAYED[:2500], rtol=1e-6)
    assert "No space left on device. The recording goes on in memory" in said
    assert f"kept in {session.path} instead" in said


def test_a_link_put_where_the_recording_shall_lie_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    session, said = stage(tmp_path, chunks(PLAYED), plan=Plan(25.0))
    (tmp_path / "s01_raw.fif").symlink_to(victim)
    session.run()
    assert victim.read_text() == "precious"
    assert session.path == tmp_path / "s01_raw.xdf"
    np.testing.assert_allclose(read_recording(session.path).data_uv, PLAYED[:2500], rtol=1e-6)
    assert "File exists" in said


def test_older_recordings_are_never_written_over_nor_links_followed(tmp_path):
    (tmp_path / "s01_raw.fif").touch()
    (tmp_path / "s01-2_raw.xdf").symlink_to(tmp_path / "nowhere")
    first, _ = stage(tmp_path, chunks(PLAYED), plan=Plan(20.0))
    second, _ = stage(tmp_path, chunks(PLAYED), plan=Plan(10.0))
    second.run()
    first.run()
    names = [path.name for path in (first.path, second.path)]
    assert names == ["s01-3_raw.fif", "s01-4_raw.fif"]
    assert [len(recorded(session)[1]) for session in (first, second)] == [2000, 1000]
    assert not list(tmp_path.glob("s01-[34]_raw.xdf")), "all of it is in the recordings"
    third, _ = stage(tmp_path, [Lost()])
    run_until_lost(third)
    assert not (tmp_path / "s01-5_raw.xdf").exists(), "nothing came"


def test_what_comes_is_in_the_journal_before_the_end(tmp_path, wait_until):
    """With all that a recording has: gaps, jumps, positions, kinds, any text."""
    labels = (*LABELS, "ÖÇ مرحبا", "HEOG", "TRIGGER")
    form = stream(labels=labels, units=("mV",) * 10 + ("",))
    data = 1e-3 * np.concatenate([PLAYED, PLAYED[:, :3]], axis=1)
    events = [*chunks(data[:1000]), *chunks(data[1200:1500], stamp(1200))]
    events += [*chunks(data[1500:2000], stamp(1500) - 500.0), Lost()]
    texts = ["سلام 😀", "\ud83d", "a\x00b\x1b[2J", "", "x" * 100_000]
    markers = [Marker(stamp(300 + i), text, "task") for i, text in enumerate(texts)]
    fields = [{"type": "EEG"}] * 9 + [{"type": "EOG"}, {"type": "Trigger"}]
    session, _ = stage(tmp_path, events, form=form, markers=markers, fields=fields)
    turn = session._turn
    session._turn = lambda: turn() if session.recorder.seconds < 18.0 else session.stop.heard(2)
    session.journal.close = lambda: None  # as if the process had been killed
    session.run()
    path = session.journal.path

    def all_there():
        try:
            return len(read_xdf(path, "", []).times) == 2000
        except RecordingError:
            return False

    wait_until(all_there, 20)
    raw = read_xdf(path, "", [])
    assert raw.ch_names == list(labels)
    assert raw.get_channel_types() == ["eeg"] * 9 + ["eog", "misc"]
    np.testing.assert_allclose(raw.get_data("Cz")[0][:1000], 1e-6 * PLAYED[:1000, 3], rtol=1e-6)
    kinds = [(round(onset, 6), text) for onset, _, text in marks_of(raw)]
    assert (10.0, "BAD_gap") in kinds
    assert (15.0, "BAD boundary") in kinds
    wanted = ["سلام 😀", "?", "a?b?[2J", "x" * 100_000]
    assert [text for onset, text in kinds if 3.0 <= onset < 3.1] == wanted
    places = raw.info["chs"][3]["loc"][:3] * 1e3
    np.testing.assert_allclose(places, session.recorder.channels.positions_mm[3], rtol=1e-5)


def test_a_disk_that_stalls_holds_nothing_up(tmp_path):
    session, _ = stage(tmp_path, chunks(PLAYED), plan=Plan(25.0))
    writes, stalled, go_on = session.journal._writer.samples, threading.Event(), threading.Event()

    def stall(*what):
        stalled.set()
        assert go_on.wait(30)
        writes(*what)

    session.journal._writer.samples = stall
    session.recorder.start()
    while not session._over():
        session._turn()
        if session.recorder.seconds == 5.0:
            assert stalled.wait(30), "the journal is at it"
    assert not go_on.is_set()
    go_on.set()
    session._save()
    np.testing.assert_allclose(recorded(session)[1], PLAYED[:2500], rtol=1e-6)


@pytest.mark.timeout(60)
def test_markers_cost_time_in_proportion(tmp_path):
    """Every pair of them compared would take an hour."""
    back = chunks(PLAYED[1000:2000], stamp(1000) - 7.0)
    session, _ = stage(tmp_path, [*chunks(PLAYED[:1000]), *back], plan=Plan(20.0))
    session.run()
    times = np.sort(np.random.default_rng(0).uniform(stamp(0), stamp(1299), 200_000))
    markers = [Marker(time, "x", "task") for time in times.tolist()]
    rows = session_file._from_markers(session.recorder.recorded, markers)
    assert len(rows) == len(markers)
    # Time that came twice counts where it came last.
    wanted = np.where(times < stamp(299.5), times - START_S, times - START_S + 7.0)
    found = np.sort([onset for onset, _, _ in rows])
    sure = np.abs(times - stamp(299.5)) > 0.02
    np.testing.assert_allclose(found[sure], wanted[sure], atol=1e-6)


def scaled(factor, n_still=0):
    """As large as EEG is, from one second to the next."""
    noise = np.random.default_rng(0).normal(scale=20.0 * factor, size=(3000, 8))
    samples = noise.astype(np.float32)
    samples[:n_still] = samples[n_still]
    return samples


@pytest.mark.parametrize(
    ("unit", "factor", "remedy"),
    [
        ("microvolts", 1e-6, "--unit V."),
        ("", 1e-3, "--unit mV."),
        ("microvolts", 1e3, "--unit nV."),
        ("mV", 1.0, "--unit µV."),
        ("V", 1 / 0.02235, "--unit '0.0224 µV'"),
    ],
)
@pytest.mark.parametrize("n_still", [0, 800])
def test_a_wrong_unit_ends_it_after_three_seconds(tmp_path, unit, factor, remedy, n_still):
    """Of signal: an amplifier that is not on yet says nothing of its unit."""
    events = chunks(scaled(factor, n_still))
    session, _ = stage(tmp_path, events, form=stream(units=(unit,) * 8), plan=Plan(29.0))
    with pytest.raises(StreamMismatch, match="unit or scale is not what it says") as caught:
        session.run()
    assert remedy in str(caught.value)
    assert 2.0 <= session.recorder.seconds - n_still / SFREQ <= 3.1
    assert session.saved, "what came is kept all the same"


@pytest.mark.parametrize(("factor", "told"), [(1.0, False), (15.0, True), (0.02, True)])
def test_an_unusual_amplitude_is_told(tmp_path, factor, told):
    session, said = stage(tmp_path, chunks(scaled(factor)), plan=Plan(20.0))
    session.run()
    assert ("1 to 150 µV is usual: is the unit right?" in said) is told


def test_labels_that_no_fit_takes_are_refused_before_anything_is_recorded(tmp_path):
    two = tuple(f"{label}-{'M1' if i % 2 else 'M2'}" for i, label in enumerate(LABELS))
    with pytest.raises(StreamMismatch, match="one reference, their labels name 2"):
        stage(tmp_path, [], form=stream(labels=two))
    for odd in ("x" * 65, ""):
        with pytest.raises(StreamMismatch, match="1 to 64 printable characters"):
            stage(tmp_path, [], form=stream(labels=(odd, *LABELS[1:])))
    assert list(tmp_path.iterdir()) == []
    session, _ = stage(tmp_path, [], form=stream(labels=tuple(f"EEG_{x}-Pz" for x in LABELS)))
    assert session.recorder.channels.labels == LABELS
    assert any("all labels begin with" in note for note in session.recorder.channels.notes)


def test_a_channel_without_numbers_takes_no_others_with_it(tmp_path):
    broken = PLAYED.copy()
    broken[500:1500, 2] = np.nan
    session, said = stage(tmp_path, chunks(broken), plan=Plan(29.0))
    session.run()
    read = read_recording(session.path)
    assert read.bads == ("C3",)
    assert read.segments == ((0, 2900),)
    assert "C3: no numbers" in said


def test_samples_that_are_no_eeg_are_kept_as_they_are(tmp_path):
    labels = (*LABELS, "TRIGGER", "ACC_X")
    units = ("mV",) * 8 + ("", "g")
    still = np.full((len(PLAYED), 2), 7.0, np.float32)
    data = np.concatenate([PLAYED * np.float32(1e-3), still], axis=1)
    form = stream(labels=labels, units=units)
    session, _ = stage(tmp_path, [Chunk(c.samples, c.timestamps) for c in chunks(data)], form=form)
    session.plan = Plan(20.0)
    session.run()
    raw = mne.io.read_raw_fif(session.path, verbose="ERROR")
    assert raw.get_channel_types() == ["eeg"] * 8 + ["misc"] * 2
    np.testing.assert_allclose(raw.get_data("TRIGGER"), 7.0)
    np.testing.assert_allclose(raw.get_data("Cz")[0], PLAYED[:2000, 3] * 1e-6, rtol=1e-5)
