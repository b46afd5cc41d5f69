"""What is wrong with settings, in words: path, rule, value, and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from types import UnionType
from typing import Annotated, Literal, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from emag_rt.errors import short

_MOST_TOLD = 8
_BOUNDS = {
    "gt": "more than",
    "ge": "at least",
    "lt": "less than",
    "le": "at most",
    "min_length": "of length at least",
    "max_length": "at most",
}


def describe(error: ValidationError, root: type[BaseModel]) -> str:
    """Say what is wrong, one after the other: path, rule, value, and what is allowed.

    Parameters
    ----------
    error : ValidationError
        Of a model made of sections.
    root : type of BaseModel
        That model.

    Returns
    -------
    str
        One line, whatever the values are.
    """
    items = error.errors()
    lines = []
    for item in items[:_MOST_TOLD]:
        key = ".".join(short(str(part))[1:-1] for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"{key}: unknown key; {_known(item['loc'][:-1], root)}")
        else:
            allowed = _allowed(item["loc"], root)
            rule = item["msg"].removeprefix("Value error, ")[:200]
            message = f"{key}: {rule}, got {short(item['input'])}"
            lines.append(f"{message} (allowed: {allowed})" if allowed else message)
    if len(items) > _MOST_TOLD:
        lines.append(f"and {len(items) - _MOST_TOLD} more")
    return "; ".join(lines) + "."


def _allowed(loc: tuple[int | str, ...], root: type[BaseModel]) -> str:
    """What a key may be, in words; empty when it is not a single value."""
    model = root
    for part in loc[:-1]:
        found = model.model_fields.get(str(part))
        if found is None or not _is_section(found.annotation):
            return ""
        model = found.annotation
    last = model.model_fields.get(str(loc[-1])) if loc else None
    return _in_words(last.annotation, last.metadata) if last is not None else ""


def _in_words(annotation: object, metadata: Sequence[object] = ()) -> str:
    """Type and bounds of a field."""
    if get_origin(annotation) is Annotated:
        kind, *more = get_args(annotation)
        inside = [m for one in more for m in getattr(one, "metadata", [one])]
        return _in_words(kind, [*inside, *metadata])
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(_in_words(one, metadata) for one in get_args(annotation))
    if get_origin(annotation) is Literal:
        return ", ".join(get_args(annotation))
    names: dict[object, str] = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "text",
    }
    if annotation is type(None):
        return "nothing"
    rules = {name: getattr(m, name) for m in metadata for name in _BOUNDS if hasattr(m, name)}
    bounds = [f"{word} {rules[name]:,}" for name, word in _BOUNDS.items() if name in rules]
    return " ".join([names.get(annotation, ""), " and ".join(bounds)]).strip()


def _known(section: tuple[int | str, ...], root: type[BaseModel]) -> str:
    model = root
    for part in section:
        annotation = model.model_fields[str(part)].annotation
        if not _is_section(annotation):
            return "it takes no keys"
        model = annotation
    return "known are " + ", ".join(model.model_fields)


def _is_section(annotation: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
