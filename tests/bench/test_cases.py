"""How cases are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emag_rt.bench.cases import SETS, Case, choose_cases, parse_case
from emag_rt.errors import SettingsError
from tests.factories import prop


def test_written_as_people_do():
    assert parse_case("16:64@250") == Case(16, 64, 250.0, 1)
    assert parse_case("64:256@8000/8") == Case(64, 256, 8000.0, 8)
    assert parse_case(" 8:16@512.5/2 ") == Case(8, 16, 512.5, 2)


@prop
@given(st.integers(2, 64), st.integers(64, 256), st.integers(16, 8000), st.integers(1, 100))
def test_reads_what_it_writes(n_ld, n_hd, sfreq, chunk):
    case = Case(n_ld, n_hd, float(sfreq), chunk)
    assert parse_case(str(case)) == case


@pytest.mark.parametrize(
    "text",
    ["", "16", "16:64", "64:16@250", "1:64@250", "16:64@5", "16:64@250/0", "16:64@250/", "a:b@c"],
)
def test_anything_else_is_refused_with_the_remedy(text):
    with pytest.raises(SettingsError, match="16:64@250"):
        parse_case(text)


def test_lists_of_cases():
    assert choose_cases(None, []) == [Case(16, 64, 250.0)]
    everything = choose_cases("all", [])
    assert len(everything) == 13
    assert everything[-1] == Case(64, 256, 8000.0, 8)
    assert {case.chunk for case in everything[:-1]} == {1, 5, 10}
    for name in SETS:
        assert choose_cases(name, [])
    with pytest.raises(SettingsError, match="quick"):
        choose_cases("some", [])


def test_options_reach_all_cases():
    cases = choose_cases(None, ["8:16@100", "8:16@100/2"], chunks=(1, 4), look_ahead=3)
    assert cases == [Case(8, 16, 100.0, 1, 3), Case(8, 16, 100.0, 4, 3)]
