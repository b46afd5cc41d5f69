import numpy as np
import pytest

from calibration.regression.blocks import (
    check_segments,
    guarded_start,
    held_out_rows,
    make_blocks,
    n_splits_of,
    training_rows,
)
from emag_rt.errors import CalibrationError

LENGTHS = [1000, 337, 2001]


def test_every_sample_is_in_exactly_one_block() -> None:
    blocks = make_blocks(LENGTHS)
    for segment, length in enumerate(LENGTHS):
        covered = np.zeros(length, dtype=int)
        for block in blocks:
            if block.segment == segment:
                covered[block.start : block.stop] += 1
        assert (covered == 1).all()
    assert n_splits_of(blocks) == 5


def test_folds_have_about_the_same_size() -> None:
    blocks = make_blocks([20_000])
    sizes = [held_out_rows([20_000], blocks, split).sum() for split in range(5)]
    assert max(sizes) - min(sizes) <= 4


def test_many_short_segments_still_fill_the_folds() -> None:
    blocks = make_blocks([200] * 12)
    assert {block.split for block in blocks} == set(range(5))


def test_guard_keeps_neighbours_out() -> None:
    guard, length = 40, 20_000
    blocks = make_blocks([length])
    for split in range(5):
        held = np.flatnonzero(held_out_rows([length], blocks, split))
        train = np.flatnonzero(training_rows([length], blocks, split, guard))
        gap = np.abs(train[:, None] - held[None, ::50]).min()
        assert gap > guard
        nearest = np.searchsorted(held, train)
        left = train - held[np.clip(nearest - 1, 0, None)]
        assert (left[nearest > 0] > guard).all()


def test_guards_do_not_cross_segments() -> None:
    lengths = [2000, 2000]
    blocks = make_blocks(lengths, n_splits=2, blocks_per_split=1)
    train = training_rows(lengths, blocks, 0, guard=100)
    assert not train[:2000].any()
    assert train[2000:].all()


def test_guarded_start_spares_the_first_block_and_short_blocks() -> None:
    first, second = make_blocks([400], n_splits=2, blocks_per_split=1)
    assert guarded_start(first, 30) == 0
    assert guarded_start(second, 30) == second.start + 30
    assert guarded_start(second, 10_000) == second.start + 50


@pytest.mark.parametrize(
    ("lengths", "n_splits"), [([100], 5), ([], 5), ([5000], 1), ([5000, 0], 5)]
)
def test_impossible_splits_are_refused(lengths: list[int], n_splits: int) -> None:
    with pytest.raises(CalibrationError):
        make_blocks(lengths, n_splits)


def test_segments_are_checked() -> None:
    good = (np.zeros((10, 2)), np.zeros((10, 3)))
    assert check_segments([good, good]) == (2, 3)
    bad = (np.zeros((10, 2)), np.full((10, 3), np.nan))
    for segments in ([], [good, bad], [good, (np.zeros((9, 2)), np.zeros((10, 3)))]):
        with pytest.raises(CalibrationError, match=r"segments"):
            check_segments(segments)
