"""From settings to a source and a signal path that reads it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import numpy as np

from emag_rt.bundle import Bundle, why_not_adaptable
from emag_rt.daemon.settings import ServeSettings
from emag_rt.daemon.status.terminal import tell
from emag_rt.engine.matching import InputMatch, match_input
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import BundleError
from emag_rt.frontend.units import unit_to_uv
from emag_rt.native import why_not as why_not_native
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.lsl import LslSource, StreamQuery

log = logging.getLogger(__name__)


def make_upsampler(bundle: Bundle, settings: ServeSettings) -> Upsampler:
    """The signal path up to its input, which is not known yet.

    Whatever is wrong without a stream is said before waiting for one, and the engine is warm
    before the first sample can queue up.
    """
    if settings.source.declared_unit is not None:
        unit_to_uv(settings.source.declared_unit)
    engine = settings.engine.name
    if settings.adapt.enabled:
        if why_not := why_not_adaptable(bundle):
            raise BundleError(f"--adapt: {why_not} Or serve it without --adapt.")
        if engine == "auto":  # of those that can exchange their linear part
            engine = "packed" if why_not_native() else "native"
    upsampler = Upsampler(
        bundle,
        engine=engine,
        reference=settings.output.reference,
        measured=settings.output.measured,
        statistics=settings.output.statistics,
        statistics_mix=settings.output.statistics_mix,
        montage=settings.output.montage,
        hop=settings.engine.hop,
        require_gpu=settings.engine.require_gpu,
        max_bad_share=settings.bads.max_share,
        too_many_bad=settings.bads.policy,
    )
    if settings.output.montage is not None:
        tell(f"montage: {upsampler.montage_note}")
        for warning in upsampler.placement.warnings:
            log.warning("montage: %s", warning)
    if settings.adapt.enabled:
        upsampler.fading.require()
    _warm_up(upsampler)
    return upsampler


def source_query(settings: ServeSettings) -> StreamQuery:
    """What the source must have; where nothing is named, type EEG."""
    wanted = settings.source
    kind = wanted.type
    if not (wanted.source_id or wanted.name or wanted.type):
        kind = "EEG"
    return StreamQuery(source_id=wanted.source_id, name=wanted.name, type=kind)


def open_source(settings: ServeSettings, stop: Callable[[], bool]) -> LslSource:
    """Wait for the source that the settings name, until ``stop`` says not to."""
    wanted, query = settings.source, source_query(settings)
    timeout_s = math.inf if wanted.wait else wanted.timeout_s
    log.info("waiting for the source: %s", query)
    return LslSource.open(query, timeout_s, stop=stop)


def attach(upsampler: Upsampler, stream: StreamFormat, settings: ServeSettings) -> InputMatch:
    """Read the stream's channels, in its units."""
    source = settings.source
    match = match_input(stream, upsampler.bundle, source.declared_unit, source.names)
    for warning in match.warnings:
        log.warning(warning)
    upsampler.attach(match.channels, match.units)
    return match


def _warm_up(upsampler: Upsampler) -> None:
    """Run the code of serving before the first real sample has to wait for it."""
    n_inputs = upsampler.n_inputs
    for n in (1, 1, 2, 8, 1):
        upsampler.push(np.zeros((n, n_inputs)))
        upsampler.prepare()
    upsampler.reset()
