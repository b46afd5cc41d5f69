"""A network trained once on many people: what the field of a head nobody measured leaves over.

The field's estimate at the population's own places goes in, a correction there comes out, and
the matrices that carry between places and electrodes are multiplied into the first and the last
layer. So one network fits any electrodes, and a bundle with it is like any refined one. It has no
bias and ReLU units: twice the signal gives twice the correction, whatever the wearer's amplitude.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as save_tensors

from calibration.population.estimate import Moments, Places, Timing, conditional_weights, moments
from calibration.population.people import Population, population_path
from calibration.regression.profiles import taps
from emag_rt.array_types import FloatArray
from emag_rt.core.activation import Activation
from emag_rt.core.dilated import DilatedBlock
from emag_rt.core.drive import HiddenBranch
from emag_rt.errors import CalibrationError
from emag_rt.files import replacing

ACTIVATION: Activation = "relu"
TRAINED_WITH = 4, 25
"""Fewest and most LD channels that the training draws from 64 places."""
_SUFFIX = ".network.safetensors"
_FORMAT = "1"
_RCOND = 1e-9
_TENSORS = ("into", "inner", "mix", "out", "rates_hz", "counts", "gains", "left", "worst")


@dataclass(frozen=True, eq=False)
class PopulationNetwork:
    """Weights of the network, and what it was found to be good for.

    Attributes
    ----------
    into : ndarray, shape (n_units, n_places), float64
        First layer.
    inner : ndarray, shape (n_blocks, n_units, 2 * n_units), float64
        Of each block: from the units some steps ago, then now. The steps are 1, 2, 4...
    mix : ndarray, shape (n_blocks, n_units, n_units), float64
        Of each block: from its inner units to what is added.
    out : ndarray, shape (n_places, n_units), float64
        Last layer.
    rates_hz : ndarray, shape (2,)
        Lowest and highest rate of its steps that it was trained for.
    counts : ndarray, shape (n_counts,)
        Counts of LD channels at which it was judged, rising.
    gains : ndarray, shape (n_counts,)
        How much of its correction to use there: it errs on the side of little where it was
        trained with many LD channels too.
    left, worst : ndarray, shape (n_counts,)
        Error that it leaves of the field's, of people it never saw: median and worst.
    texts : dict of str to str
        ``people`` it comes from, and the ``command`` that made it.
    """

    into: FloatArray
    inner: FloatArray
    mix: FloatArray
    out: FloatArray
    rates_hz: FloatArray
    counts: FloatArray
    gains: FloatArray
    left: FloatArray
    worst: FloatArray
    texts: dict[str, str]

    def step(self, sfreq: float) -> int | None:
        """Samples in a step of the network; None where no whole number is near its rates."""
        low, high = self.rates_hz
        step = max(1, round(sfreq / float(np.sqrt(low * high))))
        return step if low <= sfreq / step <= high else None

    def judged_with(self, n_ld: int) -> bool:
        """Whether people who trained nothing have told how far it is to be trusted there."""
        return bool(self.counts[0] <= n_ld <= self.counts[-1])

    def reason_against(
        self,
        population: Population,
        band_hz: tuple[float, float],
        timing: Timing,
        n_ld: int,
        weighed: bool = False,
    ) -> str:
        """Why it should not be used; empty where it was trained and judged for such a bundle.

        ``weighed``: a session's own HD tells how far it is to be trusted, so that it need not be
        judged.
        """
        low, high = population.band_hz
        if self.texts["people"] != population.texts["people"]:
            return "it was trained on other people than the population's"
        if band_hz != population.band_hz:
            return f"it was trained from {low:g} to {high:g} Hz"
        if timing.n_look_ahead:
            return "it was trained without a look-ahead"
        if self.step(timing.sfreq) is None:
            return f"no whole part of {timing.sfreq:g} Hz is near the rates it was trained for"
        if weighed and not TRAINED_WITH[0] <= n_ld <= TRAINED_WITH[1]:
            return f"it was trained with {TRAINED_WITH[0]} to {TRAINED_WITH[1]} LD channels"
        if not weighed and not self.judged_with(n_ld):
            ends = dict.fromkeys((f"{self.counts[0]:g}", f"{self.counts[-1]:g}"))
            return f"it was judged with {' to '.join(ends)} LD channels"
        return ""

    def error_left(self, n_ld: int) -> float:
        """Error over the field's that the usual new person has."""
        return round(float(np.interp(n_ld, self.counts, self.left)), 4)

    def facts(self, n_ld: int) -> dict[str, object]:
        """For the manifest."""
        return {
            "trained_on": self.texts["people"],
            "error_left": self.error_left(n_ld),
            "error_left_worst": round(float(np.interp(n_ld, self.counts, self.worst)), 4),
        }

    def branch(
        self,
        wanted: Places,
        timing: Timing,
        mean: FloatArray,
        noise: float,
        scale_uv: FloatArray,
    ) -> HiddenBranch:
        """The network for some electrodes, its readout at them.

        Parameters
        ----------
        wanted : Places
            Electrodes.
        timing : Timing
            Profiles of the field.
        mean : ndarray, shape (n_lags, n_places, n_places)
            The population's covariances.
        noise : float
            Of an LD electrode, as in the field.
        scale_uv : ndarray, shape (n_ld,)
            Of the LD channels.

        Returns
        -------
        HiddenBranch
            On LD channels over their scale; its readout is (n_hd, n_units), in µV.

        Raises
        ------
        CalibrationError
            If it was not trained for such a rate.
        """
        step = self.step(timing.sfreq)
        if step is None:
            raise CalibrationError(
                f"sfreq must be a multiple of {self.rates_hz[0]:g} to {self.rates_hz[1]:g} Hz for "
                f"the population's network, got {timing.sfreq:g}. Use the field alone."
            )
        people = wanted.population
        there = Places(people, wanted.ld_mm, people.places.positions_mm)
        estimate = conditional_weights(moments(there, timing, mean, noise))
        first = self.into @ (estimate * scale_uv).reshape(len(estimate), -1)
        zero = np.zeros(len(first))
        blocks = tuple(
            DilatedBlock(step * 2**place, inner[None], zero, mix[None], zero)
            for place, (inner, mix) in enumerate(zip(self.inner, self.mix, strict=True))
        )
        bank = timing.bank
        kernel = taps(
            bank.centers_s, bank.widths_s, timing.sfreq, timing.n_look_ahead, timing.n_lags
        )
        now = moments(wanted, timing, mean, noise)
        gain = np.interp(len(wanted.ld_mm), self.counts, self.gains)
        readout = gain * unexplained(wanted, timing, now) @ self.out
        gains = (np.arange(len(bank.centers_s)) == timing.now).astype(np.float64)
        return HiddenBranch(kernel, ((first, zero),), ACTIVATION, readout, gains, blocks)


def unexplained(wanted: Places, timing: Timing, known: Moments) -> FloatArray:
    """From maps at the population's places to HD, less what LD would have told of them.

    Returns
    -------
    ndarray, shape (n_hd, n_places)
        The network does not know which electrodes are worn: what they see is taken out.
    """
    now = timing.now
    inner = np.linalg.pinv(known.zz[now, :, now], rcond=_RCOND, hermitian=True)
    n_hd = len(wanted.hd_mm)
    return np.asarray(wanted.carry[:n_hd] - known.yz[:, now] @ inner @ wanted.carry[n_hd:])


def network_of(population: str) -> PopulationNetwork | None:
    """The network beside a population: of the package's, or ``NAME.network.safetensors``.

    Parameters
    ----------
    population : str
        A name in the package or a file, as for ``load_population``.

    Returns
    -------
    PopulationNetwork or None
        None where there is no such file. Whom it was trained on is for ``reason_against``.

    Raises
    ------
    CalibrationError
        If the file is damaged.
    """
    path = population_path(population)
    path = path.with_name(f"{path.stem}{_SUFFIX}")
    return load_network(path) if path.is_file() else None


def load_network(path: Path) -> PopulationNetwork:
    """Read a network.

    Raises
    ------
    CalibrationError
        If the file is damaged.
    """
    try:
        with safe_open(path, "numpy") as file:
            texts = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name).astype(np.float64) for name in _TENSORS}
        if texts.pop("format", "") != _FORMAT or "people" not in texts:
            raise ValueError("of another format")
        return PopulationNetwork(**tensors, texts=texts)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise CalibrationError(
            f"network {path.name}: the file must be as `python -m "
            f"tools.studies.population.train_network` made it ({error}). Make it again."
        ) from error


def save_network(network: PopulationNetwork, path: str | Path, option: str = "--out") -> None:
    """Write a network, its weights in half precision.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    tensors = {
        # safetensors writes memory as it lies: a transposed array would come back wrong.
        name: np.ascontiguousarray(getattr(network, name), np.float16 if i < 4 else np.float64)
        for i, name in enumerate(_TENSORS)
    }
    blob = save_tensors(tensors, {**network.texts, "format": _FORMAT})
    with replacing(path, option) as beside:
        beside.write_bytes(blob)
