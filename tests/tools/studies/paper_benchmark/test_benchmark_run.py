"""The benchmark as a whole: resumed after a kill, failures on record, in parallel, over Dask."""

import json
import signal

import numpy as np
import pytest

from emag_rt.errors import EmagError, OutputError, RecordingError, SettingsError
from tests.dataset_files import write_eegmmidb
from tools.studies.datasets import open_dataset
from tools.studies.paper_benchmark import methods
from tools.studies.paper_benchmark.parallel import run_subjects
from tools.studies.paper_benchmark.report import markdown, read_results
from tools.studies.paper_benchmark.results import is_done, read_result, write_result, write_text
from tools.studies.paper_benchmark.subjects import Plan, paths_of, run_subject, subjects_of
from tools.studies.paper_benchmark.task import BenchmarkSettings

TOOL = ("-m", "tools.studies.paper_benchmark")
QUICK = ("spherical_spline", "ridge", "lagged_ridge")


@pytest.fixture
def folder(tmp_path):
    return write_eegmmidb(tmp_path / "db", seconds=16)


def plan_of(folder, out, **changed):
    options = {"protocols": ("ours",), "factors": (4,), "methods": QUICK}
    settings = BenchmarkSettings(window_s=1.0)
    return Plan("eegmmidb", str(folder), str(out), **{**options, "settings": settings, **changed})


def results_in(out):
    """Results that are whole: those being written lie in hidden folders, which come and go."""
    return {path: path.stat().st_mtime_ns for path in (out / "eegmmidb").glob("S*/*.json")}


def arguments(folder, out, *more):
    chosen = [part for name in (*QUICK, "field_closed_form") for part in ("--method", name)]
    return [*TOOL, "eegmmidb", folder, "--out", out, "--window-s", 1, *chosen, "--factor", 4, *more]


def test_killed_and_resumed_nothing_is_done_twice(folder, tmp_path, spawn, wait_until):
    out = tmp_path / "results"
    first = spawn(*arguments(folder, out))
    wait_until(lambda: len(results_in(out)) >= 2, 60, "two results")
    first.kill()
    before = results_in(out)
    assert 2 <= len(before) < 16, "killed in the middle"
    assert all(json.loads(path.read_text())["status"] == "done" for path in before)
    second = spawn(*arguments(folder, out, "--jobs", 2))
    assert second.finish(120) == 0, second
    after = results_in(out)
    assert len(after) == 2 * 2 * 4
    assert {path: after[path] for path in before} == before, "finished work was not redone"
    there = sum(
        int(line.split(" there")[0].split()[-1]) for line in second.lines if "there" in line
    )
    assert there == len(before)
    tables = (out / "tables.md").read_text()
    assert tables.count("### eegmmidb") == 2
    assert tables in second.output + "\n"
    for name in ("spherical spline", "ridge", "lagged ridge", "field closed form"):
        assert tables.count(f"| {name} | 2 |") == 2


def test_sigterm_ends_the_workers_too(folder, tmp_path, spawn, wait_until):
    import psutil

    out = tmp_path / "results"
    child = spawn(*arguments(folder, out, "--jobs", 2))
    wait_until(lambda: results_in(out), 60, "a result")
    family = psutil.Process(child.process.pid).children(recursive=True)
    child.process.send_signal(signal.SIGTERM)
    assert child.finish(30) == 130
    assert "goes on from what is finished" in child.output
    psutil.wait_procs(family, timeout=30)
    assert not [process for process in family if process.is_running()]


def test_a_damaged_subject_does_not_stop_the_others(folder, tmp_path, spawn):
    damaged = folder / "S001" / "S001R03.edf"
    whole = damaged.read_bytes()
    damaged.write_bytes(b"0" * len(whole))
    out = tmp_path / "results"
    few = ["--method", "ridge", "--protocol", "ours", "--factor", 4]
    child = spawn(*TOOL, "eegmmidb", folder, "--out", out, *few)
    assert child.finish(60) == 1, child
    assert "failed: S001: S001R03.edf" in child.output
    assert "| ridge | 1 |" in child.output, "the other subject is in the table"
    (record,) = (out / "eegmmidb" / "S001").glob("*.json")
    content = json.loads(record.read_text())
    assert content["status"] == "failed"
    assert "S001R03.edf" in content["error"]
    assert "RecordingError" in content["traceback"]
    damaged.write_bytes(whole)
    assert run_subject(plan_of(folder, out, methods=("ridge",)), "S001").failures == ()


def test_a_failing_method_is_recorded_tried_again_and_alone(folder, tmp_path, monkeypatch):
    def broken(problem, settings):
        raise ZeroDivisionError("on purpose")

    plan = plan_of(folder, tmp_path / "out")
    monkeypatch.setitem(methods.METHODS, "ridge", broken)
    outcome = run_subject(plan, "S001")
    assert (outcome.n_done, outcome.n_skipped) == (2, 0)
    assert outcome.failures == ("S001, ours x4 ridge: ZeroDivisionError: on purpose",)
    monkeypatch.undo()
    outcome = run_subject(plan, "S001")
    assert (outcome.n_done, outcome.n_skipped, outcome.failures) == (1, 2, ())
    assert run_subject(plan, "S001").n_skipped == 3
    changed = plan_of(folder, tmp_path / "out", settings=BenchmarkSettings(settle_s=0.5))
    assert run_subject(changed, "S001").n_done == 3, "another setting is another result"


def test_over_a_dask_cluster_the_numbers_are_the_same(folder, tmp_path):
    distributed = pytest.importorskip("distributed", reason="needs the extra [studies]")
    here, there = (plan_of(folder, tmp_path / name) for name in ("here", "there"))
    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None
    )
    with cluster:
        address = cluster.scheduler_address
        outcomes = run_subjects(there, subjects_of(there), dask=address)
    assert sorted(o.subject for o in outcomes) == ["S001", "S002"]
    assert {o.n_done for o in outcomes} == {3}
    run_subjects(here, subjects_of(here))
    dataset = open_dataset("eegmmidb", folder)
    for subject in dataset.subjects():
        local, remote = (paths_of(plan, dataset, subject).values() for plan in (here, there))
        for a, b in zip(local, remote, strict=True):
            mine, theirs = (read_result(path)["scores"]["unseen"]["nmse"] for path in (a, b))
            assert mine == pytest.approx(theirs, rel=1e-9)


def test_a_scheduler_that_is_not_there_and_other_wrong_arguments(folder, tmp_path):
    plan = plan_of(folder, tmp_path / "out")
    pytest.importorskip("distributed", reason="needs the extra [studies]")
    with pytest.raises(SettingsError, match="dask must be the address of a running scheduler"):
        run_subjects(plan, ["S001"], dask="nonsense://nowhere")
    with pytest.raises(SettingsError, match="jobs must be -1 or at least 1"):
        run_subjects(plan, ["S001"], jobs=0)
    with pytest.raises(SettingsError, match="factor must be at least 2"):
        plan_of(folder, tmp_path, factors=(1,))
    with pytest.raises(SettingsError, match="protocol must be one of"):
        plan_of(folder, tmp_path, protocols=("theirs",))
    with pytest.raises(RecordingError, match="subject must be one of"):
        subjects_of(plan_of(folder, tmp_path, subjects=("S009",)))


def _die(plan, subject):
    import os

    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_an_error_that_says_how_to_go_on(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("tools.studies.paper_benchmark.parallel.run_subject", _die)
    with pytest.raises(EmagError, match="run the same command again"):
        run_subjects(plan_of(folder, tmp_path / "out"), ["S001"], jobs=2)


def test_results_are_whole_or_not_there(tmp_path):
    path = tmp_path / "a" / "b.json"
    write_result(path, {"status": "done", "x": 1})
    assert read_result(path) == {"status": "done", "x": 1}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_result(path, {"status": "done", "x": float("nan")})
    assert is_done(path)
    assert [p.name for p in path.parent.iterdir()] == ["b.json"], "no temporary file is left"
    path.write_text('{"status": "done", "x"')
    assert not is_done(path)
    write_result(path, {"status": "failed"})
    assert not is_done(path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        write_text(tmp_path / "file" / "x.md", "")


def _result(subject, method, nmse, protocol="ours"):
    scores = {"nmse": nmse, "pcc": 0.9, "snr_db": -10 * np.log10(nmse)}
    names = {"dataset": "db", "subject": subject, "method": method, "protocol": protocol}
    counts = {"factor": 4, "n_ld": 16, "n_channels": 64, "fit_s": 1.0}
    return {**names, **counts, "status": "done", "scores": {"unseen": scores, "all": scores}}


def test_table_means_spreads_ratios_and_the_worst(tmp_path):
    results = [
        _result("a", "lagged_ridge", 0.2),
        _result("b", "lagged_ridge", 0.4),
        _result("c", "lagged_ridge", 0.1),
        _result("a", "ridge", 0.3),
        _result("b", "ridge", 0.44),
        _result("c", "ridge", 0.12),
        _result("a", "ridge", 0.9, protocol="paper"),
    ]
    ours, paper = markdown(results).split("### ")[1:]
    row = next(line for line in ours.splitlines() if line.startswith("| ridge"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    spread = np.std([0.3, 0.44, 0.12], ddof=1)
    assert cells[:3] == ["ridge", "3", f"0.287 ± {spread:.3f}"]
    assert cells[6:8] == ["1.200 (1.500)", "0.440 (b)"]
    assert "16 of 64 channels worn" in ours
    assert "| ridge | 1 | 0.900 |" in paper
    assert "| – |" in paper, "no lagged ridge, no ratio"
    path = tmp_path / "x.json"
    write_result(path, {"status": "failed"})
    assert read_results([path, tmp_path / "absent.json"]) == []
