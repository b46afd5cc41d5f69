"""``emag-rt montage``: names that feed `calibrate`, a picture, and errors before the work."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from emag_rt.bundle import load_bundle
from emag_rt.cli.main import cli
from emag_rt.errors import CalibrationError, SettingsError
from emag_rt.recordings.write import write_raw
from emag_rt.synthetic.head import SyntheticHead


def run(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    head = SyntheticHead(16, 128.0, seed=2)
    path = tmp_path_factory.mktemp("montage") / "hd_raw.fif"
    data = head.generate(128 * 20)
    write_raw(path, data, head.labels, 128.0, head.montage.positions_mm, origin_mm=head.origin_mm)
    return path


def test_the_names_feed_calibrate(recording, tmp_path):
    names, picture, bundle = (tmp_path / x for x in ("names.txt", "head.png", "s.emag"))
    options = ("--count", 4, "--must", "Fz, oz", "--forbid", "Cz", "--starts", 0, "--curve")
    done = run("montage", recording, *options, "--out", names, "--picture", picture, "--quiet")
    assert done.exit_code == 0, done.output
    first, *labels = names.read_text(encoding="utf-8").split("\n")[:-1]
    assert first.startswith("# 4 electrodes")
    assert len(labels) == 4
    assert {"Fz", "Oz"} <= set(labels)
    assert "Cz" not in labels
    assert done.stdout.splitlines()[-1] == ",".join(labels)
    assert "spread evenly" in done.stderr
    assert picture.stat().st_size > 10_000
    done = run(
        "calibrate",
        recording,
        "--ld",
        f"@{names}",
        "--out",
        bundle,
        "--no-refine",
        "--no-report",
        "--quiet",
    )
    assert done.exit_code == 0, done.output
    assert list(load_bundle(bundle).manifest.ld_montage.labels) == labels


def test_names_to_standard_output_are_a_file_of_names(recording):
    done = run("montage", recording, "--count", 2, "--starts", 0, "--out", "-", "--quiet")
    assert done.exit_code == 0, done.output
    assert len([x for x in done.stdout.splitlines() if x and not x.startswith("#")]) == 2


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        (("--count", 4, "--must", "Cz,Qz"), CalibrationError, "Qz"),
        (("--count", 16), CalibrationError, "from 2 to 15"),
        (("--count", 4, "--picture", "head.txt"), SettingsError, r"\.png"),
        (("--count", 4, "--picture", "no/head.png"), SettingsError, "folder"),
        (("--count", 4, "--out", "no/names.txt"), SettingsError, "folder"),
    ],
)
def test_errors_say_what_to_do(recording, options, error, says):
    done = run("montage", recording, *options, "--quiet")
    assert isinstance(done.exception, error), done.output
    with pytest.raises(error, match=says):
        raise done.exception


def test_the_recording_is_never_overwritten(recording):
    done = run("montage", recording, "--count", 4, "--out", recording)
    assert isinstance(done.exception, SettingsError)
    assert "overwrite" in str(done.exception)
    assert run("montage", recording).exit_code == 2
