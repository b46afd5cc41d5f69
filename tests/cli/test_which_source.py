"""``serve`` asks a person which stream is meant, and nobody else."""

from __future__ import annotations

import io

import pytest

from emag_rt.cli.which_source import ask_which, could_be_worn
from emag_rt.daemon.settings import ServeSettings
from emag_rt.streams.base import StreamFormat


class Terminal(io.StringIO):
    def isatty(self):
        return True


def stream(name, source_id="", type_="EEG"):
    return StreamFormat(name, type_, source_id, 250.0, (), (), hostname="lab", n_channels=8)


SEEN = [stream("one", "ID-1"), stream("two"), stream("marks", "M", "Markers")]


@pytest.fixture
def at_terminal(monkeypatch):
    def sit(typed, seen=SEEN):
        monkeypatch.setattr("sys.stdin", Terminal(typed))
        monkeypatch.setattr("sys.stderr", Terminal())
        monkeypatch.setattr("emag_rt.streams.lsl.discovery.list_streams", lambda: seen)

    return sit


@pytest.mark.parametrize(
    ("typed", "wanted"), [("1\n", ("ID-1", None)), ("x\n3\n2\n", (None, "two"))]
)
def test_the_one_chosen_is_read(at_terminal, typed, wanted):
    at_terminal(typed)
    source = ask_which(ServeSettings(), quiet=False).source
    assert (source.source_id, source.name) == wanted


@pytest.mark.parametrize(
    ("settings", "seen", "quiet"),
    [
        ({"source": {"source_id": "ID-1"}}, SEEN, False),
        ({}, SEEN[:1], False),
        ({}, SEEN, True),
    ],
)
def test_nothing_is_asked_where_nothing_is_to_choose(at_terminal, settings, seen, quiet):
    at_terminal("", seen)
    settings = ServeSettings.model_validate(settings)
    assert ask_which(settings, quiet) is settings


def test_a_script_is_never_asked(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("1\n"))
    settings = ServeSettings()
    assert ask_which(settings, quiet=False) is settings


def test_what_could_be_worn_names_what_is_in_sight_and_its_headset(at_terminal):
    at_terminal("", [stream("obci_eeg1", "OB-1"), stream("marks", "M", "Markers")])
    said = could_be_worn(None, None)
    assert "--ld @stream:OB-1 ('obci_eeg1', 8 channels), --ld @headset:openbci-cyton-8." in said
    assert "marks" not in said
    at_terminal("", [])
    said = could_be_worn(None, None)
    assert said.startswith("A headset: --ld @headset:")
    assert "--ld 8" in said
