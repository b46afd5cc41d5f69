"""XDF files that end in the middle of a chunk: their writer was killed, or the disk was full."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO

from emag_rt.recordings.xdf_write import BOUNDARY_MARK

_LENGTH_BYTES = (1, 4, 8)


def open_whole(path: Path, notes: list[str]) -> BinaryIO:
    """Open a file up to its last whole chunk.

    pyxdf gives up in the middle of a header, and takes half a sample for a whole one.

    Parameters
    ----------
    path : Path
        The file, not packed.
    notes : list of str
        What is left out is added here, once.

    Returns
    -------
    binary file
        The file itself where it is whole, or damaged in another way.
    """
    file = path.open("rb")
    end, size = _last_whole(file)
    if end < size:
        file.seek(end)
        if BOUNDARY_MARK not in file.read():  # else it is damaged there, and goes on
            note = f"cut in the middle of a chunk: its last {size - end} bytes are left out"
            if note not in notes:
                notes.append(note)
            file.seek(0)
            with file:
                return io.BytesIO(file.read(end))
    file.seek(0)
    return file


def _last_whole(file: BinaryIO) -> tuple[int, int]:
    """Where the last whole chunk ends, and the file; equal where a chunk's length is no length."""
    size = file.seek(0, os.SEEK_END)
    end = 4  # after XDF:
    while end < size:
        file.seek(end)
        head = file.read(9)
        n_bytes = head[0]
        if n_bytes not in _LENGTH_BYTES:
            return size, size
        start = end + 1 + n_bytes
        # Shorter than the tag before its content, it is none.
        n_content = int.from_bytes(head[1 : 1 + n_bytes], "little")
        if start > size or start + n_content > size:
            return end, size
        end = start + max(n_content, 2)
    return min(end, size), size
