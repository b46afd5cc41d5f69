from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch")

from calibration.residual.descent import Descent  # noqa: E402

EMA = 0.3
RATES = (1e-3, 2e-3, 3e-3, 1e-3, 5e-4, 2e-4)


def gradients() -> list[Any]:
    """The second network's jumps: it is bounded, alone."""
    source = torch.Generator().manual_seed(1)
    size = torch.tensor([[0.01], [30.0]], dtype=torch.float64)
    shape = (len(RATES), 2, 40)
    return list(size * torch.randn(shape, generator=source, dtype=torch.float64))


def start() -> Any:
    return torch.rand((2, 40), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_steps_are_those_of_torch() -> None:
    weights, expected = start(), [torch.nn.Parameter(row) for row in start()]
    descent = Descent(weights, 0.05, EMA)
    optimizer = torch.optim.AdamW(expected, lr=1.0, weight_decay=0.05)
    seen = []
    for gradient, rate in zip(gradients(), RATES, strict=True):
        for network, row in zip(expected, gradient, strict=True):
            network.grad = row.clone()
            torch.nn.utils.clip_grad_norm_([network], 1.0)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        seen.append(torch.stack([network.detach().clone() for network in expected]))
        descent.step(gradient.clone(), rate)
        torch.testing.assert_close(weights, seen[-1], rtol=1e-12, atol=0.0)
    mean = seen[0]
    for n, now in enumerate(seen[1:], 1):
        decay = min(EMA, (n + 1) / (n + 10))
        mean = decay * mean + (1.0 - decay) * now
    torch.testing.assert_close(descent.mean, mean, rtol=1e-12, atol=0.0)
    assert not torch.equal(mean, seen[-1])


def test_a_saved_state_goes_on_to_the_same_numbers() -> None:
    weights, again = start(), torch.zeros_like(start())
    descent, resumed = Descent(weights, 0.05, EMA), Descent(again, 0.05, EMA)
    for place, (gradient, rate) in enumerate(zip(gradients(), RATES, strict=True)):
        if place == 3:
            resumed.restore(descent.state())
        if place >= 3:
            resumed.step(gradient.clone(), rate)
        descent.step(gradient.clone(), rate)
    assert torch.equal(weights, again)
    assert torch.equal(descent.mean, resumed.mean)


def test_training_leaves_the_compiler_of_torch_alone() -> None:
    """It takes two seconds to import, which is long beside a calibration."""
    code = """if True:
        import json, sys, torch
        from calibration.residual.descent import Descent
        from calibration.residual import training
        Descent(torch.zeros(1, 3), 0.0, 0.9).step(torch.ones(1, 3), 0.1)
        print(json.dumps("torch._dynamo" in sys.modules))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) is False
