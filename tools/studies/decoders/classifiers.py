"""The decoders: three on covariances, and one small network on the signals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from emag_rt.array_types import FloatArray, IndexArray
from tools.studies.decoders.trials import Epochs

_N_PASSES = 80
_BATCH = 16
_KEEP_EVERY = 2
"""Of the samples: the band ends at 30 Hz."""


class OnCovariances:
    """A scikit-learn estimator that takes covariances."""

    needs_signals = False

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator

    def fit(self, trials: Epochs, classes: IndexArray) -> None:
        """Learn."""
        self._estimator.fit(trials.covariances, classes)

    def decide(self, trials: Epochs) -> IndexArray:
        """Tell the class of each trial."""
        return np.asarray(self._estimator.predict(trials.covariances))


class SmallNet:
    """A network like EEGNet (Lawhern et al. 2018): filters over channels, over time, over both.

    Channels come first, which costs less; between the two there is nothing but sums. Signals are
    divided by one number, the standard deviation of those it learns from.
    """

    needs_signals = True

    def fit(self, trials: Epochs, classes: IndexArray) -> None:
        """Learn, from the same seed each time."""
        import torch
        from torch import nn

        signals = _signals(trials)
        n_channels, n_times = signals.shape[1:]
        torch.manual_seed(0)
        torch.set_num_threads(1)
        self._scale = float(signals.std())
        self._net = nn.Sequential(
            nn.Conv1d(n_channels, 16, 1, bias=False),
            nn.Conv1d(16, 32, 17, padding="same", groups=16, bias=False),
            nn.BatchNorm1d(32),
            nn.ELU(),
            nn.AvgPool1d(2),
            nn.Dropout(0.5),
            nn.Conv1d(32, 32, 9, padding="same", groups=32, bias=False),
            nn.Conv1d(32, 16, 1, bias=False),
            nn.BatchNorm1d(16),
            nn.ELU(),
            nn.AvgPool1d(8),
            nn.Dropout(0.5),
            nn.Flatten(),
            nn.Linear(16 * (n_times // 2 // 8), 2),
        )
        x, y = self._input(signals), torch.as_tensor(classes, dtype=torch.long)
        optimizer = torch.optim.AdamW(self._net.parameters(), lr=2e-3, weight_decay=1e-2)
        for _ in range(_N_PASSES):
            for rows in torch.randperm(len(x)).split(_BATCH):
                if len(rows) < 2:
                    continue  # one trial has no spread to normalise by
                optimizer.zero_grad()
                nn.functional.cross_entropy(self._net(x[rows]), y[rows]).backward()
                optimizer.step()
        self._net.eval()

    def decide(self, trials: Epochs) -> IndexArray:
        """Tell the class of each trial."""
        import torch

        with torch.no_grad():
            return self._net(self._input(_signals(trials))).argmax(dim=1).numpy()

    def _input(self, signals: FloatArray) -> Any:
        import torch

        return torch.as_tensor(signals / self._scale, dtype=torch.float32)


def _signals(trials: Epochs) -> FloatArray:
    assert trials.signals is not None  # who has none is not asked
    return trials.signals[..., ::_KEEP_EVERY]


def _tangent() -> OnCovariances:
    from pyriemann.tangentspace import TangentSpace
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return OnCovariances(make_pipeline(TangentSpace(), LogisticRegression(max_iter=2000)))


def _csp() -> OnCovariances:
    from pyriemann.spatialfilters import CSP
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.pipeline import make_pipeline

    return OnCovariances(make_pipeline(CSP(nfilter=6), LinearDiscriminantAnalysis()))


def _mdm() -> OnCovariances:
    from pyriemann.classification import MDM

    return OnCovariances(MDM())


Decoder = OnCovariances | SmallNet
DECODERS: dict[str, Callable[[], Decoder]] = {
    "tangent": _tangent,
    "csp": _csp,
    "mdm": _mdm,
    "net": SmallNet,
}
"""Tangent space and logistic regression; CSP and LDA; minimum distance to mean; the network."""
