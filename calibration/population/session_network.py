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
from calibration.residual.gains import LEAST_OTHERS, careful_share, short_blocks
from calibration.residual.residual_net import ResidualNet
from calibration.session.segments import Session
from emag_rt.array_types import FloatArray

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


def weighed(net: ResidualNet, session: Session, linear: LinearFit) -> ResidualNet | None:
    """The network as far as blocks held out trust it: one share for all outputs.

    Where nobody judged it with so many LD channels it helps one person and harms the next: whole,
    at 16 after ten seconds, it left 0.87 to 1.33 of the error.

    Parameters
    ----------
    net : ResidualNet
        As :func:`network_for` gave it.
    session, linear
        What was fitted, and the closed form.

    Returns
    -------
    ResidualNet or None
        None where it takes too little of the error away to be worth its cost.
    """
    along, size, power = _on_held_out(net, session, linear)
    share = careful_share(along, size)
    won = 2.0 * share * float(along.sum()) - share**2 * float(size.sum())
    if share == 0.0 or won < LEAST_OTHERS * power:
        return None
    first, (weight, bias) = net.layers
    return replace(
        net,
        layers=(first, (weight * np.float32(share), bias * np.float32(share))),
        gains=share * net.gains,
        split_ratios=(1.0 - won / power,),
    )


def judged(net: ResidualNet, session: Session, linear: LinearFit) -> ResidualNet:
    """The network, its split ratio what it leaves of a closed form's error on blocks held out."""
    along, size, power = _on_held_out(net, session, linear)
    won = 2.0 * float(along.sum()) - float(size.sum())
    return replace(net, split_ratios=(1.0 - won / power,))


def _on_held_out(
    net: ResidualNet, session: Session, linear: LinearFit
) -> tuple[FloatArray, FloatArray, float]:
    """Products of what is given with what a closed form missed and with itself, and its power."""
    segments = session.target_segments
    along, size, power = [], [], 0.0
    for (x, y), predicted in zip(segments, linear.predict_held_out(segments), strict=True):
        wanted, given = (y - predicted).astype(np.float64), net.predict(x).astype(np.float64)
        power += float((wanted**2).sum())
        for part in short_blocks(len(x), session.sfreq):
            along.append(float((wanted[part] * given[part]).sum()))
            size.append(float((given[part] ** 2).sum()))
    return np.array(along), np.array(size), power
