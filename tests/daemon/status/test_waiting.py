"""What a person is told while a source is waited for."""

from emag_rt.daemon.status.terminal import Waiting
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.query import StreamQuery

MARKS = StreamFormat("marks", "Markers", "M", 0.0, (), (), n_channels=1)


def test_it_tells_what_is_in_sight_and_again_when_that_changes(capsys):
    now, seen = [0.0], []
    waiting = Waiting(StreamQuery(type="EEG"), lambda: list(seen), lambda: now[0])
    told = []
    for second in range(20):
        now[0] = float(second)
        if second == 10:
            seen.append(MARKS)
        waiting()
        told.append(capsys.readouterr().err)
    lines = [(second, text) for second, text in enumerate(told) if text]
    assert [second for second, _ in lines] == [2, 12]
    assert "no stream at all is in sight" in lines[0][1]
    assert "type 'EEG'" in lines[0][1]
    assert "'marks'" in lines[1][1]
