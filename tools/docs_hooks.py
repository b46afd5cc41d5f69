"""Hooks of mkdocs: the page of commands, docstrings without roles, search without a server.

What stands between ``<!-- file -->`` and ``<!-- /file -->`` is for who reads the file itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from emag_rt.cli.main import cli

_WIDTH = 90
_SHIM = r'<script src="https://unpkg\.com/iframe-worker/shim"></script>'


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Leave out what is for readers of the file; append all help to ``command-line.md``."""
    markdown = re.sub(r"<!-- file -->.*?<!-- /file -->", "", markdown, flags=re.DOTALL)
    if page.file.src_uri != "command-line.md":
        return markdown
    parts = [markdown]
    for words, text in helps(cli, click.Context(cli, info_name="emag-rt", **cli.context_settings)):
        parts += [f"## {words}", f"```text\n{text}\n```"]
    return "\n\n".join(parts) + "\n"


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Take Sphinx's roles out of docstrings, which the site does not know."""
    return re.sub(r":(?:func|class|meth|mod|attr|data):(<code>)~?", r"\1", html)


def on_post_page(output: str, **_: Any) -> str:
    """Search from a folder by a script of ours, where the theme asks somebody's server for one."""
    ours = Path(__file__).with_name("docs_worker.js").read_text(encoding="utf-8")
    return re.sub(_SHIM, lambda _found: f"<script>{ours}</script>", output)


def on_post_template(output_content: str, **_: Any) -> str:
    """Likewise in pages that no Markdown makes: 404."""
    return on_post_page(output_content)


def helps(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """Words and help of a command and of all below it."""
    context.terminal_width = _WIDTH
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from helps(below, click.Context(below, info_name=name, parent=context))
