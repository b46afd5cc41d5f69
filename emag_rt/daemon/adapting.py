"""Following the wearer's present state while serving: what is learned is put into use, or undone.

Blocks of LD go to a learner elsewhere, and only those that can be trusted; what it finds is gone
over to in two seconds, between chunks. Nothing here is done before a chunk is answered.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from emag_rt.array_types import FloatArray
from emag_rt.daemon.events import Event
from emag_rt.daemon.learner import Ended, Learned, Learns, News, Saved
from emag_rt.daemon.status.counters import AdaptState
from emag_rt.engine.upsampler import Upsampler

log = logging.getLogger(__name__)

FADE_S = 2.0
_SAVE_S = 20.0


@dataclass
class Wishes:
    """What somebody asked for, counted; signals may come at any time.

    Attributes
    ----------
    saves, undos : int
        How often.
    """

    saves: int = 0
    undos: int = 0

    def save(self) -> None:
        """Save the bundle as adapted."""
        self.saves += 1

    def undo(self) -> None:
        """Back to the bundle as it was; again: go on."""
        self.undos += 1

    def refuse(self) -> None:
        """Where nothing is adapted: say, if somebody asked, what the signals are for."""
        if self.saves or self.undos:
            self.saves = self.undos = 0
            log.warning(
                "ignored: SIGUSR1 saves and SIGUSR2 undoes what `serve --adapt` has adapted; this "
                "daemon serves its bundle without --adapt"
            )


class Adapting:
    """Puts into use what is learned.

    Parameters
    ----------
    upsampler : Upsampler
        Renders; its engine must be able to exchange weights.
    learner : Learns
        Learns.
    wishes : Wishes
        What somebody asks for.

    Attributes
    ----------
    state : AdaptState
        How it stands.
    share : float
        By how much of themselves rendered channels differ from the bundle's; 0: not at all.
    n_adapted : int
        How often something was put into use.
    """

    def __init__(self, upsampler: Upsampler, learner: Learns, wishes: Wishes) -> None:
        upsampler.fading.require()
        self._fading, self._learner, self._wishes = upsampler.fading, learner, wishes
        self._n_fade = max(1, round(FADE_S * upsampler.sfreq))
        self._done = Wishes()
        self._era, self._unfit, self._in_use = 0, False, False
        self.state: AdaptState = "learning"
        self.share = 0.0
        self.n_adapted = 0

    def take(self, block: FloatArray) -> None:
        """Learn from two seconds of good LD that fits the bundle, shape (n_times, n_ld)."""
        if self.state in ("learning", "adapted"):
            self._learner.add(block, self._era)

    def forget(self) -> None:
        """Put nothing from before together with what comes."""
        self._era += 1

    def news(self, unfit: bool) -> list[Event]:
        """What has happened since the last call.

        Parameters
        ----------
        unfit : bool
            Whether LD is told not to fit the bundle: what was learned from it is not used then.
        """
        events = []
        if unfit and not self._unfit:
            self.forget()
            if self._in_use:
                events.append(self._back("ld_misfit", "LD does not fit the bundle"))
        self._unfit = unfit
        if self._done.undos != self._wishes.undos:
            odd = (self._wishes.undos - self._done.undos) % 2
            self._done.undos = self._wishes.undos
            events += self._toggle() if odd else []
        if self._done.saves != self._wishes.saves:
            self._done.saves = self._wishes.saves
            self._save()
        while (news := self._learner.news()) is not None:
            events += self._use(news)
        return events

    def finish(self, save: bool) -> list[Event]:
        """At the end: save, where that is wanted and something is adapted."""
        if not (save and self._in_use) or self.state == "ended":
            return []
        self._learner.save()
        while (news := self._learner.news(_SAVE_S)) is not None:
            if not isinstance(news, Learned):
                return self._use(news)
        log.warning("the adapted bundle was not saved within %g s", _SAVE_S)
        return []

    def _toggle(self) -> list[Event]:
        if self.state == "ended":
            return [self._back("asked", "asked to")] if self._in_use else []
        self.forget()
        if self.state == "undone":
            self.state = "learning"
            return [Event("adapting", {"goes_on": True}, "adapting again, from LD to come")]
        event = self._back("asked", "asked to; SIGUSR2 again: adapting goes on")
        self.state = "undone"
        return [event]

    def _save(self) -> None:
        if self.state == "ended":
            log.warning("nothing is saved: adapting has ended")
        elif self._in_use:
            self._learner.save()
        else:
            log.warning("nothing is saved: the bundle is served as it is, not adapted")

    def _use(self, news: News) -> list[Event]:
        if isinstance(news, Ended):
            self.state = "ended"
            text = f"adapting has ended ({news.reason}): serving goes on with what is in use"
            return [Event("adapting", {"goes_on": False, "reason": news.reason}, text)]
        if isinstance(news, Saved):
            if news.why_not:
                log.warning("the adapted bundle could not be saved: %s", news.why_not)
                return []
            text = f"the adapted bundle is saved: {news.path}"
            return [Event("adapting", {"saved": news.path}, text)]
        if news.era != self._era:  # undone meanwhile, or of before a silence
            return []
        if news.change is None:
            why = f"LD power is the session's again, over {news.seconds:.0f} s"
            return [self._back("as_calibrated", why)] if self._in_use else []
        return [self._adapt(news)]

    def _adapt(self, learned: Learned) -> Event:
        self._fading.begin(learned.change, self._n_fade)
        self.state, self.share, self._in_use = "adapted", learned.share, True
        self.n_adapted += 1
        bands = ", ".join(f"{a:g} to {b:g} Hz {db:+.1f} dB" for a, b, db in learned.power_db)
        told = "other people who are like the wearer count for more"
        if bands:
            told = f"its power beside the session's: {bands}"
        details = {
            "seconds": learned.seconds,
            "percent": round(100.0 * learned.share, 1),
            "power_db": [[a, b, round(db, 1)] for a, b, db in learned.power_db],
        }
        text = (
            f"adapted to the last {learned.seconds:.0f} s of LD: {told}; rendered channels change "
            f"by {details['percent']} %"
        )
        return Event("adapted", details, text)

    def _back(self, reason: str, why: str) -> Event:
        if self._in_use:
            self._fading.begin(None, self._n_fade)
        self.share, self._in_use = 0.0, False
        if self.state == "adapted":
            self.state = "learning"
        return Event("unadapted", {"reason": reason}, f"the bundle is served as it was: {why}")
