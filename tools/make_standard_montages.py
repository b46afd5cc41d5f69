"""Writes the electrode positions of MNE's standard montages into the package, for serving.

    python tools/make_standard_montages.py

`emag-rt serve` imports no MNE, but must know where the electrodes of a standard montage are. The
positions are those of ``mne.channels.make_standard_montage`` (BSD-3-Clause) in MNE's head frame,
in mm, rounded to 0.01 mm.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import mne

from emag_rt.montages import standard as standard_montages
from emag_rt.recordings.positions import template

# Names that MNE has long had; those that it calls by another name now are the same places.
NAMES = (
    "standard_1005",
    "standard_1020",
    "standard_alphabetic",
    "standard_postfixed",
    "standard_prefixed",
    "standard_primed",
    "biosemi16",
    "biosemi32",
    "biosemi64",
    "biosemi128",
    "biosemi160",
    "biosemi256",
    "easycap-M1",
    "easycap-M10",
    "easycap-M43",
    "EGI_256",
    "GSN-HydroCel-32",
    "GSN-HydroCel-64_1.0",
    "GSN-HydroCel-65_1.0",
    "GSN-HydroCel-128",
    "GSN-HydroCel-129",
    "GSN-HydroCel-256",
    "GSN-HydroCel-257",
    "mgh60",
    "mgh70",
    "brainproducts-RNP-BA-128",
)


def positions(name: str) -> dict[str, list[float]]:
    """Label to position in MNE's head frame, mm."""
    return {label: [round(float(v), 2) for v in place] for label, place in template(name).items()}


@click.command()
@click.option("--out", default=str(standard_montages.DATA), type=click.Path(dir_okay=False))
def main(out: str) -> None:
    """Write the file."""
    lines = [f"{json.dumps(name)}: {json.dumps(positions(name))}" for name in NAMES]
    source = f"mne.channels.make_standard_montage of MNE {mne.__version__} (BSD-3-Clause), head "
    head = f'"source": {json.dumps(source + "frame, mm")}'
    Path(out).write_text(
        "{\n" + head + ',\n"montages": {\n' + ",\n".join(lines) + "\n}\n}\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
