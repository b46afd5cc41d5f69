"""The zip around a bundle: stored members, checked before anything is read whole.

What a file claims is never believed: the number of entries, their sizes and the size of their
directory are compared with the file's own size first, so no claim costs memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from emag_rt.errors import BundleError
from emag_rt.files import BUNDLE_ENDINGS, neighbours

MANIFEST, TENSORS = "manifest.json", "field.safetensors"
MEMBERS = {1: (MANIFEST, TENSORS, "render.onnx"), 2: (MANIFEST, TENSORS)}
"""By format."""
MAX_BYTES = 1 << 30
MAX_MANIFEST_BYTES = 4 << 20
_ORDER = "Is it a recording? The bundle comes first, then recordings."
_MAX_DIRECTORY_BYTES = 1 << 16
_END = struct.Struct("<4s4H2LH")
_ZIP64_LOCATOR = b"PK\x06\x07"
_ZIP64_LOCATOR_BYTES = 20
_DAMAGE = (
    zipfile.BadZipFile,
    NotImplementedError,
    ValueError,
    EOFError,
    OverflowError,
    RuntimeError,
    struct.error,
)


@contextlib.contextmanager
def open_members(path: Path) -> Iterator[tuple[Sequence[str], Callable[[str], bytes], str]]:
    """Open a bundle's zip.

    Parameters
    ----------
    path : Path
        An ``.emag`` file.

    Yields
    ------
    names : sequence of str
        Of the members; the manifest is among them. Which others must be, its format says.
    read : callable
        From the name of a member to its bytes.
    sha256 : str
        Of the file.

    Raises
    ------
    BundleError
        If it is no regular file, too large, damaged, without a manifest, or if its members are
        not stored as they are.
    """
    with contextlib.ExitStack() as stack:
        with _translated(path):
            if not stat.S_ISREG(path.stat().st_mode):  # a pipe or a device would never end
                raise BundleError(f"bundle {path}: cannot be read: it is not a regular file.")
            handle = stack.enter_context(path.open("rb"))
            _check_size(path, handle)
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
            archive = stack.enter_context(zipfile.ZipFile(handle))
            entries = _check_entries(path, archive, os.fstat(handle.fileno()).st_size)

        def read(name: str) -> bytes:
            with _translated(path):
                return archive.read(entries[name])

        yield tuple(entries), read, digest


def check_names(path: Path, names: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse members that are missing or should not be there.

    Raises
    ------
    BundleError
        If the names are not exactly those that are wanted.
    """
    if sorted(names) != sorted(wanted):
        shown = ", ".join(ascii(name[:80]) for name in sorted(names)[:8]) or "nothing"
        raise BundleError(
            f"bundle {path}: must hold exactly {', '.join(wanted)}, got {shown}. "
            "Is this an .emag file?"
        )


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise BundleError(
            f"bundle {path}: no such file{neighbours(path, BUNDLE_ENDINGS)}. "
            "Make one: emag-rt calibrate."
        ) from error
    except OSError as error:
        raise BundleError(f"bundle {path}: cannot be read: {error.strerror or error}.") from error
    except _DAMAGE as error:
        empty = os.path.getsize(path) == 0
        reason = "it is empty" if empty else " ".join(str(error).split())[:200]
        raise BundleError(
            f"bundle {path}: damaged or not an .emag file ({reason}). "
            + ("Copy or calibrate it again." if path.name.endswith(BUNDLE_ENDINGS) else _ORDER)
        ) from error


def _check_size(path: Path, handle: BinaryIO) -> None:
    """Size of the file, and of the zip's directory, which zipfile reads whole."""
    size = os.fstat(handle.fileno()).st_size
    if size > MAX_BYTES:
        raise BundleError(
            f"bundle {path}: must be at most {MAX_BYTES >> 20} MiB, got {size >> 20} MiB."
        )
    if size < _END.size:
        raise zipfile.BadZipFile("File is not a zip file")
    before = min(_ZIP64_LOCATOR_BYTES, size - _END.size)
    handle.seek(-_END.size - before, os.SEEK_END)
    tail = handle.read(before + _END.size)
    handle.seek(0)
    signature, *_, directory_bytes, _, comment = _END.unpack(tail[before:])
    # Ours end here, without a comment and not as zip64: so zipfile finds this very record.
    if signature != b"PK\x05\x06" or comment or tail.startswith(_ZIP64_LOCATOR):
        raise zipfile.BadZipFile("File is not a zip file as emag_rt writes them")
    if directory_bytes > min(size, _MAX_DIRECTORY_BYTES):
        raise zipfile.BadZipFile(f"its directory claims {directory_bytes} bytes")


def _check_entries(path: Path, archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    entries = archive.infolist()
    by_name = {entry.filename: entry for entry in entries}
    if len(by_name) < len(entries) or MANIFEST not in by_name:
        check_names(path, [entry.filename for entry in entries], MEMBERS[max(MEMBERS)])
    for entry in entries:
        stored = entry.compress_type == zipfile.ZIP_STORED
        if not stored or entry.flag_bits & 1 or entry.compress_size != entry.file_size:
            raise BundleError(
                f"bundle {path}: {entry.filename[:80]!a} must be stored uncompressed "
                "and unencrypted. The file was not written by emag_rt."
            )
    claimed = sum(entry.file_size for entry in entries)
    if claimed > size:
        raise zipfile.BadZipFile(f"its members claim {claimed} bytes of {size}")
    if by_name[MANIFEST].file_size > MAX_MANIFEST_BYTES:
        raise BundleError(
            f"bundle {path}: manifest.json must be at most {MAX_MANIFEST_BYTES >> 20} MiB, got "
            f"{by_name[MANIFEST].file_size >> 20} MiB."
        )
    return by_name
