"""Train the network that goes upon a population's field, and judge it on people it never saw.

    python -m tools.studies.population.train_network FOLDER adult --out adult.network.safetensors

Electrodes are drawn anew all the time, so that the network is for any, and time runs at several
rates. The population's people are split; for each split a field and a network are made of the
others and judged on the split's people. One network is trained on everybody, and told what the
splits found: how much of its correction to trust at which count of LD channels.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import relu
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from calibration.population.estimate import make_timing
from calibration.population.network import PopulationNetwork, save_network
from calibration.population.people import Population, load_population
from calibration.residual.network import Dropout, Networks, StackedLinear
from emag_rt.array_types import FloatArray
from emag_rt.core.montage import spread_choice
from emag_rt.core.spline import spherical_spline
from emag_rt.errors import EmagError
from tools.studies.paper_benchmark.parallel import side_by_side
from tools.studies.population.folders import people_of
from tools.studies.population.layouts import (
    Layout,
    Person,
    draw_layout,
    make_layout,
    read_person,
)
from tools.studies.population.leave_out import without

RATES_HZ = (160.0, 128.0, 160.0, 200.0)
"""In turn, in training: so 250, 500 and 1000 Hz have a step that the network knows."""
TRAINED_HZ = (120.0, 210.0)
COUNTS = (6, 8)
"""LD channels at which it is judged, and between which it is used: see docs/without-hd.md."""
N_UNITS, N_BLOCKS = 64, 8
_BATCH, _N_TIMES = 4, 768
_LEARNING_RATE, _WEIGHT_DECAY, _EMA = 4e-3, 1e-2, 0.998
_DROPOUT = 0.05
_LOUDNESS_EXPONENT = 0.35
_MOST_NOISE = 0.06
_MIRRORED = 0.5
_MOST_GAIN = 1.5


class Training:
    """Training of one network.

    Parameters
    ----------
    population : Population
        Whose field it goes upon: of the people trained on only.
    people : dict of float to list of Person
        At each rate.
    n_layouts, n_steps, seed : int
        Layouts to draw from, steps of the optimiser, and the seed of everything.
    """

    def __init__(
        self,
        population: Population,
        people: dict[float, list[Person]],
        n_layouts: int,
        n_steps: int,
        seed: int,
    ) -> None:
        self._people, self._n_steps = people, n_steps
        self._rng = np.random.default_rng(seed)
        self._noise = torch.Generator().manual_seed(seed)
        self._layouts = self._drawn(population, n_layouts)
        positions, n_places = population.places.positions_mm, len(population.places)
        flipped = positions * np.array([-1.0, 1.0, 1.0])
        self._mirror = np.linalg.norm(flipped[:, None] - positions, axis=-1).argmin(axis=1)
        dropout = Dropout(_DROPOUT, self._noise)
        self._net = Networks(1, n_places, N_UNITS, n_places, N_BLOCKS, dropout, seed, relu)
        for layer in self._net.modules():
            if isinstance(layer, StackedLinear):
                layer.bias.requires_grad_(False).zero_()
        self._average = AveragedModel(self._net, multi_avg_fn=get_ema_multi_avg_fn(_EMA)).eval()

    def _drawn(self, population: Population, n_layouts: int) -> list[Layout]:
        mean, positions = population.mean(), population.places.positions_mm
        timings = [make_timing(population, rate) for rate in RATES_HZ]
        return [
            make_layout(population, timings[i % len(timings)], mean, ld)
            for i in range(n_layouts)
            for ld in [draw_layout(positions, self._rng)]
        ]

    def run(self) -> dict[str, FloatArray]:
        """Train; the running mean of the weights, by the names of PopulationNetwork."""
        weights = [p for p in self._net.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(weights, _LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
        schedule = LambdaLR(
            optimizer,
            lambda i: min(1.0, i / 50) * 0.5 * (1.0 + np.cos(np.pi * i / self._n_steps)),
        )
        average = self._average
        for _ in range(self._n_steps):
            optimizer.zero_grad()
            self._loss().backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            schedule.step()
            average.update_parameters(self._net)
        found = {k: v.double().numpy() for k, v in average.module.state_dict().items()}
        blocks = range(N_BLOCKS)
        return {
            "into": found["into.weight"][0].T,
            "inner": np.stack([found[f"blocks.{i}.inner.weight"][0].T for i in blocks]),
            "mix": np.stack([found[f"blocks.{i}.mix.weight"][0].T for i in blocks]),
            "out": found["out.weight"][0].T,
        }

    @torch.no_grad()
    def judge(self, person: Person, layout: Layout, positions_mm: FloatArray) -> Judged:
        """How the trained network does on someone else's signals."""
        unseen = [i for i in np.flatnonzero(person.good) if i not in layout.ld]
        spline = spherical_spline(positions_mm[layout.ld], positions_mm[unseen])
        sums = np.zeros(5)
        for x in person.segments:
            mean, estimate = layout.estimate(x[None])
            silent = torch.nn.functional.pad(estimate, (0, 0, self._average.module.memory, 0))
            given = (self._average.module(silent[None])[0, 0] @ layout.unexplained.T).double()
            n = len(given)
            truth = (x - mean[0])[-n:, unseen].double().numpy()
            missed = truth - estimate[0][:, unseen].double().numpy()
            worn = (x - mean[0])[-n:, layout.ld].double().numpy()
            added = given[:, unseen].numpy()
            pairs = ((truth,) * 2, (missed,) * 2, (truth - worn @ spline.T,) * 2, (added, missed))
            sums += [float((a * b).sum()) for a, b in (*pairs, (added, added))]
        field, by_spline, along, size = (float(v) for v in sums[1:] / sums[0])
        return Judged(field, by_spline, along, size)

    def _loss(self) -> Tensor:
        """What the network leaves of the field's error, for some people with one layout."""
        layout = self._layouts[self._rng.integers(len(self._layouts))]
        x, good = self._sequences(layout)
        noisy = x.clone()
        noise = torch.randn(x[..., layout.ld].shape, generator=self._noise)
        noisy[..., layout.ld] += float(np.sqrt(self._rng.uniform(0.0, _MOST_NOISE))) * noise
        mean, estimate = layout.estimate(noisy)
        n, memory = _N_TIMES, self._net.memory
        given = self._net(estimate[None])[0] @ layout.unexplained.T
        missed = ((x - mean)[:, -n:] - estimate[:, memory:]) * good
        error = ((missed - given * good) ** 2).sum(dim=-1)
        power = (missed**2).sum(dim=-1)
        # Loud stretches (movement, blinks) would own the loss; so would loud people.
        weight = (power / power.mean(dim=1, keepdim=True) + 0.1) ** -_LOUDNESS_EXPONENT
        return ((error * weight).sum(dim=1) / (power * weight).sum(dim=1)).mean()

    def _sequences(self, layout: Layout) -> tuple[Tensor, Tensor]:
        """Sequences of different people, and where they may be learned from."""
        length = layout.filters.shape[2] - 1 + self._net.memory + _N_TIMES
        everyone = self._people[layout.rate_hz]
        x, good = [], []
        for place in self._rng.choice(len(everyone), _BATCH, len(everyone) < _BATCH):
            person = everyone[place]
            fitting = [segment for segment in person.segments if len(segment) >= length]
            segment = fitting[self._rng.integers(len(fitting))]
            start = int(self._rng.integers(len(segment) - length + 1))
            # Left and right are alike: everybody counts twice.
            way = self._mirror if self._rng.random() < _MIRRORED else slice(None)
            x.append(segment[start : start + length, way])
            learned = torch.tensor(person.good[way], dtype=torch.float32)
            learned[layout.ld] = 0.0
            good.append(learned)
        return torch.stack(x), torch.stack(good)[:, None]


@dataclass(frozen=True)
class Plan:
    """What every split needs to know."""

    folder: Path
    population: str
    test: str
    n_layouts: int
    n_steps: int
    seed: int


@dataclass(frozen=True)
class Judged:
    """One person with one count of LD channels, over the power of the channels not worn.

    Attributes
    ----------
    field, spline : float
        Error of the field alone, and of the spherical spline.
    along, size : float
        Product of the network's correction with what the field missed, and its power.
    """

    field: float
    spline: float
    along: float
    size: float

    def error(self, gain: float) -> float:
        """With so much of the correction."""
        return self.field - 2.0 * gain * self.along + gain**2 * self.size


Rows = dict[tuple[str, int, str], Judged]
KINDS = {"same": "the same for all", "good": "spread over each one's good electrodes"}
"""Which electrodes are worn when a network is judged."""


def train_split(
    held_out: Sequence[str], plan: Plan
) -> tuple[Sequence[str], dict[str, FloatArray], Rows]:
    """Some people, a network of all the others, and how it does on those people."""
    torch.set_num_threads(1)
    everyone = load_population(plan.population)
    population = without(everyone, *held_out)
    files = people_of(plan.folder, everyone.texts["people"].split(","))
    people = {
        rate: [
            read_person(name, paths, everyone, rate)
            for name, paths in files.items()
            if name not in held_out
        ]
        for rate in sorted(set(RATES_HZ))
    }
    training = Training(population, people, plan.n_layouts, plan.n_steps, plan.seed)
    weights = training.run()
    judged = judge_split(training, population, held_out, plan) if held_out else {}
    return held_out, weights, judged


def judge_split(
    training: Training, population: Population, held_out: Sequence[str], plan: Plan
) -> Rows:
    """How the network of all but some people does on those."""
    everyone = load_population(plan.population)
    files = people_of(plan.folder, everyone.texts["people"].split(","))
    timing, mean = make_timing(population, population.sfreq), population.mean()
    positions = population.places.positions_mm
    rows: Rows = {}
    for name in held_out:
        test = [path for path in files[name] if plan.test in path.stem] or files[name]
        person = read_person(name, test, everyone, population.sfreq)
        good = np.flatnonzero(person.good)
        for count in _counts(everyone):
            same, spread = spread_choice(positions, count), spread_choice(positions[good], count)
            for kind, worn in (("same", np.array(same)), ("good", good[list(spread)])):
                layout = make_layout(population, timing, mean, worn)
                row = rows[name, count, kind] = training.judge(person, layout, positions)
                click.echo(
                    f"{name}, {count} LD {KINDS[kind]}: field {row.field / row.spline:.3f} of the "
                    f"spline, network {row.error(1.0) / row.spline:.3f}",
                    err=True,
                )
    return rows


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.argument("population", default="adult")
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="File to write.")
@click.option(
    "--test", default="R04", show_default=True, help="Run that is judged; all where none is."
)
@click.option("--splits", default=3, show_default=True, help="Parts that the people are cut in.")
@click.option("--layouts", default=300, show_default=True, help="Sets of LD places to draw from.")
@click.option("--steps", default=10000, show_default=True, help="Steps of the optimiser.")
@click.option("--seed", default=0, show_default=True, help="Of everything that is drawn.")
@click.option("--jobs", default=1, show_default=True, help="Processes; -1: one a core.")
def main(
    folder: Path,
    population: str,
    out: str,
    test: str,
    splits: int,
    layouts: int,
    steps: int,
    seed: int,
    jobs: int,
) -> None:
    """Train upon POPULATION, on the recordings in FOLDER that it was made of."""
    try:
        people = load_population(population)
        names = people.texts["people"].split(",")
        held_out = [[], *(names[i::splits] for i in range(splits))]
        plan = Plan(folder, population, test, layouts, steps, seed)
        done = side_by_side(partial(train_split, plan=plan), held_out, jobs=jobs)
        rows = {key: row for *_, found in done for key, row in found.items()}
        facts = _report(rows, _counts(people))
        command = (
            f"python -m tools.studies.population.train_network FOLDER {people.name} --splits "
            f"{splits} --layouts {layouts} --steps {steps} --seed {seed}"
        )
        # Each split's own beside it: to score its people through the engine that serves.
        for held, weights, _ in done:
            chosen = without(people, *held)
            texts = {"people": chosen.texts["people"], "command": command}
            place = Path(out).with_suffix("." + "-".join(held) + ".safetensors") if held else out
            save_network(PopulationNetwork(**weights, **facts, texts=texts), place)
    except EmagError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    click.echo(f"{out}: {Path(out).stat().st_size / 1e6:.2f} MB")


def _counts(population: Population) -> list[int]:
    return [count for count in COUNTS if 2 * count <= len(population.places)]


def _report(rows: Rows, counts: Sequence[int]) -> dict[str, FloatArray]:
    """Print the table; what the network's file tells of itself."""
    click.echo("| LD | worn | field over the spline | worst | network | worst | of the field |")
    click.echo("| --- | --- | --- | --- | --- | --- | --- |")
    gains, left, worst = [], [], []
    for count in counts:
        people = {(who, kind): row for (who, n, kind), row in rows.items() if n == count}
        # A person is judged with the gain that the others ask for.
        gain = {w: _gain([r for (p, _), r in people.items() if p != w]) for w, _ in people}
        error = {key: row.error(gain[key[0]]) for key, row in people.items()}
        for kind, words in KINDS.items():
            keys = [key for key in people if key[1] == kind]
            over = [[people[k].field / people[k].spline, error[k] / people[k].spline] for k in keys]
            of_field = [error[k] / people[k].field for k in keys]
            cells = np.stack([np.median(over, axis=0), np.max(over, axis=0)], axis=1).ravel()
            told = " | ".join(f"{v:.3f}" for v in (*cells, np.median(of_field)))
            click.echo(f"| {count} | {words} | {told} |")
        ratios = np.array([error[key] / row.field for key, row in people.items()])
        gains.append(_gain(list(people.values())))
        left.append(float(np.median(ratios)))
        worst.append(float(ratios.max()))
        click.echo(f"{count} LD: {gains[-1]:.2f} of the correction is used")
    return {
        "rates_hz": np.array(TRAINED_HZ),
        "counts": np.array(counts, dtype=np.float64),
        "gains": np.array(gains),
        "left": np.array(left),
        "worst": np.array(worst),
    }


def _gain(people: Sequence[Judged]) -> float:
    """How much of the correction errs least, less a standard error; everybody counts alike."""
    along = np.array([row.along / row.field for row in people])
    size = np.array([row.size / row.field for row in people])
    total = max(float(size.sum()), float(np.finfo(float).tiny))
    spread = float(np.sqrt(((along - along.sum() / total * size) ** 2).sum()))
    return float(np.clip((along.sum() - spread) / total, 0.0, _MOST_GAIN))


if __name__ == "__main__":
    main()
