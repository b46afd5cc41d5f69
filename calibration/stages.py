"""The stages of a calibration: baselines, and the field by one method or another."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from threadpoolctl import threadpool_limits

from calibration.baselines.ridge import RidgeBaseline, fit_ridge
from calibration.field.model import (
    choose_start,
    grid_for,
    known_rows,
    linear_readout,
    stream_model,
    window_model,
)
from calibration.field.refinement import refine_field
from calibration.field_fits import PaperField, StreamField, WindowField
from calibration.paper.paper_field import fit_session
from calibration.population.estimate import make_timing
from calibration.population.network import network_of
from calibration.population.people import ADULT
from calibration.population.session_network import ALIKE, judged, network_for, weighed
from calibration.population.session_prior import SessionPeople, session_people
from calibration.regression.blocks import make_blocks
from calibration.regression.closed_form import fit_linear
from calibration.regression.priors import session_prior
from calibration.regression.profiles import candidate_banks, n_lags_of
from calibration.regression.window_closed_form import fit_window
from calibration.residual.bag import LEAST_S, fit_residual
from calibration.residual.residual_net import ResidualNet
from calibration.residual.task import ResidualSettings
from calibration.residual.unfinished import UnfinishedTraining, fingerprint
from calibration.session.segments import Session
from calibration.settings.calibration_settings import CalibrationSettings
from emag_rt import __version__

log = logging.getLogger(__name__)
Progress = Callable[[float, str], None]
N_BASELINE_LAGS = 16
_ONE_STEPS = 1000


class Stopwatch:
    """Tells how far a calibration is, and keeps how long each stage took.

    Parameters
    ----------
    tell : callable
        Called with the share done (0 to 1) and what is being done.
    """

    def __init__(self, tell: Progress) -> None:
        self.tell = tell
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str, share: float, what: str, torch: bool = False) -> Iterator[None]:
        """Time a block that begins at a share of the whole; ``torch``: torch computes in it."""
        self.tell(share, what)
        started = time.perf_counter()
        # The eigenproblems here are small: sharing one among BLAS threads gains little on idle
        # cores and costs a factor of ten on busy ones. Torch's stages keep their threads.
        with threadpool_limits(None if torch else 1, user_api="blas"):
            yield
        self.seconds[name] = round(time.perf_counter() - started, 3)

    def part(self, start: float, length: float) -> Progress:
        """For a stage that tells its own share done: where that lies in the whole."""
        return lambda share, what: self.tell(start + length * share, what)


def fit_baselines(session: Session, settings: CalibrationSettings) -> dict[str, RidgeBaseline]:
    """``ridge`` and ``lagged_ridge``, over the very samples that the field is scored on."""
    segments, ahead = session.target_segments, settings.n_look_ahead(session.sfreq)
    blocks = make_blocks([len(x) for x, _ in segments])
    banks = candidate_banks(session.sfreq, ahead)
    guard = max(n_lags_of(bank, session.sfreq, ahead) for bank in banks)
    return {
        # Ridge alone sees the present sample only, whatever the look-ahead.
        "ridge": fit_ridge(segments, 1, 0, blocks, guard),
        "lagged_ridge": fit_ridge(segments, N_BASELINE_LAGS, ahead, blocks, guard),
    }


def fit_closed_form(
    session: Session, settings: CalibrationSettings, watch: Stopwatch
) -> StreamField:
    """The ``stream`` field in closed form."""
    with watch.stage("closed_form", 0.1, "closed-form start"):
        ahead, prior = settings.n_look_ahead(session.sfreq), session_prior(session)
        people, notes = session_people(session, settings)
        linear = fit_linear(
            session.target_segments, session.sfreq, ahead, prior=prior, people=people
        )
    with watch.stage("spatial", 0.25, "widths of the Gaussians"):
        start = choose_start(session, grid_for(session, settings), linear)
    model = stream_model(session, linear, None, start)
    return StreamField(model, linear, start, people=people, notes=notes)


def why_not_refined(session: Session) -> str | None:
    """What keeps networks from being trained on a session, for the user; None: nothing does."""
    if session.duration_s < LEAST_S:
        return (
            f"less than {LEAST_S:g} s of signal: stopped after the closed-form start. "
            "Record for longer for the refined field."
        )
    if find_spec("torch") is None:
        return (
            "torch is not installed: stopped after the closed-form start. "
            "For the refined field: pip install 'emag-rt[calibrate]'"
        )
    return None


@dataclass(frozen=True)
class OthersNetwork:
    """The network that many people trained, at a session's electrodes, or why there is none.

    Attributes
    ----------
    net : ResidualNet or None
        None where it was not trained for such a session, or there is none.
    people : SessionPeople or None
        Whose it is; None where the session leans on nobody.
    usual_left : float or None
        Error that it usually leaves of the field's; None where nobody judged it with so many LD
        channels, so that it must be weighed by the session.
    against : str
        Why there is none; empty where nobody would expect one.
    """

    net: ResidualNet | None = None
    people: SessionPeople | None = None
    usual_left: float | None = None
    against: str = ""

    @property
    def told(self) -> str:
        """Whose network it is, for the user."""
        n_people = 0 if self.people is None else self.people.n_people
        return f"a network that {n_people} other people trained ({self.name})"

    @property
    def name(self) -> str:
        """Of the population."""
        return "" if self.people is None else self.people.name


def others_network(
    closed: StreamField, session: Session, settings: CalibrationSettings
) -> OthersNetwork:
    """Find the network of the people whom a session may lean on.

    Parameters
    ----------
    closed : StreamField
        As :func:`fit_closed_form` gave it.
    session : Session
        What it was fitted to.
    settings : CalibrationSettings
        Whose heads; band and look-ahead.
    """
    people = closed.people
    if not isinstance(people, SessionPeople):
        people, _ = session_people(session, settings, however_long=True)
    network = None if people is None else network_of(settings.prior or ADULT)
    if people is None or network is None:
        return OthersNetwork()
    population, ahead = people.places.population, settings.n_look_ahead(session.sfreq)
    timing = make_timing(population, session.sfreq, ahead)
    n_ld = len(session.ld)
    against = network.reason_against(population, settings.band_hz, timing, n_ld, weighed=True)
    if against:
        return OthersNetwork(people=people, against=against)
    net = network_for(session, people, network)
    usual_left = network.error_left(n_ld) if network.judged_with(n_ld) else None
    return OthersNetwork(net, people, usual_left)


def correct_by_others(closed: StreamField, session: Session, others: OthersNetwork) -> StreamField:
    """Put the network that many people trained upon a closed form that has none of its own.

    Parameters
    ----------
    closed : StreamField
        As :func:`fit_closed_form` gave it.
    session : Session
        What it was fitted to.
    others : OthersNetwork
        As :func:`others_network` found it.

    Returns
    -------
    StreamField
        With the network where it was trained for such a session and helps on blocks held out;
        else with a note that says why not.
    """
    residual, against, how = others.net, others.against, ""
    if residual is not None and others.usual_left is None:
        residual, against = weighed(residual, session, closed.linear), "it adds too little"
        how = "" if residual is None else f"it counts {residual.gains[0]:.2f}"
    elif residual is not None:
        residual = judged(residual, session, closed.linear)
        how = f"{others.usual_left:.2f} is usual"
        if residual.split_ratios[0] >= ALIKE:
            residual, against = None, "it does harm on blocks held out"
    if residual is None:
        note = f"without the network of many people ({others.name}): {against}"
        return replace(closed, notes=(*closed.notes, note)) if against else closed
    note = (
        f"{others.told} corrects the field: {residual.split_ratios[0]:.3f} of the error is left "
        f"on blocks held out ({how})"
    )
    model = stream_model(session, closed.linear, residual, closed.start)
    return replace(closed, model=model, residual=residual, notes=(*closed.notes, note))


def refine(
    closed: StreamField,
    session: Session,
    settings: CalibrationSettings,
    watch: Stopwatch,
    unfinished: UnfinishedTraining | None,
) -> StreamField:
    """Train the non-linear residual, then all of the field together, from the closed form.

    Parameters
    ----------
    closed : StreamField
        As :func:`fit_closed_form` gave it.
    session : Session
        What it was fitted to.
    settings : CalibrationSettings
        Seed and device.
    watch : Stopwatch
        Times both stages.
    unfinished : UnfinishedTraining or None
        Where unfinished training is kept.

    Returns
    -------
    StreamField
        With whatever helped on blocks of time held out.
    """
    linear, start, device = closed.linear, closed.start, device_of(settings)
    with watch.stage("others_network", 0.28, "the network of many people"):
        others = others_network(closed, session, settings)
    with watch.stage("residual", 0.3, "non-linear residual", torch=True):
        residual = fit_residual(
            session.target_segments,
            linear,
            settings=ResidualSettings(one_steps=_ONE_STEPS if settings.networks == "one" else 0),
            seed=settings.seed,
            device=device,
            progress=watch.part(0.3, 0.5),
            unfinished=unfinished,
            others=None if others.usual_left is None else others.net,
        )
    if residual is None:
        closed = correct_by_others(closed, session, others)
        residual = closed.residual
    elif residual.shares is not None:
        note = f"{others.told} counts beside the session's own"
        closed = replace(closed, notes=(*closed.notes, note))
    model = stream_model(session, linear, residual, start)
    if linear.prior.people_s > 0:
        # Gradient steps would forget other people: on 30 s of S009 they left 0.98 of the error on
        # blocks held out, and 1.10 later.
        return replace(closed, model=model, residual=residual)
    rows = known_rows(session)
    with watch.stage("field", 0.8, "precisions", torch=True):
        refinement = refine_field(
            model,
            linear_readout(session, linear, start, linear.split_weights[0]),
            linear.blocks,
            [(x, y[:, rows]) for x, y in session.segments],
            session.montage.positions_mm[rows],
            seed=settings.seed,
            device=device,
            progress=watch.part(0.8, 0.15),
        )
    return replace(closed, model=refinement.model, residual=residual, refinement=refinement)


def fit_window_field(
    session: Session, settings: CalibrationSettings, watch: Stopwatch
) -> WindowField:
    """The ``window`` field in closed form."""
    sfreq = session.sfreq
    n_window, ahead = settings.n_window(sfreq), settings.n_look_ahead(sfreq)
    with watch.stage("closed_form", 0.1, "closed-form start"):
        window = fit_window(session.target_segments, sfreq, n_window, ahead)
    with watch.stage("spatial", 0.8, "widths of the Gaussians"):
        start = choose_start(session, grid_for(session, settings))
    return WindowField(window_model(session, window, n_window, ahead, start), window, start)


def fit_paper_field(
    session: Session, settings: CalibrationSettings, watch: Stopwatch
) -> PaperField:
    """The paper's field."""
    with watch.stage("paper", 0.1, "the paper's model", torch=True):
        fit, model = fit_session(
            session,
            settings.paper_options,
            settings.n_window(session.sfreq),
            seed=settings.seed,
            device=device_of(settings),
            progress=watch.part(0.1, 0.85),
        )
    return PaperField(model, fit)


def device_of(settings: CalibrationSettings) -> str:
    """Where torch computes: ``auto`` takes a GPU where there is one."""
    if settings.device != "auto":
        return settings.device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def unfinished_training(
    path: Path, session: Session, settings: CalibrationSettings
) -> UnfinishedTraining:
    """The file of this very calibration's unfinished training, whether it is there or not."""
    inputs = [recording.sha256 for recording in session.recordings]
    parts = (__version__, inputs, session.ld, asdict(settings), asdict(ResidualSettings()))
    return UnfinishedTraining(path, fingerprint(*parts, device_of(settings)))
