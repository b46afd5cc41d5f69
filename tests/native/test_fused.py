"""The one-call path gives the numbers of the two stages, and hands over whenever it must."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emag_rt.engine.upsampler import Upsampler
from emag_rt.native import why_not
from emag_rt.native.library import BLOCK
from tests.factories import LD, ld_signal, make_bundle, prop, random_cuts, relative

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


def run(upsampler, ld, cuts):
    parts = []
    for cut in cuts:
        parts.append(upsampler.push(ld[cut])[0])
        upsampler.prepare()
    return np.concatenate([*parts, upsampler.flush()[0]])


@prop
@given(
    seed=st.integers(0, 1000),
    n_cuts=st.integers(0, 60),
    look_ahead=st.sampled_from([0, 3]),
    hidden=st.sampled_from([None, "dilated"]),
    faults=st.booleans(),
    reference=st.sampled_from(["input", "average"]),
)
def test_equals_packed_with_faults_and_without(seed, n_cuts, look_ahead, hidden, faults, reference):
    rng = np.random.default_rng(seed)
    ld = ld_signal(500, seed=seed)
    if faults:
        ld[120:260, 2] = np.nan
        ld[rng.integers(0, 500, 2), 5] = 1e30
        ld[300:, 1] = ld[300, 1]
    bundle = make_bundle(2, look_ahead=look_ahead, hidden=hidden)
    options = {"reference": reference}
    expected = run(Upsampler(bundle, engine="packed", **options), ld, [slice(None)])
    cuts = random_cuts(rng, 500, n_cuts)
    found = run(Upsampler(bundle, engine="native", **options), ld, cuts)
    assert found.shape == expected.shape
    assert relative(found, expected) < 1e-5


def test_takes_plain_chunks_alone():
    upsampler = Upsampler(make_bundle(1), engine="native")
    fused, frontend = upsampler._fused, upsampler._frontend
    ld = ld_signal(400)
    assert frontend.plain_at() is None, "channels have not started"
    upsampler.push(ld[:1])
    assert frontend.plain_at() == 1
    assert fused.push(ld[1:3], 1).shape == (2, len(upsampler.labels))
    frontend.took(2)
    assert frontend.plain_at() == 3
    n_rows = len(frontend._monitor.raw)
    refused = {"long": (ld[: BLOCK + 1], 3), "empty": (ld[:0], 3), "narrow": (ld[:2, :3], 3)}
    refused["over the block's end"] = (ld[:2], n_rows - 1)
    broken = ld[3:5].copy()
    broken[1, 0] = np.inf
    refused["broken"] = (broken, 3)
    assert [why for why, given in refused.items() if fused.push(*given) is not None] == []
    assert frontend.native.process(ld[:2], n_rows - 1) is None
    upsampler.push(broken)
    assert upsampler.bad == (LD[0],)
    assert frontend.plain_at() is None, "a channel is bad"


def test_rows_are_the_callers_own():
    upsampler = Upsampler(make_bundle(1), engine="native")
    ld = ld_signal(40)
    rows = [upsampler.push(ld[i : i + 1])[0] for i in range(40)]
    fresh = Upsampler(make_bundle(1), engine="native")
    expected = np.concatenate([fresh.push(ld[i : i + 1])[0].copy() for i in range(40)])
    assert not np.shares_memory(rows[1], rows[2])
    np.testing.assert_array_equal(np.concatenate(rows), expected)
