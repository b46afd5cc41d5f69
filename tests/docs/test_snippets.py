"""What the documents show can be typed: every command line is known, and most are run.

Each block of commands or Python has a marker in the line above it (a comment, which readers do
not see): ``run``, ``run all but COMMAND, ...: REASON`` or ``not run: REASON``.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from emag_rt import Upsampler
from emag_rt.cli.main import cli
from emag_rt.core.labels import match_labels
from emag_rt.recordings.write import write_raw
from emag_rt.synthetic.head import SyntheticHead
from tests.command_lines import found, parse
from tests.factories import relative

ROOT = Path(__file__).parents[2]
RUN = ("README.md", "quick-start.md", "choosing-electrodes.md", "calibration-protocol.md")
RUN += ("serving.md", "latency.md", "user-guide.md", "installing.md", "other-runtimes.md")
PAGES = [ROOT / name if name == "README.md" else ROOT / "docs" / name for name in RUN]
BLOCK = re.compile(
    r"(?:<!-- (?P<marker>[^>]*?) -->\n\n?)?"
    r"(?:^```(?P<language>\w+)\n(?P<fenced>[\s\S]*?)^```"
    r"|(?<=\n\n)(?P<indented>(?: {4}.*\n(?:\n*(?= {4}))?)+))",
    re.MULTILINE,
)
LABELS = ["Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8", "T7", "C3", "Cz", "C4", "T8"]
LABELS += ["P7", "P3", "Pz", "P4", "P8", "O1", "Oz", "O2"]
HEADSET = ("Fz", "Cz", "Pz", "Oz", "C3", "C4")
SFREQ = 128.0
STAND_INS = {
    **{f"run{n}.edf": f"run{n}_raw.fif" for n in (1, 2, 3)},
    **{f"s01_run{n}.vhdr": f"run{n}_raw.fif" for n in (1, 2, 3)},
    "s01.edf": "run1_raw.fif",
    "ld.edf": "ld_raw.fif",
}
"""Files of the readers, and what is there instead."""
SHORTER = {
    "calibrate": ["--no-refine", "--no-report", "--grid-resolution", "8", "--quiet"],
    "montage": ["--count", "4", "--starts", "0", "--quiet"],
}
"""Added to what would take minutes; of an option given twice, the last one counts."""
NOT_RUN = {
    "pip install -e . && emag-rt demo",
    "python -m venv emag && . emag/bin/activate",
    "#include <onnxruntime_cxx_api.h>",
    'eval "$(_EMAG_RT_COMPLETE=bash_source emag-rt)"         # into ~/.bashrc',
    "emag-rt demo",
    "emag-rt demo --live",
    "emag-rt bench latency --quick --case 16:64@250",
    "emag-rt serve s01.emag --source-id AMP-1234 --name s01-HD",
    "emag-rt import-checkpoint model.pt --hd @names.txt --ld Fz,... --statistics hd_raw.fif "
    "--out s01.emag",
}
"""First lines of the blocks that are not run; the documents say why."""
DONE: set[tuple[object, ...]] = set()
OWN_PROCESS = {"serve", "simulate", "bench", "doctor"}
"""Commands that speak LSL or take the signals of their process."""


def blocks():
    """Page, marker, language and code of each block."""
    for page in PAGES:
        for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
            code = match["fenced"] or match["indented"] or ""
            if match["indented"]:
                code = re.sub("^    ", "", code, flags=re.MULTILINE).rstrip("\n") + "\n"
            python = match["language"] == "python" or re.match("from|import", code)
            yield page.name, match["marker"] or "", "python" if python else "shell", code


BLOCKS = list(blocks())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a reader has: recordings, a demonstration, a list of names."""
    folder = tmp_path_factory.mktemp("reader")
    head = SyntheticHead(LABELS, SFREQ, seed=3)

    def record(name, seconds, labels=LABELS):
        columns = match_labels(labels, head.labels, "head")
        (folder / name).parent.mkdir(exist_ok=True)
        write_raw(
            folder / name,
            head.generate(int(seconds * SFREQ))[:, columns],
            labels,
            head.sfreq,
            head.montage.positions_mm[columns],
            origin_mm=head.origin_mm,
        )

    for name in ("run1_raw.fif", "run2_raw.fif", "run3_raw.fif", "demo-out/calibration_raw.fif"):
        record(name, 12)
    record("demo-out/play_raw.fif", 8)
    record("ld_raw.fif", 8)
    (folder / "headset.txt").write_text("\n".join(HEADSET))
    calibrate = ["calibrate", "calibration_raw.fif", "--ld", "8", "--out", "demo.emag"]
    in_process(calibrate, folder / "demo-out")
    return folder


def need_bundle(folder):
    """The reader's bundle, for pages that do not calibrate it."""
    if not (folder / "s01.emag").exists():
        (folder / "s01.emag").write_bytes((folder / "demo-out" / "demo.emag").read_bytes())


def in_process(words, folder):
    """Run a command here, which saves a second of imports each time."""
    before, spins = (
        Path.cwd(),
        {k: os.environ.get(k) for k in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")},
    )
    os.chdir(folder)
    try:
        cli.main([*words, *SHORTER.get(words[0], [])], standalone_mode=False)
    finally:
        os.chdir(before)
        for name, value in spins.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def excluded(marker):
    """Commands that a marker leaves out."""
    return set(re.sub("run all but |:.*", "", marker).split(", ")) if "all but" in marker else set()


def run_shell(code, marker, folder, spawn):
    """Run the lines of a block in turn; those with & at their end stay beside the others."""
    need_bundle(folder)
    for name, stand_in in STAND_INS.items():
        code = re.sub(rf"(?<![\w-]){re.escape(name)}", stand_in, code)
    for line in code.splitlines():
        for command in found(line):
            words = shlex.split(command)[1:]
            if words[0] in excluded(marker):
                continue
            if words[0] not in OWN_PROCESS:
                key = (folder, *words)
                # Pages share lines; an export is quick, and is of the bundle that is there now.
                if key not in DONE or words[0] == "export":
                    in_process(words, folder)
                    DONE.add(key)
                continue
            child = spawn("-c", IN.format(folder=str(folder)), *words)
            if line.rstrip().endswith("&"):
                child.wait_for("playing", 60)
            else:
                assert child.finish(60) == 0, child


IN = (
    "import os, sys; os.chdir({folder!r}); sys.argv[0] = 'emag-rt';"
    "from emag_rt.cli.main import main; main()"
)


class Amplifier:
    """An amplifier, and whether it still runs."""

    def __init__(self, n_channels):
        self.n_channels, self.n_chunks = n_channels, 0

    def __bool__(self):
        return self.n_chunks < 20

    def read(self):
        self.n_chunks += 1
        stamps = (np.arange(8) + 8 * self.n_chunks) / SFREQ
        return np.random.default_rng(0).normal(size=(8, self.n_channels)), stamps


class Decoder:
    """Keeps what it is given."""

    def __init__(self):
        self.chunks = []

    def update(self, hd, stamps):
        assert hd.shape == (len(stamps), len(LABELS))
        self.chunks.append(hd)


def run_python(code, folder, monkeypatch):
    """Run Python with what a reader would have around it."""
    from emag_rt.bundle import load_bundle

    monkeypatch.chdir(folder)
    need_bundle(folder)
    labels = [electrode.label for electrode in load_bundle(folder / "s01.emag").manifest.ld]
    amplifier, decoder = Amplifier(len(labels)), Decoder()
    around = {
        "amplifier": amplifier,
        "running": amplifier,
        "decoder": decoder,
        "amplifier_labels": labels,
    }
    exec(compile(code, "snippet", "exec"), around)
    return decoder


def marked(kind):
    return [block for block in BLOCKS if block[1].startswith(kind)]


@pytest.mark.parametrize(
    ("page", "marker", "language", "code"),
    marked("run"),
    ids=[f"{page}-{i}" for i, (page, *_) in enumerate(marked("run"))],
)
@pytest.mark.lsl
def test_what_is_shown_runs(page, marker, language, code, folder, spawn, monkeypatch):
    if language == "shell":
        run_shell(code, marker, folder, spawn)
    else:
        decoder = run_python(code, folder, monkeypatch)
        assert decoder.chunks or "calibrator" in code


def test_the_graph_read_by_hand_gives_what_the_upsampler_gives(folder, monkeypatch):
    (code,) = (code for page, _, kind, code in BLOCKS if "onnxruntime" in code and kind == "python")
    need_bundle(folder)
    in_process(["export", "s01.emag", "--onnx", "s01.onnx"], folder)
    by_hand = np.concatenate(run_python(code, folder, monkeypatch).chunks)
    upsampler = Upsampler.load(folder / "s01.emag", engine="packed")
    amplifier = Amplifier(upsampler.n_inputs)
    # Until channels are judged: noise is no EEG, so some will be called bad.
    wanted = np.concatenate([upsampler.push(*amplifier.read())[0] for _ in range(6)])
    n_times = len(wanted)
    assert n_times == 48 - upsampler.look_ahead
    assert not upsampler.bad
    assert relative(by_hand[upsampler.look_ahead :][:n_times], wanted) < 1e-5


def test_every_block_says_whether_it_is_run():
    for page, marker, _, code in BLOCKS:
        reason = re.fullmatch(r"run|(?:not run|run all but [\w, -]+): \w.+", marker)
        assert reason, f"{page}: mark this block: {code}"
    assert len(marked("run")) >= 8
    not_run = {code.splitlines()[0] for _, marker, _, code in BLOCKS if "not run" in marker}
    assert not_run == NOT_RUN, "what is not run stays the exception, and is listed"


def test_the_runner_sees_blocks_of_both_kinds():
    assert {language for _, _, language, _ in BLOCKS} == {"python", "shell"}
    assert {page for page, *_ in BLOCKS} == set(RUN)


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_every_command_line_of_the_documents_is_known(page):
    for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
        code = (match["fenced"] or match["indented"] or "").replace("Fz,...", "Fz,Cz")
        code = re.sub("^    ", "", code, flags=re.MULTILINE)
        if any(True for _ in found(code)):
            parse(code)
