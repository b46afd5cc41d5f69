"""Units that streams and files declare, as factors to microvolts."""

from __future__ import annotations

from emag_rt.errors import SettingsError

_TO_UV = {
    1e6: ("v", "volt", "volts", "0"),
    1e3: ("mv", "mvolt", "milliv", "millivolt", "millivolts", "-3"),
    1.0: ("uv", "µv", "μv", "muv", "uvolt", "uvolts", "microv", "microvolt", "microvolts", "-6"),
    1e-3: ("nv", "nanovolt", "nanovolts", "-9"),
}
_FACTORS = {name: factor for factor, names in _TO_UV.items() for name in names}


def unit_to_uv(unit: str) -> float:
    """Factor from a declared unit to µV.

    Parameters
    ----------
    unit : str
        'V', 'mV', 'microvolts', ... or MNE-LSL's power of ten ('-6'); case does not matter.

    Returns
    -------
    float
        What to multiply by.

    Raises
    ------
    SettingsError
        If the unit is not one of voltage.
    """
    factor = _FACTORS.get(unit.strip().lower())
    if factor is None:
        raise SettingsError(
            f"unit must be one of V, mV, µV, nV (or their names), got {unit!r}. "
            "Say what the stream carries with --unit."
        )
    return factor
