from __future__ import annotations

from typing import Any

import pytest

torch: Any = pytest.importorskip("torch")

from calibration.residual.gradient import Gradient  # noqa: E402
from calibration.residual.network import Dropout, Networks  # noqa: E402

N_NETS, N_SEQUENCES, N_IN, N_OUT = 3, 2, 5, 7


def networks(n_units: int, n_blocks: int, share: float, dtype: Any) -> Networks:
    noise = torch.Generator().manual_seed(5)
    nets = Networks(N_NETS, N_IN, n_units, N_OUT, n_blocks, Dropout(share, noise), 1)
    with torch.no_grad():  # zero at the start: nothing would go back through it
        nets.out.draw(torch.Generator().manual_seed(2))
    return nets.to(dtype)


def derived(nets: Networks, z: Any, wanted: Any, weight: Any) -> Any:
    """What torch derives of the equation as it is written."""
    nets.zero_grad()
    error = ((nets(z) - wanted) ** 2).mean(dim=-1)
    (error * weight).mean(dim=(1, 2)).sum().backward()
    return rows(p.grad for p in nets.parameters())


def rows(parts: Any) -> Any:
    return torch.cat([part.detach().flatten(1) for part in parts], dim=1)


@pytest.mark.parametrize(
    ("n_units", "n_blocks", "n_times", "share"),
    # 3 units: the draws do not fill a 64-bit number. A scale of 2 is exact in float32, too.
    [(8, 3, 20, 0.0), (8, 3, 20, 0.5), (3, 1, 5, 0.5), (4, 4, 1, 0.5)],
)
def test_gradient_is_that_of_the_equation(
    n_units: int, n_blocks: int, n_times: int, share: float
) -> None:
    """Twice, because memory is used again, with dropout going on where it was."""
    plain, other = (networks(n_units, n_blocks, share, torch.float64) for _ in range(2))
    source = torch.Generator().manual_seed(3)
    quick = Gradient(other, N_SEQUENCES, n_times)
    for _ in range(2):
        z, wanted, weight = (
            torch.rand(N_NETS, N_SEQUENCES, *shape, dtype=torch.float64, generator=source)
            for shape in ((n_times + plain.memory, N_IN), (n_times, N_OUT), (n_times,))
        )
        expected = derived(plain, z, wanted, weight)
        found = quick.of(z.flatten(0, 1), wanted.flatten(0, 1), weight.flatten(0, 1))
        assert expected.abs().amax(dim=1).min() > 1e-3
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_dropout_scales_as_the_equation_does() -> None:
    plain, other = (networks(8, 3, 0.3, torch.float32) for _ in range(2))
    source = torch.Generator().manual_seed(3)
    z, wanted = torch.rand(3, 2, 27, N_IN, generator=source), torch.zeros(3, 2, 20, N_OUT)
    weight = torch.ones(3, 2, 20)
    expected = derived(plain, z, wanted, weight)
    quick = Gradient(other, N_SEQUENCES, 20)
    found = quick.of(z.flatten(0, 1), wanted.flatten(0, 1), weight.flatten(0, 1))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_parameters_are_views_of_the_weights() -> None:
    nets = networks(4, 2, 0.0, torch.float32)
    before = rows(nets.parameters())
    weights = Gradient(nets, 1, 3).weights
    assert torch.equal(weights, before)
    weights.mul_(2.0)
    assert torch.equal(rows(nets.parameters()), 2.0 * before)
    nets.load_state_dict({name: torch.ones_like(p) for name, p in nets.named_parameters()})
    assert torch.equal(weights, torch.ones_like(weights))
