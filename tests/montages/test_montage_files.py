"""Files of electrode positions as tools write them."""

import numpy as np
import pytest

from emag_rt.errors import MontageError
from emag_rt.montages.files import read_places
from emag_rt.montages.standard import standard_positions

NAMES = ["FC5", "Cz", "Oz", "Fp1", "F7", "T8", "P3", "PO8", "AF4", "CP6", "C1", "F4"]
TRUTH = {name: standard_positions("standard_1005")[name] for name in NAMES}


def angles(place):
    """Brain Products' Theta and Phi of a place."""
    theta = np.degrees(np.arccos(place[2] / np.linalg.norm(place)))
    phi = np.degrees(np.arctan2(place[1], place[0]))
    return (-theta, phi - np.sign(phi) * 180) if place[0] < 0 else (theta, phi)


def spread(places):
    """Directions, as files of angles know no more."""
    return np.array([places[name] / np.linalg.norm(places[name]) for name in NAMES])


def test_eeglab_tables_with_their_own_numbers(tmp_path):
    rows = [f"{i}\t{n}\t{p[1]}\t{-p[0]}\t{p[2]}" for i, (n, p) in enumerate(TRUTH.items(), 1)]
    (tmp_path / "cap.tsv").write_text("\n".join(["Number\tlabels\tX\tY\tZ", *rows]))
    places = read_places(tmp_path / "cap.tsv")
    assert list(places) == NAMES
    (tmp_path / "bare.tsv").write_text("\n".join(rows))
    bare = read_places(tmp_path / "bare.tsv")
    for name in NAMES:
        np.testing.assert_allclose(places[name], [TRUTH[name][1], -TRUTH[name][0], TRUTH[name][2]])
        np.testing.assert_array_equal(bare[name], places[name])


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_decimal_commas(delimiter, tmp_path):
    rows = [
        delimiter.join([n, *(f"{v:.2f}".replace(".", ",") for v in p)]) for n, p in TRUTH.items()
    ]
    (tmp_path / "cap.csv").write_text("\n".join([delimiter.join(["name", "x", "y", "z"]), *rows]))
    for name, place in read_places(tmp_path / "cap.csv").items():
        np.testing.assert_allclose(place, TRUTH[name], atol=0.006)


def test_tables_and_xml_of_angles(tmp_path):
    rows = {name: angles(place) for name, place in TRUTH.items()}
    table = [f"{name}\t{theta:.2f}\t{phi:.2f}" for name, (theta, phi) in rows.items()]
    (tmp_path / "easycap.txt").write_text("\n".join(["Site\tTheta\tPhi", *table]))
    entries = "".join(
        f"<Electrode><Name>{name}</Name><Theta>{theta:.2f}</Theta><Phi>{phi:.2f}</Phi>"
        f"<Radius>1</Radius></Electrode>"
        for name, (theta, phi) in rows.items()
    )
    unknown = "<Electrode><Name>X</Name><Theta>0</Theta><Phi>0</Phi><Radius>0</Radius></Electrode>"
    (tmp_path / "cap.bvef").write_text(f"<Electrodes>{entries}{unknown}</Electrodes>")
    for name in ("easycap.txt", "cap.bvef"):
        places = read_places(tmp_path / name)
        assert list(places) == NAMES
        np.testing.assert_allclose(spread(places), spread(TRUTH), atol=1e-3)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.tsv", "1\t2\tFz\t3\t4\t5\n2\t9\tCz\t3\t4\t5\n", "Write a header: name x y z"),
        ("a.tsv", "Fz\t1\t2\nCz\t1\t2\n", "must hold name x y z, got 3 columns"),
        ("a.bvef", "<Electrodes><Electrode>", "must be XML"),
        ("a.bvef", "<Electrodes><Electrode><Name>A</Name></Electrode></Electrodes>", "'A' must"),
        (
            "a.bvef",
            '<!DOCTYPE x [<!ENTITY a "aaaa">]><Electrodes><Name>&a;</Name></Electrodes>',
            "must be XML",
        ),
    ],
)
def test_what_cannot_be_told_is_refused(name, text, said, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(MontageError, match=said):
        read_places(tmp_path / name)
