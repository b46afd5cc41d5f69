"""Small datasets on disk, in the layouts of the real ones, from one simulated head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.io
import scipy.signal

from tools.studies.datasets.seed import CHANNELS

# 16 labels of the 10-10 system that every template knows.
LABELS = ("Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8", "T7")
LABELS += ("C3", "Cz", "C4", "T8", "P3", "Pz", "P4", "Oz")


def eeg(n_times, n_channels, seed=0, sfreq=160.0):
    """Microvolts: a few slow sources, mixed, and a little noise on each channel."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(5, n_channels))
    white = rng.normal(size=(n_times + 200, 5))
    pole = np.exp(-2 * np.pi * 8.0 / sfreq)
    slow = scipy.signal.lfilter([1.0], [1.0, -pole], white, axis=0)[200:]
    signal = slow / slow.std() @ mixing * 8.0
    return signal + rng.normal(scale=2.0, size=(n_times, n_channels))


def write_edf(path, data_uv, labels=LABELS, sfreq=160):
    """EDF of 16 bits in steps of 0.1 µV, a second a record; n_times in whole seconds."""
    n_times, n = data_uv.shape
    n_records = n_times // sfreq
    assert n_records * sfreq == n_times

    def text(value, width):
        return str(value).ljust(width).encode("ascii")

    top = [("0", 8), ("X X X X", 80), ("Startdate X X X X", 80), ("01.01.20", 8), ("00.00.00", 8)]
    top += [(256 * (n + 1), 8), ("", 44), (n_records, 8), (1, 8), (n, 4)]
    each = [(labels, 16), ([""] * n, 80), (["uV"] * n, 8), ([-3276.8] * n, 8), ([3276.7] * n, 8)]
    each += [([-32768] * n, 8), ([32767] * n, 8), ([""] * n, 80), ([sfreq] * n, 8), ([""] * n, 32)]
    header = b"".join(text(value, width) for value, width in top)
    header += b"".join(text(value, width) for values, width in each for value in values)
    counts = np.round(data_uv * 10).astype("<i2").reshape(n_records, sfreq, n).transpose(0, 2, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + np.ascontiguousarray(counts).tobytes())
    return path


def write_eegmmidb(folder, subjects=2, runs=("R01", "R03"), seconds=30, nested=True):
    """Runs as PhysioNet lays them out; labels padded with dots."""
    padded = [label + "." * (4 - len(label)) for label in LABELS]
    for subject in range(1, subjects + 1):
        for index, run in enumerate(runs):
            name = f"S{subject:03d}"
            place = folder / name if nested else folder
            data = eeg(seconds * 160, len(LABELS), seed=10 * subject + index)
            write_edf(place / f"{name}{run}.edf", data, padded)
    return folder


def write_seed(path, n_trials=15, n_times=1000, prefix="djc", seed=0, **other):
    """A session of SEED."""
    trials = {
        f"{prefix}_eeg{k}": eeg(n_times, len(CHANNELS), seed=1000 * seed + k, sfreq=200.0).T
        for k in range(1, n_trials + 1)
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {**trials, **other})
    return trials


def write_table(path, columns, rows):
    """Tab-separated values."""
    lines = ["\t".join(columns), *["\t".join(str(value) for value in row) for row in rows]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def sphere(n, radius):
    """Points spread over the upper part of a sphere."""
    k = np.arange(n) + 0.5
    z = 1.0 - 1.3 * k / n
    angle = np.pi * (1 + 5**0.5) * k
    flat = np.sqrt(1 - z**2)
    return radius * np.column_stack([np.cos(angle) * flat, np.sin(angle) * flat, z])


def write_localize(
    folder: Path, n_runs=2, n_epochs=12, n_channels=20, n_times=520, units="V", sfreq=2000
):
    """A subject of Localize-MI, at a quarter of its rate and a thirteenth of its channels."""
    place = folder / "sub-01" / "eeg"
    place.mkdir(parents=True, exist_ok=True)
    names = [f"E{i + 1}" for i in range(n_channels)]
    factor = {"V": 1e-6, "µV": 1.0, "uV": 1.0, "mV": 1e-3}[units]
    truth = []
    for run in range(1, n_runs + 1):
        stem = f"sub-01_task-seegstim_run-{run:02d}"
        data = np.stack(
            [eeg(n_times, n_channels, seed=100 * run + e, sfreq=sfreq).T for e in range(n_epochs)]
        )
        truth.append(data)
        np.save(place / f"{stem}_epochs.npy", data * factor)
        rows = [(name, "EEG", units, sfreq) for name in names]
        columns = ("name", "type", "units", "sampling_frequency")
        write_table(place / f"{stem}_channels.tsv", columns, rows)
        write_table(
            place / f"{stem}_epochs.tsv",
            ("epoch", "status"),
            [(e, "good") for e in range(n_epochs)],
        )
    points = sphere(n_channels, 0.09) + np.array([0.001, 0.02, 0.04])
    write_table(
        place / "sub-01_task-seegstim_electrodes.tsv",
        ("name", "x", "y", "z"),
        [(name, *point) for name, point in zip(names, points, strict=True)],
    )
    return truth
