"""What the Tab key offers beyond click's own: what can be read, headsets, standard montages."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from emag_rt.files import BUNDLE_ENDINGS, RECORDING_ENDINGS, readable


class ReadablePath(click.Path):
    """Path of a file to read; completion offers those and folders, else leaves it to the shell.

    It need not exist: a missing file is said in the same words on the command line as in Python.

    Parameters
    ----------
    endings : tuple of str
        How names of such files end.
    dir_okay : bool
        Whether a folder may be one.
    """

    def __init__(self, endings: tuple[str, ...], dir_okay: bool = False) -> None:
        super().__init__(dir_okay=dir_okay)
        self.endings = endings

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Offer files that begin so and can be read."""
        folder, begun = os.path.split(incomplete)
        try:
            entries = sorted(Path(os.path.expanduser(folder) or ".").iterdir())
        except OSError:
            entries = []
        found = [entry for entry in entries if entry.name.startswith(begun)]
        known = readable({entry.name for entry in entries}, self.endings)
        found = [entry for entry in found if entry.is_dir() or entry.name in known]
        if not any(entry.name in known for entry in found):
            return [CompletionItem(incomplete, type="file")]
        return [
            CompletionItem(os.path.join(folder, entry.name) + "/" * entry.is_dir())
            for entry in found
            if begun or not entry.name.startswith(".")
        ]


BUNDLE = ReadablePath(BUNDLE_ENDINGS)
RECORDING = ReadablePath(RECORDING_ENDINGS, dir_okay=True)
"""Some recordings are folders."""


def complete_headset(
    ctx: click.Context | None, param: click.Parameter | None, incomplete: str
) -> list[str]:
    """Names of headsets that begin so."""
    from emag_rt.montages.headsets import headset_names

    return [name for name in headset_names() if name.startswith(incomplete)]


def complete_montage(
    ctx: click.Context | None, param: click.Parameter | None, incomplete: str
) -> list[CompletionItem]:
    """Names of standard montages that begin so; where none does, files."""
    from emag_rt.montages.standard import standard_names

    found = [CompletionItem(name) for name in standard_names() if name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]
