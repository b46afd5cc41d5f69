"""The unfinished training of a calibration, in a file, so that it goes on after an interruption."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from emag_rt.errors import OutputError
from emag_rt.files import replacing

log = logging.getLogger(__name__)
_FORMAT = 2
"""Of the saved state; raised whenever what a group goes on from is laid out in another way."""


@dataclass
class UnfinishedTraining:
    """The file that holds the unfinished training of one calibration.

    Attributes
    ----------
    path : Path
        The file.
    fingerprint : str
        Of everything that the result depends on: training of another calibration is not taken up.
    used : bool
        Whether the file was written or taken up: only then is it this calibration's.
    """

    path: Path
    fingerprint: str
    used: bool = field(default=False, init=False)
    _broken: bool = field(default=False, init=False)

    def save(self, state: Mapping[str, object]) -> None:
        """Write a state; the file is replaced in one go, so that a crash leaves the old one.

        Where it cannot be written (a full disk), training goes on without, with a warning.

        Parameters
        ----------
        state : mapping
            Numbers, text and tensors; what is under ``steps`` counts the steps taken, and
            ``groups`` has an entry a group of networks.
        """
        import torch

        try:
            with replacing(self.path) as beside:
                content = {"format": _FORMAT, "fingerprint": self.fingerprint, "state": dict(state)}
                torch.save(content, beside)
                self.used = True  # an interruption may come right after the file is in place
        except (OutputError, RuntimeError) as error:
            if not self._broken:
                log.warning("%s cannot be written (%s): going on without", self.path.name, error)
            self._broken = True

    def load(self, device: str, n_groups: int) -> dict[str, object] | None:
        """Read the state; None where there is none, or it belongs to something else.

        Parameters
        ----------
        device : str
            Where torch runs now.
        n_groups : int
            Groups of networks trained side by side now: their random numbers are their own.
        """
        import torch

        if not self.path.exists():
            return None
        name = self.path.name
        try:
            content = torch.load(self.path, map_location=device, weights_only=True)
        except Exception as error:  # torch raises whatever its unpickler meets
            reason = str(error).split("\n")[0]
            log.warning("%s cannot be read (%s): starting afresh", name, reason)
            return None
        if not isinstance(content, dict) or content.get("fingerprint") != self.fingerprint:
            log.warning("%s is of another calibration: starting afresh", name)
            return None
        if content.get("format") != _FORMAT:
            log.warning("%s was written by another version of emag-rt: starting afresh", name)
            return None
        state = cast(dict[str, object], content["state"])
        n_saved = len(cast(list[object], state["groups"]))
        if n_saved != n_groups:
            log.warning(
                "%s was trained in %d threads, now there are %d: starting afresh",
                name, n_saved, n_groups,
            )  # fmt: skip
            return None
        log.info("%s: going on after step %d", name, state["steps"])
        self.used = True
        return state

    def remove(self) -> None:
        """Delete the file, if it is this calibration's: training is finished."""
        if self.used:
            self.path.unlink(missing_ok=True)


def fingerprint(*parts: object) -> str:
    """Digest of whatever a calibration depends on, through its JSON or its repr."""
    text = json.dumps(parts, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()
