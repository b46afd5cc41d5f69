"""Output electrodes by name, file, label and position."""

import json
import subprocess
import sys

import mne
import numpy as np
import pytest

from emag_rt import Upsampler
from emag_rt.bundle import save_bundle
from emag_rt.core.alignment import similarity
from emag_rt.errors import MontageError
from emag_rt.montages.files import read_places
from emag_rt.montages.resolve import left_out_nmse, resolve_montage
from emag_rt.montages.standard import standard_names, standard_positions
from emag_rt.recordings.positions import template
from tests.factories import LD, REST, ld_signal, make_bundle

HD = LD + REST


@pytest.fixture(scope="module")
def bundle():
    """A bundle whose cap is where the 10-05 system has it, in a frame of its own."""
    bundle = make_bundle(5)
    known = standard_positions("10-05")
    places = (np.array([known[e.label] for e in bundle.manifest.hd]) - [0, 15, 40]) * 0.95
    errors = {label: 0.1 + 0.01 * i for i, label in enumerate(REST)}
    manifest = bundle.manifest.model_copy(
        update={
            "hd": [
                e.model_copy(update={"position_mm": tuple(float(v) for v in p)})
                for e, p in zip(bundle.manifest.hd, places, strict=True)
            ],
            "scores": {"left_out": {"nmse": 0.15, "spacing_mm": 35.0, "per_channel": errors}},
        }
    )
    return type(bundle)(**{**vars(bundle), "manifest": manifest})


@pytest.mark.parametrize("name", standard_names())
def test_the_package_knows_the_positions_that_mne_knows(name):
    """Up to the head frame, which MNE may define anew: compared after the best motion."""
    theirs = template(name)
    ours = standard_positions(name)
    assert set(ours) == set(theirs)
    a = np.array(list(ours.values()))
    b = np.array([theirs[label] for label in ours])
    scale, *_, residual = similarity(b, a)
    assert scale == pytest.approx(1.0, abs=1e-3)
    assert residual.max() < 0.05


@pytest.mark.parametrize("mne_has", ["standard_1020", "colin27_1020"])
@pytest.mark.parametrize("typed", ["standard_1020", "colin27_1020"])
def test_either_name_of_a_montage_works_in_older_and_newer_mne(monkeypatch, mne_has, typed):
    """MNE 1.13 renamed it, logs that the old name will go, and then knows the new one alone."""
    here = mne.channels.make_standard_montage
    newest = "colin27_1020" in mne.channels.get_builtin_montages()

    def make(name):
        if name != mne_has:
            raise ValueError(name)
        return here("colin27_1020" if newest else "standard_1020")

    monkeypatch.setattr(mne.channels, "get_builtin_montages", lambda: [mne_has, "biosemi64"])
    monkeypatch.setattr(mne.channels, "make_standard_montage", make)
    theirs, ours = template.__wrapped__(typed), standard_positions(typed)
    assert set(theirs) == set(ours)


def test_mne_logs_nothing_about_names_that_will_go():
    with mne.utils.catch_logging(verbose="WARNING") as log:
        template.__wrapped__("standard_1005")
    assert log.getvalue() == ""


def test_standard_montage_on_a_cap(bundle):
    found = resolve_montage("Standard_1020", bundle)
    worn = dict(zip(found.montage.labels, found.worn, strict=True))
    for label in HD:
        assert worn[label] == HD.index(label)
    assert worn["AFz"] is None
    known = standard_positions("standard_1005")["AFz"]
    place = found.montage.positions_mm[found.montage.labels.index("AFz")]
    np.testing.assert_allclose(place, (known - [0, 15, 40]) * 0.95, atol=0.1)


@pytest.mark.parametrize("unit", [1.0, 10.0, 1000.0])
@pytest.mark.parametrize(
    ("suffix", "header", "row"),
    [
        (".tsv", "name\tx\ty\tz\ttype\n", "{}\t{}\t{}\t{}\tcup\n"),
        (".csv", "x,y,z,label\n", "{1},{2},{3},{0}\n"),
        (".sfp", "", "{} {} {} {}\n"),
        (".txt", "# made by hand\n", "{};{};{};{}\n"),
    ],
)
def test_tables_in_any_unit(tmp_path, unit, suffix, header, row):
    places = standard_positions("biosemi32")
    lines = [row.format(k, *(float(v) for v in p / unit)) for k, p in places.items()]
    path = tmp_path / f"electrodes{suffix}"
    path.write_text(header + "".join(lines))
    found = read_places(path)
    assert list(found) == list(places)
    np.testing.assert_allclose(list(found.values()), list(places.values()), rtol=1e-9)


def test_json_units_fiducials_and_missing_positions(tmp_path):
    path = tmp_path / "electrodes.json"
    path.write_text(json.dumps({"unit": "cm", "positions": {"Fz": [1, 2, 3], "LPA": [0, 0, 1]}}))
    assert read_places(path).keys() == {"Fz"}
    np.testing.assert_allclose(read_places(path)["Fz"], [10, 20, 30])
    table = tmp_path / "electrodes.tsv"
    table.write_text("name\tx_m\ty_m\tz_m\nFz\t0\t0.05\t0.08\nREF\tn/a\tn/a\tn/a\n")
    assert read_places(table).keys() == {"Fz"}
    np.testing.assert_allclose(read_places(table)["Fz"], [0, 50, 80])


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("a.tsv", "name\tx\ty\tz\nFz\t1\t2\n", "line 2"),
        ("a.tsv", "name\tx\ty\tz\nFz\tone\t2\t3\n", "numbers"),
        ("a.csv", "Fz,1,2,3\nFz,4,5,6\n", "line 2"),
        ("a.csv", "Fz,1,2,inf\n", "finite"),
        ("a.csv", "Fz,1,2,3\nCz,4,5,6\n", "State the unit"),
        ("a.csv", "", "none"),
        ("a.json", "[1, 2]", "JSON"),
        ("a.json", '{"Fz": [1, 2]}', "Fz"),
        ("a.json", '{"unit": "inch", "positions": {"Fz": [1, 2, 3]}}', "inch"),
        ("a.elc", "anything", "name, x, y, z"),
    ],
)
def test_files_that_cannot_be_used(bundle, tmp_path, name, text, match):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(MontageError, match=match):
        resolve_montage(str(path), bundle)
    with pytest.raises(MontageError, match="read"):
        resolve_montage(str(tmp_path / "absent.tsv"), bundle)


def test_lists_of_labels_and_positions(bundle):
    found = resolve_montage("cap, AFz,Cz, NEW=10/-20/80", bundle)
    assert found.montage.labels == (*HD, "AFz", "NEW")
    assert found.worn == (*range(len(HD)), None, None)
    np.testing.assert_array_equal(found.montage.positions_mm[-1], [10, -20, 80])
    for text, match in (
        ("Fz,Nowhere", "Nowhere"),
        ("standard_9999", "standard"),
        ("P1=1/2", "x/y/z"),
        ("P1=1/2/nan", "x/y/z"),
        (" , ", "at least one"),
    ):
        with pytest.raises(MontageError, match=match):
            resolve_montage(text, bundle)


def test_long_lists_are_no_file_names(bundle):
    wanted = [f"P{i}={i}/0/90" for i in range(60)]
    placed = resolve_montage(",".join(wanted), bundle)
    assert len(placed.montage) == 60


def test_upsampler_tells_virtual_from_worn(bundle):
    ld = ld_signal(40)
    own = Upsampler(bundle, engine="packed")
    assert not any(own.virtual)
    more = Upsampler(bundle, engine="packed", montage="cap,AFz")
    assert more.virtual == (*[False] * len(HD), True)
    assert more.n_measured == own.n_measured == len(LD)
    a, b = own.push(ld)[0], more.push(ld)[0]
    np.testing.assert_array_equal(a[:, : len(LD)], b[:, : len(LD)])
    assert np.isfinite(b[:, -1]).all()
    assert more.expected_nmse[: len(LD)] == (None,) * len(LD)
    assert more.expected_nmse[len(LD)] == 0.25, "worn and learned: cross-validated"
    assert 0.1 <= more.expected_nmse[-1] <= 0.2, "nobody wore it: from electrodes left out"
    assert "1 virtual" in more.montage_note
    onnx = Upsampler(bundle, engine="onnx", montage="cap,AFz").push(ld)[0]
    np.testing.assert_allclose(onnx, b, rtol=1e-3, atol=1e-2)


def test_expected_error_is_local_and_unknown_beyond_the_cap(bundle):
    manifest = bundle.manifest
    errors = manifest.scores["left_out"]["per_channel"]
    at = {e.label: np.array(e.position_mm) for e in manifest.hd}
    left, right = left_out_nmse(manifest, np.array([at["Fp2"], at["Oz"]]))
    assert abs(left - errors["Fp2"]) < abs(left - errors["Oz"])
    assert abs(right - errors["Oz"]) < abs(right - errors["Fp2"])
    assert left_out_nmse(manifest, np.array([[0.0, 0.0, -95.0]])) == [None]
    silent = manifest.model_copy(update={"scores": {"left_out": "?"}})
    assert left_out_nmse(silent, np.array([at["Fp2"]])) == [None]
    for odd in ([1], {"Fp2": 10**400}):
        scores = {"left_out": {"per_channel": odd, "spacing_mm": 20.0}}
        strange = manifest.model_copy(update={"scores": scores})
        assert left_out_nmse(strange, np.array([at["Fp2"]])) == [None]


SERVING = """
import sys
import emag_rt.cli.serve, emag_rt.daemon.process
from emag_rt import Upsampler
for montage in sys.argv[2:]:
    assert any(Upsampler.load(sys.argv[1], montage=montage).virtual), montage
print(*sorted(sys.modules))
"""


def test_serving_a_montage_needs_neither_torch_nor_mne(bundle, tmp_path):
    path, table = tmp_path / "a.emag", tmp_path / "cap.tsv"
    save_bundle(bundle, path)
    places = standard_positions("easycap-M1")
    table.write_text("".join(f"{k} {p[0]} {p[1]} {p[2]}\n" for k, p in places.items()))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SERVING, path, "10-05", "biosemi256", table, "AFz"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    heavy = {"torch", "mne", "scipy.signal", "matplotlib", "calibration"}
    assert set(done.stdout.split()) & heavy == set()
