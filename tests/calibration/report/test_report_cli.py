"""The report on the command line: beside the bundle, elsewhere, not at all, or impossible."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from calibration.cli.calibrate import calibrate
from calibration.cli.report import left_out, open_report, report, report_path
from calibration.report.curves import Curves
from calibration.report.elements import escape
from emag_rt.cli.inspect import inspect
from emag_rt.errors import SettingsError


def run(command, *arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments])


@pytest.fixture
def fit(session_files, tmp_path):
    """Calibrate as quickly as can be, with options."""
    out = tmp_path / "s.emag"

    def call(*options, quiet=("--quiet",)):
        arguments = (session_files[0], "--ld", "4", "--out", out, "--no-refine", *quiet)
        return run(calibrate, *arguments, *options)

    return call


def test_calibrate_writes_it_beside_the_bundle_and_inspect_begins_alike(fit, tmp_path, monkeypatch):
    # Curves have tests of their own, and take most of the time.
    monkeypatch.setattr("calibration.report.write.measure_curves", lambda _material: Curves())
    done = fit()
    assert done.exit_code == 0, done.output
    assert f"{tmp_path / 's.html'}: " in done.output
    page, bundle = (tmp_path / "s.html").read_text(encoding="utf-8"), tmp_path / "s.emag"
    assert len(page) > 100_000
    verdict, advice, blank = run(inspect, bundle).output.splitlines()[:3]
    assert len(verdict) > 20
    assert escape(verdict) in page
    assert f"emag-rt evaluate {bundle} RECORDING" in advice
    assert blank == ""


def test_no_report_where_none_is_wanted(fit, tmp_path):
    done = fit("--no-report", quiet=())
    assert done.exit_code == 0
    assert "next: emag-rt montage" in done.output, "its error is large"
    assert f"next: emag-rt evaluate {tmp_path / 's.emag'} " in done.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.emag"]


def test_a_report_that_fails_is_one_warning(fit, tmp_path, monkeypatch):
    def fail(*_arguments):
        raise ValueError("no such\nfont")

    monkeypatch.setattr("calibration.report.write.report_of_calibration", fail)
    done = fit("--report", tmp_path / "other.html")
    assert done.exit_code == 0, done.output
    (line,) = [line for line in done.output.splitlines() if "no report" in line]
    assert "no report: ValueError: no such font" in line
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.emag"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--report", "x.html", "--no-report"], "exclude each other"),
        (["--report", "x.pdf"], "must end with .html"),
        (["--report", "nowhere/x.html"], "folder must exist"),
    ],
)
def test_impossible_names_are_told_before_the_work(fit, tmp_path, options, says):
    done = fit(*options)
    assert isinstance(done.exception, SettingsError)
    assert says in str(done.exception)
    assert not (tmp_path / "s.emag").exists()


@pytest.mark.usefixtures("undrawn")
def test_report_of_a_bundle_on_a_run_it_has_not_seen(subject, tmp_path):
    out = tmp_path / "held.html"
    done = run(report, subject.path, subject.unseen, "--out", out, "--quiet", "--curves", "no")
    assert done.exit_code == 0, done.output
    text = out.read_text(encoding="utf-8")
    assert "the calibration has not seen" in text
    assert "slightly optimistic" not in text
    assert "left out: not asked for" in text
    assert subject.digest in text
    assert f"next: emag-rt serve {subject.path}" in done.output


def test_a_report_on_a_run_never_overwrites_that_of_the_calibration():
    assert report_path("a/s01.emag").as_posix() == "a/s01.html"
    assert report_path("a/s01.emag", "b/run3.edf").as_posix() == "a/s01-run3.html"
    assert report_path("a/s01.emag", "b/run3_raw.fif.gz").as_posix() == "a/s01-run3_raw.html"


def test_report_never_overwrites_what_it_reads(subject):
    done = run(report, subject.path, subject.unseen, "--out", subject.path, "--quiet")
    assert isinstance(done.exception, SettingsError)


@pytest.mark.parametrize(
    ("used", "found"),
    [
        (["S001R03.edf"], "S001R04.edf"),
        (["s01_run1_raw.fif", "s01_run2_raw.fif"], "s01_run3_raw.fif"),
        (["S001R04.edf"], "HELD_OUT_RECORDING"),
        (["s01_raw.fif"], "HELD_OUT_RECORDING"),
    ],
)
def test_the_next_recording_is_a_later_run_of_the_same_person(tmp_path, used, found):
    names = ["S001R03.edf", "S001R04.edf", "S002R05.edf", "s01_raw.fif", "s02_raw.fif"]
    for name in [*names, *(f"s01_run{n}_raw.fif" for n in (1, 2, 3))]:
        (tmp_path / name).touch()
    assert left_out([str(tmp_path / name) for name in used]).endswith(found)


def test_open_says_where_the_report_is_when_nothing_can_show_it(tmp_path, monkeypatch, capsys):
    shown = []
    monkeypatch.setattr("webbrowser.open", lambda address: shown.append(address))
    open_report(str(tmp_path / "s.html"))
    assert shown == [(tmp_path / "s.html").as_uri()]
    assert shown[0] in capsys.readouterr().err
