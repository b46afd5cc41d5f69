"""Recordings whose channels the user names: the same numbers as with their right labels."""

import mne
import numpy as np
import pytest
from click.testing import CliRunner

from emag_rt.bundle import save_bundle
from emag_rt.cli.main import cli
from emag_rt.montages.headsets import read_headset
from emag_rt.recordings.read import read_recording
from tests.factories import LD, make_bundle, mixing

CAP = read_headset("biosemi-32")
ORDER = (*LD[::-1], "TRG")


def raw_file(path, labels, seed=0):
    rng = np.random.default_rng(seed)
    noise = np.cumsum(rng.normal(size=(4000, len(labels))), axis=0) @ mixing(len(labels))
    noise -= np.linspace(noise[0], noise[-1], len(noise))
    info = mne.create_info(list(labels), 200.0, "eeg")
    raw = mne.io.RawArray(noise.T * 1e-6, info, verbose="ERROR")
    raw.save(path, fmt="double", overwrite=True, verbose="ERROR")
    return path


def run(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def test_a_headset_names_the_channels_of_a_file(tmp_path):
    sent = raw_file(tmp_path / "sent_raw.fif", CAP.sends)
    right = raw_file(tmp_path / "right_raw.fif", CAP.channels)
    read = read_recording(sent, names=CAP.names)
    assert read.labels == CAP.labels
    np.testing.assert_array_equal(read.positions_mm, read_recording(right).positions_mm)
    assert read.template == "standard_1005"
    bundles = []
    for path, options in ((sent, ["--headset", "biosemi-32"]), (right, [])):
        out = tmp_path / f"{path.stem}.emag"
        rest = ["--ld", 8, "--no-refine", "--no-report", "--quiet", "--out", out]
        done = run("calibrate", path, *options, *rest)
        assert done.exit_code == 0, done.output
        assert f"{path.name}: positions by the channels' labels: template standard_1005" in (
            done.output
        )
        bundles.append(done.stdout.split("SHA")[0].split("NMSE")[1])
    assert bundles[0] == bundles[1]


@pytest.mark.parametrize("command", ["upsample", "evaluate"])
def test_channels_in_the_files_own_order(command, tmp_path):
    bundle = tmp_path / "b.emag"
    save_bundle(make_bundle(1), bundle)
    hd = (*make_bundle(1).manifest.hd_montage.labels, "TRG")
    order = ORDER if command == "upsample" else hd
    plain = raw_file(tmp_path / "plain_raw.fif", [f"Ch{i + 1}" for i in range(len(order))])
    named = raw_file(tmp_path / "named_raw.fif", order)
    outs = []
    for path, options in ((plain, ["--channels", ",".join(order)]), (named, [])):
        out = tmp_path / f"out_{path.stem}.json"
        if command == "upsample":
            out = tmp_path / f"out_{path.stem}"
            out = out.with_name(out.name + ".fif")
            done = run("upsample", bundle, path, "--out", out, *options)
        else:
            done = run("evaluate", bundle, path, "--json", out, *options)
        assert done.exit_code == 0, done.output
        outs.append(
            read_recording(out, need_positions=False).data_uv.tobytes()
            if command == "upsample"
            else out.read_text(encoding="utf-8")
        )
    assert outs[0] == outs[1]
    refused = run(command, bundle, plain, *(["--out", out] if command == "upsample" else []))
    assert refused.exit_code != 0
    assert "--headset NAME" in str(refused.exception)
    assert "--channels A,B" in str(refused.exception)


def test_names_must_be_as_many_as_the_channels(tmp_path):
    bundle = tmp_path / "b.emag"
    save_bundle(make_bundle(1), bundle)
    plain = raw_file(tmp_path / "plain_raw.fif", [f"Ch{i + 1}" for i in range(9)])
    done = run(
        "upsample", bundle, plain, "--out", tmp_path / "o_raw.fif", "--channels", ",".join(LD)
    )
    assert done.exit_code != 0
    assert "each of its 9 channels in order, got 8 names" in str(done.exception)
