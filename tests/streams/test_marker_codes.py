"""Markers as whole numbers."""

import ast
import json
from pathlib import Path

import emag_rt.daemon
from emag_rt.streams.marker_codes import EVENTS, LABEL_00, TextCodes, event_code


def test_every_event_of_the_daemon_has_a_code_of_its_own():
    told = set()
    for path in Path(emag_rt.daemon.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Event":
                told |= {a.value for a in node.args[:1] if isinstance(a, ast.Constant)}
    assert len(told) > 15
    assert told <= set(EVENTS)
    assert {"skipped", "overdue", "wrong_scale"} < set(EVENTS)
    codes = [event_code(json.dumps({"event": name, "samples": 3})) for name in EVENTS]
    assert codes == list(range(LABEL_00, LABEL_00 + len(EVENTS)))
    assert len(EVENTS) < 0x1F
    assert event_code('{"event": "of a later version"}') == LABEL_00 + 0x1F


def test_numbers_are_their_own_codes_and_words_are_counted():
    codes = TextCodes(("T2", "7", "T0", "-3", "T2", "99999999999"))
    assert [codes(t) for t in ("7", "-3", "T0", "T2")] == [7, -3, LABEL_00 + 1, LABEL_00 + 2]
    assert codes.table == {"99999999999": LABEL_00, "T0": LABEL_00 + 1, "T2": LABEL_00 + 2}
