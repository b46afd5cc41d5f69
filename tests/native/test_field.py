"""The compiled field gives the numbers of ``packed``, in any size, in any chunks."""

import time

import numpy as np
import pytest

from emag_rt.bundle import limits
from emag_rt.core.dilated import DilatedBlock
from emag_rt.core.folding import PackedHidden, PackedOperator, context_of
from emag_rt.errors import EngineError, SettingsError
from emag_rt.native import NativeField, why_not
from emag_rt.native.library import BLOCK, _open, library_path, load
from emag_rt.render.packed import PackedRenderer
from emag_rt.render.plan import RenderPlan
from tests.factories import random_cuts, random_model, relative

needs_library = pytest.mark.skipif(bool(why_not()), reason=why_not())


def random_operator(seed, n_ld, n_out, n_taps, n_lags, *, look_ahead=0, hidden=True):
    rng = np.random.default_rng(seed)
    branch = None
    if hidden:
        n_nets, n_units = 3, 20
        width = n_nets * n_units

        def block(dilation):
            return DilatedBlock(
                dilation,
                rng.normal(scale=0.2, size=(n_nets, n_units, 2 * n_units)),
                rng.normal(scale=0.2, size=width),
                rng.normal(scale=0.2, size=(n_nets, n_units, n_units)),
                rng.normal(scale=0.2, size=width),
            )

        first = (rng.normal(scale=0.02, size=(width, 2 * n_ld)), rng.normal(size=width))
        branch = PackedHidden(
            rng.normal(size=(2, 4)),
            (first,),
            "gelu",
            rng.normal(size=(2, 3)) if seed % 2 else np.ones((1, 1)),
            rng.normal(size=(1, n_out, width * (2 if seed % 2 else 1))),
            tuple(block(dilation) for dilation in (1, 3, 40)),
        )
    lags = np.arange(n_lags)
    centres = np.geomspace(1, n_lags / 2, n_taps)[:, None]
    taps = np.exp(-0.5 * ((lags - centres) / (0.3 * centres)) ** 2)
    return PackedOperator(
        "stream",
        n_ld,
        n_out,
        look_ahead,
        context_of(taps, branch, look_ahead),
        taps,
        rng.normal(scale=0.1, size=(1, n_out, n_taps * n_ld)),
        rng.normal(size=(1, n_out)),
        branch,
    )


def packed(operator, measured):
    return PackedRenderer(RenderPlan(random_model(), operator, np.zeros((1, 3)), measured))


@needs_library
@pytest.mark.parametrize(
    ("seed", "n_ld", "n_out", "n_taps", "n_lags", "look_ahead"),
    [
        (0, 1, 1, 1, 1, 0),
        (1, 5, 7, 2, 30, 2),
        (2, 16, 64, 9, 141, 0),
        (3, 17, 65, 12, 700, 5),
        (4, 64, 256, 14, 3000, 0),
    ],
)
def test_equals_packed(seed, n_ld, n_out, n_taps, n_lags, look_ahead):
    operator = random_operator(seed, n_ld, n_out, n_taps, n_lags, look_ahead=look_ahead)
    measured = ((0, n_ld - 1),)
    rng = np.random.default_rng(seed)
    n_times = n_lags + 200
    ld = 20.0 * rng.normal(size=(n_times, n_ld))
    expected = packed(operator, measured).push(ld)
    field = NativeField(operator, measured)
    assert relative(field.push(ld), expected) < 3e-6
    for ahead in (False, True):
        field.reset()
        parts = []
        for cut in random_cuts(rng, n_times, 12):
            parts.append(field.push(ld[cut]))
            if ahead:
                field.prepare()
        assert relative(np.concatenate(parts), expected) < 3e-6
    field.reset()
    singles = [field.push(ld[i : i + 1]) for i in range(BLOCK + 5)]
    assert relative(np.concatenate(singles), expected[: BLOCK + 5]) < 3e-6


def quickest(act, *, n=300, between=lambda: None):
    """The least of many times: what the machine does beside only adds."""
    times = []
    for _ in range(n):
        start = time.perf_counter()
        act()
        times.append(time.perf_counter() - start)
        between()
    return min(times)


@needs_library
def test_every_level_keeps_its_sums_in_registers():
    """Vectors wider than the CPU's registers went by way of memory: as slow as NumPy."""
    operator = random_operator(2, 32, 64, 30, 141)
    ld = np.random.default_rng(0).normal(size=(BLOCK, 32))
    native, numpy = NativeField(operator, ()), packed(operator, ())
    one = ld[:1]
    assert quickest(lambda: native.push(one)) < 0.4 * quickest(lambda: numpy.push(one))
    # BLAS does its best with blocks.
    assert quickest(lambda: native.push(ld)) < quickest(lambda: numpy.push(ld))


@needs_library
@pytest.mark.parametrize("n", [1, 8])
def test_a_prepared_chunk_waits_for_less(n):
    field = NativeField(random_operator(4, 32, 128, 40, 1500, hidden=False), ())
    chunk = np.random.default_rng(0).normal(size=(n, 32))

    def unprepared():
        field._struct.n_prepared = 0

    with_all = quickest(lambda: field.push(chunk), between=unprepared)
    assert quickest(lambda: field.push(chunk), between=field.prepare) < 0.75 * with_all


@needs_library
def test_rings_turn_many_times_without_a_seam():
    operator = random_operator(1, 3, 4, 3, 20)
    ld = np.random.default_rng(0).normal(size=(5000, 3))
    expected = packed(operator, ()).push(ld)
    field = NativeField(operator, ())
    found = np.concatenate([field.push(ld[i : i + 7]) for i in range(0, 5000, 7)])
    assert relative(found, expected) < 3e-6


@needs_library
def test_gelu_is_exact_to_float32():
    """Through a field that is nothing but one hidden unit."""
    from scipy.special import erf

    x = np.linspace(-12.0, 12.0, 4001)
    block = DilatedBlock(1, np.zeros((1, 1, 2)), np.zeros(1), np.zeros((1, 1, 1)), np.zeros(1))
    one = np.ones((1, 1))
    # Two LD channels of opposite sign have no mean; the first one's weight makes the unit.
    layer = (np.array([[1.0, 0.0]]), np.zeros(1))
    hidden = PackedHidden(one, (layer,), "gelu", one, np.ones((1, 1, 1)), (block,))
    operator = PackedOperator(
        "stream", 2, 1, 0, 1, one, np.zeros((1, 1, 2)), np.zeros((1, 1)), hidden
    )
    found = NativeField(operator, ()).push(np.column_stack([x, -x]))[:, 0]
    exact = 0.5 * x * (1.0 + erf(x * np.sqrt(0.5)))
    assert np.abs(found - exact).max() < 2e-6
    assert (found[x < -8] == 0).all()


@needs_library
@pytest.mark.parametrize("level", [1, 3, 4])
def test_every_level_of_the_cpu_gives_the_same_numbers(monkeypatch, level):
    """The loader takes the widest; the others are for other machines."""
    if level > load().emag_cpu_level() or not library_path(level).exists():
        pytest.skip(f"not for this CPU or compiler: level {level}")
    operator = random_operator(1, 17, 65, 12, 400)
    ld = 20.0 * np.random.default_rng(0).normal(size=(300, 17))
    expected = packed(operator, ()).push(ld)
    library = _open(library_path(level))
    monkeypatch.setattr("emag_rt.native.field.load", lambda: library)
    field = NativeField(operator, ())
    found = np.concatenate([field.push(ld[i : i + 3]) for i in range(0, 300, 3)])
    assert relative(found, expected) < 3e-6


@needs_library
def test_chunks_of_another_width_are_refused():
    field = NativeField(random_operator(0, 5, 3, 1, 1), ())
    for wrong in (np.ones((2, 4)), np.ones(5)):
        for act in (field.push, field.advance):
            with pytest.raises(SettingsError, match=r"\(n_times, 5\), got"):
                act(wrong)


@needs_library
def test_fields_of_other_kinds_are_left_to_packed():
    from emag_rt.core.folding import fold

    for options in ({"anchor": "window"}, {"hidden": "gelu"}):
        operator = fold(random_model(**options), np.eye(3) * 90.0)
        with pytest.raises(EngineError, match="--engine packed"):
            NativeField(operator, ())


def test_without_the_library_the_engine_says_why(monkeypatch):
    load.cache_clear()
    monkeypatch.setenv("EMAG_RT_NATIVE", "0")
    try:
        with pytest.raises(EngineError, match="EMAG_RT_NATIVE=0"):
            NativeField(random_operator(0, 2, 3, 1, 1), ())
        monkeypatch.delenv("EMAG_RT_NATIVE")
        load.cache_clear()
        monkeypatch.setattr("emag_rt.native.library._FOLDER", library_path(1).parent / "nowhere")
        assert "no C compiler" in why_not()
        load.cache_clear()
        monkeypatch.setattr("emag_rt.native.library._SOURCE", library_path(1).parent / "gone.c")
        assert "cannot be loaded" in why_not()
    finally:
        load.cache_clear()


@needs_library
@pytest.mark.parametrize("n_lags", [5, 96, 500, 4000])
@pytest.mark.parametrize("n_ld", [3, 64])
def test_memory_is_within_what_a_bundle_is_refused_by(n_lags, n_ld):
    operator = random_operator(0, n_ld, 5, 3, n_lags, look_ahead=7, hidden=False)
    kept = sum(rows.nbytes for rows, _ in NativeField(operator, ())._rings)
    assert 0 < kept <= limits._compiled_bytes(operator)
