"""Files appear whole or not at all: in a process, when it is killed, and on a full disk."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from emag_rt.bundle import save_bundle
from emag_rt.errors import OutputError
from emag_rt.files import (
    BUNDLE_ENDINGS,
    RECORDING_ENDINGS,
    neighbours,
    remove,
    replacing,
    write_text,
)
from tests.factories import make_bundle

ROOT = Path(__file__).parents[1]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with replacing(path) as beside:
        beside.write_text("new")
        assert beside.name == "a.json", "writers look at the ending"
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.json"]
    reference = tmp_path / "b"
    reference.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(reference.stat().st_mode)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_block_that_fails_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "a.json"
    path.write_text("old")

    def half():
        with replacing(path) as beside:
            beside.write_text("half")
            raise error

    with pytest.raises(error):
        half()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.json"]


def test_errors_name_option_file_and_reason(tmp_path):
    with pytest.raises(OutputError, match=r"--json .*nowhere/a\.json: .*No such file") as caught:
        write_text(tmp_path / "nowhere" / "a.json", "x", "--json")
    assert caught.value.exit_code == 9
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="Is a directory"):
        write_text(tmp_path / "folder", "x")
    with pytest.raises(OutputError, match="No space left"):
        write_text("/dev/full", "x")


def test_links_are_followed_and_devices_stay(tmp_path):
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "a.txt"
    target.write_text("old")
    link = tmp_path / "link.txt"
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_text(tmp_path / "pipe", "through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    remove(tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()


KILLED = """
import os, signal, sys
from emag_rt.files import replacing
with replacing(sys.argv[1]) as beside:
    beside.write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def writer(path, *prefix):
    """A process that is in the middle of writing a file, and is killed once told to."""
    process = subprocess.Popen(
        [*prefix, sys.executable, "-c", KILLED, path],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"writing\n"
    return process


def test_what_a_killed_process_left_is_swept(tmp_path):
    path = tmp_path / "a.npz"
    process = writer(path)
    with replacing(path) as beside:
        write_text(path, "by another thread")
        assert len(names(tmp_path)) == 3, "of a living process, and of a living thread"
        beside.write_text("whole")
    assert len(names(tmp_path)) == 2
    process.communicate()
    assert process.returncode == -9
    assert len(names(tmp_path)) == 2, "the case is real"
    remove(path)
    assert names(tmp_path) == []


def test_what_a_process_of_another_container_writes_is_left_alone(tmp_path):
    """In a process namespace of its own it has the id 2, which here is somebody else's."""
    container = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")
    if subprocess.run([*container, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no namespaces for processes here")
    process = writer(tmp_path / "a.npz", *container)
    write_text(tmp_path / "a.npz", "ours")
    assert len(names(tmp_path)) == 2
    process.communicate()
    write_text(tmp_path / "a.npz", "ours")
    assert names(tmp_path) == ["a.npz"]


def test_a_new_file_follows_no_link_and_replaces_nothing(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "a.txt").symlink_to(tmp_path / "victim")

    def write():
        with replacing(tmp_path / "a.txt", new=True) as beside:
            beside.write_text("mine")

    with pytest.raises(OutputError, match="File exists"):
        write()
    assert (tmp_path / "victim").read_text() == "precious"
    (tmp_path / "a.txt").unlink()
    write()
    assert (tmp_path / "a.txt").read_text() == "mine"
    with pytest.raises(OutputError, match="File exists"):
        write()


def test_a_name_as_long_as_the_disk_takes_is_written(tmp_path):
    write_text(tmp_path / ("ن" * 127), "x")
    assert names(tmp_path) == ["ن" * 127]


FULL = """
import json, resource, sys
from pathlib import Path
from click.testing import CliRunner
from emag_rt.cli.main import cli
from emag_rt.errors import EmagError
from emag_rt.synthetic.head import SyntheticHead
from emag_rt.recordings.write import write_raw

folder = Path(sys.argv[1])
head = SyntheticHead(16, 128.0, seed=2)
hd, bundle = folder / "hd_raw.fif", folder / "s.emag"
write_raw(hd, head.generate(128 * 20), head.labels, 128.0, head.montage.positions_mm,
          origin_mm=head.origin_mm)

def run(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments])

calibrate = ("calibrate", hd, "--ld", "6", "--out", bundle, "--no-refine", "--no-report", "--quiet")
assert run(*calibrate).exit_code == 0
import matplotlib.pyplot  # its cache of fonts has room
before = sorted(p.name for p in folder.iterdir()), bundle.read_bytes()
sys.dont_write_bytecode = True  # Python would not notice that half of it is missing
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (30, hard))
found = {}
for command in (
    ("calibrate", hd, "--ld", "5", "--out", bundle, "--no-refine", "--no-report", "--quiet"),
    ("upsample", bundle, hd, "--out", folder / "out_raw.fif"),
    ("evaluate", bundle, hd, "--json", folder / "scores.json"),
    ("montage", hd, "--count", "4", "--starts", "0", "--out", folder / "names.txt", "--quiet"),
    ("montage", hd, "--count", "4", "--starts", "0", "--picture", folder / "h.png", "--quiet"),
):
    error = run(*command).exception
    found[" ".join(map(str, command))] = [
        type(error).__name__, getattr(error, "exit_code", None), str(error)]
after = sorted(p.name for p in folder.iterdir()), bundle.read_bytes()
print(json.dumps({"found": found, "untouched": before == after, "names": after[0]}))
"""


def test_no_command_leaves_half_a_file_on_a_full_disk(tmp_path):
    """The limit on the size of files stands in for a full disk: writing fails part way."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["untouched"], told["names"]
    for command, (kind, code, message) in told["found"].items():
        assert (kind, code) == ("OutputError", 9), (command, message)
        assert "cannot be written: File too large" in message
        assert "\n" not in message


def test_a_full_standard_output_is_one_line_and_a_status(tmp_path):
    save_bundle(make_bundle(1), tmp_path / "b.emag")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "emag_rt", "inspect", "--json", tmp_path / "b.emag"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 9
    assert done.stderr == "error: standard output: cannot be written: No space left on device.\n"


@pytest.mark.parametrize(
    ("missing", "endings", "offered"),
    [
        ("s01", BUNDLE_ENDINGS, "s01.emag"),
        ("s01.emga", BUNDLE_ENDINGS, "s01.emag"),
        ("S01.html", BUNDLE_ENDINGS, ""),
        ("s01", RECORDING_ENDINGS, "s01.vhdr"),
        ("s1", BUNDLE_ENDINGS, "s01.emag"),
        ("old", RECORDING_ENDINGS, "old1.eeg"),
        ("s01_raw.fif", RECORDING_ENDINGS, "s01_raw.fif.gz"),
        ("old.eeg", RECORDING_ENDINGS, "old1.eeg"),
    ],
)
def test_only_what_can_be_read_is_offered_for_a_missing_file(tmp_path, missing, endings, offered):
    files = ("s01.emag", "s01.html", "s012.emag", "s01.vhdr", "s01.eeg", "s01.vmrk", "s01.txt")
    for name in (*files, "s01_raw.fif.gz", "old1.eeg"):
        (tmp_path / name).write_bytes(b"")
    told = neighbours(tmp_path / missing, endings)
    assert told == (f" (did you mean {offered}?)" if offered else "")


def test_what_is_offered_as_a_recording_can_be_read():
    from mne.io._read_raw import _get_supported

    from emag_rt.recordings.xdf import is_xdf

    known = _get_supported()
    assert [e for e in RECORDING_ENDINGS if e not in known and not is_xdf(Path(f"x{e}"))] == []
