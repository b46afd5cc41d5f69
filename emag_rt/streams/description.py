"""Reading a stream's description, as :meth:`Inlet.description` gives it."""

from __future__ import annotations

from collections.abc import Iterator

from emag_rt.streams.metadata import Tree


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
