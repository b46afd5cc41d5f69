"""``emag-rt completion``: words completed by the Tab key, in bash, zsh and fish."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from emag_rt.cli.manual import Manual

PROGRAM, VARIABLE = "emag-rt", "_EMAG_RT_COMPLETE"
"""What is completed, and the variable by which the shell asks click for words."""


@click.command(
    cls=Manual,
    examples=(
        ("in this terminal alone", 'eval "$(emag-rt completion bash)"'),
        (
            "bash, from the next terminal on",
            "emag-rt completion bash > ~/.local/share/bash-completion/completions/emag-rt",
        ),
        ("zsh: this line into ~/.zshrc", 'eval "$(emag-rt completion zsh)"'),
        ("fish", "emag-rt completion fish > ~/.config/fish/completions/emag-rt.fish"),
    ),
    exits=(0, 2),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes commands, options and bundles in SHELL.

    It completes subcommands, options, their values (names of engines, policies, ...) and files,
    bundles (*.emag) first. Nothing is installed, and no stream is looked for: the script asks
    emag-rt for words when Tab is pressed.
    """
    made = get_completion_class(shell)
    assert made is not None  # click knows all three
    from emag_rt.cli.main import cli

    click.echo(made(cli, {}, PROGRAM, VARIABLE).source())


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
