"""Help of a function that hands its options on to a class."""

from __future__ import annotations

import inspect
from typing import Any


def spell_options(load: Any, made: type) -> None:
    """Let ``help`` of a class method list its class's options, with their types and words.

    Parameters
    ----------
    load : method
        A class method that ends with ``**options``, described as "As for the class."
    made : type
        Its class, whose first argument the method makes itself.
    """
    _first, *options = inspect.signature(made).parameters.values()
    spelled = inspect.signature(load.__func__)
    kept = [p for p in spelled.parameters.values() if p.kind is not p.VAR_KEYWORD]
    load.__func__.__signature__ = spelled.replace(parameters=[*kept, *options])
    if load.__doc__ and made.__doc__:  # python -OO has none
        words = inspect.cleandoc(made.__doc__).partition(f"{options[0].name} : ")
        listed = words[1] + words[2].partition("\n\nAttributes\n")[0]
        load.__func__.__doc__ = inspect.cleandoc(load.__doc__).replace(
            "**options\n    As for the class.", listed
        )
