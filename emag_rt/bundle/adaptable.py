"""Which bundles can follow their wearer's present state."""

from __future__ import annotations

from emag_rt.bundle.bundle import Bundle


def why_not_adaptable(bundle: Bundle) -> str:
    """Why a bundle cannot be adapted, with the remedy; empty where it can."""
    # Without HD other people's heads are what it adapts by: they need not be in the bundle.
    if bundle.hd_bands is None and bundle.manifest.hd_measured:
        return (
            "the bundle holds nothing to adapt by: it is of an older version. Calibrate again "
            "with HD."
        )
    model = bundle.model
    plain = model.anchor == "stream" and model.drive.taps.size == 1 and model.forward is None
    if not plain or model.field.shared_profiles() is None:
        return (
            f"only fields of the stream anchor can be adapted, got a {model.anchor} field or one "
            "of the paper's. Calibrate with --anchor stream."
        )
    return ""
