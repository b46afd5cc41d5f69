"""A calibration's unfinished work, kept in a file so that it can go on after an interruption."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emag_rt.errors import OutputError
from emag_rt.files import replacing

log = logging.getLogger(__name__)


@dataclass
class Partial:
    """The unfinished training of one calibration.

    Attributes
    ----------
    path : Path
        The file.
    fingerprint : str
        Of everything that the result depends on: work of another calibration is not taken up.
    used : bool
        Whether the file was written or taken up: only then is it this calibration's.
    """

    path: Path
    fingerprint: str
    used: bool = field(default=False, init=False)
    _broken: bool = field(default=False, init=False)

    def write(self, state: dict[str, Any]) -> None:
        """Keep a state; the file is replaced in one go, so that a crash leaves the old one.

        Where it cannot be written (a full disk), the work goes on without, with a warning.
        """
        import torch

        try:
            with replacing(self.path) as beside:
                torch.save({"fingerprint": self.fingerprint, "state": state}, beside)
                self.used = True  # an interruption may come right after the file is in place
        except (OutputError, RuntimeError) as error:
            if not self._broken:
                log.warning("%s cannot be written (%s): going on without", self.path.name, error)
            self._broken = True

    def read(self, device: str, n_groups: int) -> dict[str, Any] | None:
        """Take up a kept state; None where there is none, or it belongs to something else.

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
            kept = torch.load(self.path, map_location=device, weights_only=True)
        except Exception as error:  # torch raises whatever its unpickler meets
            reason = str(error).split("\n")[0]
            log.warning("%s cannot be read (%s): starting afresh", name, reason)
            return None
        if not isinstance(kept, dict) or kept.get("fingerprint") != self.fingerprint:
            log.warning("%s is of another calibration: starting afresh", name)
            return None
        state: dict[str, Any] = kept["state"]
        if len(state["loops"]) != n_groups:
            log.warning(
                "%s was trained in %d threads, now there are %d: starting afresh",
                name, len(state["loops"]), n_groups,
            )  # fmt: skip
            return None
        log.info("%s: going on after step %d", name, state["done"])
        self.used = True
        return state

    def remove(self) -> None:
        """Forget the work, if it is this calibration's: it is finished."""
        if self.used:
            self.path.unlink(missing_ok=True)


def fingerprint(*parts: object) -> str:
    """Digest of whatever a calibration depends on, through its JSON or its repr."""
    text = json.dumps(parts, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()
