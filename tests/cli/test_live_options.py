"""`calibrate --stream`: options that do not go together are refused before LSL is touched."""

import shlex

import pytest
from click.testing import CliRunner

from calibration.cli.calibrate import _kept_recording
from emag_rt.cli.main import cli
from emag_rt.errors import SettingsError


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["a.edf", "--stream", "x"], "exclude each other, got 'x' and a.edf"),
        ([], "got neither"),
        (["a.edf", "--duration", "30", "--unit", "V"], "--unit, --duration must go with --stream"),
        (["a.edf", "--scope", "machine"], "--scope must go with --stream"),
        (
            ["--stream", "x", "--wait-for-key", "--start-marker", "go", "--scope", "machine"],
            "--wait-for-key and --start-marker exclude each other",
        ),
        (["--stream", "x", "--markers", "none", "--stop-marker", "end"], "none must stand alone"),
        (["--stream", "x", "--out", "nowhere/s01.emag"], "folder must exist"),
        (["--stream", "x", "--headset", "nothing-like-it"], "headset must be one of"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("emag_rt.streams.lsl.configure", lambda *_: None)
    options = ["calibrate", "--ld", "8", "--out", "s01.emag", *arguments]
    result = CliRunner().invoke(cli, options)
    assert isinstance(result.exception, SettingsError)
    assert reason in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_the_hint_to_fit_again_can_be_pasted_into_a_shell(capsys):
    with (
        pytest.raises(SettingsError),
        _kept_recording(["my data/s 01_raw.fif"], "@my names.txt", "s$1"),
    ):
        raise SettingsError("a reason")
    said = capsys.readouterr().err
    command = said.partition(": ")[2].partition(" fits it")[0]
    wanted = ["my data/s 01_raw.fif", "--ld", "@my names.txt", "--out", "s$1"]
    assert shlex.split(command) == ["emag-rt", "calibrate", *wanted]
