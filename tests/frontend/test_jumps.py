"""Jumps of electrodes and of the reference: no ringing, told, and nobody else accused."""

import numpy as np
import pytest

from emag_rt.core.drive import reference_free
from emag_rt.frontend import FrontEnd, FrontEndSettings, Jump, design_band
from tests.factories import LD, ld_covariance, ld_signal

SFREQ = 200.0
SETTINGS = FrontEndSettings(LD, design_band(0.5, 45.0, SFREQ), SFREQ, ld_covariance())
AT = 611
JUMP_UV = 3e5
# What EEG does within a sample is lost in a jump: a change of level of this size at most.
EEG_CHANGE_UV = float(np.abs(np.diff(ld_signal(2000), axis=0)).max())
QUIET = AT + round(6 * SFREQ)
"""A high-pass of 0.5 Hz has forgotten everything by then."""


def both(change, columns=slice(None)):
    """Front end after a recording with a change, its output, and that without the change."""
    ld = ld_signal(2000)
    clean = FrontEnd(SETTINGS).process(ld)
    changed = ld.copy()
    change(changed[:, columns])
    stage = FrontEnd(SETTINGS)
    chunks = [stage.process(changed[i : i + 7]) for i in range(0, 2000, 7)]
    return stage, np.concatenate(chunks), clean


def level(x):
    x[AT:] += JUMP_UV


def pop(x):
    x[AT] -= JUMP_UV


def decaying(x):
    x[AT:] += JUMP_UV * np.exp(-np.arange(len(x) - AT) / (0.2 * SFREQ))[:, None]


@pytest.mark.parametrize("change", [level, pop])
def test_a_jump_of_the_reference_rings_nowhere(change):
    stage, found, clean = both(change)
    assert stage.bad == ()
    assert stage.take_jumps() == [Jump(LD, pytest.approx(JUMP_UV, rel=1e-3), True)] * stage.n_jumps
    assert stage.n_jumps == (1 if change is level else 2)
    np.testing.assert_allclose(found[:AT], clean[:AT], atol=1e-9)
    # The differences between channels are untouched, but for what EEG did in the very sample.
    np.testing.assert_allclose(reference_free(found)[0], reference_free(clean)[0], atol=1e-6)
    assert np.abs(found - clean).max() < EEG_CHANGE_UV
    np.testing.assert_allclose(found[QUIET:], clean[QUIET:], atol=0.01 * EEG_CHANGE_UV)


def test_each_channel_may_jump_to_a_level_of_its_own():
    """As when an amplifier sets its offsets anew: the median channel counts as the reference."""
    levels = np.linspace(-3e5, 3e5, 8)

    def reset(x):
        x[AT:] += levels

    stage, found, clean = both(reset)
    assert stage.n_jumps == len(stage.take_jumps()) == 1
    assert np.abs(found[:, ~np.isin(LD, stage.bad)] - clean[:, ~np.isin(LD, stage.bad)]).max() < 60
    np.testing.assert_allclose(found[QUIET:], clean[QUIET:], atol=0.02 * EEG_CHANGE_UV)


@pytest.mark.parametrize("change", [level, pop, decaying])
def test_a_jump_of_one_electrode_is_filled_and_told(change):
    stage, found, clean = both(change, slice(3, 4))
    (first,) = stage.take_jumps()  # told once, counted as often as it comes
    assert stage.take_jumps() == []
    assert (first.channels, first.common) == (("Cz",), False)
    assert first.size_uv == pytest.approx(JUMP_UV, rel=1e-3)
    assert stage.n_jumps >= 1
    others = np.arange(8) != 3
    np.testing.assert_allclose(found[:, others], clean[:, others], atol=1e-9)
    # Filled from that very sample on, then itself again.
    error = found[:, 3] - clean[:, 3]
    assert np.abs(error[:AT]).max() < 1e-9
    assert np.abs(error).max() < 6 * clean[:, 3].std()
    if change is not decaying:
        assert stage.bad == ()
        assert np.abs(error[QUIET:]).max() < 0.01 * EEG_CHANGE_UV


def test_the_reference_may_jump_beside_a_lost_channel():
    ld = ld_signal(1500)
    ld[200:900, 2] = np.nan
    changed = ld.copy()
    changed[AT:] += JUMP_UV
    stage, calm = FrontEnd(SETTINGS), FrontEnd(SETTINGS)
    found, clean = stage.process(changed), calm.process(ld)
    np.testing.assert_allclose(
        reference_free(found[:900])[0], reference_free(clean[:900])[0], atol=1e-6
    )
    assert [s.common for s in stage.take_jumps()] == [True]
    assert stage.bad == calm.bad == ()
    assert np.abs(found - clean).max() < 2 * EEG_CHANGE_UV


def test_loud_eeg_is_no_jump():
    stage = FrontEnd(SETTINGS)
    stage.process(ld_signal(2000, scale_uv=150.0))
    assert stage.n_jumps == 0
