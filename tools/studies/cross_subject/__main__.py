"""Does a field carry over from one subject to another? Every field on every subject, no refit.

    python -m tools.studies.cross_subject --ld 16 \
        --subject S001=S001R03.edf,S001R04.edf:S001R05.edf,S001R07.edf \
        --subject S004=S004R01_raw.fif@0-0.75:S004R01_raw.fif@0.75-1

FILE@FROM-TO is a part, in fractions of the file's length. All fields take the same LD channels
by label; only channels that all montages share by label, good and unseen for all, are scored.
Relative paths are looked for in $EMAG_RT_DATA where they are not here. Prints Markdown.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import click

from calibration import CalibrationSettings
from calibration.session.ld_choice import read_ld_choice
from emag_rt.cli.options import check_output
from emag_rt.errors import EmagError
from emag_rt.files import write_text
from tools.studies.cross_subject.matrix import Part, Subject, cross_subject, parse_subject


def _located(subject: Subject) -> Subject:
    def find(part: Part) -> Part:
        elsewhere = Path(os.environ.get("EMAG_RT_DATA", ""), part.path)
        return part if part.path.exists() else replace(part, path=elsewhere)

    return Subject(subject.name, tuple(map(find, subject.train)), tuple(map(find, subject.test)))


@click.command()
@click.option(
    "--subject",
    "subjects",
    multiple=True,
    required=True,
    help="NAME=train1,train2:test1,test2; repeat for each subject.",
)
@click.option(
    "--ld", default="16", show_default=True, help="Count (spread on the first), or names."
)
@click.option("--sfreq", type=float, help="Resample all recordings to this rate in Hz.")
@click.option("--refine/--no-refine", default=True, show_default=True)
@click.option("--out", type=click.Path(dir_okay=False), help="Write the Markdown here too.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False), help="Write JSON here.")
def main(
    subjects: tuple[str, ...],
    ld: str,
    sfreq: float | None,
    refine: bool,
    out: str | None,
    json_path: str | None,
) -> None:
    """Print the matrix."""
    try:
        for option, target in (("--out", out), ("--json", json_path)):
            if target:
                check_output(option, target, ())
        matrix = cross_subject(
            [_located(parse_subject(text)) for text in subjects],
            read_ld_choice(ld),
            CalibrationSettings(sfreq=sfreq, refine=refine),
            tell=lambda what: click.echo(what, err=True),
        )
    except EmagError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    text = (
        f"{matrix.as_markdown()}\n\n"
        "Rows: whose field (no refit); columns: on whose held-out recordings. Only channels that "
        f"all montages share by label, good and unseen for all. LD: {', '.join(matrix.ld)}."
    )
    click.echo(text)
    if out:
        write_text(out, text + "\n", "--out")
    if json_path:
        write_text(json_path, json.dumps(matrix.as_dict(), indent=1), "--json")


if __name__ == "__main__":
    main()
