"""Photograph MNE-LSL's viewer on the rendered HD stream, without a screen.

    pip install PyQt6 qtpy pyqtgraph
    QT_QPA_PLATFORM=offscreen python tools/examples/mne_lsl_viewer.py --name s01-HD --out viewer.png

Opens the viewer as ``mne-lsl viewer -s s01-HD`` does, saves its window after a while, and prints
as JSON what it holds. Serve with ``--gap-policy hold``: one NaN stays in the viewer's filter.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from mne_lsl.stream_viewer import StreamViewer
from mne_lsl.stream_viewer.control_gui import control_eeg
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication


def photograph(scope: Any, path: Path) -> None:
    """Save the largest window, tell what the scope holds, and end the viewer."""
    windows = QApplication.topLevelWidgets()
    max(windows, key=lambda w: w.width() * w.height()).grab().save(str(path))
    held = scope.data_buffer[:, np.any(scope.data_buffer != 0, axis=0)]
    told = {
        "labels": list(scope.channels_labels),
        "samples": held.shape[1],
        "nan": int(np.isnan(held).any(axis=0).sum()),
        "rms_uv": float(np.sqrt(np.nanmean(held**2))),
        "bandpass": bool(scope.apply_bandpass),
    }
    click.echo(json.dumps(told))
    QApplication.instance().quit()


@click.command()
@click.option("--name", required=True, help="Name of the daemon's outlet.")
@click.option("--seconds", default=8.0, show_default=True, help="Take the picture after so long.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Picture to write.")
def main(name: str, seconds: float, out: Path) -> None:
    """Photograph MNE-LSL's viewer on an HD outlet."""

    class Photographed(control_eeg.ControlGUI_EEG):
        def __init__(self, scope: Any) -> None:
            super().__init__(scope)
            QTimer.singleShot(round(1000 * seconds), lambda: photograph(scope, out))

    control_eeg.ControlGUI_EEG = Photographed
    StreamViewer(name).start()


if __name__ == "__main__":
    main()
