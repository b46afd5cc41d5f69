"""``emag-rt dashboard``: a live view of a daemon in a browser."""

from __future__ import annotations

import socket

import click

from emag_rt.cli.completion import BUNDLE
from emag_rt.cli.manual import Manual
from emag_rt.cli.options import Whole, lsl_options, one_blas_thread
from emag_rt.errors import SettingsError
from emag_rt.files import BUNDLE_ENDINGS
from emag_rt.streams.config import Scope


@click.command(
    cls=Manual,
    examples=(
        ("the daemon that publishes s01-HD", "emag-rt dashboard s01-HD"),
        (
            "with the electrodes' positions, on another port",
            "emag-rt dashboard s01-HD --bundle s01.emag --dashboard-port 9000",
        ),
    ),
    exits={0: "ended by SIGINT or SIGTERM", 2: "", 5: "", 9: "the port cannot be listened on"},
    see_also=("emag-rt serve --dashboard", "docs/dashboard.md", "docs/security.md"),
)
@click.argument("name")
@click.option("--bundle", type=BUNDLE, help="Electrode positions from here.")
@click.option("--source", default="", help="What the daemon reads, for show.")
@click.option("--unit", help="Unit of the LD stream, over what it declares.")
@click.option(
    "--dashboard-port",
    metavar="PORT",
    type=Whole(0, 65_535),
    default=8050,
    show_default=True,
    help="Port to answer on (0: any free one).",
)
@click.option(
    "--dashboard-host",
    default="127.0.0.1",
    show_default=True,
    help="Address to answer on; others than this machine's own get a warning.",
)
@click.option(
    "--listen-fd", metavar="N", type=Whole(0, 1 << 20), hidden=True, help="Set by `emag-rt serve`."
)
@lsl_options("How far LSL looks.")
def dashboard(
    name: str,
    bundle: str | None,
    source: str,
    unit: str | None,
    dashboard_port: int,
    dashboard_host: str,
    listen_fd: int | None,
    scope: Scope | None,
    session_id: str | None,
) -> None:
    """Show the daemon whose HD outlet is NAME: live scalp maps, traces, quality, latency, events.

    It attaches to the outlets of a running `emag-rt serve`, waits for one that is not there yet,
    and takes it up again after a restart. SIGINT and SIGTERM end it with exit 0.
    """
    from emag_rt.daemon.stopping import stop_signals
    from emag_rt.dashboard.launch import require_extra
    from emag_rt.system import command_line, step_back
    from emag_rt.web import listen

    if name.endswith(BUNDLE_ENDINGS):
        raise SettingsError(
            f"NAME must be an HD outlet's, as `serve --name` gave it, got the bundle {name}. To "
            f"serve and show it: {command_line(('emag-rt', 'serve', name, '--dashboard'))}"
        )
    step_back()
    one_blas_thread()
    require_extra()
    with stop_signals() as stop:
        if listen_fd is None:
            sock, url = listen(dashboard_host, dashboard_port, "dashboard")
            click.echo(f"dashboard: {url}/", err=True)
        else:
            sock = socket.socket(fileno=listen_fd)
        with sock:
            from emag_rt.dashboard.run import Options, run_dashboard

            shown = Options(
                name,
                bundle,
                source,
                unit,
                scope,
                session_id,
                host=dashboard_host,
                launched=listen_fd is not None,
            )
            run_dashboard(shown, sock, stop)
