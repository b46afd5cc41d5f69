"""``emag-rt demo``: the whole path on a simulated subject, no data and no network needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from emag_rt.cli.manual import Manual
from emag_rt.cli.options import SEED, FiniteFloat
from emag_rt.cli.outputs import say_next

if TYPE_CHECKING:
    from calibration.demo.play_and_serve import DemoResult


@click.command(
    cls=Manual,
    examples=(
        ("half a minute in all", "emag-rt demo"),
        (
            "another subject, read back for a minute, into a folder of its own",
            "emag-rt demo --seed 7 --seconds 60 --out demo-7",
        ),
        ("stay up, with the dashboard in the browser", "emag-rt demo --live"),
        ("then look at what it made", "emag-rt inspect demo-out/demo.emag"),
    ),
    exits=(0, 1, 2, 7, 9, 130, 143),
    see_also=("docs/quick-start.md",),
)
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    default="demo-out",
    show_default=True,
    help="Folder for the recordings, the bundle, the logs and the picture.",
)
@click.option(
    "--seconds",
    type=FiniteFloat(5, 600),
    metavar="S",
    default=15.0,
    show_default=True,
    help="Seconds to read back live.",
)
@click.option("--seed", type=SEED, metavar="N", default=0, show_default=True, help="Which subject.")
@click.option("--live", is_flag=True, help="Stay up, with the dashboard; keys spoil the amplifier.")
@click.option(
    "--browser/--no-browser", default=True, show_default=True, help="Open it, with --live."
)
def demo(out: str, seconds: float, seed: int, live: bool, browser: bool) -> None:
    """Calibrate a simulated subject, play it, serve it, read it back; print what came out.

    Needs neither data nor a network: simulation, amplifier, daemon and receiver are processes
    of this machine, in an LSL session of their own. Prints accuracy beside a spherical spline,
    and latency; draws LD, truth and rendering.
    """
    from calibration.demo.live import run_live
    from calibration.demo.picture import save_picture
    from calibration.demo.play_and_serve import run_demo

    folder = Path(out)
    if live:
        run_live(folder, seed, browser, lambda what: click.echo(f"- {what}"))
        return
    result = run_demo(folder, seconds, seed, lambda what: click.echo(f"- {what}"))
    picture = folder / "demo.png"
    save_picture(result, picture)
    _print(result, picture)


def _print(result: DemoResult, picture: Path) -> None:
    from emag_rt.dashboard.launch import has_extra

    p50, p99 = np.percentile(result.latency_ms, [50, 99])
    n_unseen = len(result.unseen)
    click.echo("")
    click.echo(
        f"NMSE on the {n_unseen} unseen channels, read back live "
        f"({len(result.truth)} samples; 0 is perfect, 1 no better than silence):"
    )
    click.echo(f"  field             {result.nmse_field:.4f}")
    click.echo(
        f"  spherical spline  {result.nmse_spline:.4f}   "
        f"(field / spline {result.nmse_field / result.nmse_spline:.2f})"
    )
    click.echo(
        f"latency, capture stamp to receipt: p50 {p50:.2f} ms, p99 {p99:.2f} ms "
        "(includes the player's chunk of 20 ms)"
    )
    click.echo(f"the daemon was ready {result.ready_s:.1f} s after its start")
    click.echo(f"picture: {picture}")
    own = ("calibrate", "YOUR_HD_RECORDING", "--ld", "16", "--out", "s01.emag")
    say_next(*([("demo", "--live")] if has_extra() else []), own)
