"""The ``.emag`` bundle: one file with the field, its operators and where they come from."""

from emag_rt.bundle.adaptable import why_not_adaptable
from emag_rt.bundle.archive import load_bundle, save_bundle
from emag_rt.bundle.bundle import Baseline, Bundle
from emag_rt.bundle.manifest import (
    Electrode,
    FrontEndManifest,
    HeadSphere,
    Manifest,
    RenderedElectrode,
    electrodes_of,
    point_mm,
)

__all__ = [
    "Baseline",
    "Bundle",
    "Electrode",
    "FrontEndManifest",
    "HeadSphere",
    "Manifest",
    "RenderedElectrode",
    "electrodes_of",
    "load_bundle",
    "point_mm",
    "save_bundle",
    "why_not_adaptable",
]
