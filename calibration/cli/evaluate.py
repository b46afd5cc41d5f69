"""``emag-rt evaluate``: score a bundle on a held-out HD recording."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from calibration.cli.report import left_out
from calibration.report.facts import Facts
from emag_rt.cli.completion import BUNDLE, RECORDING
from emag_rt.cli.manual import Manual
from emag_rt.cli.options import ENGINE, naming_options, tell_templates
from emag_rt.cli.outputs import say_next

if TYPE_CHECKING:
    from rich.table import Table

    from calibration.scores.held_out import Evaluation
    from emag_rt.bundle import Manifest


@click.command(
    cls=Manual,
    examples=(
        ("a run that calibration has not seen", "emag-rt evaluate s01.emag run3.edf"),
        ("for programs", "emag-rt evaluate s01.emag run3.edf --json scores.json"),
    ),
    exits=(0, 1, 2, 3, 5, 6, 9, 130, 143),
    on_own=lambda names: [left_out(names)],
    see_also=("emag-rt inspect", "docs/accuracy.md", "docs/limits.md"),
)
@click.argument("bundle", type=BUNDLE)
@click.argument("recording", type=RECORDING)
@click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Write the scores here as JSON (- for stdout, instead of the table).",
)
@click.option(
    "--engine",
    type=ENGINE,
    default="auto",
    show_default=True,
    help="Render engine; auto times each that starts here and takes the quickest.",
)
@naming_options
def evaluate(
    bundle: str,
    recording: str,
    json_path: str | None,
    engine: str,
    headset: str | None,
    channels: str | None,
) -> None:
    """Score BUNDLE on RECORDING beside the baselines.

    These are ridge and lagged ridge (fitted on the same session), and what knows positions
    alone: spherical spline, minimum norm in a sphere, and MNE's field interpolation.

    All channels and unseen channels (not LD, not bridged to one, not bad), in µV relative to
    the LD mean, after the same causal front end. NMSE 0 is perfect, 1 no better than silence.
    Errors are given by band too, so that nobody trusts gamma that is not there.
    """
    from emag_rt.cli.options import check_output

    if json_path:
        check_output("--json", json_path, [bundle, recording])
    from calibration.report.verdict import judge
    from calibration.scores.held_out import evaluate_recording
    from emag_rt.bundle import load_bundle
    from emag_rt.engine.offline import open_for
    from emag_rt.files import write_text
    from emag_rt.montages.headsets import channel_names

    loaded = load_bundle(bundle)
    opened = open_for(loaded, recording, channel_names(headset, channels))
    tell_templates([(recording, opened.template)])
    result = evaluate_recording(loaded, opened, engine)
    if not result.held_out:
        click.echo("warning: calibrated on this very recording: not held out", err=True)
    if json_path == "-":
        click.echo(json.dumps(result.as_dict(), indent=1))
        return
    verdict = judge(_facts(result, loaded.manifest))
    click.echo(f"{verdict.headline}\n{verdict.advice[0]}")
    errors = {name: scores["unseen"]["nmse"] for name, scores in result.methods.items()}
    best = min(errors, key=lambda name: errors[name])
    if round(errors[best], 3) < round(errors["field"], 3):
        click.echo(
            f"A simple method does better: {best}, {errors[best]:.3f} for {errors['field']:.3f}."
        )
    click.echo()
    _print(result)
    left_out = loaded.manifest.left_out_nmse
    if left_out is not None:
        click.echo(f"at electrodes nobody wore: NMSE {left_out:.4f} expected (--montage)")
    if json_path:
        write_text(json_path, json.dumps(result.as_dict(), indent=1) + "\n", "--json")
    say_next(
        ("report", bundle, recording, "--open"),
        ("serve", bundle, "--source-id", "AMP-1234"),
    )


def _facts(result: Evaluation, manifest: Manifest) -> Facts:
    """What the verdict can rest on without the recordings of the calibration."""
    unseen = {name: scores["unseen"]["nmse"] for name, scores in result.methods.items()}
    return Facts(
        nmse=unseen["field"],
        spline=unseen.get("spherical_spline"),
        lagged_ridge=unseen.get("lagged_ridge"),
        channels={label: result.per_channel[label] for label in result.unseen},
        bands=result.bands["field"],
        seconds=manifest.calibrated_s,
        held_out=result.held_out,
        n_channels=len(result.labels),
        hd_measured=manifest.hd_measured,
        misfits=result.misfits,
    )


def _words(result: Evaluation) -> str:
    """What the words of the table mean, of those that stand in it."""
    said = (
        "NMSE: share of the power that is rendered wrongly; 0 is best, 1 is no better than zeros. "
        "field / it: below 1 the field is better than the method. unseen: channels that are not "
        "worn. "
    )
    fitted = [name for name in ("ridge", "lagged_ridge") if name in result.methods]
    if fitted:
        said += f"{', '.join(fitted)}: plain regressions fitted to the same calibration. "
    return said + "Other methods know the electrodes' positions alone."


def _print(result: Evaluation) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f"{result.seconds:.0f} s, {len(result.labels)} channels, "
        f"{len(result.unseen)} of them unseen",
        caption=_words(result),
    )
    for column in (
        "method",
        "NMSE unseen",
        "field / it",
        "PCC unseen",
        "SNR dB unseen",
        "NMSE all",
    ):
        is_name = column == "method"
        table.add_column(column, justify="left" if is_name else "right", no_wrap=is_name)
    for name, scores in result.methods.items():
        unseen = scores["unseen"]
        ratio = result.ratios.get(name)
        table.add_row(
            name,
            f"{unseen['nmse']:.4f}",
            "" if ratio is None else f"{ratio:.3f}",
            f"{unseen['pcc']:.4f}",
            f"{unseen['snr_db']:.2f}",
            f"{scores['all']['nmse']:.4f}",
        )
    console = Console()
    console.print(table)
    bands = Table(title="NMSE on unseen channels, by band")
    bands.add_column("method", no_wrap=True)
    names = list(result.bands["field"])
    for name in names:
        bands.add_column(name, justify="right")
    for method, of_band in result.bands.items():
        bands.add_row(method, *(f"{of_band[name]:.3f}" for name in names))
    console.print(bands)
    console.print(_modes(result))


def _modes(result: Evaluation) -> Table:
    """How each mode of ``--statistics`` behaves, beside the truth."""
    from rich.table import Table

    from calibration.scores.modes import SPREAD

    title = "--statistics, on unseen channels: band power over the true one"
    table = Table(
        title=title,
        collapse_padding=True,
        caption="What `serve --statistics` can give: estimate is nearest to the truth and too "
        "quiet, the others have its power (1.00) and spread, and more error.",
    )
    table.add_column("statistics", no_wrap=True)
    names = list(result.bands["field"])
    for column in ("NMSE", "rank", SPREAD, *names):
        table.add_column(column, justify="right")
    for mode, found in result.statistics.items():
        table.add_row(
            mode,
            f"{found.nmse:.4f}",
            str(found.rank),
            found.spread,
            *(f"{found.power[name]:.2f}" for name in names),
        )
    return table
