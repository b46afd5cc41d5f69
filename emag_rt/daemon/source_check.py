"""Whether the source is the one it was, after a silence."""

from __future__ import annotations

import logging

from emag_rt.bundle import Bundle
from emag_rt.daemon.events import Event
from emag_rt.daemon.settings import SourceSettings
from emag_rt.engine.matching import InputMatch, check_return, match_input, other_reference
from emag_rt.errors import StreamAmbiguous, StreamError, StreamMismatch
from emag_rt.streams.base import Source, StreamFormat

log = logging.getLogger(__name__)
_LOOKUP_S = 2.0
# Samples flow and wait meanwhile, so a second look must stay within the latency budget.
_SECOND_LOOKUP_S = 0.4


def reference_event(stream: StreamFormat, bundle: Bundle) -> Event | None:
    """Tells that the source has another reference than the calibration, where both say theirs."""
    differ = other_reference(stream, bundle)
    if differ is None:
        return None
    source, calibrated = differ
    text = (
        f"reference of the source is {source!r}, calibration was in {calibrated!r}. Rendered "
        "channels are in the source's; set the amplifier as it was, if that was not meant"
    )
    return Event("other_reference", {"source": source, "calibration": calibrated}, text)


class SourceWatch:
    """Looks at the source again when it has been away.

    liblsl takes a stream up again by name, type, id, channel count and number format, without
    comparing rate, labels and units, and says nothing when it cannot.

    Parameters
    ----------
    source : Source
        The source.
    bundle : Bundle
        What it must fit.
    settings : SourceSettings
        What is said over what it declares.

    Attributes
    ----------
    unverified : bool
        Whether samples flow from a source that did not answer when asked what it is.
    made_anew : bool
        Whether the last :meth:`check` found another outlet than the one before, or none.
    """

    def __init__(self, source: Source, bundle: Bundle, settings: SourceSettings) -> None:
        self._source, self._bundle, self._settings = source, bundle, settings
        self._format = source.format
        self._several_told = False
        self._uid = source.format.uid
        self.unverified = self.made_anew = False

    def check(self) -> tuple[InputMatch | None, Event | None]:
        """Ask what the source is now that samples flow again.

        Returns
        -------
        match : InputMatch or None
            How to read it from now on; None: as before.
        event : Event or None
            What to tell.

        Raises
        ------
        StreamMismatch
            If it is something else.
        StreamAmbiguous
            If there are several, and they differ.
        """
        self._several_told, self.made_anew = False, True
        try:
            now = self._source.current_format(_SECOND_LOOKUP_S if self.unverified else _LOOKUP_S)
        except (StreamAmbiguous, StreamMismatch):
            raise
        except StreamError as error:
            # Samples flow, so it is there: a question lost on the network must not end serving.
            if self.unverified:
                return None, None
            self.unverified = True
            text = f"the source could not be checked after its return: {error}"
            return None, Event("unverified", text=text)
        if self.unverified:
            log.warning("the source could be checked now")
        self.unverified, self.made_anew, self._uid = False, now.uid != self._uid, now.uid
        if not check_return(self._format, now):
            return None, None
        if self._settings.names is not None:
            raise StreamMismatch(
                f"stream {now.name!r} (source_id {now.source_id!r}): must come back with its "
                "channels in the order in which --headset or --channels named them. Start anew."
            )
        self._format = now
        match = match_input(now, self._bundle, self._settings.declared_unit)
        text = "the source came back with its channels in another order: remapped"
        return match, Event("remapped", {"labels": list(match.channels)}, text)

    def look(self) -> Event | None:
        """While it is silent: is it there as something that LSL will not take up again?

        Returns
        -------
        Event or None
            What to tell: that several are there.

        Raises
        ------
        StreamMismatch
            If so.
        """
        try:
            other = self._source.replaced_by()
        except StreamAmbiguous as error:
            if self._several_told:
                return None
            self._several_told = True
            return Event("ambiguous", text=f"the source cannot be taken up again: {error}")
        if other is not None:
            check_return(self._format, other)
        return None
