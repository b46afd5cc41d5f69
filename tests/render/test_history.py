"""Rows with their context, however many come at a time."""

import numpy as np

from emag_rt.render.history import History


def test_history_keeps_its_context_through_growth_and_wrap():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(9000, 2))
    history, start = History(5, 2), 0
    padded = np.vstack([np.zeros((5, 2)), rows])
    while start < len(rows):
        n = int(rng.choice([0, 1, 7, 300, 1500]))
        chunk = rows[start : start + n]
        found = history.append(chunk)
        np.testing.assert_array_equal(found, padded[start : start + 5 + len(chunk)])
        start += len(chunk)
