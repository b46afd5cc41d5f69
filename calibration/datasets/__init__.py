"""Public EEG datasets behind one interface; see :mod:`calibration.datasets.subject_data`."""

from __future__ import annotations

from calibration.datasets.catalogue import KINDS, open_dataset
from calibration.datasets.subject_data import Dataset, Stretch, SubjectData

__all__ = ["KINDS", "Dataset", "Stretch", "SubjectData", "open_dataset"]
