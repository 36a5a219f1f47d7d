"""What a setting may be, in words, from its type: for messages and for the documentation."""

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tasks.config.fields import LARGEST, MOST

_NOUNS = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    NoneType: "null",
    Any: "anything",
}


def allowed(field: FieldInfo) -> str:
    """The values that a field may have, such as ``a number above 0, or null``."""
    return _described(field.annotation, list(field.metadata))


def _described(annotation: Any, metadata: list[Any]) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _described(arguments[0], [*_flat(list(arguments[1:])), *metadata])
    if origin in (Union, UnionType):
        parts = dict.fromkeys(_described(one, metadata) for one in arguments)
        return ", or ".join(parts)
    if origin is Literal:
        return " or ".join(map(_value, arguments))
    if origin is list:
        return _list(arguments[0], metadata)
    if origin is dict:
        return "a mapping"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"a group of {', '.join(annotation.model_fields)}"
    return f"{_NOUNS[annotation]}{_bounds(metadata)}"


def _flat(metadata: list[Any]) -> list[Any]:
    """Constraints, those inside pydantic's `Field` taken out."""
    return [
        inner
        for one in metadata
        for inner in (one.metadata if isinstance(one, FieldInfo) else [one])
    ]


def _list(entry: Any, metadata: list[Any]) -> str:
    least = next((m.min_length for m in metadata if isinstance(m, MinLen)), 0)
    most = next((m.max_length for m in metadata if isinstance(m, MaxLen)), None)
    inner = _described(entry, [])
    if least and least == most:
        return f"a list of {least}, each {inner}"
    return f"a list{' that is not empty' if least else ''}, each entry {inner}"


def _bounds(metadata: list[Any]) -> str:
    low = high = ""
    for one in metadata:
        if isinstance(one, Ge):
            low = f"from {one.ge}"
        elif isinstance(one, Gt):
            low = f"above {one.gt}"
        elif isinstance(one, Le) and one.le not in (MOST, LARGEST):
            high = f"to {one.le}"
        elif isinstance(one, Lt):
            high = f"below {one.lt}"
    if low and high.startswith("below"):
        return f" {low} and {high}"
    return "".join(f" {part}" for part in (low, high) if part)


def _value(value: Any) -> str:
    return (
        {True: "true", False: "false", None: "null"}.get(value, str(value))
        if (isinstance(value, bool) or value is None)
        else str(value)
    )
