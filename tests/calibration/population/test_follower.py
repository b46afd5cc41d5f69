"""The live path adapts to a state whose truth is known: in memory, with the learner beside it."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest

from calibration.population.follower import Follower, follow
from calibration.regression.sources import find_sources
from emag_rt import Upsampler
from emag_rt.bundle import load_bundle
from emag_rt.core.drive import reference_free
from emag_rt.core.labels import match_labels
from emag_rt.core.scores import nmse
from emag_rt.daemon.adapting import FADE_S, Adapting, Wishes
from emag_rt.daemon.learner import Ended, Learned, Saved, hear, send
from emag_rt.daemon.loop import Server
from emag_rt.errors import CalibrationError
from emag_rt.frontend import CausalFilter
from emag_rt.recordings.read import read_recording
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.memory import (
    ManualClock,
    MemoryMarkerSink,
    MemorySink,
    MemorySource,
    scripted_chunks,
)
from emag_rt.synthetic.head import SyntheticHead

SFREQ = 128.0
AFTER_S, EVERY_S = 30.0, 60.0


@pytest.fixture(scope="module")
def bundle(states_bundle):
    return load_bundle(states_bundle)


@pytest.fixture(scope="module", autouse=True)
def sources_found_once(bundle):
    """They take most of the time, and are the same for every test."""
    found = find_sources(bundle.hd_bands)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("calibration.population.state.find_sources", lambda _: found)
        yield


@pytest.fixture(scope="module")
def truth(states):
    """All channels of the other state, 80 s in µV, and their labels."""
    parts = [read_recording(states[name]) for name in ("today", "later")]
    return np.concatenate([part.data_uv for part in parts]), parts[0].labels


def ld_of(bundle, truth):
    data, labels = truth
    return data[:, match_labels(bundle.manifest.ld_montage.labels, labels, "truth")]


def follower_of(upsampler, path, after_s=AFTER_S, every_s=EVERY_S):
    operator, positions_mm = upsampler.fading.estimate
    return Follower(
        upsampler.bundle,
        path,
        positions_mm,
        operator.taps,
        operator.weights,
        upsampler.fading.rendered,
        after_s,
        every_s,
    )


class Served:
    """A server in memory that has served a signal; ``wishes`` are made at their seconds."""

    def __init__(self, bundle, ld, path=None, wishes=(), engine="packed"):
        self.upsampler = Upsampler(bundle, engine=engine)
        labels = bundle.manifest.ld_montage.labels
        amp = StreamFormat("Amp", "EEG", "amp", SFREQ, labels, ("microvolts",) * len(labels))
        clock, self.sink, self.markers = ManualClock(), MemorySink(), MemoryMarkerSink()
        self.source = MemorySource(amp, scripted_chunks(ld, SFREQ, 8), clock)
        self.adapting, asked = None, Wishes()
        if path is not None:
            self.adapting = Adapting(self.upsampler, follower_of(self.upsampler, path), asked)
        self.server = Server(
            self.upsampler,
            self.source,
            self.sink,
            clock,
            None,
            self.markers,
            adapting=self.adapting,
        )
        left = list(wishes)

        def stop():
            while left and len(self.sink.timestamps) >= left[0][0] * SFREQ:
                getattr(asked, left.pop(0)[1])()
            return self.source.exhausted

        self.status = self.server.serve(stop)
        self.rows = self.sink.samples

    def events(self, *names):
        found = [json.loads(text) for text, _ in self.markers.events]
        return [event for event in found if event["event"] in names]

    @property
    def told(self):
        return [e["event"] for e in self.events("adapted", "unadapted", "adapting")]


@pytest.fixture(scope="module")
def plain(bundle, truth):
    """Served without adapting."""
    return Served(bundle, ld_of(bundle, truth))


@pytest.fixture(scope="module")
def adapted(bundle, truth, states_bundle):
    return Served(bundle, ld_of(bundle, truth), states_bundle)


def at(seconds):
    return round(seconds * SFREQ)


def test_rows_are_nearer_the_truth_and_none_is_lost(bundle, truth, plain, adapted):
    data, labels = truth
    filtered = CausalFilter(np.array(bundle.manifest.frontend.sos), len(labels)).process(data)
    ld = match_labels(bundle.manifest.ld_montage.labels, labels, "truth")
    mean = reference_free(filtered[:, ld])[1]
    unseen = [i for i, e in enumerate(bundle.manifest.hd) if e.origin == "rendered"]
    columns = match_labels([bundle.manifest.hd[i].label for i in unseen], labels, "truth")
    late = slice(at(AFTER_S + FADE_S), None)

    def score(served):
        return nmse((filtered - mean)[late][:, columns], (served.rows - mean)[late][:, unseen])

    assert score(adapted) < 0.98 * score(plain)
    np.testing.assert_array_equal(adapted.sink.timestamps, plain.sink.timestamps)
    counters = adapted.server.counters
    assert counters.samples_in == counters.samples_out == len(data) == len(adapted.rows)
    # Until it has learned nothing differs, and LD channels never do.
    np.testing.assert_array_equal(adapted.rows[: at(AFTER_S)], plain.rows[: at(AFTER_S)])
    measured = [i for i, e in enumerate(bundle.manifest.hd) if e.origin == "measured"]
    np.testing.assert_array_equal(adapted.rows[:, measured], plain.rows[:, measured])


def test_it_goes_over_without_a_jump(plain, adapted):
    """Of what differs, no sample differs more from the one before than EEG itself does."""
    differs = adapted.rows.astype(float) - plain.rows
    fading = slice(at(AFTER_S), at(AFTER_S + FADE_S + 1))
    jump = np.abs(np.diff(differs[fading], axis=0)).max()
    ordinary = np.abs(np.diff(plain.rows.astype(float), axis=0))
    rendered = np.ptp(differs, axis=0) > 0
    assert 0 < jump < np.median(ordinary[:, rendered])


def test_what_changed_is_told(adapted):
    event, again = adapted.events("adapted")
    power = {low: db for low, _, db in event["power_db"]}
    assert max(power, key=power.get) == 8
    assert power[8] > 3
    assert [event["seconds"], again["seconds"]] == [AFTER_S, EVERY_S]
    status = adapted.status
    assert (status.adapting, status.counters.adaptations) == ("adapted", 2)
    assert status.adapted == pytest.approx(again["percent"] / 100, abs=1e-3)
    assert 0.02 < status.adapted < 1.0
    assert status.as_dict()["adapting"] == "adapted"


def test_the_change_that_is_told_is_the_one_that_is_rendered(plain, adapted):
    late = slice(at(EVERY_S + 4 + FADE_S), None)
    rows = adapted.upsampler.fading.rendered
    differs = adapted.rows[late][:, rows].astype(float) - plain.rows[late][:, rows]
    mean = plain.rows[late][:, [i for i in range(plain.rows.shape[1]) if i not in rows]]
    of = plain.rows[late][:, rows] - mean.astype(float).mean(axis=1, keepdims=True)
    share = np.sqrt((differs**2).mean() / (of**2).mean())
    assert adapted.status.adapted == pytest.approx(share, rel=0.2)


@pytest.mark.parametrize("engine", ["packed", "native"])
def test_undone_it_renders_as_before_to_the_bit(bundle, truth, states_bundle, engine):
    from emag_rt.native import why_not

    if engine == "native" and why_not():
        pytest.skip(why_not())
    ld = ld_of(bundle, truth)
    ld = np.concatenate([ld, ld[: at(20)]])
    plain = Served(bundle, ld, engine=engine)
    wishes = [(40, "undo"), (55, "undo")]
    served = Served(bundle, ld, states_bundle, wishes, engine=engine)
    assert served.told == ["adapted", "unadapted", "adapting", "adapted"]
    (event,) = served.events("unadapted")
    assert event["reason"] == "asked"
    undone, again = slice(at(40 + FADE_S + 0.2), at(55 + AFTER_S - 2)), slice(at(90), None)
    np.testing.assert_array_equal(served.rows[undone], plain.rows[undone])
    assert (served.rows[at(38)] != plain.rows[at(38)]).any()
    assert (served.rows[again] != plain.rows[again]).any()


def test_undone_twice_at_once_is_not_undone(bundle, truth, states_bundle):
    wishes = [(40, "undo"), (40, "undo")]
    assert Served(bundle, ld_of(bundle, truth), states_bundle, wishes).told == ["adapted"] * 2


def test_in_the_sessions_own_state_nothing_changes(bundle, states, states_bundle):
    recording = read_recording(states["same"])
    ld = ld_of(bundle, (recording.data_uv, recording.labels))
    served = Served(bundle, ld, states_bundle)
    assert (served.told, served.status.adapting, served.status.adapted) == ([], "learning", 0.0)
    np.testing.assert_array_equal(served.rows, Served(bundle, ld).rows)


def test_back_in_the_sessions_state_the_bundle_is_as_it_was(bundle, truth, states, states_bundle):
    ld = ld_of(bundle, truth)[: at(40)]
    recording = read_recording(states["same"])
    same = ld_of(bundle, (recording.data_uv, recording.labels))
    served = Served(bundle, np.concatenate([ld, same, same, same]), states_bundle)
    assert served.told == ["adapted", "adapted", "unadapted"]
    assert served.events("unadapted")[0]["reason"] == "as_calibrated"
    assert (served.status.adapting, served.status.adapted) == ("learning", 0.0)


@pytest.fixture(scope="module")
def others_ld(bundle):
    """Of another person with the same cap."""
    other = SyntheticHead(32, SFREQ, seed=19)
    return ld_of(bundle, (other.generate(at(80)), other.labels))


def test_ld_that_does_not_fit_is_not_followed(bundle, states_bundle, others_ld):
    served = Served(bundle, others_ld, states_bundle)
    assert served.events("ld_misfit")
    assert served.told == []
    np.testing.assert_array_equal(served.rows, Served(bundle, others_ld).rows)


def test_what_was_learned_is_taken_back_where_ld_no_longer_fits(
    bundle, truth, states_bundle, others_ld
):
    ld = np.concatenate([ld_of(bundle, truth)[: at(45)], others_ld])
    served = Served(bundle, ld, states_bundle)
    assert served.told in (["adapted", "unadapted"], ["adapted", "adapted", "unadapted"])
    assert served.events("unadapted")[0]["reason"] == "ld_misfit"
    tail = slice(-at(5), None)
    np.testing.assert_array_equal(served.rows[tail], Served(bundle, ld).rows[tail])


@pytest.mark.parametrize("fault", ["flat", "swapped"])
def test_with_bad_channels_nothing_is_learned(bundle, truth, states_bundle, fault):
    ld = ld_of(bundle, truth)
    if fault == "flat":
        ld[at(5) :, 3] = 0.0
    else:
        ld[:, [0, 5]] = ld[:, [5, 0]]
    served = Served(bundle, ld, states_bundle)
    assert served.status.bad_channels
    assert served.told == []


def test_saved_beside_the_first_over_nothing_and_as_it_was_rendered(
    bundle, truth, states_bundle, tmp_path
):
    path = tmp_path / "s.emag"
    path.write_bytes(states_bundle.read_bytes())
    taken = tmp_path / "s-adapted-1.emag"
    taken.write_text("somebody's")
    ld = ld_of(bundle, truth)
    served = Served(bundle, ld, path, [(10, "save"), (50, "save"), (60, "save")])
    saved = [event["saved"] for event in served.events("adapting")]
    assert saved == [str(tmp_path / f"s-adapted-{i}.emag") for i in (2, 3)]
    assert taken.read_text() == "somebody's"
    again = load_bundle(saved[0])
    assert again.manifest.calibration["adapted"]["seconds"] == AFTER_S
    late = slice(at(40), at(60))
    rows = Upsampler(again, engine="packed").push(ld)[0][late]
    np.testing.assert_allclose(served.rows[late], rows, atol=2e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"measured": "render", "reference": "average"},
        {"montage": "standard_1020"},
        {"statistics": "matched", "statistics_mix": 0.5},
        {"engine": "native"},
    ],
)
def test_whatever_is_rendered_is_adapted_as_the_saved_bundle_is(
    bundle, truth, states_bundle, tmp_path, options
):
    from emag_rt.native import why_not

    if options.get("engine") == "native" and why_not():
        pytest.skip(why_not())
    options = {"engine": "packed", **options}
    path = tmp_path / "s.emag"
    upsampler = Upsampler(bundle, **options)
    follower = follower_of(upsampler, path)
    ld = ld_of(bundle, truth)
    for block in blocks_of(bundle, ld):
        follower.add(block, 0)
    learned = follower.news()
    follower.save()
    saved = Upsampler(load_bundle(follower.news().path), **options)
    upsampler.fading.begin(learned.change, 1)
    for start in range(0, len(ld), 64):
        rows, _ = upsampler.push(ld[start : start + 64])
        expected, _ = saved.push(ld[start : start + 64])
        upsampler.prepare()
    np.testing.assert_allclose(rows, expected, atol=2e-3)


def blocks_of(bundle, ld):
    filtered = CausalFilter(np.array(bundle.manifest.frontend.sos), ld.shape[1]).process(ld)
    centred, n = reference_free(filtered)[0], at(2)
    return [centred[i : i + n] for i in range(0, at(AFTER_S), n)]


def test_behind_two_pipes_it_learns_the_same(bundle, truth, states_bundle, tmp_path):
    path = tmp_path / "s.emag"
    path.write_bytes(states_bundle.read_bytes())
    upsampler = Upsampler(bundle, engine="packed")
    operator, positions_mm = upsampler.fading.estimate
    begin = {"sha256": bundle.sha256, "after_s": AFTER_S, "every_s": EVERY_S}
    begin["rows"] = upsampler.fading.rendered
    told, tells = io.BytesIO(), io.BytesIO()
    send(told, "begin", begin, positions_mm, operator.taps, operator.weights)
    here = follower_of(upsampler, path)
    for block in blocks_of(bundle, ld_of(bundle, truth)):
        here.add(block, 3)
        send(told, "block", 3, block)
    send(told, "save", None)
    told.seek(0)
    follow(path, told, tells)
    tells.seek(0)
    learned, expected, saved = hear(tells), here.news(), hear(tells)
    assert isinstance(learned, Learned)
    np.testing.assert_array_equal(learned.change, expected.change)
    assert replace(learned, change=None) != replace(expected, change=None, era=4)
    assert vars(replace(learned, change=None)) == vars(replace(expected, change=None))
    assert saved == Saved(str(tmp_path / "s-adapted-1.emag"))
    assert hear(tells) is None


def test_another_file_than_is_served_is_not_followed(bundle, states_bundle):
    told, tells = io.BytesIO(), io.BytesIO()
    nothing = np.zeros((1, 1))
    send(told, "begin", {"sha256": "0"}, nothing, nothing, nothing)
    told.seek(0)
    follow(states_bundle, told, tells)
    tells.seek(0)
    ended = hear(tells)
    assert isinstance(ended, Ended)
    assert "another file" in ended.reason
    with pytest.raises(CalibrationError, match="Calibrate again with HD"):
        follower_of(Upsampler(replace(bundle, hd_bands=None), engine="packed"), states_bundle)


def test_a_bundle_that_cannot_be_saved_is_said(bundle, truth, states_bundle, tmp_path):
    upsampler = Upsampler(bundle, engine="packed")
    follower = follower_of(upsampler, tmp_path / "no" / "such" / "s.emag", after_s=4)
    follower.save()
    assert "nothing was adapted" in follower.news().why_not
    for block in blocks_of(bundle, ld_of(bundle, truth)):
        follower.add(block, 0)
    assert isinstance(follower.news(), Learned)
    follower.save()
    assert "cannot be written" in follower.news().why_not
