"""Change of rate, one continuous stretch at a time."""

from __future__ import annotations

import numpy as np
import soxr

from emag_rt.array_types import FloatArray
from emag_rt.errors import SettingsError
from emag_rt.recordings.usable import Segment


def resample_segments(
    data: FloatArray, segments: tuple[Segment, ...], sfreq: float, new_sfreq: float
) -> tuple[FloatArray, tuple[Segment, ...]]:
    """Resample each usable stretch by itself (soxr, high quality, linear phase).

    Steps at the joins of a recording would ring into their neighbours otherwise.

    Parameters
    ----------
    data : ndarray, shape (n_times, n_channels)
        Signal.
    segments : tuple of (int, int)
        Usable sample ranges.
    sfreq, new_sfreq : float
        Rates in Hz.

    Returns
    -------
    data : ndarray, shape (round(n_times * new_sfreq / sfreq), n_channels)
        Signal at the new rate, NaN outside the usable stretches.
    segments : tuple of (int, int)
        Usable ranges at the new rate. Each begins on the new grid, so that times may shift by
        half a new sample.

    Raises
    ------
    SettingsError
        If the new rate is not positive.
    """
    if not (np.isfinite(new_sfreq) and new_sfreq > 0):
        raise SettingsError(f"sfreq must be a positive rate in Hz, got {new_sfreq}.")
    ratio = new_sfreq / sfreq
    out = np.full((round(len(data) * ratio), data.shape[1]), np.nan)
    moved: list[Segment] = []
    for start, stop in segments:
        part = _resample(data[start:stop], sfreq, new_sfreq)
        begin = int(np.floor(start * ratio + 0.5))
        end = min(begin + len(part), len(out))
        if end - begin >= 2:
            out[begin:end] = part[: end - begin]
            moved.append((begin, end))
    return out, tuple(moved)


def _resample(part: FloatArray, sfreq: float, new_sfreq: float) -> FloatArray:
    """Resample with the ends continued by point reflection: soxr takes silence beyond them."""
    n_pad = min(len(part) - 1, int(np.ceil(sfreq)))
    before = 2 * part[0] - part[n_pad:0:-1]
    after = 2 * part[-1] - part[-2 : -n_pad - 2 : -1]
    # Offsets of many millivolts would cost the filter precision.
    offset = part[0]
    padded = np.concatenate([before, part, after]) - offset
    resampled: FloatArray = soxr.resample(padded, sfreq, new_sfreq, quality="HQ")
    ratio = new_sfreq / sfreq
    # The grid of the result must fall on the first sample of the part.
    skip = round(n_pad * ratio)
    n_out = int(np.floor(len(part) * ratio + 1e-9))
    result: FloatArray = resampled[skip : skip + n_out] + offset
    return result
