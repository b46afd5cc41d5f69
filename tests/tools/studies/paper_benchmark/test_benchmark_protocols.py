"""What the two protocols learn from, score, and never mix."""

import hashlib

import numpy as np
import pytest

from calibration import CalibrationSettings
from calibration.session.segments import make_session
from emag_rt.core.scores import nmse
from emag_rt.errors import CalibrationError, SettingsError
from tests.dataset_files import write_eegmmidb, write_localize
from tools.studies.datasets import open_dataset
from tools.studies.paper_benchmark.methods import METHODS, check_methods
from tools.studies.paper_benchmark.problem import score
from tools.studies.paper_benchmark.protocols import make_problem, split, subject_seed
from tools.studies.paper_benchmark.task import BenchmarkSettings, Task, result_path

SETTINGS = BenchmarkSettings(window_s=1.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_eegmmidb(tmp_path_factory.mktemp("db"), subjects=1, runs=("R01", "R02", "R03"))
    return open_dataset("eegmmidb", folder).load("S001")


@pytest.fixture(scope="module")
def epochs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mi")
    write_localize(folder)
    return open_dataset("localize-mi", folder).load("sub-01")


def test_paper_draws_electrodes_by_the_name_and_windows_80_to_20(data):
    problem = make_problem(data, "paper", 4, SETTINGS)
    first = int.from_bytes(hashlib.sha1(b"S001").digest()[:4])
    assert subject_seed("S001") == first
    expected = np.random.default_rng(first).choice(16, 4, replace=False)
    assert problem.ld == tuple(sorted(expected.tolist()))
    assert (len(problem.train), len(problem.test)) == (72, 18)
    again = make_problem(data, "paper", 4, SETTINGS)
    np.testing.assert_array_equal(problem.test[5][1], again.test[5][1])
    other = make_problem(data, "paper", 4, BenchmarkSettings(window_s=1.0, seed=1))
    assert other.ld == problem.ld, "electrodes follow the name, windows the seed"
    assert not np.array_equal(problem.test[0][1], other.test[0][1])


def test_paper_windows_are_whole_disjoint_and_zscored(data):
    raw = make_problem(data, "paper", 4, BenchmarkSettings(window_s=1.0, normalization="none"))
    rows = np.concatenate([y for _, y in [*raw.train, *raw.test]])
    whole = np.concatenate([s.data_uv for s in data.stretches])[:, list(raw.targets)]
    # Windows of a second cut runs of 30 s without rest: the same samples in another order.
    order, expected = (np.lexsort(values.T[:3]) for values in (rows, whole))
    np.testing.assert_array_equal(rows[order], whole[expected])
    scaled = make_problem(data, "paper", 4, SETTINGS)
    for x, y in [*scaled.train, *scaled.test]:
        assert len(y) == 160
        np.testing.assert_allclose(np.concatenate([x.T, y.T]).mean(axis=1), 0.0, atol=1e-12)
        np.testing.assert_allclose(np.concatenate([x.T, y.T]).std(axis=1), 1.0)


def test_ours_holds_out_whole_later_runs_and_equals_the_calibrators_session(data):
    problem = make_problem(data, "ours", 4, SETTINGS)
    learned, held = split(data, 0.2)
    assert {s.run for s in learned} == {"R01", "R02"}
    assert {s.run for s in held} == {"R03"}
    session = make_session(data.select(learned).recordings(), 4, CalibrationSettings())
    assert problem.ld == session.ld, "evenly spread, as the calibrator spreads them"
    assert problem.targets == session.targets
    np.testing.assert_allclose(problem.scale, session.scale_uv)
    for (x, y), (x_other, y_other) in zip(problem.train, session.segments, strict=True):
        np.testing.assert_allclose(x, x_other, atol=1e-12)
        np.testing.assert_allclose(y, y_other[:, list(session.targets)], atol=1e-12)


def test_ours_splits_a_single_run_in_time_and_settles_anew(data):
    single = data.select([s for s in data.stretches if s.run == "R01"])
    learned, held = split(single, 0.2)
    assert [len(s.data_uv) for s in (*learned, *held)] == [3840, 960]
    problem = make_problem(single, "ours", 4, SETTINGS)
    assert [len(x) for x, _ in problem.test] == [960 - 160]
    # The past is not in what is scored: other numbers there change nothing here.
    changed = single.select([*single.stretches])
    changed.stretches[0].data_uv.flags.writeable = True
    kept = changed.stretches[0].data_uv[:3840].copy()
    changed.stretches[0].data_uv[:3840] *= 1.5
    other = make_problem(changed, "ours", 4, SETTINGS)
    changed.stretches[0].data_uv[:3840] = kept
    np.testing.assert_array_equal(problem.test[0][1], other.test[0][1])


@pytest.mark.parametrize("protocol", ["paper", "ours"])
def test_epochs_stay_whole(epochs, protocol):
    problem = make_problem(epochs, protocol, 4, SETTINGS)
    size = 520 if protocol == "paper" else 390  # a quarter of an epoch settles at most
    assert {len(x) for x, _ in [*problem.train, *problem.test]} == {size}
    assert len(problem.train) == {"paper": 19, "ours": 12}[protocol]
    assert not problem.recordings
    predict = METHODS["lagged_ridge"](problem, SETTINGS)
    result = score(problem, [predict(x) for x, _ in problem.test])
    assert result["unseen"]["nmse"] < 0.6
    assert "bands_unseen" not in result


def test_wild_channels_and_marked_ones_are_neither_worn_nor_scored(data):
    loud = data.select([*data.stretches])
    copies = [np.array(s.data_uv) for s in loud.stretches]
    for copy in copies:
        copy[:, 3] *= 50.0
    stretches = [
        type(s)(c, s.file, s.run, s.session) for s, c in zip(loud.stretches, copies, strict=True)
    ]
    problem = make_problem(data.select(stretches), "ours", 2, SETTINGS)
    assert 3 not in {*problem.ld, *problem.targets}
    assert any("flat or wild" in note and "F3" in note for note in problem.notes)


def test_score_is_the_metrics_and_passes_worn_channels_through(data):
    problem = make_problem(data, "ours", 4, SETTINGS)
    predicted = [np.zeros(y.shape) for _, y in problem.test]
    result = score(problem, predicted)
    truth = np.concatenate([y for _, y in problem.test])
    worn = np.concatenate([x for x, _ in problem.test]) * problem.scale
    assert result["unseen"]["nmse"] == pytest.approx(1.0)
    share = (truth**2).sum() / ((truth**2).sum() + (worn**2).sum())
    assert result["all"]["nmse"] == pytest.approx(share)
    assert set(result["bands_unseen"]) == {"delta", "theta", "alpha", "beta", "gamma"}
    with pytest.raises(CalibrationError, match="a prediction must be finite and of shape"):
        score(problem, [p[:, :2] for p in predicted])
    predicted[0][0, 0] = np.nan
    with pytest.raises(CalibrationError, match="1 values not finite"):
        score(problem, predicted)


@pytest.mark.parametrize("look_ahead_s", [0.0, 0.05])
def test_the_calibrators_own_field_gives_the_closed_forms_numbers(data, monkeypatch, look_ahead_s):
    """The refined method runs the shipped calibrator: without torch it is the closed form."""
    monkeypatch.setattr("calibration.stages.find_spec", lambda name: None)
    settings = BenchmarkSettings(look_ahead_s=look_ahead_s)
    problem = make_problem(data, "ours", 4, settings)
    x, y = problem.test[0]
    direct = METHODS["field_closed_form"](problem, settings)(x)
    served = METHODS["field_refined"](problem, settings)(x)
    assert served.shape == direct.shape
    np.testing.assert_allclose(served, direct, atol=1e-3 * direct.std())
    assert nmse(y, served) < 0.7


def test_the_paper_has_no_recordings_so_residual_and_closed_form_are_used(data, monkeypatch):
    monkeypatch.setattr("calibration.residual.bag.fit_residual", lambda *_, **__: None)
    problem = make_problem(data, "paper", 4, SETTINGS)
    x, _ = problem.test[0]
    both = [METHODS[name](problem, SETTINGS)(x) for name in ("field_closed_form", "field_refined")]
    np.testing.assert_array_equal(*both)


def test_every_setting_and_the_data_are_in_the_key(tmp_path, data):
    file = tmp_path / "a.edf"
    file.write_bytes(b"12345")
    task = Task("S001", "ours", 4, "ridge")

    def path(task=task, **changed):
        return result_path(tmp_path, "db", task, BenchmarkSettings(**changed), [file])

    first = path()
    assert first == path()
    assert first.parent == tmp_path / "db" / "S001"
    changes = {
        "test_share": 0.25,
        "window_s": 2.0,
        "normalization": "none",
        "band_hz": (1.0, 40.0),
        "settle_s": 0.5,
        "look_ahead_s": 0.1,
        "paper_like_window_s": 1.0,
        "paper_like_epochs": 3,
        "seed": 1,
    }
    assert set(changes) == set(BenchmarkSettings.__dataclass_fields__)
    keys = {path(**{name: value}) for name, value in changes.items()}
    keys |= {path(Task("S001", "ours", 8, "ridge")), path(Task("S001", "paper", 4, "ridge"))}
    assert len(keys - {first}) == len(changes) + 2
    file.write_bytes(b"123456")
    assert path() != first, "other data"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("test_share", 0.9),
        ("window_s", 0.0),
        ("normalization", "minmax"),
        ("settle_s", -1.0),
        ("look_ahead_s", 2.0),
        ("paper_like_window_s", 0.0),
        ("paper_like_epochs", 0),
        ("seed", -1),
    ],
)
def test_settings_are_checked(setting, value):
    with pytest.raises(SettingsError, match=setting):
        BenchmarkSettings(**{setting: value})


def test_impossible_factors_windows_and_methods(data, monkeypatch):
    with pytest.raises(CalibrationError, match=r"factor .* at least 2 of the 16 channels"):
        make_problem(data, "ours", 16, SETTINGS)
    with pytest.raises(CalibrationError, match="at least 10 windows or epochs, got 3"):
        make_problem(data, "paper", 4, BenchmarkSettings(window_s=25.0))
    with pytest.raises(SettingsError, match="method must be one of"):
        check_methods(("ridge", "kriging"))
    monkeypatch.setattr("tools.studies.paper_benchmark.methods.find_spec", lambda name: None)
    assert check_methods(("ridge",)) == ("ridge",)
    with pytest.raises(SettingsError, match="needs torch"):
        check_methods(("ridge", "paper_like"))


@pytest.mark.parametrize("source", ["data", "epochs"])
def test_paper_like_emag_runs_on_windows_and_epochs(request, source):
    pytest.importorskip("torch", reason="needs the extra [calibrate]")
    problem = make_problem(request.getfixturevalue(source), "paper", 4, SETTINGS)
    quick = BenchmarkSettings(window_s=1.0, paper_like_epochs=2)
    errors = {}
    for name in ("paper_like", "ridge"):
        predict = METHODS[name](problem, quick)
        errors[name] = score(problem, [predict(x) for x, _ in problem.test])["unseen"]["nmse"]
    assert errors["ridge"] < errors["paper_like"] < 1.1, "two epochs begin at silence"
