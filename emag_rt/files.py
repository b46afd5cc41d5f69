"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from pathlib import Path

from emag_rt.errors import OutputError
from emag_rt.system import flush_folder, flush_to_disk, lock

BUNDLE_ENDINGS = (".emag",)
RECORDING_ENDINGS = (
    *(".edf", ".bdf", ".gdf", ".fif", ".fif.gz", ".vhdr", ".ahdr", ".eeg", ".set", ".cnt", ".mff"),
    *(".cdt", ".dat", ".data", ".lay", ".nxe", ".nedf", ".mefd", ".xdf", ".xdfz", ".xdf.gz"),
)
"""How the names of EEG recordings end, of files and of folders."""
_unfinished: set[Path] = set()
_PREFIX = ".emag_rt-"
_GUARD, _ROOM = "in-use", "new"
"""In the folder beside a file: what is locked while it is written, and where it is written."""


def readable(names: Collection[str], endings: tuple[str, ...]) -> list[str]:
    """Those of a folder's names that end so; of BrainVision's three files, the header."""
    return [
        name
        for name in names
        if name.lower().endswith(endings)
        if not (name.endswith(".eeg") and f"{name[:-4]}.vhdr" in names)
    ]


def neighbours(path: Path, endings: tuple[str, ...]) -> str:
    """Name files beside one that is not there, as ``" (did you mean X?)"``; empty without any.

    Parameters
    ----------
    path : Path
        What is not there.
    endings : tuple of str
        How the names of files end that could be meant.

    Returns
    -------
    str
        Up to three names; those alone that differ in nothing but the ending, if there are any.
    """
    try:
        beside = {entry.name for entry in itertools.islice(os.scandir(path.parent), 1000)}
    except OSError:
        return ""
    names = sorted(readable(beside, endings))
    stems = {name: name.partition(".")[0] for name in names}
    wanted = path.name.partition(".")[0]
    near = [name for name in names if stems[name] == wanted]
    if not near:
        near = get_close_matches(path.name, names, n=3, cutoff=0.7)
        alike = get_close_matches(wanted, stems.values(), n=3, cutoff=0.7)
        near += [name for name in names if stems[name] in alike or name.startswith(path.name)]
        near = list(dict.fromkeys(near))
    near = near[:3]
    return f" (did you mean {', '.join(near)}?)" if near else ""


@contextlib.contextmanager
def replacing(
    path: str | os.PathLike[str], what: str = "output", *, new: bool = False
) -> Iterator[Path]:
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
    new : bool
        Nothing of that name may be there; a link is not followed.

    Yields
    ------
    Path
        Where to write.

    Raises
    ------
    OutputError
        If it cannot be written: no space, no permission, no folder; or it must be new, and is not.
    """
    target = Path(path)
    folder: Path | None = None
    guard = -1
    try:
        target = target.parent.resolve() / target.name if new else target.resolve()
        if not new and target.exists() and not target.is_file():
            yield target
            return
        remove_leftovers(target)
        folder, guard = _own_folder(target)
        _unfinished.add(folder)
        room = folder / _ROOM
        room.mkdir()
        yield room / target.name
        if new and os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        _put_in_place(room, target)
    except OSError as error:
        raise OutputError(f"{what} {path}: {_reason(error)}") from error
    finally:
        if folder is not None:
            os.close(guard)
            shutil.rmtree(folder, ignore_errors=True)
            _unfinished.discard(folder)


def shown_name(path: Path) -> str:
    """Name of a file as any text can hold it: what is not printable, or no UTF-8, is replaced."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in path.name)


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
    """Remove what processes left unfinished in a file's folder when they were killed."""
    with contextlib.suppress(OSError):
        for folder in Path(path).parent.iterdir():
            if folder.name.startswith(_PREFIX):
                _remove_if_left(folder)


def _remove_if_left(folder: Path) -> None:
    """Whoever writes in a folder holds its lock: what can be locked, nobody writes in."""
    try:
        guard = os.open(folder / _GUARD, os.O_RDWR)
    except OSError:  # just being made, or not for us to touch
        return
    left = False
    try:
        left = lock(guard)
        if left:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:  # no locks here: it may be in use
        pass
    finally:
        os.close(guard)
    if left:  # Windows removes no file that is open
        shutil.rmtree(folder, ignore_errors=True)


def _own_folder(target: Path) -> tuple[Path, int]:
    """A new folder beside a file, for its owner alone, and the open file by which it is locked."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=target.parent))
        guard = os.open(folder / _GUARD, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            ours = lock(guard)
        except OSError:  # no locks here, so nobody clears up either
            ours = True
        # Somebody who clears up may have taken it between the last two steps.
        if ours and (folder / _GUARD).exists():
            return folder, guard
        os.close(guard)


def _put_in_place(room: Path, target: Path) -> None:
    """Parts first: the file that names them comes last."""
    written = sorted(room.iterdir(), key=lambda file: (file.name == target.name, file.name))
    for file in written:
        flush_to_disk(file)
    for file in written:
        os.replace(file, target.with_name(file.name))
    flush_folder(target.parent)


def _reason(error: OSError) -> str:
    return (
        f"cannot be written: {error.strerror or error}. Nothing half-written is left: make room, "
        "or name another place."
    )
