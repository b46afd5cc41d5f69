"""What `serve --adapt` is worth on recordings: the live path in memory, beside `emag-rt adapt`.

    python -m tools.studies.live_state FOLDER --out states.tsv

FOLDER holds runs of eegmmidb. A bundle is calibrated in closed form on one state, and another run
is played to a server in memory, twice: adapting, and not. Both are scored on unseen channels from
34 s on, as is what `adapt` makes of the first 32 s. Cells that stand in the file are left out.
With --no-hd bundles are of the other people of the population instead, without their network.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from calibration import CalibrationSettings, FieldCalibrator
from calibration.population.adapt import adapt
from calibration.population.follower import Follower
from calibration.population.no_hd import NoHdSettings, calibrate_without_hd
from calibration.population.people import load_population, save_population
from calibration.scores.held_out import estimate_recording, usable_rows
from calibration.settings.calibration_settings import SETTLE_S
from emag_rt import Upsampler
from emag_rt.array_types import FloatArray
from emag_rt.bundle import Bundle
from emag_rt.core.drive import reference_free
from emag_rt.core.labels import match_labels
from emag_rt.core.ld_bands import BLOCK_S
from emag_rt.core.montage import spread_choice
from emag_rt.core.scores import nmse
from emag_rt.daemon.adapting import FADE_S, Adapting, Wishes
from emag_rt.daemon.loop import Server
from emag_rt.daemon.settings import AdaptSettings
from emag_rt.errors import CalibrationError
from emag_rt.frontend import CausalFilter
from emag_rt.recordings.read import Recording, read_recording
from emag_rt.recordings.write import write_raw
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.memory import ManualClock, MemorySink, MemorySource, scripted_chunks
from tools.studies.population.leave_out import without

_TASK = ("R03", "R04")
_STATES = {
    "task > open": (_TASK, "R01"),
    "task > closed": (_TASK, "R02"),
    "open > closed": (("R01",), "R02"),
    "closed > open": (("R02",), "R01"),
    "open > task": (("R01",), "R08"),
    "closed > task": (("R02",), "R08"),
    "task > task": (_TASK, "R08"),
    "task > task, later": (_TASK, "R12"),
}
# Two seconds in which the filter settles are not learned from.
_SEEN_S = AdaptSettings().after_s + BLOCK_S


def live(
    bundle: Bundle, ld: FloatArray, adapting: bool, population: str | None = None
) -> tuple[FloatArray, list[float]]:
    """Rows of a server in memory, and by how much it adapted each time."""
    upsampler, clock = Upsampler(bundle, engine="packed"), ManualClock()
    labels, sfreq = bundle.manifest.ld_montage.labels, bundle.manifest.sfreq
    told = StreamFormat("Amp", "EEG", "amp", sfreq, labels, ("microvolts",) * len(labels))
    source = MemorySource(told, scripted_chunks(ld, sfreq, 10), clock)
    sink, shares = MemorySink(), []
    follows = None
    if adapting:
        operator, positions_mm = upsampler.fading.estimate
        wanted = AdaptSettings()
        follower = Follower(
            bundle,
            Path("served.emag"),
            positions_mm,
            operator.taps,
            operator.weights,
            upsampler.fading.rendered,
            wanted.after_s,
            wanted.every_s,
            population,
        )
        follows = Adapting(upsampler, follower, Wishes())

    server = Server(upsampler, source, sink, clock, adapting=follows)

    def stop() -> bool:
        if follows is not None and len(shares) < follows.n_adapted:
            shares.append(follows.share)
        return source.exhausted

    server.serve(stop)
    if len(sink.samples) != len(ld):
        raise RuntimeError(f"{len(ld)} samples went in, {len(sink.samples)} came out")
    return sink.samples.astype(np.float64), shares


def offline(
    bundle: Bundle, recording: Recording, ld: FloatArray, scratch: Path, population: str | None
) -> Bundle | None:
    """What `emag-rt adapt` makes of the same first seconds; None where it refuses."""
    labels = bundle.manifest.ld_montage.labels
    n = round(_SEEN_S * recording.sfreq)
    positions = bundle.manifest.ld_montage.positions_mm
    path = scratch / "first_raw.fif"
    write_raw(path, ld[:n], labels, recording.sfreq, positions)
    try:
        return adapt(bundle, [path], population).bundle
    except CalibrationError:
        return None


def cell(
    bundle: Bundle, path: Path, scratch: Path, population: str | None = None
) -> dict[str, object]:
    """Scores of one bundle on one run."""
    recording = read_recording(path)
    found = estimate_recording(bundle, recording, "packed")
    kept = usable_rows(recording, SETTLE_S)
    late = kept >= round((_SEEN_S + FADE_S) * recording.sfreq)
    order = match_labels(bundle.manifest.ld_montage.labels, recording.labels, path.name)
    ld = np.nan_to_num(np.asarray(recording.data_uv, dtype=np.float64))[:, order]
    filtered = CausalFilter(np.array(bundle.manifest.frontend.sos), len(order)).process(ld)
    mean = reference_free(filtered)[1]
    columns = match_labels(
        [found.labels[i] for i in found.unseen], bundle.manifest.hd_montage.labels, "bundle"
    )
    truth = found.truth[:, list(found.unseen)][late]

    def score(rows: FloatArray) -> float:
        return nmse(truth, (rows - mean)[kept][late][:, columns])

    before = score(live(bundle, ld, False)[0])
    rows, shares = live(bundle, ld, True, population)
    other = offline(bundle, recording, ld, scratch, population)
    away = float("nan") if other is None else score(live(other, ld, False)[0]) / before
    return {
        "nmse": f"{before:.4f}",
        "live": f"{score(rows) / before:.4f}",
        "offline": f"{away:.4f}",
        "changes": " ".join(f"{share:.3f}" for share in shares) or "-",
    }


def without_hd(folder: Path, person: str, count: int, scratch: Path) -> dict[str, object]:
    """Scores of a bundle of the other people on a person's second run."""
    others = without(load_population(), person)
    places, path = others.places, folder / f"{person}R04.edf"
    labels = [places.labels[i] for i in spread_choice(places.positions_mm, count)]
    file = scratch / f"without-{person}.safetensors"
    save_population(others, file)
    settings = NoHdSettings(tuple(labels), "cap", others.sfreq, population=str(file), refine=False)
    return cell(calibrate_without_hd(settings).bundle, path, scratch, str(file))


def append(out: Path, person: str, count: int, state: str, found: dict[str, object]) -> None:
    """Write a line of the table, and say it."""
    line = "\t".join([person, str(count), state, *map(str, found.values())])
    with out.open("a") as table:
        table.write(line + "\n")
    click.echo(line)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True)
@click.option("--person", "people", multiple=True, help="Only these (S001); may be repeated.")
@click.option("--ld", "counts", multiple=True, type=int, default=(8, 16))
@click.option("--no-hd", is_flag=True, help="Bundles of the other people of the population.")
def main(
    folder: Path, out: Path, people: tuple[str, ...], counts: tuple[int, ...], no_hd: bool
) -> None:
    """Play every state to bundles of every other."""
    done = set(out.read_text().splitlines()) if out.exists() else set()
    started = {tuple(line.split("\t")[:3]) for line in done}
    for person in people or sorted({path.name[:4] for path in folder.glob("S*R*.edf")}):
        for count in counts:
            if no_hd:
                if (person, str(count), "nobody's HD") not in started:
                    append(
                        out,
                        person,
                        count,
                        "nobody's HD",
                        without_hd(folder, person, count, out.parent),
                    )
                continue
            bundles: dict[tuple[str, ...], Bundle] = {}
            for state, (runs, play) in _STATES.items():
                files = [folder / f"{person}{run}.edf" for run in (*runs, play)]
                if (person, str(count), state) in started or not all(f.exists() for f in files):
                    continue
                if runs not in bundles:
                    settings = CalibrationSettings(refine=False)
                    bundles[runs] = FieldCalibrator(count, settings).fit(files[:-1]).result_.bundle
                found = cell(bundles[runs], files[-1], out.parent)
                append(out, person, count, state, found)


if __name__ == "__main__":
    main()
