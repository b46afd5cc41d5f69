"""Alignment of measured and rendered HD: a decoder that was trained on one reads the other.

An estimate is quieter than a measurement, and knows fewer directions. So both sides are looked at
in the directions that LD channels support, and each is divided by its own mean covariance. That
of the measured side comes from the training epochs. That of the rendered side begins with what
calibration found, and follows the stream; no label is needed for it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from emag_rt.array_types import FloatArray
from emag_rt.bundle import Bundle
from emag_rt.core.labels import match_labels
from emag_rt.decoding.band_map import BandMap
from emag_rt.errors import BundleError, SettingsError, short
from emag_rt.files import replacing

try:
    from pyriemann.geometry.base import invsqrtm
    from pyriemann.geometry.covariance import covariances
    from pyriemann.geometry.geodesic import geodesic_riemann
    from pyriemann.geometry.mean import mean_riemann
except ImportError as error:
    raise ImportError(
        f"emag_rt.decoding needs pyriemann and scikit-learn: pip install 'emag-rt[decoding]' "
        f"({error})"
    ) from error

PRIOR_EPOCHS = 2.0
"""Epochs that calibration's mean covariance counts for, when the first one comes."""


class Aligner:
    """Covariances of epochs in which a decoder of measured HD reads rendered HD.

    Parameters
    ----------
    bundle : Bundle
        The calibrated subject, who is rendered.
    band : tuple of float
        In Hz. Epochs must be filtered to it before they come here.
    memory : float
        Epochs that the mean of the rendered side goes back, at least 1; older ones are forgotten.

    Attributes
    ----------
    labels : tuple of str
        HD channels that it reads; others are left aside.
    filters : ndarray, shape (k, n_channels)
        From these channels, in any reference, to as many directions as there are LD channels, or
        to fewer where rendering has fewer.
    measured_mean, rendered_mean : ndarray, shape (k, k)
        Mean covariance of either side; until ``fit`` and ``update``, that of calibration.
    n_seen : float
        Epochs in ``rendered_mean``, those of calibration counted as ``PRIOR_EPOCHS``.

    Raises
    ------
    BundleError
        If the bundle does not know how its rendered channels differ from measured ones.
    SettingsError
        If the band reaches beyond what it knows, or a number is out of range.
    """

    def __init__(
        self, bundle: Bundle, band: tuple[float, float] = (8.0, 30.0), *, memory: float = 50.0
    ) -> None:
        if not memory >= 1:
            raise SettingsError(f"memory must be at least 1 epoch, got {memory}.")
        self.bundle, self.band, self.memory = bundle, band, memory
        self._map = BandMap.of(bundle, band)
        self.labels = self._map.labels
        self._hd = [e.label for e in bundle.manifest.hd]
        self._rows = match_labels(self.labels, self._hd, "bundle")
        self._look_through(self._map.directions(len(self._map.ld)))
        if not (_is_covariance(self._start) and _is_covariance(self.measured_mean)):
            raise BundleError(
                f"bundle {bundle.manifest.name}: measured and rendered channels must have power "
                f"in {band[0]:g} to {band[1]:g} Hz, they have none. Choose another band, or "
                "calibrate again."
            )

    def _look_through(self, filters: FloatArray) -> None:
        """Both sides as calibration found them, seen through these filters."""
        self.filters = filters
        self._start = filters @ self._map.rendered @ filters.T
        self.measured_mean: FloatArray = filters @ self._map.measured @ filters.T
        self.reset()

    def reset(self) -> None:
        """Forget the stream: the rendered side stands where calibration left it."""
        self.rendered_mean, self.n_seen = self._start, PRIOR_EPOCHS

    def fit(self, epochs: ArrayLike, channels: Sequence[str] | None = None) -> Self:
        """Learn the mean covariance of measured epochs: those that the decoder is trained on.

        Once for each person, and for each session whose cap was put on anew.

        Parameters
        ----------
        epochs : array_like, shape (n_epochs, n_channels, n_times)
            Measured HD in µV, any reference.
        channels : sequence of str, optional
            Names of the channels; by default, they are those of the bundle.

        Returns
        -------
        Self
            Fitted.

        Raises
        ------
        SettingsError, MontageError
            If channels do not fit; names them.
        """
        self.measured_mean = mean_riemann(self._covariances(self._read(epochs, channels)))
        return self

    def measured(self, epochs: ArrayLike, channels: Sequence[str] | None = None) -> FloatArray:
        """Align measured epochs.

        Parameters
        ----------
        epochs, channels
            As for ``fit``.

        Returns
        -------
        ndarray, shape (n_epochs, k, k)
            Covariances; their mean is the identity where ``fit`` saw the same epochs.
        """
        x = self._read(epochs, channels)
        return self._aligned(x, self._covariances(x), invsqrtm(self.measured_mean))

    def rendered(
        self, epochs: ArrayLike, channels: Sequence[str] | None = None, *, follow: bool = True
    ) -> FloatArray:
        """Align rendered epochs.

        Parameters
        ----------
        epochs : array_like, shape (n_epochs, n_channels, n_times)
            Rendered HD in µV, in the order they came in, any reference.
        channels : sequence of str, optional
            Names of the channels; by default, they are those of the bundle.
        follow : bool
            Each epoch counts for the mean (see ``update``) before it is aligned itself. Without it,
            the mean stays where it is.

        Returns
        -------
        ndarray, shape (n_epochs, k, k)
            Covariances.
        """
        x = self._read(epochs, channels)
        found = self._covariances(x)
        out = []
        for index in range(len(x)):
            one = slice(index, index + 1)
            if follow:
                self._follow(found[index])
            out.append(self._aligned(x[one], found[one], invsqrtm(self.rendered_mean)))
        return np.concatenate(out)

    def update(self, epochs: ArrayLike, channels: Sequence[str] | None = None) -> None:
        """Let the mean of the rendered side follow epochs that need no decision.

        Parameters
        ----------
        epochs, channels
            As for ``rendered``.
        """
        for covariance in self._covariances(self._read(epochs, channels)):
            self._follow(covariance)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write where both sides stand; the bundle itself is not in the file.

        Parameters
        ----------
        path : path-like
            A ``.safetensors`` file; one that is there is replaced.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        state = {
            "measured_mean": self.measured_mean,
            "rendered_mean": self.rendered_mean,
            "counts": np.array([*self.band, self.memory, self.n_seen]),
            "filters": self.filters,
        }
        with replacing(path, "aligner") as beside:
            beside.write_bytes(save_tensors({k: np.ascontiguousarray(v) for k, v in state.items()}))

    @classmethod
    def load(cls, path: str | os.PathLike[str], bundle: Bundle) -> Self:
        """Read an aligner that was saved with this bundle.

        Parameters
        ----------
        path : path-like
            A file that ``save`` wrote.
        bundle : Bundle
            The bundle that it was made with.

        Returns
        -------
        Aligner
            As it was saved.

        Raises
        ------
        BundleError
            If the file is missing or damaged, or belongs to another bundle.
        """
        try:
            state = load_tensors(Path(path).read_bytes())
            low, high, memory, n_seen = map(float, state["counts"])
            out = cls(bundle, (low, high), memory=memory)
            filters = state["filters"]
            same = np.shape(filters) == out.filters.shape
            # Signs and order of the directions are the linear algebra's of each machine.
            wanted = out.filters.T @ out.filters
            if not same or not np.allclose(filters.T @ filters, wanted, atol=1e-4 * wanted.max()):
                raise BundleError(
                    f"aligner {path}: must be loaded with the bundle it was made with, got "
                    f"{bundle.manifest.name}, whose map is another. Name that bundle."
                )
            means = state["measured_mean"], state["rendered_mean"]
            if not all(m.shape == out._start.shape and _is_covariance(m) for m in means):
                raise ValueError("its means are no covariances")
        except (OSError, SafetensorError, ValueError, KeyError) as error:
            raise BundleError(
                f"aligner {path}: must be a file that Aligner.save wrote, but {short(str(error))}."
            ) from error
        out._look_through(filters)
        (out.measured_mean, out.rendered_mean), out.n_seen = means, n_seen
        return out

    def _read(self, epochs: ArrayLike, channels: Sequence[str] | None) -> FloatArray:
        """Signals in the directions, shape (n_epochs, k, n_times)."""
        x = np.asarray(epochs, dtype=np.float64)
        names = self._hd if channels is None else list(channels)
        if x.ndim != 3 or 0 in x.shape:
            raise SettingsError(
                f"epochs must have shape (n_epochs, n_channels, n_times), got {x.shape}."
            )
        if x.shape[1] != len(names):
            whose = f"those of bundle {self.bundle.manifest.name}" if channels is None else "named"
            raise SettingsError(
                f"epochs must have {len(names)} channels, {whose} ({', '.join(names[:8])}, ...), "
                f"got {x.shape[1]}. Name them in order: channels=[...]."
            )
        x = x[:, self._rows if channels is None else match_labels(self.labels, names, "epochs")]
        lost = ~np.isfinite(x).all(axis=(0, 2))
        if lost.any():
            raise SettingsError(
                "epochs must hold finite numbers, but not in "
                f"{', '.join(np.array(self.labels)[lost])}. Leave out epochs with gaps."
            )
        return np.asarray(self.filters @ x)

    def _covariances(self, x: FloatArray) -> FloatArray:
        found: FloatArray = covariances(x, estimator="oas")
        flat = ~(np.trace(found, axis1=1, axis2=2) > 0)
        if flat.any():
            raise SettingsError(
                f"epochs must hold a signal, but number {int(flat.argmax())} is constant in all "
                "channels. Leave it out."
            )
        return found

    def _follow(self, covariance: FloatArray) -> None:
        share = max(1.0 / (self.n_seen + 1.0), 1.0 / self.memory)
        self.rendered_mean = geodesic_riemann(self.rendered_mean, covariance, share)
        self.n_seen += 1.0

    def _aligned(self, x: FloatArray, covariance: FloatArray, whiten: FloatArray) -> FloatArray:
        return whiten @ covariance @ whiten


class AlignedEpochs(Aligner):
    """The same for decoders that take signals: networks, CSP.

    Parameters, attributes and methods are those of :class:`Aligner`. ``measured`` and ``rendered``
    give signals of shape (n_epochs, k, n_times) without unit: a spatial filter's output, whose
    mean covariance is the identity on both sides.
    """

    def _aligned(self, x: FloatArray, covariance: FloatArray, whiten: FloatArray) -> FloatArray:
        return np.asarray(whiten @ x)


def _is_covariance(matrix: FloatArray) -> bool:
    return len(matrix) > 0 and bool(np.linalg.eigvalsh(matrix)[0] > 0)
