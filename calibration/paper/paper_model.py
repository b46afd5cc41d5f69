"""The paper's model in torch: Gaussians, encoder and modulator, folded at each window position.

v_e(t) = sum_ng [a_ng + Delta_n(x(t))] kernel_ng(e, p / sfreq), p the place of t in its window.
Delta is shared by the Gaussians of a point and linear in the modulator's hidden units h, so for
a place p everything but h is one matrix M_p (n_out x n_hidden): a step costs the kernel at a few
places, however many windows it takes.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from calibration.settings.paper_options import PaperOptions
from emag_rt.array_types import FloatArray, IndexArray
from emag_rt.core.drive import HiddenBranch
from emag_rt.core.field import GaussianField

INITIAL_WIDTH_MM = 15.0
INITIAL_WIDTH_S = 0.1
INITIAL_MU_S = 0.5
HIDDEN = (64, 32, 64)
# Rows and columns of L below its diagonal, in the order of the authors' `chol_off_diag`.
OFF_DIAGONAL = ((1, 2, 2, 3, 3, 3), (0, 0, 1, 0, 1, 2))
_LEARNED = {
    "all": (1, 1, 1, 1, 1, 1),
    "none": (0, 0, 0, 0, 0, 0),
    "spatial_only": (1, 1, 1, 0, 0, 0),
    "spacetime_only": (0, 0, 0, 1, 1, 1),
}


class PaperModel:
    """Parameters on one device, and what they render.

    Parameters
    ----------
    centers_mm : ndarray, shape (n_points, 3)
        Points that carry Gaussians.
    positions_mm : ndarray, shape (n_out, 3)
        Electrodes to learn.
    n_ld : int
        LD channels.
    sfreq : float
        Rate in Hz.
    options : PaperOptions
        What is learned.
    lead_field : ndarray, shape (n_out, n_points), or None
        For ``forward="lead_field"``.
    rng : numpy.random.Generator
        Draws the initial values.
    device : {"cpu", "cuda"}
        Where to compute.
    """

    def __init__(
        self,
        centers_mm: FloatArray,
        positions_mm: FloatArray,
        n_ld: int,
        sfreq: float,
        options: PaperOptions,
        lead_field: FloatArray | None,
        rng: np.random.Generator,
        device: str,
    ) -> None:
        self._device = device
        self.options, self._sfreq = options, sfreq
        self._centers = centers_mm
        self._offset = self.tensor(positions_mm[:, None] - centers_mm)
        self._given = None if lead_field is None else self.tensor(lead_field)
        self._learned = self.tensor(np.array(_LEARNED[options.learned_off_diagonals], float))
        self.parameters = {
            name: self.tensor(value).requires_grad_(True)
            for name, value in self._initial(len(positions_mm), n_ld, rng).items()
        }

    def tensor(self, values: FloatArray) -> Tensor:
        """Copy to the device, float32."""
        own = np.ascontiguousarray(values)
        return torch.tensor(own, dtype=torch.float32, device=self._device)

    def _initial(self, n_out: int, n_ld: int, rng: np.random.Generator) -> dict[str, FloatArray]:
        """Initial values of the paper's code, for the parameters that are learned."""
        options, n_points = self.options, len(self._centers)
        shape = (n_points, options.n_gaussians)
        n_widths = 1 if options.covariance == "isotropic" else 3
        values = {"amplitude": np.zeros(shape)}
        if options.forward == "splat":
            values["log_space"] = np.full((*shape, n_widths), np.log(1 / INITIAL_WIDTH_MM))
        if options.covariance != "spatial_3d_only":
            values["log_time"] = np.full(shape, np.log(1 / INITIAL_WIDTH_S))
            values["mu_s"] = rng.uniform(0.0, INITIAL_MU_S, shape)
        if options.learned_off_diagonals != "none":
            values["off_diagonal"] = np.zeros((*shape, 6))
        if options.learn_centers:
            # In units of a Gaussian's width: steps in mm would hardly move a point.
            values["center"] = np.zeros((n_points, 3))
        if options.forward == "linear":
            rank = options.forward_rank
            if rank is None:
                values["forward"] = rng.normal(size=(n_out, n_points)) / np.sqrt(n_points)
            else:
                values["forward_left"] = rng.normal(size=(n_out, rank)) / np.sqrt(rank)
                values["forward_right"] = rng.normal(size=(rank, n_points)) / np.sqrt(n_points)
        if options.conditioning != "none":
            n_delta = n_points if options.conditioning == "per_grid" else 1
            sizes = (n_ld, *HIDDEN, n_delta)
            for i, (n_in, n_units) in enumerate(pairwise(sizes)):
                bound = 1 / np.sqrt(n_in)  # torch's default for linear layers
                values[f"weight{i}"] = rng.uniform(-bound, bound, (n_units, n_in))
                values[f"bias{i}"] = rng.uniform(-bound, bound, n_units)
        return values

    def penalty(self) -> Tensor:
        """Mean square of the precision terms."""
        names = ("log_space", "log_time", "off_diagonal")
        terms = [(self.parameters[n] ** 2).mean() for n in names if n in self.parameters]
        return torch.stack(terms).sum() if terms else torch.zeros((), device=self._device)

    def hidden(self, x: Tensor) -> Tensor:
        """Last hidden units (..., n_hidden) for features (..., n_ld)."""
        for i in range(len(HIDDEN)):
            weight, bias = self.parameters[f"weight{i}"], self.parameters[f"bias{i}"]
            x = torch.relu(x @ weight.T + bias)
        return x

    def forward_matrix(self) -> Tensor | None:
        """The matrix in the place of the spatial kernel, or None."""
        if self.options.forward == "lead_field":
            return self._given
        if self.options.forward == "linear":
            if self.options.forward_rank is None:
                return self.parameters["forward"]
            return self.parameters["forward_left"] @ self.parameters["forward_right"]
        return None

    def folded(self, places: IndexArray) -> tuple[Tensor | None, Tensor]:
        """What is left of the mixture at some places in the window.

        Parameters
        ----------
        places : ndarray, shape (n_places,), int
            Positions in the window.

        Returns
        -------
        matrix : tensor, shape (n_places, n_out, n_hidden), or None
            On the hidden units; None without conditioning.
        base : tensor, shape (n_places, n_out)
            What is rendered for hidden units of 0.
        """
        tau = self.tensor(places / self._sfreq)
        amplitude = self.parameters["amplitude"]
        readout = self._readout()
        if readout is not None:
            amplitude = amplitude + self._readout_bias()[:, None]
        forward = self.forward_matrix()
        if forward is not None:
            profile = self._profiles(tau)
            base = (profile * amplitude).sum(dim=-1) @ forward.T
            shared = profile.sum(dim=-1)
            matrix = None if readout is None else forward @ (shared[..., None] * readout)
            return matrix, base
        kernel = self._kernel(tau)
        base = torch.einsum("gepn,ng->pe", kernel, amplitude)
        if readout is None:
            return None, base
        # The Gaussians of a point share Delta.
        return (kernel.sum(dim=0) @ readout).swapaxes(0, 1), base

    def _readout(self) -> Tensor | None:
        if self.options.conditioning == "none":
            return None
        weight = self.parameters[f"weight{len(HIDDEN)}"]
        return weight.expand(len(self._centers), -1)

    def _readout_bias(self) -> Tensor:
        return self.parameters[f"bias{len(HIDDEN)}"].expand(len(self._centers))

    def _profiles(self, tau: Tensor) -> Tensor:
        """Temporal part alone, shape (n_places, n_points, n_gaussians)."""
        shape = (len(tau), *self.parameters["amplitude"].shape)
        if "log_time" not in self.parameters:
            return torch.ones(shape, device=self._device)
        rate = torch.exp(self.parameters["log_time"])
        step = tau[:, None, None] - self.parameters["mu_s"]
        return torch.exp(-0.5 * (rate * step) ** 2)

    def _kernel(self, tau: Tensor) -> Tensor:
        """The kernel, shape (n_gaussians, n_out, n_places, n_points)."""
        p = self.parameters
        offset = self._offset
        if "center" in p:
            offset = offset - INITIAL_WIDTH_MM * p["center"]
        diagonal = torch.exp(p["log_space"]).expand(*p["amplitude"].shape, 3)
        below = p["off_diagonal"] * self._learned if "off_diagonal" in p else None
        space = offset[:, :, None, :] * diagonal
        if below is not None:
            y, z = offset[:, :, None, 1], offset[:, :, None, 2]
            extra = [y * below[..., 0] + z * below[..., 1], z * below[..., 2]]
            space = space + torch.stack([*extra, torch.zeros_like(extra[0])], dim=-1)
        constant = -0.5 * (space**2).sum(dim=-1)
        if "log_time" not in p:
            return torch.exp(constant).permute(2, 0, 1)[:, :, None].expand(-1, -1, len(tau), -1)
        square = -0.5 * torch.exp(2 * p["log_time"])
        step = (tau[:, None, None] - p["mu_s"]).permute(2, 0, 1)[:, None]  # (G, 1, P, N)
        constant = constant.permute(2, 0, 1)[:, :, None]  # (G, E, 1, N)
        if below is None or self.options.learned_off_diagonals == "spatial_only":
            return torch.exp(constant) * torch.exp(square.T[:, None, None] * step**2)
        row = below[..., 3:]
        linear = -(space * row).sum(dim=-1).permute(2, 0, 1)[:, :, None]
        square = (square - 0.5 * (row**2).sum(dim=-1)).T[:, None, None]
        return torch.exp(constant + step * (linear + step * square))

    def export(self, scale_uv: float) -> tuple[GaussianField, HiddenBranch | None]:
        """The field in µV and what drives it, as arrays; targets were in units of ``scale_uv``."""
        p = {name: value.detach().double().cpu().numpy() for name, value in self.parameters.items()}
        shape = p["amplitude"].shape
        cholesky = np.zeros((*shape, 4, 4))
        log_space = p.get("log_space", np.full((*shape, 3), np.log(1 / INITIAL_WIDTH_MM)))
        cholesky[..., [0, 1, 2], [0, 1, 2]] = np.exp(log_space)
        if "log_time" in p:
            cholesky[..., 3, 3] = np.exp(p["log_time"])
        if "off_diagonal" in p:
            learned = self._learned.double().cpu().numpy()
            cholesky[..., OFF_DIAGONAL[0], OFF_DIAGONAL[1]] = p["off_diagonal"] * learned
        centers = self._centers + INITIAL_WIDTH_MM * p.get("center", np.zeros((1, 3)))
        amplitudes, hidden, last = p["amplitude"], None, len(HIDDEN)
        if self.options.conditioning != "none":
            amplitudes = amplitudes + np.broadcast_to(p[f"bias{last}"], shape[:1])[:, None]
            layers = tuple((p[f"weight{i}"], p[f"bias{i}"]) for i in range(last))
            readout = scale_uv * np.broadcast_to(p[f"weight{last}"], (shape[0], HIDDEN[-1]))
            hidden = HiddenBranch(np.ones((1, 1)), layers, "relu", readout, np.ones(shape[1]))
        mu_s = p.get("mu_s", np.zeros(shape))
        return GaussianField(centers, mu_s, cholesky, scale_uv * amplitudes), hidden
