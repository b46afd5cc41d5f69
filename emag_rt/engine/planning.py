"""What an upsampler renders: which electrodes, how well, against which reference."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np

from emag_rt.bundle import Bundle
from emag_rt.core.alignment import Placement
from emag_rt.core.folding import PackedOperator
from emag_rt.core.labels import canonical, match_labels
from emag_rt.core.montage import Montage
from emag_rt.core.output_statistics import MODES, OutputStatistics
from emag_rt.engine.matching import reference_name
from emag_rt.errors import BundleError, MontageError, SettingsError
from emag_rt.montages.resolve import left_out_nmse, placed_montage, resolve_montage
from emag_rt.render import Renderer, RenderPlan

_LARGEST_UV = 1e12


def require_finite(renderer: Renderer, bundle: Bundle) -> None:
    """Refuse a field that makes no usable numbers of EEG, though each of its own is finite."""
    sign = np.where(np.arange(bundle.model.n_ld) % 2, -1.0, 1.0)
    rendered = renderer.push(10.0 * bundle.model.scale_uv * sign * np.array([[1.0], [-1.0]]))
    renderer.reset()
    largest = float(np.abs(rendered).max(initial=0.0))
    if not largest < _LARGEST_UV:  # NaN compares false
        raise BundleError(
            f"bundle {bundle.manifest.name}: must render EEG to less than {_LARGEST_UV:g} µV, got "
            f"{largest:.3g} µV. It is damaged: calibrate again."
        )


def make_placement(bundle: Bundle, montage: str | Montage | Placement | None) -> Placement:
    """The electrodes asked for; the bundle's own by default."""
    if montage is None:
        own = bundle.manifest.hd_montage
        return Placement(own, tuple(range(len(own))), "the bundle's own")
    if isinstance(montage, str):
        return resolve_montage(montage, bundle)
    return placed_montage(montage, bundle) if isinstance(montage, Montage) else montage


def expected_nmse(
    bundle: Bundle, placement: Placement, plan: RenderPlan
) -> tuple[float | None, ...]:
    """Error that is to be expected of each output channel, see :class:`.Upsampler`."""
    measured = {row for row, _ in plan.measured}
    unlearned = left_out_nmse(bundle.manifest, placement.montage.positions_mm)
    expected: list[float | None] = []
    for row, worn in enumerate(placement.worn):
        electrode = None if worn is None else bundle.manifest.hd[worn]
        if row in measured:
            expected.append(None)
        elif electrode is None or electrode.bad:
            expected.append(unlearned[row])
        else:
            expected.append(electrode.expected_nmse)
    return tuple(expected)


def montage_note(
    placement: Placement, virtual: Sequence[bool], expected: Sequence[float | None]
) -> str:
    """How many output channels are virtual, their error, and how they were placed."""
    errors = [error for is_virtual, error in zip(virtual, expected, strict=True) if is_virtual]
    known = [error for error in errors if error is not None]
    median = f", NMSE {np.median(known):.2f} expected" if known else ""
    far = len(errors) - len(known)
    beyond = f", {far} of them beyond the cap or of unknown error" if far else ""
    return (
        f"{len(virtual)} channels, {len(errors)} virtual (nobody wore "
        f"them{median}){beyond}; {placement.method}"
    )


def find_statistics(
    bundle: Bundle, placement: Placement, mode: str, mix: float
) -> OutputStatistics | None:
    """What the output's statistics need of the bundle; None for the estimate.

    Raises
    ------
    SettingsError
        If there is no such mode, the mix is not from 0 to 1, the bundle has no statistics, or
        they are not known of electrodes that nobody wore.
    """
    if mode not in MODES:
        raise SettingsError(f"statistics must be one of {', '.join(MODES)}, got {mode!r}.")
    if not 0 <= mix <= 1:
        raise SettingsError(f"statistics_mix must be from 0 to 1, got {mix}.")
    if mode == "estimate":
        return None
    if bundle.statistics is None:
        raise SettingsError(
            f"statistics must be estimate for bundle {bundle.manifest.name}, which does not know "
            f"those of measured HD, got {mode!r}. Calibrate again, with --anchor stream."
        )
    unknown = [
        label
        for label, worn in zip(placement.montage.labels, placement.worn, strict=True)
        if worn is None
    ]
    if unknown:
        raise SettingsError(
            f"statistics must be estimate at electrodes that nobody wore ({unknown[0]} and "
            f"{len(unknown) - 1} more), got {mode!r}. Leave them out of the montage."
        )
    return bundle.statistics


def make_plan(
    bundle: Bundle, placement: Placement, own: bool, measured: str, matched: float | None = None
) -> RenderPlan:
    """What a renderer needs to know.

    ``matched`` is how far the output's statistics are brought to those of measured HD.

    Raises
    ------
    SettingsError
        If ``measured`` is neither ``pass`` nor ``render``.
    """
    if measured not in ("pass", "render"):
        raise SettingsError(f"measured must be 'pass' or 'render', got {measured!r}.")
    montage = placement.montage
    if matched is not None:
        operator = matched_operator(bundle.operator, bundle, placement, matched)
    else:
        operator = bundle.operator if own else bundle.operator_at(montage.positions_mm)
    columns = dict(bundle.measured_rows(bundle.manifest.hd_montage.labels))
    rows = [
        (row, columns[worn])
        for row, worn in enumerate(placement.worn)
        if worn is not None and worn in columns and measured == "pass"
    ]
    return RenderPlan(
        model=bundle.model,
        operator=operator,
        positions_mm=montage.positions_mm,
        measured=tuple(rows),
    )


def matched_operator(
    operator: PackedOperator, bundle: Bundle, placement: Placement, mix: float
) -> PackedOperator:
    """An operator for all of the bundle's channels, with the statistics of measured ones."""
    assert bundle.statistics is not None
    kept = [worn for worn in placement.worn if worn is not None]
    return bundle.statistics.matched(operator, mix, kept)


def find_reference_rows(reference: str, labels: tuple[str, ...]) -> list[int] | None:
    """Rows whose mean is taken off all; None for the input's own reference.

    Raises
    ------
    SettingsError
        If it names no output channel.
    """
    if reference == "input":
        return None
    if reference_name(reference) == "average":
        return list(range(len(labels)))
    try:
        return match_labels(reference.split("+"), labels, "output channels")
    except MontageError as error:
        known = {canonical(label) for label in labels}
        missing = [name for name in reference.split("+") if canonical(name) not in known]
        near = get_close_matches("".join(missing[:1]), ["input", "average", *labels], n=2)
        meant = f"Did you mean {' or '.join(near)}?" if near else f"{error}"
        raise SettingsError(
            "reference must be input, average, an output channel, or several joined by +, got "
            f"{reference!r}. {meant}"
        ) from error
