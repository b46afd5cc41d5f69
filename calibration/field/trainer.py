"""The gradient steps of the refinement, in torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from calibration.regression.blocks import Segment
from emag_rt.array_types import BoolArray, FloatArray
from emag_rt.core.drive import Drive
from emag_rt.core.field import GaussianField
from emag_rt.core.model import FieldModel

CHUNK = 2048
LEARNING_RATE = 1e-3
PRECISION_PENALTY = 2e-4


class Trainer:
    """Parameters, optimiser and data on one device."""

    def __init__(
        self,
        model: FieldModel,
        segments: Sequence[Segment],
        positions_mm: FloatArray,
        readout: FloatArray,
        seed: int,
        device: str,
    ) -> None:
        self._device = device
        self._draw = np.random.default_rng(seed)
        shared = model.field.shared_profiles()
        assert shared is not None
        self._mu_s, self._rate = shared
        self._sfreq = model.sfreq
        self._tau = self._tensor(model.tau_s)
        offset = positions_mm[:, None] - model.field.centers_mm
        self._offset = self._tensor(offset)
        self._factor = self._tensor(model.field.cholesky[:, 0, :3, :3])
        self._segments = [(self._tensor(x), self._tensor(y)) for x, y in segments]
        self._look_ahead = model.look_ahead
        self._scale = float(np.sqrt((readout**2).mean()))
        self._readout = self._tensor(readout / self._scale)
        self._is_delay = self._tensor((1.0 / self._rate < 0.5 / model.sfreq).astype(float))
        self._parameters = {
            "readout": torch.zeros_like(self._readout),
            "factor": torch.zeros_like(self._factor),
            "mu": torch.zeros(len(self._mu_s), device=device),
            "log_rate": torch.zeros(len(self._mu_s), device=device),
        }
        for parameter in self._parameters.values():
            parameter.requires_grad_(True)
        self._optimiser = torch.optim.AdamW(
            self._parameters.values(), lr=LEARNING_RATE, weight_decay=0.0
        )

    def _tensor(self, values: FloatArray) -> Tensor:
        own = np.ascontiguousarray(values)
        return torch.as_tensor(own, dtype=torch.float32, device=self._device)

    def _profiles(self) -> tuple[Tensor, Tensor]:
        """Temporal centres (s) and rates (1/s); delays do not move."""
        free = 1.0 - self._is_delay
        mu = self._tensor(self._mu_s) + free * self._parameters["mu"] / self._sfreq
        rate = self._tensor(self._rate) * torch.exp(free * self._parameters["log_rate"])
        return mu, rate

    def _factors(self) -> Tensor:
        """Spatial factors (n_points, 3, 3): moves relative to each, kept lower-triangular."""
        size = torch.diagonal(self._factor, dim1=1, dim2=2).mean(dim=1)[:, None, None]
        return self._factor + size * torch.tril(self._parameters["factor"])

    def _predict(self, x: Tensor) -> Tensor:
        """Targets of a stretch, 'valid' part: (n + n_lags - 1, n_ld) -> (n, n_targets)."""
        mu, rate = self._profiles()
        profiles = torch.exp(-0.5 * ((self._tau - mu[:, None]) * rate[:, None]) ** 2)
        whitened = torch.einsum("nij,eni->enj", self._factors(), self._offset)
        kernel = torch.exp(-0.5 * (whitened**2).sum(dim=-1))
        amplitudes = self._scale * (self._readout + self._parameters["readout"])
        weights = torch.einsum("en,ngc->egc", kernel, amplitudes)
        # Correlation over the newest-last time axis: lags run backwards.
        filtered = torch.nn.functional.conv1d(x.T[:, None], profiles.flip(1)[:, None])
        return torch.einsum("cgt,egc->te", filtered, weights)

    def step(self, rows: BoolArray) -> None:
        """One AdamW step on a random stretch; only ``rows`` count."""
        x, y, mask = self._stretch(rows)
        error = (self._predict(x) - y)[mask]
        loss = (error**2).mean() / (y[mask] ** 2).mean().clamp_min(1e-12)
        loss = loss + PRECISION_PENALTY * (self._parameters["factor"] ** 2).mean()
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._parameters.values(), 1.0)
        self._optimiser.step()

    def _stretch(self, rows: BoolArray) -> tuple[Tensor, Tensor, Tensor]:
        """A random stretch that has rows which count."""
        n_lags = len(self._tau)
        lengths = np.array([max(0, len(x) - n_lags) for x, _ in self._segments], dtype=float)
        offsets = np.concatenate([[0], np.cumsum([len(x) for x, _ in self._segments])])
        while True:
            which = int(self._draw.choice(len(lengths), p=lengths / lengths.sum()))
            x, y = self._segments[which]
            size = min(CHUNK, len(x) - n_lags + 1)
            first = int(self._draw.integers(0, len(x) - n_lags - size + 2))
            # Prediction i belongs to the row that is look_ahead before its newest sample.
            now = first + n_lags - 1 - self._look_ahead
            mask = rows[offsets[which] + now : offsets[which] + now + size]
            if mask.any():
                keep = torch.as_tensor(mask.copy(), device=self._device)
                return x[first : first + n_lags - 1 + size], y[now : now + size], keep

    def error(self, rows: BoolArray) -> float:
        """Squared error over ``rows``, in µV²."""
        total, offset = 0.0, 0
        n_lags = len(self._tau)
        with torch.no_grad():
            for x, y in self._segments:
                for first in range(0, len(x) - n_lags + 1, 4 * CHUNK):
                    size = min(4 * CHUNK, len(x) - n_lags + 1 - first)
                    now = first + n_lags - 1 - self._look_ahead
                    mask = rows[offset + now : offset + now + size]
                    if mask.any():
                        z = self._predict(x[first : first + n_lags - 1 + size])
                        keep = torch.as_tensor(mask.copy(), device=self._device)
                        total += float(((z - y[now : now + size])[keep].double() ** 2).sum())
                offset += len(x)
        return total

    def refined(self, model: FieldModel) -> FieldModel:
        """The model with the parameters as they are now."""
        with torch.no_grad():
            mu, rate = (value.double().cpu().numpy() for value in self._profiles())
            factors = self._factors().double().cpu().numpy()
            moved = self._scale * self._parameters["readout"].double().cpu().numpy()
        field = model.field
        cholesky = field.cholesky.copy()
        cholesky[..., :3, :3] = factors[:, None]
        cholesky[..., 3, 3] = rate
        # The delays keep their exact values: float32 must not move them off their samples.
        delay = self._is_delay.cpu().numpy() > 0
        cholesky[:, delay, 3, 3] = field.cholesky[:, delay, 3, 3]
        mu_s = np.where(delay, field.mu_s, mu)
        drive = model.drive
        return replace(
            model,
            field=GaussianField(field.centers_mm, mu_s, cholesky, field.amplitudes),
            drive=Drive(drive.taps, drive.readout + moved, drive.hidden),
        )
