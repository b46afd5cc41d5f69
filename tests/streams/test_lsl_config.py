"""LSL settings: their text, and that they are given once."""

import configparser
import os
import subprocess
import sys

import pytest

from emag_rt.errors import SettingsError
from emag_rt.streams.config import lsl_config_text, session_id_in


def parsed(text):
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str
    parser.read_string(text)
    return parser


def test_text_for_one_machine():
    config = parsed(lsl_config_text("machine", "s1", -2))
    assert config["multicast"]["ResolveScope"] == "machine"
    assert config["ports"]["IPv6"] == "disable"
    assert config["lab"]["SessionID"] == "s1"
    assert config["log"]["level"] == "-2"
    assert float(config["tuning"]["UnicastMaxRTT"]) < 0.5


def test_an_existing_file_is_kept_under_our_values():
    base = (
        "[lab]\nKnownPeers = {10.0.0.1, 10.0.0.2}\nSessionID=old\n; note\n[ports]\nBasePort=17000\n"
    )
    config = parsed(lsl_config_text(None, "new", -3, base))
    assert config["lab"]["KnownPeers"] == "{10.0.0.1, 10.0.0.2}"
    assert config["lab"]["SessionID"] == "new"
    assert config["ports"]["BasePort"] == "17000"
    assert "multicast" not in config
    assert config["tuning"]["TimeUpdateMinProbes"] == "3"
    config = parsed(lsl_config_text(None, None, -3, "[tuning]\nTimeUpdateMinProbes=5\n"))
    assert config["tuning"]["TimeUpdateMinProbes"] == "5", "the user's own"


@pytest.mark.parametrize("arguments", [("planet", None), (None, "a\nb"), (None, "")])
def test_bad_values_are_refused(arguments):
    with pytest.raises(SettingsError):
        lsl_config_text(*arguments, -3)


def test_a_malformed_file_is_named():
    with pytest.raises(SettingsError, match="INI"):
        lsl_config_text(None, None, -3, "no section\n")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[lab]\nSessionID=lab2\n", "lab2"),
        ("[lab]\nSessionID=default\n", ""),
        ("[ports]\nBasePort=17000\n", ""),
        ("no section\n", ""),
    ],
)
def test_a_session_id_that_is_not_the_default_is_known(text, found):
    assert session_id_in(text) == found


def run(code, **env):
    clean = {k: v for k, v in os.environ.items() if k != "LSLAPICFG"}
    return subprocess.run(
        [sys.executable, "-c", "from emag_rt.streams.lsl import *\n" + code],
        capture_output=True,
        text=True,
        env={**clean, **env},
        timeout=60,
        check=False,
    )


@pytest.mark.lsl
def test_settings_are_given_once_and_before_use(tmp_path):
    again = run("configure('machine', 'a'); configure('machine', 'a'); configure('machine', 'b')")
    assert again.returncode != 0
    assert "given once" in again.stderr
    late = run("local_clock(); configure('machine', None)")
    assert "before LSL is used" in late.stderr
    assert run("local_clock(); configure(None, None)").returncode == 0


@pytest.mark.lsl
def test_session_of_the_environment_wins(tmp_path):
    own = tmp_path / "own.cfg"
    own.write_text(lsl_config_text("machine", "from-file", -3))
    code = (
        "import logging; logging.basicConfig(level='INFO')\n"
        "configure('machine', 'from-code')\n"
        "s = LslSink(OutletSpec('n', 'i', ('a',), 1.0))\n"
        "from emag_rt.streams.lsl.library import resolve\n"
        "print(resolve('', 0.5)[0].session_id())"
    )
    done = run(code, LSLAPICFG=str(own))
    assert done.stdout.strip() == "from-file", done.stderr
    assert "LSLAPICFG is set" in done.stderr
    assert run(code).stdout.strip() == "from-code"
