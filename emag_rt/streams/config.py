"""liblsl's settings as text: what a configuration file says, with ours on top."""

from __future__ import annotations

import configparser
import io
import os
import threading
from pathlib import Path
from typing import Literal

from emag_rt.errors import SettingsError

Scope = Literal["machine", "link", "site", "organization", "global"]

# Unless the user's own file says otherwise. The clock of another host is measured every second
# instead of every two, and by three probes of eight that came through instead of six: with a
# fifth of all packets lost, LSL's own values leave a measurement every six seconds.
_TUNING = {"TimeUpdateInterval": "1.0", "TimeUpdateMinProbes": "3"}


class LslSettings:
    """liblsl reads its settings once in the life of a process, and so do we."""

    lock = threading.Lock()
    chosen: tuple[Scope | None, str | None, int] | None = None
    in_use = False


SCOPES: tuple[Scope, ...] = ("machine", "link", "site", "organization", "global")


def lsl_config_text(
    scope: Scope | None, session_id: str | None, log_level: int, base: str = ""
) -> str:
    """Settings file for liblsl.

    Parameters
    ----------
    scope : str or None
        How far streams are looked for and seen; None leaves it as in ``base``.
    session_id : str or None
        Only streams of the same session see each other; None leaves it as in ``base``.
    log_level : int
        Messages of liblsl on stderr: -3 fatal, -2 errors, -1 warnings, 0 information.
    base : str
        Settings file to start from.

    Returns
    -------
    str
        The settings in INI format.

    Raises
    ------
    SettingsError
        If ``scope`` is unknown, the session id has control characters, or ``base`` is malformed.
    """
    if scope is not None and scope not in SCOPES:
        raise SettingsError(f"LSL scope must be one of {', '.join(SCOPES)}, got {scope!r}.")
    if session_id is not None and not (session_id and session_id.isprintable()):
        raise SettingsError(
            f"LSL session id must be printable and not empty, got {session_id!r}. "
            "Leave it out for LSL's default session."
        )
    parser = configparser.ConfigParser(
        interpolation=None, strict=False, comment_prefixes=(";", "#"), allow_no_value=True
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(base)
    except configparser.Error as error:
        raise SettingsError(
            f"LSL configuration file must be in INI format, got: {error}. Mend or remove it."
        ) from error
    changes = [("log", "level", str(log_level))]
    if scope is not None:
        changes.append(("multicast", "ResolveScope", scope))
    if scope == "machine":
        changes.append(("ports", "IPv6", "disable"))
        # By default this scope asks 127.0.0.1 alone, where one outlet of all answers, and the
        # others half a second later. Multicast of this scope has TTL 0: it stays on the host.
        changes.append(("multicast", "MachineAddresses", "{127.0.0.1, 224.0.0.183}"))
        changes.append(("tuning", "MulticastMinRTT", "0.1"))
        # Asking again waits for answers that take no time here: a source that comes back within
        # half a second of its death is heard after 1.3 s, instead of 2.1.
        changes.append(("tuning", "UnicastMinRTT", "0.1"))
        changes.append(("tuning", "UnicastMaxRTT", "0.3"))
    if session_id is not None:
        changes.append(("lab", "SessionID", session_id))
    for key, value in _TUNING.items():
        if not parser.has_option("tuning", key):
            changes.append(("tuning", key, value))
    for section, key, value in changes:
        if not parser.has_section(section):
            parser.add_section(section)
        parser.set(section, key, value)
    out = io.StringIO()
    parser.write(out, space_around_delimiters=False)
    return out.getvalue()


def session_id_in(text: str) -> str:
    """The session id that a settings file sets; empty for LSL's default one."""
    parser = configparser.ConfigParser(
        interpolation=None, strict=False, comment_prefixes=(";", "#"), allow_no_value=True
    )
    try:
        parser.read_string(text)
    except configparser.Error:
        return ""
    found = parser.get("lab", "SessionID", fallback="") or ""
    return "" if found == "default" else found


def session_id_in_use() -> str:
    """LSL's session id in this process; empty for the default one."""
    own, chosen = environment_config_file(), LslSettings.chosen
    if own is None and chosen is not None and chosen[1]:
        return chosen[1]
    file = own or user_config_file()
    return session_id_in(file.read_text()) if file else ""


def user_config_file() -> Path | None:
    """The settings file that liblsl would read by itself, apart from ``LSLAPICFG``."""
    places = ("lsl_api.cfg", "~/lsl_api/lsl_api.cfg", "/etc/lsl_api/lsl_api.cfg")
    files = (Path(place).expanduser() for place in places)
    return next((path for path in files if path.is_file()), None)


def environment_config_file() -> Path | None:
    """The settings file named by ``LSLAPICFG``, when it exists."""
    name = os.environ.get("LSLAPICFG", "")
    return Path(name) if name and Path(name).is_file() else None
