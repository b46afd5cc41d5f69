"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from emag_rt.errors import OutputError
from emag_rt.system import flush_to_disk, process_runs

_numbers = itertools.count()
_unfinished: set[Path] = set()


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], what: str = "output") -> Iterator[Path]:
    """Write beside a file, and put what was written in its place once it is complete.

    The block writes to the path it is given, which has the same name and lies in a folder of its
    own beside the target. When the block ends well, it and any files it left beside it (MNE
    splits long recordings) reach the disk and replace their namesakes; when it does not,
    whatever was there before is untouched and nothing else is left. Links are followed;
    what is no regular file (a pipe, a device) is written to directly.

    Parameters
    ----------
    path : path-like
        File to make or to replace.
    what : str
        Option or thing, for the message.

    Yields
    ------
    Path
        Where to write.

    Raises
    ------
    OutputError
        If it cannot be written: no space, no permission, no folder.
    """
    target = Path(path)
    folder: Path | None = None
    try:
        target = target.resolve()
        if target.exists() and not target.is_file():
            yield target
            return
        remove_leftovers(target)
        folder = target.with_name(f"{_prefix(target)}{os.getpid()}-{next(_numbers)}")
        _unfinished.add(folder)
        folder.mkdir()
        yield folder / target.name
        _put_in_place(folder, target)
    except OSError as error:
        raise OutputError(f"{what} {path}: {_reason(error)}") from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
            _unfinished.discard(folder)


def write_text(path: str | os.PathLike[str], text: str, what: str = "output") -> None:
    """Write a text file by :func:`replacing`, in UTF-8.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with replacing(path, what) as beside:
        beside.write_text(text, encoding="utf-8")


def remove(path: str | os.PathLike[str], what: str = "output") -> None:
    """Remove a file of an earlier run, and leftovers; what is no regular file stays.

    Raises
    ------
    OutputError
        If it is there and cannot be removed.
    """
    target = Path(path)
    remove_leftovers(target)
    try:
        if target.is_file():
            target.unlink()
    except OSError as error:
        raise OutputError(f"{what} {path}: {_reason(error)}") from error


def discard_unfinished() -> None:
    """Remove what this process is writing just now: it ends without unwinding."""
    for folder in list(_unfinished):
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove what processes of this host left unfinished beside a file when they were killed."""
    target = Path(path)
    prefix = _prefix(target)
    with contextlib.suppress(OSError):
        for folder in target.parent.iterdir():
            pid = folder.name.removeprefix(prefix).split("-")[0]
            if folder.name.startswith(prefix) and pid.isdecimal() and not process_runs(int(pid)):
                shutil.rmtree(folder, ignore_errors=True)


def _prefix(target: Path) -> str:
    # Process ids mean something on one host only, and folders may be shared.
    return f".{target.name}.{socket.gethostname()}."


def _put_in_place(folder: Path, target: Path) -> None:
    """Parts first: the file that names them comes last."""
    written = sorted(folder.iterdir(), key=lambda file: (file.name == target.name, file.name))
    for file in written:
        flush_to_disk(file)
    for file in written:
        os.replace(file, target.with_name(file.name))


def _reason(error: OSError) -> str:
    return (
        f"cannot be written: {error.strerror or error}. Nothing half-written is left: make room, "
        "or name another place."
    )
