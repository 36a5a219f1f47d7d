"""Models of settings made of the constructor of the class that `_target_` names."""

import types
from collections.abc import Mapping, Sequence
from inspect import Parameter, signature
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, create_model

from tasks.config.fields import Group

_PLAIN = (int, float, str, bool, types.NoneType, Any)
_GATHERED = {list: list, tuple: list, Sequence: list, dict: dict, Mapping: dict}


def model_of_signature(target: Any, base: type[Group], given: frozenset[str]) -> type[BaseModel]:
    """The settings of `base`, and the arguments of a class or function.

    Args:
        target: the class or function.
        base: settings that are there whatever the target.
        given: arguments that are objects, which no setting is.
    """
    try:
        hints = get_type_hints(_callable(target))
    except Exception:  # names that are only there for type checkers
        hints = {}
    parameters = signature(target).parameters.values()
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    fields: dict[str, Any] = {
        p.name: (
            plain_type(hints.get(p.name, Any)),
            ... if p.default is Parameter.empty else p.default,
        )
        for p in named
        if p.name not in given and p.name not in base.model_fields
    }
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
    return create_model(
        f"{getattr(target, '__name__', 'Target')}Settings",
        __base__=base,
        __doc__=f"Arguments of {getattr(target, '__qualname__', target)}.",
        __cls_kwargs__={"extra": "allow" if open_ended else "forbid"},
        **fields,
    )


def _callable(target: Any) -> Any:
    """The function whose arguments count: of a class, the constructor that it has or inherits."""
    if not isinstance(target, type):
        return target
    return next(vars(one)["__init__"] for one in target.__mro__ if "__init__" in vars(one))


def plain_type(hint: Any) -> Any:
    """What of a type hint YAML can give; `Any` where the type is of another kind."""
    if hint in _PLAIN:
        return hint
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return hint
    if origin in (Union, types.UnionType):
        return Union[tuple(map(plain_type, arguments))]  # noqa: UP007 - of a tuple
    return _GATHERED.get(origin or hint, Any)
