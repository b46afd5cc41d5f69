"""A progress bar for commands that take a while."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress_bar(quiet: bool) -> Iterator[Callable[[float, str], None] | None]:
    """A bar on the error stream; None where nobody wants one.

    Parameters
    ----------
    quiet : bool
        No bar.

    Yields
    ------
    callable or None
        Takes the share done (0 to 1) and what is being done.
    """
    if quiet:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=1.0)
        yield lambda share, what: progress.update(task, completed=share, description=what)
