"""Units that streams and files declare, as factors to microvolts."""

from __future__ import annotations

import re

from emag_rt.errors import SettingsError

_TO_UV = {
    1e6: ("v", "volt", "volts", "0"),
    1e3: ("mv", "mvolt", "milliv", "millivolt", "millivolts", "-3"),
    1.0: ("uv", "µv", "μv", "muv", "uvolt", "uvolts", "microv", "microvolt", "microvolts", "-6"),
    1e-3: ("nv", "nanovolt", "nanovolts", "-9"),
}
_SCALED = re.compile(r"\s*(\d+(?:\.\d*)?(?:[eE][-+]?\d{1,2})?)\s*([^\d\s.].*)")
_FACTORS = {name: factor for factor, names in _TO_UV.items() for name in names}


def unit_to_uv(unit: str) -> float:
    """Factor from a declared unit to µV.

    Parameters
    ----------
    unit : str
        'V', 'mV', 'microvolts', ... or MNE-LSL's power of ten ('-6'); case does not matter. A
        number before it scales it: '0.0224 µV' are counts of so much.

    Returns
    -------
    float
        What to multiply by.

    Raises
    ------
    SettingsError
        If the unit is not one of voltage.
    """
    found = _SCALED.fullmatch(unit)
    scale, name = (float(found[1]), found[2]) if found else (1.0, unit)
    factor = _FACTORS.get(name.strip().lower(), 0.0) * scale
    if not 0 < factor < 1e30:
        raise SettingsError(
            f"unit must be one of V, mV, µV, nV (or their names), with a number before it or not, "
            f"got {unit!r}. Say what the signal is in: units=... in Python, --unit in a command."
        )
    return factor
