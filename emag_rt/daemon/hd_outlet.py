"""What the HD outlet says of itself."""

from __future__ import annotations

import hashlib
import json
import socket

import numpy as np

from emag_rt import __version__
from emag_rt.core.labels import canonical
from emag_rt.daemon.settings import ServeSettings
from emag_rt.engine.matching import InputMatch, match_input, reference_name
from emag_rt.engine.upsampler import Upsampler
from emag_rt.frontend.filters import HIGH_PASS_ORDER, LOW_PASS_ORDER, butterworth_edges
from emag_rt.streams import passed_on
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.metadata import AppliedFilter, OutletSpec, Tree


def outlet_spec(
    upsampler: Upsampler,
    stream: StreamFormat,
    settings: ServeSettings,
    about: Tree = (),
    match: InputMatch | None = None,
) -> OutletSpec:
    """Header and description of the HD outlet.

    Parameters
    ----------
    upsampler : Upsampler
        The signal path.
    stream : StreamFormat
        The input.
    settings : ServeSettings
        Name, reference, policies.
    about : tuple
        Children of the input's ``desc``: its amplifier, cap and sensors are passed on.
    match : InputMatch, optional
        How the input is read, where it has been matched already.

    Returns
    -------
    OutletSpec
        With a ``source_id`` that is the same at every start with the same output name, bundle,
        montage and host, and differs otherwise.
    """
    bundle, output = upsampler.bundle, settings.output
    manifest, reference = bundle.manifest, output.reference
    measured = {row for row, _ in upsampler.plan.measured}
    low_hz, high_hz = manifest.frontend.band_hz
    match = match or match_input(
        stream, bundle, settings.source.declared_unit, settings.source.names
    )
    channels = match.channels
    sensors = passed_on.sensors(about, channels)
    return OutletSpec(
        name=output.name,
        source_id=output.source_id or _source_id(upsampler, settings),
        labels=upsampler.labels,
        sfreq=stream.sfreq,
        positions_mm=upsampler.montage.positions_mm,
        origin_mm=manifest.head.origin_mm,
        channel_origin=tuple(
            "measured" if row in measured else "rendered" for row in range(len(upsampler.labels))
        ),
        expected_nmse=upsampler.expected_nmse,
        virtual=upsampler.virtual,
        statistics=output.statistics,
        reference=_reference(stream, about, reference),
        highpass=low_hz,
        lowpass=high_hz,
        compensated_lag_s=stream.compensated_lag_s,
        manufacturer="",
        filters=_filters(upsampler),
        acquisition=passed_on.acquisition(about),
        cap=passed_on.cap(about),
        fiducials=passed_on.fiducials(about, channels, manifest.ld_montage),
        sensors=tuple(
            sensors.get(canonical(label), ()) if row in measured else ()
            for row, label in enumerate(upsampler.labels)
        ),
        can_drop_samples=settings.gaps.policy == "skip",
        vendor=_vendor(upsampler, stream, settings),
    )


def _reference(stream: StreamFormat, about: Tree, wanted: str) -> dict[str, str]:
    """The input's own, as it says; or what was subtracted here."""
    if wanted != "input":
        average = "Yes" if wanted == "average" else "No"
        return {"label": wanted, "subtracted": "Yes", "common_average": average}
    average = "Yes" if reference_name(stream.reference) == "average" else "No"
    return {
        "label": stream.reference or "input",
        "subtracted": average,
        "common_average": average,
        **dict(passed_on.reference(about)),
    }


def _filters(upsampler: Upsampler) -> tuple[AppliedFilter, ...]:
    """The front end's filter: causal, recursive; of a design only where it is that one."""
    frontend = upsampler.bundle.manifest.frontend
    edges = butterworth_edges(np.array(frontend.sos), *frontend.band_hz, upsampler.sfreq)
    if edges is None:
        low_hz, high_hz = frontend.band_hz
        high_pass = AppliedFilter("highpass", "IIR", upper_hz=low_hz)
        return high_pass, AppliedFilter("lowpass", "IIR", lower_hz=high_hz)
    return (
        AppliedFilter("highpass", "IIR", "Butterworth", *edges[0], HIGH_PASS_ORDER),
        AppliedFilter("lowpass", "IIR", "Butterworth", *edges[1], LOW_PASS_ORDER),
    )


def _source_id(upsampler: Upsampler, settings: ServeSettings) -> str:
    output = settings.output
    identity = "|".join(
        [
            output.name,
            upsampler.bundle.sha256,
            ",".join(upsampler.labels),
            output.reference,
            output.measured,
            socket.gethostname(),
        ]
    )
    if output.statistics != "estimate":
        identity += f"|{output.statistics} {output.statistics_mix:g}"
    if output.montage is not None:  # the same labels may stand for other places
        places = np.round(upsampler.montage.positions_mm, 3) + 0.0
        identity += "|" + hashlib.sha256(places.tobytes()).hexdigest()
    return f"emag-rt:{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def _vendor(upsampler: Upsampler, stream: StreamFormat, settings: ServeSettings) -> dict[str, str]:
    """The block of our own: versions, input, policies."""
    bundle, manifest = upsampler.bundle, upsampler.bundle.manifest
    return {
        "version": __version__,
        "bundle_name": manifest.name,
        "bundle_sha256": bundle.sha256,
        "bundle_format": str(manifest.format),
        "calibration": json.dumps(manifest.provenance.get("inputs", [])),
        "hd_measured": "true" if manifest.hd_measured else "false",
        "input_name": stream.name,
        "input_source_id": stream.source_id,
        "input_uid": stream.uid,
        "input_hostname": stream.hostname,
        "ld_labels": ",".join(e.label for e in manifest.ld),
        "engine": upsampler.engine,
        "anchor": manifest.anchor,
        "look_ahead_s": f"{manifest.look_ahead_samples / manifest.sfreq:g}",
        "hop": str(upsampler.hop),
        "measured_channels": settings.output.measured,
        "statistics": settings.output.statistics,
        "statistics_mix": f"{settings.output.statistics_mix:g}",
        "montage": upsampler.montage_note,
        "gap_policy": settings.gaps.policy,
        "too_many_bad_policy": settings.bads.policy,
        "latency_policy": settings.latency.policy,
        "latency_budget_s": f"{settings.latency.budget_s:g}",
        "status_interval_s": f"{settings.status.interval_s:g}",
    }
