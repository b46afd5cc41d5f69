"""The network that many people trained, upon the closed form of a session too short for its own.

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


def network_for(
    session: Session, linear: LinearFit, people: SessionPeople, network: PopulationNetwork
) -> ResidualNet:
    """Other people's network at a session's electrodes.

    Parameters
    ----------
    session : Session
        What was fitted.
    linear : LinearFit
        Its closed form.
    people : SessionPeople
        Whom the network was trained on, at the session's electrodes.
    network : PopulationNetwork
        Of these people, and for such a session: see ``reason_against``.

    Returns
    -------
    ResidualNet
        Its only split ratio is what it leaves of the error on blocks held out: whether it does
        harm there is for the caller.
    """
    timing = make_timing(people.places.population, session.sfreq)
    branch = network.branch(people.places, timing, people.expected, NOISE, session.scale_uv)
    ((first, _),), last = branch.layers, branch.readout
    n_out, segments = len(last), session.target_segments
    layers = [(w.astype(np.float32), np.zeros(len(w), np.float32)) for w in (first, last)]
    found = ResidualNet(
        kernel=branch.taps,
        layers=(layers[0], layers[1]),
        blocks=branch.blocks,
        n_look_ahead=timing.n_look_ahead,
        gains=np.ones(n_out),
        split_ratios=(1.0,),
        activation=ACTIVATION,
        trained_on=network.texts["people"],
    )
    held_out = linear.predict_held_out(segments)
    missed = [y - p for (_, y), p in zip(segments, held_out, strict=True)]
    left = [m - found.predict(x) for (x, _), m in zip(segments, missed, strict=True)]
    ratio = sum(float((e**2).sum()) for e in left) / sum(float((m**2).sum()) for m in missed)
    return replace(found, split_ratios=(ratio,))
