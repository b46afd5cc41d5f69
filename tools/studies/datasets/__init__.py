"""Public EEG datasets behind one interface; see :mod:`tools.studies.datasets.subject_data`."""

from __future__ import annotations

from tools.studies.datasets.catalogue import KINDS, open_dataset
from tools.studies.datasets.subject_data import Dataset, Stretch, SubjectData

__all__ = ["KINDS", "Dataset", "Stretch", "SubjectData", "open_dataset"]
