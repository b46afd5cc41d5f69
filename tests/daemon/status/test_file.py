"""The status file, whatever happens to it."""

from __future__ import annotations

import json
import os

import pytest

from emag_rt.daemon.status.counters import Counters, ServerStatus
from emag_rt.daemon.status.file import StatusFile
from emag_rt.errors import OutputError


@pytest.fixture
def status():
    return ServerStatus("running", "packed", ("Cz",), Counters(samples_in=7), 1.0, 0.1, None)


def lines_of(data):
    assert data.endswith(b"\n"), "whole lines only"
    return [json.loads(line) for line in data.splitlines()]


def test_lines_and_a_summary_in_the_place_of_an_earlier_run(tmp_path, status):
    path = tmp_path / "status.jsonl"
    path.write_text('{"summary": true}\n' * 5)
    with StatusFile(str(path)) as file:
        assert path.read_bytes() == b""
        file(status)
        assert len(lines_of(path.read_bytes())) == 1, "at once"
        file.finish(status)
    assert [line["summary"] for line in lines_of(path.read_bytes())] == [False, True]


def test_a_reader_that_stalls_is_not_waited_for(tmp_path, status, caplog):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OutputError, match="No such device"):
        StatusFile(str(path))  # nobody reads
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with StatusFile(str(path)) as file:
        for _ in range(2000):
            file(status)
        lost = status.counters.status_lost
        assert 0 < lost < 2000
        assert caplog.text.count("does not keep up") == 1
        got = b""
        while len(chunk := os.read(reader, 1 << 16)) == 1 << 16:
            got += chunk
        assert len(lines_of(got + chunk)) == 2000 - lost
        file(status)
        assert lines_of(os.read(reader, 1 << 16))[0]["status_lost"] == lost
    assert "can be written again" in caplog.text
    os.close(reader)


def test_a_reader_that_went_away_ends_nothing(tmp_path, status, caplog):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with StatusFile(str(path)) as file:
        os.close(reader)
        file(status)
        file.finish(status)
    assert status.counters.status_lost == 2
    assert caplog.text.count("serving goes on") == 1


def test_a_file_that_cannot_be_opened_is_said(tmp_path):
    with pytest.raises(OutputError, match=r"--status-json .*nowhere.*No such file") as caught:
        StatusFile(str(tmp_path / "nowhere" / "s.jsonl"))
    assert caught.value.exit_code == 9
