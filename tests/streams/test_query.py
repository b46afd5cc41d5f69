"""The stream query and its messages, without LSL."""

import xml.etree.ElementTree as ET

import pytest

from emag_rt.errors import SettingsError, StreamAmbiguous, StreamError
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.query import StreamQuery, describe, not_found, require_one


def stream(source_id="a", uid="1", **values):
    defaults = {"name": "amp", "type": "EEG", "sfreq": 250.0, "labels": (), "units": ()}
    return StreamFormat(source_id=source_id, uid=uid, n_channels=16, **{**defaults, **values})


def test_query_without_properties_is_refused():
    with pytest.raises(SettingsError, match="source id, a name or a type"):
        StreamQuery()


def test_predicate_holds_all_properties_and_excludes_strings():
    predicate = StreamQuery(source_id="x", name="n", type="EEG").predicate(["mine"])
    assert predicate == (
        "source_id='x' and name='n' and type='EEG' and channel_format!='string' "
        "and source_id!='mine'"
    )


@pytest.mark.parametrize("text", ["plain", "it's", 'say "x"', 'it\'s "x"', "''"])
def test_quotes_in_names_are_safe(text):
    predicate = StreamQuery(name=text).predicate()
    literal = predicate.removeprefix("name=").removesuffix(" and channel_format!='string'")
    if literal.startswith("concat("):
        parts = eval(literal.removeprefix("concat")) if literal != "concat('')" else ("",)
        assert "".join(parts) == text
    else:
        assert literal[1:-1] == text
        assert literal[0] == literal[-1] not in text


def test_one_match_is_returned_and_several_are_listed():
    query = StreamQuery(type="EEG")
    one = stream()
    assert require_one(query, [one]) is one
    with pytest.raises(StreamAmbiguous) as caught:
        require_one(query, [one, stream("b", "2", name="other", hostname="lab")])
    for text in ("'amp'", "'other'", "source id 'a'", "source id 'b'", "'lab'", "16", "250 Hz"):
        assert text in str(caught.value)


def test_twins_with_one_source_id_get_their_own_remedy():
    with pytest.raises(StreamAmbiguous, match="stop all but one"):
        require_one(StreamQuery(source_id="a"), [stream(uid="1"), stream(uid="2")])


def test_not_found_lists_what_is_there():
    error = not_found(StreamQuery(name="x"), 2.0, [stream(name="y")])
    assert isinstance(error, StreamError)
    assert "name 'x'" in str(error)
    assert "'y'" in str(error)
    assert "No stream at all" in str(not_found(StreamQuery(name="x"), 2.0, []))


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        (StreamQuery(source_id="amp-1"), "source id 'AMP-1'"),
        (StreamQuery(source_id="AMP-l"), "source id 'AMP-1'"),
        (StreamQuery(source_id="g.tec"), "name 'g.tec'"),
        (StreamQuery(name="gtec"), "name 'g.tec'"),
        (StreamQuery(name="AMP-1"), "source id 'AMP-1'"),
        (StreamQuery(type="eeg"), "type 'EEG'"),
    ],
)
def test_not_found_names_what_was_meant(query, meant):
    seen = [
        stream("AMP-1", name="g.tec"),
        stream("amp-1-markers", name="gtec-", channel_format="string"),
    ]
    assert f"Did you mean {meant}? Else start" in str(not_found(query, 2.0, seen))
    assert "Did you mean" not in str(not_found(StreamQuery(name="other"), 2.0, seen))
    assert "Did you mean" not in str(not_found(StreamQuery(name="g.tec", type="M"), 2.0, seen))


def test_not_found_names_a_session_that_is_not_the_default():
    assert "session id (here 'lab2')," in str(not_found(StreamQuery(name="x"), 2.0, [], "lab2"))
    assert "session id, " in str(not_found(StreamQuery(name="x"), 2.0, [], ""))


def test_irregular_streams_are_described_as_such():
    assert "irregular rate" in describe(stream(sfreq=0.0))


def test_xpath_is_understood_by_a_second_reader():
    root = ET.fromstring("<r><info><name>a</name></info></r>")
    assert root.findall(f"info[{StreamQuery(name='a').predicate().split(' and ')[0]}]")
