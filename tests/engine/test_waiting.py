"""What waits comes out whole, in order, each row with its stamp."""

import numpy as np
import pytest

from emag_rt.engine.waiting import OwedRows, WholeHops
from tests.factories import random_cuts

LD = np.arange(40.0).reshape(20, 2)
STAMPS = np.arange(20.0)


@pytest.mark.parametrize("hop", [0, 1, 6, 50])
@pytest.mark.parametrize("seed", range(5))
def test_hops_are_whole_and_nothing_is_lost(hop, seed):
    hops = WholeHops(hop, 2)
    parts = [
        hops.add(LD[cut], STAMPS[cut]) for cut in random_cuts(np.random.default_rng(seed), 20, 8)
    ]
    assert all(len(ld) == len(stamps) and len(ld) % max(hop, 1) == 0 for ld, stamps in parts)
    assert hops.n_waiting == (20 % hop if hop else 0)
    parts.append(hops.take())
    ld, stamps = (np.concatenate(p) for p in zip(*parts, strict=True))
    np.testing.assert_array_equal(ld, LD)
    np.testing.assert_array_equal(stamps, STAMPS)
    assert (hops.n_waiting, hops.take()[0].shape) == (0, (0, 2))


def test_stamps_whose_memory_is_used_again_are_kept():
    hops, stamps = WholeHops(4, 2), STAMPS[:2].copy()
    hops.add(LD[:2], stamps)
    stamps[:] = -1.0
    np.testing.assert_array_equal(hops.add(LD[2:4], STAMPS[2:4])[1], STAMPS[:4])


@pytest.mark.parametrize("look_ahead", [0, 3])
def test_rows_get_the_stamps_of_earlier_samples(look_ahead):
    owed = OwedRows(look_ahead)
    hd = (np.arange(20.0)[:, None] - look_ahead).astype(np.float32)  # row i is of sample i - 3
    parts = [
        owed.release(hd[cut], STAMPS[cut], LD[cut][-1:])
        for cut in (slice(0, 2), slice(2, 3), slice(3, 20))
    ]
    assert len(owed) == look_ahead
    if look_ahead:
        held = owed.held_samples()
        np.testing.assert_array_equal(held, np.repeat(LD[-1:], 3, axis=0))
        parts.append(owed.release_rest(np.array([[17.0], [18.0], [19.0]], dtype=np.float32)))
    rows, stamps = (np.concatenate(p) for p in zip(*parts, strict=True))
    np.testing.assert_array_equal(rows[:, 0], STAMPS)
    np.testing.assert_array_equal(stamps, STAMPS)
