"""Recipes: a stage's settings as a dataclass, built from the slice of the config that reaches it as JSON."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from prism.core.errors import BadInput

Recipe = TypeVar("Recipe")


def build_recipe(kind: type[Recipe], values: Mapping[str, Any] | str, place: str) -> Recipe:
    """Build the dataclass `kind` from a mapping or a JSON text; nested dataclasses are built too.

    Args:
        place: where the values come from, for the error (``--recipe``, ``config.yaml: sft``).

    Raises:
        BadInput: a key is unknown or missing, or a value has the wrong type.
    """
    if isinstance(values, str):
        try:
            values = json.loads(values)
        except json.JSONDecodeError as error:
            raise BadInput(place, f"is not valid JSON ({error.msg})", "quote it as one JSON object") from error
    if not isinstance(values, Mapping):
        raise BadInput(place, "is not a mapping", f"give the keys of {kind.__name__}")
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(fields)}"
            raise BadInput(place, f"unknown key {key!r}", hint)
    hints = get_type_hints(kind)
    built = {}
    for name, field in fields.items():
        if name not in values:
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                raise BadInput(place, f"key {name!r} is missing", f"add it ({kind.__name__})")
            continue
        built[name] = _convert(hints[name], values[name], f"{place}.{name}")
    return kind(**built)


def _convert(kind: Any, value: Any, place: str) -> Any:
    """Check `value` against a type annotation: scalars, tuples, dicts and nested dataclasses."""
    if dataclasses.is_dataclass(kind):
        return build_recipe(kind, value, place)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_convert(arguments[0], item, place) for item in value)
    if origin is dict and isinstance(value, Mapping):
        return {key: _convert(arguments[1], item, f"{place}.{key}") for key, item in value.items()}
    if origin in (tuple, dict):
        expected = "list" if origin is tuple else "mapping"
        raise BadInput(place, f"{value!r} is not a {expected}", f"give a {expected}")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, bool):
        raise BadInput(place, f"{value!r} is not a whole number", "give a number")
    if kind in (int, float, str, bool) and not isinstance(value, kind):
        raise BadInput(place, f"{value!r} is not of type {kind.__name__}", f"give a {kind.__name__}")
    return value
