"""Starting the dashboard beside a daemon: clear refusals, and an end that is said once."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
import time

import pytest

from emag_rt.cli import serve as serve_module
from emag_rt.daemon.settings import load_settings
from emag_rt.dashboard import launch
from emag_rt.errors import SettingsError


def test_without_the_extra_nothing_starts(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        launch.importlib.util, "find_spec", lambda name: None if name == "uvicorn" else real(name)
    )
    with (
        pytest.raises(SettingsError, match=r"uvicorn must be .*pip install 'emag-rt\[dashboard\]'"),
        launch.beside([], "127.0.0.1", 0),
    ):
        pytest.fail("started")


def test_the_command_says_so_before_it_looks_at_the_bundle(cli, tmp_path):
    (tmp_path / "uvicorn.py").write_text("")
    blocked = "import sys; sys.modules['uvicorn'] = None"
    (tmp_path / "sitecustomize.py").write_text(blocked)
    env = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    done = cli("serve", tmp_path / "no.emag", "--source-id", "x", "--dashboard", env=env)
    assert done.finish(30) == 2, done.output
    assert done.lines == [line for line in done.lines if "emag-rt[dashboard]" in line]


def test_a_taken_port_is_said_before_anything_starts(cli, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = cli(
            *("serve", tmp_path / "no.emag", "--source-id", "x", "--dashboard"),
            *("--dashboard-port", port),
        )
        assert done.finish(30) == 9
    (line,) = done.lines
    assert f"dashboard: 127.0.0.1 port {port} cannot be listened on: " in line


@pytest.mark.parametrize("option", ["--dashboard-port=0", "--dashboard-host=127.0.0.1"])
def test_a_port_or_an_address_turns_it_on(monkeypatch, option):
    wanted = []
    monkeypatch.setattr(
        serve_module, "_dashboard", lambda _, s: wanted.append(s.dashboard) or 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        serve_module.serve.main(["no.emag", option], standalone_mode=False)
    assert wanted[0].enabled


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """In the place of the dashboard's process, one that runs this code."""

    def use(code):
        script = tmp_path / "stand_in.sh"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{code}"\n')
        script.chmod(0o755)
        monkeypatch.setattr(launch.sys, "executable", str(script))

    return use


def test_a_dashboard_that_dies_is_said_once_and_nothing_else_happens(stand_in, caplog, wait_until):
    stand_in("raise SystemExit(3)")
    with launch.beside([], "127.0.0.1", 0):
        wait_until(lambda: "has ended" in caplog.text, 20, "a warning")
    assert caplog.text.count("the dashboard has ended (exit 3): serving goes on") == 1


def test_it_ends_with_the_daemon_and_in_silence(stand_in, caplog):
    stand_in("import time; time.sleep(60)")
    begun = time.monotonic()
    with launch.beside([], "127.0.0.1", 0):
        pass
    assert time.monotonic() - begun < 30
    assert not caplog.text


def test_settings_files_can_ask_for_it(tmp_path):
    path = tmp_path / "serve.yaml"
    path.write_text("dashboard:\n  enabled: true\n  port: 0\n")
    settings = load_settings(path)
    assert (settings.dashboard.enabled, settings.dashboard.port) == (True, 0)
    assert settings.dashboard.host == "127.0.0.1"
    assert not load_settings(None).dashboard.enabled
