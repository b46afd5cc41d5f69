"""A calibration's unfinished work, kept in a file so that it can go on after an interruption."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Partial:
    """The unfinished training of one calibration.

    Attributes
    ----------
    path : Path
        The file.
    fingerprint : str
        Of everything that the result depends on: work of another calibration is not taken up.
    """

    path: Path
    fingerprint: str

    def write(self, state: dict[str, Any]) -> None:
        """Keep a state; the file is replaced in one go, so that a crash leaves the old one."""
        import torch

        beside = self.path.with_name(self.path.name + ".tmp")
        torch.save({"fingerprint": self.fingerprint, "state": state}, beside)
        os.replace(beside, self.path)

    def read(self, device: str) -> dict[str, Any] | None:
        """Take up a kept state; None where there is none, or it belongs to something else."""
        import torch

        if not self.path.exists():
            return None
        try:
            kept = torch.load(self.path, map_location=device, weights_only=True)
        except Exception as error:  # torch raises whatever its unpickler meets
            reason = str(error).split("\n")[0]
            log.warning("%s cannot be read (%s): starting afresh", self.path.name, reason)
            return None
        if not isinstance(kept, dict) or kept.get("fingerprint") != self.fingerprint:
            log.warning("%s is of another calibration: starting afresh", self.path.name)
            return None
        state: dict[str, Any] = kept["state"]
        log.info("%s: going on after step %d", self.path.name, state["done"])
        return state


def fingerprint(*parts: object) -> str:
    """Digest of whatever a calibration depends on, through its JSON or its repr."""
    text = json.dumps(parts, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()
