"""``emag-rt adapt``: a bundle for another day or state, from LD recordings alone."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click

from emag_rt.cli.completion import BUNDLE, RECORDING
from emag_rt.cli.manual import Manual


def _live(ctx: click.Context, _: click.Parameter, bundle: str | None) -> None:
    """Learn from a daemon that is at the other end of standard input and output."""
    if bundle is None:
        return
    from emag_rt.cli.options import one_blas_thread
    from emag_rt.system import SAVE_AND_UNDO, TERMINATE, step_back

    for number in (signal.SIGINT, *SAVE_AND_UNDO):  # the daemon's to answer
        signal.signal(number, signal.SIG_IGN)
    for number in TERMINATE:  # it is not the user's command that ends
        signal.signal(number, lambda *_: sys.exit(0))
    one_blas_thread()
    from calibration.population.follower import follow

    step_back(session=True)  # now: what is imported is needed before anything is served
    follow(Path(bundle), sys.stdin.buffer, sys.stdout.buffer)
    ctx.exit()


@click.command(
    cls=Manual,
    examples=(
        (
            "a minute of today's LD, in the state to come",
            "emag-rt adapt s01.emag today.xdf --out s01-today.emag",
        ),
        (
            "no HD session: whom the wearer is like",
            "emag-rt adapt any.emag ld.xdf --out me.emag",
        ),
    ),
    exits=(0, 2, 3, 5, 6, 9, 130, 143),
    see_also=("emag-rt calibrate", "emag-rt serve", "docs/another-day.md"),
)
@click.argument("bundle", type=BUNDLE)
@click.argument("recordings", nargs=-1, required=True, type=RECORDING)
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="Bundle to write.")
@click.option(
    "--population",
    metavar="FILE",
    help="Whose field, for a bundle without HD that was made from a population of your own.",
)
@click.option(
    "--live",
    hidden=True,
    is_eager=True,
    expose_value=False,
    callback=_live,
    help="Set by `emag-rt serve --adapt`.",
)
def adapt(bundle: str, recordings: tuple[str, ...], out: str, population: str | None) -> None:
    """Adapt BUNDLE to the wearer's present state, from LD RECORDINGS.

    Sources that the HD session found keep their places; how strong each is now is read off the
    LD channels, and the field follows. A minute of the state to come is enough (eyes closed, rest,
    the task). A bundle without HD is made again: people who are like the wearer count for more.
    LD that does not fit the bundle is refused. Says what changed, and by how much.
    """
    from emag_rt.cli.options import check_bundle_output

    check_bundle_output(out, [bundle, *recordings])
    from calibration.population.adapt import adapt as adapt_bundle
    from emag_rt.bundle import load_bundle, save_bundle
    from emag_rt.errors import SettingsError

    before = load_bundle(bundle)
    if population is not None and before.manifest.hd_measured:
        raise SettingsError("--population must go with a bundle without HD. Leave it out.")
    found = adapt_bundle(before, recordings, population)
    save_bundle(found.bundle, out)
    changed = found.change > 0
    what = "adapted to" if changed else "as it was: there is nothing to adapt to in"
    click.echo(f"{out}: {what} {found.seconds:.0f} s of LD")
    for low, high, change in found.power_db:
        click.echo(f"  {low:g} to {high:g} Hz: LD power {change:+.1f} dB from the HD session's")
    if not changed:
        return
    click.echo(f"  rendered channels change by {100 * found.change:.1f} % (root mean square)")
    for note in found.notes:
        click.echo(f"warning: {note}", err=True)
    if found.likelihood is None:
        return
    fits = "better" if found.likelihood > 0 else "no better"
    click.echo(f"  LD it did not see fits {fits}: {found.likelihood:+.2f} in log-likelihood")
