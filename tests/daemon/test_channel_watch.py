"""Changes of channels as events: each once, and nothing while nothing changes."""

from __future__ import annotations

import logging

import numpy as np

from emag_rt.daemon.channel_watch import ChannelWatch
from emag_rt.daemon.status.counters import Counters
from emag_rt.engine.upsampler import Upsampler
from tests.factories import LD, ld_signal, make_bundle


def news_of(ld):
    """Events after each sample of a signal, and the watch."""
    upsampler = Upsampler(make_bundle(1), engine="packed")
    watch = ChannelWatch(upsampler)
    found = []
    for row in ld:
        upsampler.push(row[None])
        found.append(list(watch.news()))
        assert list(watch.news()) == []
    return found, watch


def test_nothing_changes_nothing_is_told():
    found, watch = news_of(ld_signal(100))
    assert not any(found)
    assert (watch.bad, watch.reasons, watch.lacking) == ((), {}, False)


def test_each_change_is_told_once_with_its_line_for_the_log():
    ld = ld_signal(200)
    ld[50:, :5] = 1e30
    found, watch = news_of(ld)
    assert [i for i, events in enumerate(found) if events] == [50]
    *bad, lacking = found[50]
    assert [e.details["channel"] for e in bad] == list(LD[:5])
    assert bad[0].text == f"channel {LD[0]} is bad (no number, or railed): filled from the others"
    assert lacking.details == {"channels": list(LD[:5]), "policy": "nan"}
    assert (lacking.name, lacking.level) == ("too_many_bad", logging.ERROR)
    assert watch.lacking
    counters = Counters()
    watch.count(counters)
    assert counters.unrenderable == 150


def test_a_signal_that_jumps_all_the_time_does_not_flood_the_log():
    """A unit that is wrong makes every sample a jump: all are counted, few are told."""
    now = [0.0]
    upsampler = Upsampler(make_bundle(1), engine="packed")
    watch = ChannelWatch(upsampler, lambda: now[0])
    told = []
    for i in range(400):
        now[0] = i / 100
        upsampler.push(np.full((1, len(LD)), 1e5 * (-1) ** i))
        told += [event for event in watch.news() if event.name == "step"]
    counters = Counters()
    watch.count(counters)
    assert counters.steps > 300
    assert 10 <= len(told) <= 14
    assert sum(event.details.get("untold", 0) for event in told) > 200
    assert "were not told" in told[-1].text
