"""Reading a stream's description, as :meth:`Inlet.description` gives it."""

from __future__ import annotations

from collections.abc import Iterator

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
