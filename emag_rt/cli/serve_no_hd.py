"""``emag-rt serve --no-hd``: the bundle is made first, by ``calibrate`` in a process of its own.

Serving knows nothing of calibration, and carries none of its libraries.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from emag_rt.cli.which_source import could_be_worn
from emag_rt.errors import SettingsError
from emag_rt.files import BUNDLE_ENDINGS, neighbours

if TYPE_CHECKING:
    from emag_rt.streams.config import Scope

Request = dict[str, str | float | None]
"""``ld``, ``hd``, ``sfreq``, ``population``, ``scope`` and ``session_id``, as options say them."""
_OWN = ("ld", "hd", "sfreq", "population")
_LSL = ("scope", "session_id")


@contextlib.contextmanager
def bundle_to_serve(bundle: str | None, no_hd: bool, request: Request) -> Iterator[str]:
    """The bundle that was named, or one made of other people's heads while serving lasts.

    Parameters
    ----------
    bundle : str or None
        The argument.
    no_hd : bool
        Whether to make one.
    request : Request
        LD, HD, rate and population, where LSL looks.

    Yields
    ------
    str
        Path of the bundle.

    Raises
    ------
    SettingsError
        If options contradict each other.
    SystemExit
        If it cannot be made; calibrate has said why.
    """
    given = [f"--{name}" for name in _OWN if request[name] is not None]
    if not no_hd:
        if bundle is None:
            raise SettingsError("BUNDLE must name the bundle to serve, got none (or --no-hd).")
        if given:
            raise SettingsError(f"{', '.join(given)} must go with --no-hd. Leave it out.")
        file = Path(bundle)
        if not (file.exists() or file.suffix or neighbours(file, BUNDLE_ENDINGS)):
            raise SettingsError(
                f"BUNDLE must be a bundle's file (NAME.emag), got {bundle}: no such file. Is it an "
                f"amplifier's source id? emag-rt serve NAME.emag --source-id {bundle}"
            )
        yield bundle
        return
    if bundle is not None:
        raise SettingsError(
            f"--no-hd and BUNDLE exclude each other, got {bundle}. To keep the bundle that --no-hd "
            "makes: emag-rt calibrate --no-hd ... --out FILE, then serve it."
        )
    if request["ld"] is None:
        raise SettingsError(
            "--ld must say what is worn with --no-hd, got nothing. "
            + could_be_worn(
                cast("Scope | None", request["scope"]), cast("str | None", request["session_id"])
            )
        )
    if request["hd"] is None:
        raise SettingsError(
            "--hd must say which electrodes to render with --no-hd, got none. Such as: "
            "--hd standard_1020"
        )
    with tempfile.TemporaryDirectory(prefix="emag-rt-") as folder:
        path = str(Path(folder, "no-hd.emag"))
        words = ["calibrate", "--no-hd", "--no-report", "--quiet", "--out", path]
        names = _OWN + (_LSL if str(request["ld"]).startswith("@stream:") else ())
        given = [name for name in names if request[name] is not None]
        words += [f"--{name.replace('_', '-')}={request[name]}" for name in given]
        # Its summary goes to stderr: with --status-json - stdout is the status's.
        done = subprocess.run(  # noqa: S603 (our own interpreter and command)
            [sys.executable, "-m", "emag_rt", *words], stdout=sys.stderr, check=False
        )
        if done.returncode:
            sys.exit(done.returncode if done.returncode > 0 else 1)
        yield path
