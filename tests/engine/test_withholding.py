"""Rows of lacks become NaN, whenever they go out, and are counted once."""

import numpy as np
import pytest

from emag_rt.engine.withholding import Withholding
from emag_rt.frontend import Lack

BAD = np.array([True, True, False])


@pytest.mark.parametrize("size", [1, 3, 20])
@pytest.mark.parametrize("policy", ["nan", "fill"])
def test_rows_between_two_lacks(size, policy):
    """Output row 1 passes the LD channel 2, which breaks at sample 8; row 0 passes channel 0."""
    withholding = Withholding(policy, ((0, 0), (1, 2)))
    found = {5: Lack(5, BAD), 8: Lack(8, np.ones(3, dtype=bool)), 12: Lack(12, None)}
    rows = []
    for start in range(0, 20, size):
        hd = np.ones((min(size, 20 - start), 3), dtype=np.float32)
        news = [found[t] for t in range(start, start + len(hd)) if t in found]
        withholding.take_back(hd, start + len(hd), news)
        rows.append(hd)
    lost = np.isnan(np.concatenate(rows))
    expected = np.zeros((20, 3), dtype=bool)
    if policy == "nan":
        expected[5:12] = True
        expected[5:8, 1] = False
    np.testing.assert_array_equal(lost, expected)
    assert (withholding.n_rows, withholding.lacks) == (7, [])


def test_an_end_that_is_known_early_waits_for_its_rows():
    withholding = Withholding("nan", ())
    hd = np.ones((4, 1), dtype=np.float32)
    withholding.take_back(hd, 4, [Lack(2, BAD), Lack(6, None)])
    assert len(withholding.lacks) == 2
    later = np.ones((4, 1), dtype=np.float32)
    withholding.take_back(later, 8, [])
    lost = np.isnan(np.concatenate([hd, later])[:, 0])
    np.testing.assert_array_equal(np.flatnonzero(lost), [2, 3, 4, 5])
    assert withholding.lacks == []
