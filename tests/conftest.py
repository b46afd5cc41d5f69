"""What all tests share: LSL of their own, real data, child processes that never outlive a test."""

from __future__ import annotations

import atexit
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from itertools import chain, zip_longest
from pathlib import Path

import pytest

from emag_rt.cli.options import one_blas_thread
from emag_rt.streams.config import lsl_config_text

ROOT = Path(__file__).resolve().parents[1]

# Before any LSL call of this process, of MNE-LSL (which loads a liblsl of its own) and of
# child processes: streams of a lab, or of another test run, must neither be seen nor shown.
_lsl_dir = tempfile.mkdtemp(prefix="emag_rt-lsl-")
atexit.register(shutil.rmtree, _lsl_dir, ignore_errors=True)
_lsl_file = Path(_lsl_dir, "lsl_api.cfg")
_lsl_file.write_text(lsl_config_text("machine", f"test-{uuid.uuid4().hex}", -3))
os.environ["LSLAPICFG"] = str(_lsl_file)
for _name in ("EMAG_RT_LSL_SCOPE", "EMAG_RT_SESSION_ID"):
    os.environ.pop(_name, None)

# Workers and child processes share the cores: a BLAS of two threads in each of them spins while
# it waits for its other half, and one file takes 5 minutes instead of 20 s.
one_blas_thread()
# The same of torch, where a test gives it two threads: they sleep while they wait.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Hundreds of child processes import the packages. Each would compile them anew (a seventh of the
# suite's computing) where the environment forbids to keep what is compiled; git ignores it.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A script's background and `nohup` ignore SIGINT, and what is ignored stays so in every child.
# Tests send it, to themselves and to children, and mean what a terminal's Ctrl-C does.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two workers more than cores, as many tests wait; four at most.

    One process to debug in (``-s``, ``--trace``, ``--pdb``) or for one file.
    """
    debugging = config.option.capture == "no" or config.option.trace
    files = {argument.split("::")[0] for argument in config.args}
    one_file = len(files) == 1 and files.pop().endswith(".py")
    n_cores = os.cpu_count() or 1
    return 0 if debugging or one_file or n_cores == 1 else min(4, n_cores + 2)


# Real processes; whole calibrations, or as much computing: left out of the quick tests.
LIVE_PLACES = (
    "live",
    "bench/test_long_runs.py",
    "bundle/test_hostile.py",
    "calibration/baselines/test_mne_baselines.py",
    "calibration/paper",
    "calibration/population/test_no_hd.py",
    "calibration/report",
    "calibration/residual",
    "calibration/electrodes/test_montage_choice.py",
    "calibration/regression/test_priors.py",
    "calibration/test_estimator.py",
    "cli/test_completion.py",
    "cli/test_montage.py",
    "cli/test_naming.py",
    "cli/test_no_hd.py",
    "cli/test_output_statistics.py",
    "cli/test_outputs.py",
    "cli/test_upsample_montage.py",
    "daemon/test_uneven_stamps.py",
    "docs/test_snippets.py",
    "synthetic/test_standin.py",
    "test_files.py",
    "test_other_systems.py",
    "test_shown.py",
    "tools",
)
LIVE = {ROOT / "tests" / place for place in LIVE_PLACES}


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark as ``live`` what needs LSL, a browser, or minutes; more is marked by hand."""
    marked = any(map(item.get_closest_marker, ("lsl", "soak")))
    browser = "browser" in getattr(item, "fixturenames", ())
    if marked or browser or LIVE & {item.path, *item.path.parents}:
        item.add_marker("live")


# Files of ten seconds and more, the longest first: those that wait, and those that compute.
WAITING = (
    "live/test_serve.py",
    "live/clients/test_stock_amplifiers.py",
    "live/test_decoding_live.py",
    "live/test_serve_no_hd.py",
    "streams/test_lsl_live.py",
    "live/test_calibrate_stream.py",
    "live/test_bursty_amplifier.py",
    "live/test_openvibe.py",
    "live/test_before_a_participant.py",
    "bench/test_measurements.py",
    "live/test_serve_ends.py",
    "live/test_serve_faults.py",
    "live/test_serve_names.py",
    "live/test_dashboard_live.py",
    "live/test_bad_driver.py",
    "live/test_network.py",
    "cli/test_simulate.py",
    "live/test_bad_channels.py",
    "live/test_record_xdf.py",
    "streams/test_source_memory.py",
)
COMPUTING = (
    "live/test_calibrate_journal.py",
    "calibration/test_estimator.py",
    "dashboard/test_dashboard_page.py",
    "live/test_real_recording.py",
    "tools/studies/paper_benchmark/test_benchmark_run.py",
    "tools/test_wheels.py",
    "calibration/test_real_data.py",
    "calibration/population/test_no_hd.py",
    "calibration/paper/test_paper_training.py",
    "live/test_demo_live.py",
    "docs/test_snippets.py",
    "tools/test_gpu_figures.py",
    "test_other_systems.py",
    "live/test_serve_montage.py",
    "bundle/test_hostile.py",
    "calibration/electrodes/test_montage_choice.py",
    "calibration/population/test_session_prior.py",
    "cli/test_calibrate_resume.py",
    "tools/studies/simulation/test_simulation_report.py",
    "calibration/residual/test_residual.py",
    "calibration/population/test_follower.py",
    "calibration/population/test_session_network.py",
)
# By turns, so that the cores have work while some wait; a worker at the end has short files.
FIRST = {
    ROOT / "tests" / name: number
    for number, name in enumerate(filter(None, chain(*zip_longest(WAITING, COMPUTING))))
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files begin first: workers take one file after the other."""
    items.sort(key=lambda item: FIRST.get(item.path, len(FIRST)))


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window; skips where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    with api.sync_playwright() as play:
        try:
            found = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except api.Error as error:
            pytest.skip(f"no Chromium that playwright can start: {str(error).splitlines()[0]}")
        yield found
        found.close()


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of reports are made but not drawn, which takes most of a report's time."""
    from matplotlib.figure import Figure

    real = Figure.savefig

    def save(figure: Figure, target: object, **options: object) -> None:
        if not isinstance(target, io.BytesIO):  # a picture's own file is what was asked for
            real(figure, target, **options)

    monkeypatch.setattr(Figure, "savefig", save)


@pytest.fixture
def unique_id() -> str:
    """An LSL source id that nobody else has."""
    return f"test-{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder with real recordings: $EMAG_RT_DATA, then subject 1 in MNE's EEGBCI cache."""
    places = []
    if os.environ.get("EMAG_RT_DATA"):
        places.append(Path(os.environ["EMAG_RT_DATA"]))
    import mne

    cache = mne.get_config("MNE_DATASETS_EEGBCI_PATH") or mne.get_config("MNE_DATA")
    if cache:
        places.append(Path(cache, "MNE-eegbci-data/files/eegmmidb/1.0.0/S001"))
    for place in places:
        if (place / "S001R03.edf").is_file():
            return place.resolve()
    pytest.skip("no real recordings: set EMAG_RT_DATA, or fetch mne.datasets.eegbci subject 1")


@pytest.fixture
def data_file(data_dir: Path) -> Callable[[str], Path]:
    """Path of one real recording; skips where it is absent."""

    def find(name: str) -> Path:
        path = data_dir / name
        if not path.exists():
            pytest.skip(f"no {name} among the real recordings")
        return path

    return find


def wait_until(predicate: Callable[[], object], deadline_s: float, what: str = "") -> object:
    """Poll until ``predicate`` is true, and return what it said; fail after the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            pytest.fail(f"not within {deadline_s:g} s: {what or predicate}")
        time.sleep(0.01)


@pytest.fixture(name="wait_until", scope="session")
def wait_until_fixture() -> Callable[..., object]:
    """:func:`wait_until`, for tests that cannot import conftest."""
    return wait_until


class Child:
    """A child process whose output is collected; both pipes are one."""

    def __init__(
        self, arguments: list[str], env: dict[str, str] | None = None, cwd: Path = ROOT
    ) -> None:
        self.arguments = arguments
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cwd,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "160", **(env or {})},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        # Closed here: grandchildren that live on hold the pipe open, and this thread in it.
        with self.process.stdout as lines:
            self.lines.extend(line.rstrip("\n") for line in lines)

    @property
    def output(self) -> str:
        """Everything printed so far."""
        return "\n".join(self.lines)

    def wait_for(self, text: str, deadline_s: float = 30.0) -> str:
        """Wait for a line that holds ``text``, and return it."""

        def line() -> str | None:
            return next((line for line in list(self.lines) if text in line), None)

        def found_or_over() -> object:
            return line() or self.process.poll() is not None

        wait_until(found_or_over, deadline_s, f"{text!r} in the output of\n{self}")
        self._settle()
        found = line()
        if found is None:
            pytest.fail(f"exit {self.process.poll()} before {text!r}:\n{self}")
        return found

    def finish(self, deadline_s: float = 30.0) -> int:
        """Wait for the end, and return the exit status."""
        try:
            code = self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {deadline_s:g} s:\n{self}")
        self._reader.join(5.0)
        return code

    def terminate(self, deadline_s: float = 30.0) -> int:
        """Send SIGTERM, and return the exit status."""
        self.process.terminate()
        return self.finish(deadline_s)

    def interrupt(self, deadline_s: float = 30.0) -> int:
        """Send SIGINT, and return the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.finish(deadline_s)

    def kill(self) -> None:
        """SIGKILL; harmless when it has ended."""
        self.process.kill()
        self.process.wait()
        self._reader.join(5.0)

    def _settle(self) -> None:
        if self.process.poll() is not None:
            self._reader.join(5.0)

    def __str__(self) -> str:
        return f"$ {' '.join(self.arguments)}\n{self.output}"


@pytest.fixture
def spawn() -> Iterator[Callable[..., Child]]:
    """Start child processes: ``spawn("-m", "emag_rt", "simulate", ...)`` runs this Python."""
    children: list[Child] = []

    def start(*arguments: object, env: dict[str, str] | None = None, cwd: Path = ROOT) -> Child:
        child = Child([sys.executable, *map(str, arguments)], env, cwd)
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        print(f"{child}\n[exit {child.process.returncode}]")  # pytest shows it on failure


@pytest.fixture
def cli(spawn: Callable[..., Child]) -> Callable[..., Child]:
    """Start the command line in a child process: ``cli("simulate", "--synthetic")``."""

    def start(*arguments: object, env: dict[str, str] | None = None, cwd: Path = ROOT) -> Child:
        return spawn("-m", "emag_rt", *arguments, env=env, cwd=cwd)

    return start
