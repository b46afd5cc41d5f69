"""Drives and models: filters, layers, and what they refuse."""

import math
from dataclasses import replace

import numpy as np
import pytest

from emag_rt.core.drive import Drive, HiddenBranch, activate, causal_fir, reference_free
from emag_rt.core.model import FieldModel
from emag_rt.errors import SettingsError
from tests.factories import random_field, random_hidden, random_model


@pytest.mark.parametrize("n_lags", [1, 4])
def test_causal_fir_is_convolution(rng, n_lags):
    taps, x = rng.normal(size=(3, n_lags)), rng.normal(size=(20, 2))
    found = causal_fir(taps, x)
    for tap in range(3):
        for channel in range(2):
            expected = np.convolve(x[:, channel], taps[tap], mode="valid")
            np.testing.assert_allclose(found[:, 2 * tap + channel], expected, atol=1e-12)


def test_activations():
    values = np.array([-3.0, -0.1, 0.0, 0.5, 2.0])
    gelu = [v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in values]
    np.testing.assert_allclose(activate("gelu", values), gelu, rtol=1e-12)
    np.testing.assert_array_equal(activate("relu", values), [0, 0, 0, 0.5, 2])
    assert activate("gelu", values.astype(np.float32)).dtype == np.float32


def test_reference_free_takes_the_mean_out(rng):
    ld = rng.normal(size=(7, 3))
    centred, mean = reference_free(ld)
    np.testing.assert_allclose(centred.mean(axis=1), 0.0, atol=1e-15)
    np.testing.assert_allclose(centred + mean, ld)


def test_drive_refuses_shapes_that_disagree(rng):
    field = random_field(rng)
    shape = (field.n_points, field.n_gaussians)
    hidden = random_hidden(rng, field, 4)
    taps = np.ones((2, 3))
    assert Drive(taps, np.zeros((*shape, 8)), hidden).n_ld == 4
    with pytest.raises(SettingsError, match="readout"):
        Drive(taps, np.zeros((*shape, 7)))
    with pytest.raises(SettingsError, match="first hidden layer must take 10"):
        Drive(taps, np.zeros((*shape, 10)), hidden)
    with pytest.raises(SettingsError, match="rows, one a grid point"):
        Drive(taps, np.zeros((3, shape[1], 8)), hidden)
    with pytest.raises(SettingsError, match="gains"):
        Drive(taps, np.zeros((*shape, 8)), replace(hidden, gains=np.ones(5)))


def test_hidden_branch_refuses_layers_that_do_not_chain(rng):
    hidden = random_hidden(rng, random_field(rng), 4)
    with pytest.raises(SettingsError, match="chain"):
        replace(hidden, layers=hidden.layers[::-1])
    with pytest.raises(SettingsError, match="bias"):
        replace(hidden, layers=((hidden.layers[0][0], np.zeros(3)), hidden.layers[1]))
    with pytest.raises(SettingsError, match="columns"):
        replace(hidden, readout=hidden.readout[:, :2])
    with pytest.raises(SettingsError, match="columns"):
        HiddenBranch(hidden.taps, (), "gelu", hidden.readout, hidden.gains)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"anchor": "epoch"}, "anchor"),
        ({"scale_uv": np.zeros(8)}, "positive"),
        ({"scale_uv": np.ones(3)}, "8 positive"),
        ({"sfreq": float("nan")}, "sfreq"),
        ({"look_ahead": -1}, "negative"),
        ({"look_ahead": 6}, "below n_lags"),
        ({"n_lags": 0}, "at least 1"),
    ],
)
def test_model_refuses(change, message):
    with pytest.raises(SettingsError, match=message):
        replace(random_model(), **change)


def test_model_times():
    stream = random_model(look_ahead=3)
    np.testing.assert_allclose(stream.tau_s, (np.arange(6) - 3) / 200.0)
    window = random_model(anchor="window")
    np.testing.assert_allclose(window.tau_s, np.arange(5) / 200.0)


@pytest.mark.parametrize("anchor", ["stream", "window"])
@pytest.mark.parametrize("look_ahead", [0, 3])
@pytest.mark.parametrize("hidden", [None, "relu", "dilated"])
@pytest.mark.parametrize("n_memory", [1, 4])
def test_context_is_what_outputs_depend_on(rng, anchor, look_ahead, hidden, n_memory):
    """Exactly ``n_context`` samples back matter, none before (the mean added back included)."""
    from emag_rt.core.direct import render_direct

    model = random_model(anchor=anchor, look_ahead=look_ahead, hidden=hidden, n_memory=n_memory)
    assert isinstance(model, FieldModel)
    n = model.n_context
    assert n >= look_ahead
    ld = rng.normal(size=(n + 1, model.n_ld))
    assert render_direct(model, np.ones((1, 3)) * 50, ld).shape == (1, 1)
    memory = model.drive.taps.shape[1] - 1
    encoder = 0 if hidden is None else model.drive.hidden.taps.shape[1] - 1
    encoder += 1 + 2 + 5 if hidden == "dilated" else 0
    if anchor == "window":
        assert n == max(memory, encoder, look_ahead)
    else:
        n_after = model.n_lags - 1 - look_ahead if hidden else 0
        assert n == max(memory + model.n_lags - 1, encoder + n_after)
