"""The network that many people trained, upon the closed form of a session.

It corrects what any head's field leaves over, and never saw this person: blocks held out by the
closed form are held out for it, too.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from calibration.population.estimate import NOISE, make_timing
from calibration.population.network import ACTIVATION, PopulationNetwork
from calibration.population.session_prior import SessionPeople
from calibration.regression.closed_form import LinearFit
from calibration.residual.residual_net import ResidualNet
from calibration.session.segments import Session

ALIKE = 1.005
"""Ratio of errors that still counts as no harm: blocks of a short session tell little. Of one
person who was as good with it and without on ten seconds held out, it left 0.95 later."""


def network_for(session: Session, people: SessionPeople, network: PopulationNetwork) -> ResidualNet:
    """Other people's network at a session's electrodes.

    Parameters
    ----------
    session : Session
        What was fitted.
    people : SessionPeople
        Whom the network was trained on, at the session's electrodes.
    network : PopulationNetwork
        Of these people, and for such a session: see ``reason_against``.

    Returns
    -------
    ResidualNet
        Not yet judged: its split ratio is 1.
    """
    timing = make_timing(people.places.population, session.sfreq)
    branch = network.branch(people.places, timing, people.expected, NOISE, session.scale_uv)
    ((first, _),), last = branch.layers, branch.readout
    layers = [(w.astype(np.float32), np.zeros(len(w), np.float32)) for w in (first, last)]
    return ResidualNet(
        kernel=branch.taps,
        layers=(layers[0], layers[1]),
        blocks=branch.blocks,
        n_look_ahead=timing.n_look_ahead,
        gains=np.ones(len(last)),
        split_ratios=(1.0,),
        activation=ACTIVATION,
        trained_on=network.texts["people"],
    )


def judged(net: ResidualNet, session: Session, linear: LinearFit) -> ResidualNet:
    """The network, its split ratio what it leaves of a closed form's error on blocks held out."""
    segments = session.target_segments
    held_out = linear.predict_held_out(segments)
    missed = [y - p for (_, y), p in zip(segments, held_out, strict=True)]
    left = [m - net.predict(x) for (x, _), m in zip(segments, missed, strict=True)]
    ratio = sum(float((e**2).sum()) for e in left) / sum(float((m**2).sum()) for m in missed)
    return replace(net, split_ratios=(ratio,))
