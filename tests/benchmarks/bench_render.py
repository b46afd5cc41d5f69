"""Timings of the hot path against regressions; not collected by default.

pytest tests/benchmarks/bench_render.py --benchmark-autosave --benchmark-compare
"""

import numpy as np
import pytest

from emag_rt.bench.cases import parse_case
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import EmagError
from emag_rt.render import ENGINES
from emag_rt.synthetic.standin import eeg_like

CASES = ("16:64@250", "32:256@1000")


@pytest.fixture(scope="module", params=CASES)
def bundle(request):
    return parse_case(request.param).standin()


@pytest.fixture(params=[name for name in ENGINES if name != "direct"])
def upsampler(request, bundle):
    try:
        return Upsampler(bundle, engine=request.param)
    except (EmagError, ImportError) as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("hop", [1, 10])
def test_live_hop(benchmark, upsampler, hop):
    ld = eeg_like(upsampler.bundle.covariance, upsampler.sfreq).astype(np.float64)
    stamps = np.zeros(hop)
    upsampler.push(ld[:hop], stamps)
    benchmark(upsampler.push, ld[:hop], stamps)


def test_offline(benchmark, upsampler):
    ld = eeg_like(upsampler.bundle.covariance, upsampler.sfreq, seconds=2.0).astype(np.float64)
    benchmark.extra_info["seconds_of_signal"] = len(ld) / upsampler.sfreq
    benchmark(upsampler.push, ld)


def test_front_end(benchmark, bundle):
    from emag_rt.frontend import FrontEnd

    front_end = FrontEnd(bundle.frontend_settings, None, "microvolts")
    row = eeg_like(bundle.covariance, bundle.manifest.sfreq)[:1].astype(np.float64)
    benchmark(front_end.process, row)
