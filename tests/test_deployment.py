"""The systemd unit and the container file fit the command line they start."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from emag_rt import errors
from emag_rt.cli.serve import serve

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
UNIT = CONFIGS / "emag-rt.service"
CONTAINERFILE = CONFIGS / "Containerfile"


def options_of(arguments):
    assert arguments[0] == "serve"
    known = {name for parameter in serve.params for name in parameter.opts}
    given = {argument for argument in arguments if argument.startswith("--")}
    assert given <= known
    return given


def unit():
    """Values by key; of repeated keys the last one, as systemd takes it."""
    lines = [x for x in UNIT.read_text().splitlines() if x and not x.startswith("#")]
    return dict(line.split("=", 1) for line in lines if "=" in line)


def test_the_unit_starts_what_there_is():
    arguments = shlex.split(unit()["ExecStart"])
    assert Path(arguments[0]).name == "emag-rt"
    options = options_of(arguments[1:])
    assert "--wait" in options, "an amplifier that is off is no failure"


def test_what_is_restarted_is_what_may_mend():
    """Codes of settings and files that do not fit, against those of streams, disks and ports."""
    prevented = {int(code) for code in unit()["RestartPreventExitStatus"].split()}
    codes = {
        error.exit_code
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.EmagError)
    }
    assert prevented <= codes
    mends = {errors.StreamError.exit_code, errors.OutputError.exit_code, 1}
    assert codes - prevented == mends
    assert unit()["Restart"] == "on-failure"


def test_the_unit_is_hardened_and_patient():
    values = unit()
    assert values["Type"] == "notify"
    assert values["TimeoutStartSec"] == "infinity"
    assert values["DynamicUser"] == values["NoNewPrivileges"] == "yes"
    assert values["ProtectSystem"] == "strict"
    assert values["KillSignal"] == "SIGTERM"
    assert values["CapabilityBoundingSet"] == ""
    assert "AF_NETLINK" in values["RestrictAddressFamilies"], "liblsl lists interfaces"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")
def test_systemd_understands_the_unit(tmp_path):
    command = shlex.split(unit()["ExecStart"])[0]
    text = UNIT.read_text().replace(command, sys.executable)  # which exists here
    (tmp_path / UNIT.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / UNIT.name],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert ours == []


def test_the_container_runs_without_root_and_asks_for_health():
    text = re.sub(r"\\\n\s*", "", CONTAINERFILE.read_text())
    lines = [line.split(" ", 1) for line in text.splitlines() if line and line[0] != "#"]
    stages = [rest for word, rest in lines if word == "FROM"]
    assert all(re.match(r"python:3\.\d+-slim( AS \w+)?$", stage) for stage in stages)
    users = [rest for word, rest in lines if word == "USER"]
    assert users
    assert users[-1] not in ("0", "root")
    found = dict(lines)
    assert found["ENTRYPOINT"] == '["emag-rt"]'
    arguments = re.findall(r'"([^"]*)"', found["CMD"])
    options_of(arguments)
    port = arguments[arguments.index("--http-port") + 1]
    assert f"127.0.0.1:{port}/healthz" in found["HEALTHCHECK"]
