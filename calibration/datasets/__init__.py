"""Public EEG datasets behind one interface; see :mod:`calibration.datasets.base`."""

from __future__ import annotations

from calibration.datasets.base import Dataset, Stretch, SubjectData
from calibration.datasets.catalogue import KINDS, open_dataset

__all__ = ["KINDS", "Dataset", "Stretch", "SubjectData", "open_dataset"]
