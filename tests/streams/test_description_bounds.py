"""What a stream says of itself is bounded before memory is taken."""

import pylsl
import pytest

from emag_rt.errors import StreamMismatch
from emag_rt.streams import description as description_module
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.lsl import LslSource, StreamQuery

pytestmark = pytest.mark.live


@pytest.fixture
def outlet(unique_id):
    """Make an outlet whose description is changed before it goes on the network."""
    kept = []

    def make(change, sfreq=100.0, n_channels=2):
        info = pylsl.StreamInfo("amp", "EEG", n_channels, sfreq, "float32", unique_id)
        change(info.desc())
        kept.append(pylsl.StreamOutlet(info))
        return StreamQuery(source_id=unique_id)

    return make


def deep(node):
    for _ in range(500):
        node = node.append_child("a")


def many(node):
    for _ in range(1000):
        node.append_child("a")


def long(node):
    node.append_child_value("a", "x" * (9 << 20))


def test_a_long_description_is_refused_unread(outlet, monkeypatch):
    asked = []
    monkeypatch.setattr(pylsl.StreamInlet, "info", lambda *_: asked.append(1))
    with pytest.raises(StreamMismatch, match="at most 8 MiB, it is longer"):
        LslSource.open(outlet(long), 10.0)
    assert not asked


def test_many_nodes_are_refused(outlet, monkeypatch):
    monkeypatch.setattr(description_module, "MAX_NODES", 500)
    with pytest.raises(StreamMismatch, match="at most 500 nodes"):
        LslSource.open(outlet(many), 10.0).description()


def test_a_deep_description_is_cut(outlet):
    source = LslSource.open(outlet(deep), 10.0)
    tree, depth = source.description(), 0
    while isinstance(tree, tuple) and tree:
        tree, depth = tree[0][1], depth + 1
    assert depth == 9
    source.close()


@pytest.mark.parametrize("sfreq", [1e300, float("nan")])
def test_absurd_rates_are_refused(outlet, sfreq):  # of NaN, liblsl itself makes no stream
    with pytest.raises(StreamMismatch):
        LslSource.open(outlet(many, sfreq), 10.0)


@pytest.mark.parametrize(("sfreq", "n"), [(-1.0, 2), (float("inf"), 2), (100.0, 10**9)])
def test_absurd_headers_are_refused(sfreq, n):
    head = StreamFormat("amp", "EEG", "x", sfreq, (), (), n_channels=n)
    with pytest.raises(StreamMismatch, match="Mend the amplifier's outlet"):
        description_module.require_sane(head, "stream 'amp'")
