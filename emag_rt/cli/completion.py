"""What the Tab key offers beyond click's own: bundles, headsets, standard montages."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import CompletionItem


class BundlePath(click.Path):
    """Path of a bundle; completion offers ``*.emag`` and folders, and else leaves it to the shell.

    It need not exist: a missing bundle is said in the same words on the command line as in Python.
    """

    def __init__(self) -> None:
        super().__init__(dir_okay=False)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Offer bundles that begin so."""
        folder, begun = os.path.split(incomplete)
        try:
            entries = sorted(Path(os.path.expanduser(folder) or ".").iterdir())
        except OSError:
            entries = []
        found = [entry for entry in entries if entry.name.startswith(begun)]
        if not any(entry.suffix == ".emag" and entry.is_file() for entry in found):
            return [CompletionItem(incomplete, type="file")]
        return [
            CompletionItem(os.path.join(folder, entry.name) + "/" * entry.is_dir())
            for entry in found
            if entry.is_dir() or entry.suffix == ".emag"
            if begun or not entry.name.startswith(".")
        ]


BUNDLE = BundlePath()


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
