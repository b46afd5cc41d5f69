"""Reading a stream's description, as :meth:`Inlet.description` gives it."""

from __future__ import annotations

from collections.abc import Iterator

from emag_rt.errors import StreamMismatch
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.metadata import Tree

# Descriptions come from the network; real ones have four levels and some ten nodes a channel.
MAX_DEPTH = 8
MAX_NODES = 200_000
MAX_BYTES = 8 << 20
MAX_CHANNELS = 10_000
MAX_RATE_HZ = 1e6


def children(tree: Tree, name: str) -> Tree:
    """What the first node of that name holds; nothing where there is none."""
    return next((c for n, c in tree if n == name and isinstance(c, tuple)), ())


def texts(tree: Tree) -> Iterator[tuple[str, str]]:
    """Names and texts of the nodes that hold text."""
    return ((name, text) for name, text in tree if isinstance(text, str))


def text_at(tree: Tree, path: str) -> str:
    """Text of a node, empty where it is absent; ``a/b`` is the node b within a."""
    *parents, name = path.split("/")
    for parent in parents:
        tree = children(tree, parent)
    return next((text for n, text in texts(tree) if n == name), "")


class NodeBudget:
    """Nodes that may still be read of a description."""

    def __init__(self, what: str) -> None:
        self._what, self._left = what, MAX_NODES

    def take(self) -> None:
        """Count one."""
        self._left -= 1
        if self._left < 0:
            raise StreamMismatch(
                f"{self._what}: its description must have at most {MAX_NODES:,} nodes, it has "
                "more. Mend the amplifier's outlet."
            )


def require_sane(head: StreamFormat, what: str) -> None:
    """Refuse a header that asks for absurd memory, before any is taken.

    Raises
    ------
    StreamMismatch
        If there are too many channels, or the rate is no number, negative or absurd.
    """
    if not 0 <= head.sfreq <= MAX_RATE_HZ:  # NaN compares false
        raise StreamMismatch(
            f"{what}: its rate must be a number from 0 to {MAX_RATE_HZ:,.0f} Hz, got "
            f"{head.sfreq:g}. Mend the amplifier's outlet (nominal_srate)."
        )
    if not 0 < head.n_channels <= MAX_CHANNELS:
        raise StreamMismatch(
            f"{what}: it must have 1 to {MAX_CHANNELS:,} channels, got {head.n_channels:,}. Mend "
            "the amplifier's outlet."
        )
