"""What a benchmark can be told, and the key under which a result is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import emag_rt
from calibration.settings.calibration_settings import SETTLE_S
from emag_rt.errors import SettingsError

Protocol = Literal["paper", "ours"]
Normalization = Literal["zscore", "none"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
FACTORS = (2, 4, 8, 16)
# Raised when the same settings begin to mean other numbers.
_FORMAT = 1


@dataclass(frozen=True)
class BenchmarkSettings:
    """Settings that change numbers.

    Attributes
    ----------
    test_share : float
        Share of windows, runs or time that is held out.
    window_s : float or None
        Length of a window of the paper's protocol; None: as usual for the dataset. Epochs are
        windows as they are.
    normalization : {"zscore", "none"}
        Paper's protocol: every channel of every window to zero mean and unit variance, by its
        own statistics, as the paper does; or µV as they are.
    band_hz : tuple of (float, float)
        Our protocol: pass band of the causal front end.
    settle_s : float
        Our protocol: seconds left out at the start of each stretch, at most a quarter of it.
    look_ahead_s : float
        Seconds waited for by lagged methods.
    paper_like_window_s : float
        Windows of paper-like EMAG in our protocol and on continuous data.
    paper_like_epochs : int
        At most so many epochs of its training.
    seed : int
        Of everything random that does not follow from the subject's name.
    """

    test_share: float = 0.2
    window_s: float | None = None
    normalization: Normalization = "zscore"
    band_hz: tuple[float, float] = (0.5, 45.0)
    settle_s: float = SETTLE_S
    look_ahead_s: float = 0.0
    paper_like_window_s: float = 0.5
    paper_like_epochs: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.05 <= self.test_share <= 0.5:
            raise SettingsError(f"test_share must be from 0.05 to 0.5, got {self.test_share}.")
        if self.window_s is not None and not 0.05 <= self.window_s <= 60:
            raise SettingsError(f"window_s must be from 0.05 to 60 s, got {self.window_s}.")
        if self.normalization not in get_args(Normalization):
            raise SettingsError(
                f"normalization must be zscore or none, got {self.normalization!r}."
            )
        if not 0 <= self.settle_s <= 60:
            raise SettingsError(f"settle_s must be from 0 to 60 s, got {self.settle_s}.")
        if not 0 <= self.look_ahead_s <= 1:
            raise SettingsError(f"look_ahead_s must be from 0 to 1 s, got {self.look_ahead_s}.")
        if not 0.05 <= self.paper_like_window_s <= 60:
            raise SettingsError(
                f"paper_like_window_s must be from 0.05 to 60 s, got {self.paper_like_window_s}."
            )
        if self.paper_like_epochs < 1:
            raise SettingsError(
                f"paper_like_epochs must be at least 1, got {self.paper_like_epochs}."
            )
        if not 0 <= self.seed < 2**31:
            raise SettingsError(f"seed must be from 0 to 2**31 - 1, got {self.seed}.")


@dataclass(frozen=True)
class Task:
    """One number to find: a subject under a protocol, at a factor, by a method."""

    subject: str
    protocol: Protocol
    factor: int
    method: str


def result_path(
    out: Path, dataset: str, task: Task, settings: BenchmarkSettings, files: Sequence[Path]
) -> Path:
    """Where a task's result is kept; another setting, version or other data give another name.

    Between releases the version stands still: whoever changes the code names a new folder.

    Parameters
    ----------
    out : Path
        Folder of the benchmark.
    dataset : str
        Name of the dataset.
    task : Task
        The task.
    settings : BenchmarkSettings
        All settings.
    files : sequence of Path
        The subject's data: names and sizes count, not where they lie.

    Returns
    -------
    Path
        ``OUT/DATASET/SUBJECT/PROTOCOL_x4_METHOD_KEY.json``.
    """
    data = sorted((path.name, path.stat().st_size) for path in files)
    about = [_FORMAT, emag_rt.__version__, dataset, asdict(task), asdict(settings), data]
    content = json.dumps(about, sort_keys=True)
    key = hashlib.sha256(content.encode()).hexdigest()[:12]
    name = f"{task.protocol}_x{task.factor}_{task.method}_{key}.json"
    return out / dataset / task.subject / name
