"""Spellings of units that amplifiers use."""

import pytest

from emag_rt.frontend.units import unit_to_uv


@pytest.mark.parametrize("unit", ["uV", "µV", "μV", "uVolt", "muV", "microV", "Microvolts", " uv "])
def test_microvolts_however_they_are_spelled(unit):
    assert unit_to_uv(unit) == 1.0
