"""Values of markers as text."""

import numpy as np
import pytest

from emag_rt.core.values import value_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1.0", "1.0"),
        (1234567.0, "1234567"),
        (np.float32(33.0), "33"),
        (np.float32(0.1), "0.1"),
        (1.25, "1.25"),
        (np.int64(2**53 + 1), "9007199254740993"),
        (-7, "-7"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
    ],
)
def test_no_digit_is_lost(value, text):
    assert value_text(value) == text
