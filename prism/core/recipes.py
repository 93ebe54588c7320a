"""Recipes: a stage's settings as a dataclass, built from the slice of the config that reaches it as JSON.

A field made by `setting` says once what its key means, which values it may have, when it applies, and whether it shapes
the result or only says how the machine is used. The config's schema, its tables in config/README.md, the checks of a
command and the canonical form by which two recipes are compared are all read off it.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from prism.core.errors import BadInput

Recipe = TypeVar("Recipe")
_KEY = "setting"
_TYPES = {int: "integer", float: "number", str: "string", bool: "boolean"}
_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


@dataclass(frozen=True)
class Setting:
    """What is known of a setting besides its type and default.

    Attributes:
        meaning: what it does, and where its value comes from; a cell of the table in config/README.md.
        at_least, above, at_most: bounds of a number.
        choices: the values that it may have; none for any.
        machine: it says how the machine is used. Another value changes the result by no more than another machine
            would, that is by rounding, and is no reason to run anything again.
        added: results were made before there was this setting: at its default it is left out of what decides a result.
        only: settings beside it and the values of theirs with which it applies; otherwise it is not read.
        schema: JSON schema of a value that its type does not describe.
    """

    meaning: str = ""
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    choices: tuple[str, ...] = ()
    machine: bool = False
    added: bool = False
    only: Mapping[str, Sequence[str]] = field(default_factory=dict)
    schema: Mapping[str, Any] | None = None


def json_text(value: Any) -> str:
    """Compact JSON with sorted keys: equal settings are equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def setting(
    meaning: str,
    default: Any = dataclasses.MISSING,
    *,
    default_factory: Any = dataclasses.MISSING,
    **known: Any,
) -> Any:
    """A field of a recipe; `known` are the other attributes of `Setting`."""
    return field(default=default, default_factory=default_factory, metadata={_KEY: Setting(meaning, **known)})


def setting_of(field_: dataclasses.Field) -> Setting:
    """What is known of a field; nothing of one that was not made by `setting`."""
    return field_.metadata.get(_KEY, Setting())


def build_recipe(kind: type[Recipe], values: Mapping[str, Any] | str, place: str, machine: str = "{}") -> Recipe:
    """Build the dataclass `kind` from a mapping or a JSON text; nested dataclasses are built too.

    Args:
        place: where the values come from, for the error (``--recipe``, ``config sft``).
        machine: settings of the machine as JSON, laid over the values.

    Raises:
        BadInput: a key is unknown or missing, or a value has the wrong type or is out of bounds.
    """
    values = _mapping(kind, values, place) | dict(_mapping(kind, machine, "--machine"))
    fields = {one.name: one for one in dataclasses.fields(kind) if one.init}
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(fields)}"
            raise BadInput(place, f"unknown key {key!r}", hint)
    hints = get_type_hints(kind)
    built = {}
    for name, one in fields.items():
        if name not in values:
            if one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
                raise BadInput(place, f"key {name!r} is missing", f"add it ({kind.__name__})")
            continue
        built[name] = _convert(hints[name], values[name], f"{place}.{name}")
        _check(setting_of(one), built[name], f"{place}.{name}")
    return kind(**built)


def _mapping(kind: type, values: Mapping[str, Any] | str, place: str) -> dict[str, Any]:
    if isinstance(values, str):
        try:
            values = json.loads(values)
        except json.JSONDecodeError as error:
            raise BadInput(place, f"is not valid JSON ({error.msg})", "quote it as one JSON object") from error
    if not isinstance(values, Mapping):
        raise BadInput(place, "is not a mapping", f"give the keys of {kind.__name__}")
    return dict(values)


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
    if kind in _TYPES and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        whole = kind is int and isinstance(value, float) and value.is_integer()
        raise BadInput(place, f"{value!r} is not {_WORDS[kind]}", f"write {value:.0f}" if whole else "see its type")
    return value


def _check(known: Setting, value: Any, place: str) -> None:
    """Refuse a value that is out of bounds or not among the choices."""
    values = value if isinstance(value, tuple) else (value,)
    if known.choices and not set(values) <= set(known.choices):
        raise BadInput(place, f"unknown value {value!r}", f"use one of {', '.join(known.choices)}")
    if known.at_least is not None and not value >= known.at_least:
        raise BadInput(place, f"{value!r} is too small", f"give at least {known.at_least}")
    if known.above is not None and not value > known.above:
        raise BadInput(place, f"{value!r} is not above {known.above}", "give a larger number")
    if known.at_most is not None and not value <= known.at_most:
        raise BadInput(place, f"{value!r} is too large", f"give at most {known.at_most}")


def result_settings(recipe: Any) -> dict[str, Any]:
    """What decides a stage's result, in one form for all spellings.

    Defaults are written out, numbers have their field's type, and what does not apply beside the other settings is left
    out, as are the settings of the machine and those that were added and are at their default.
    """
    return {
        one.name: result_settings(value) if dataclasses.is_dataclass(value) else value
        for one, value, known in _settings(recipe)
        if not known.machine
        and not (known.added and value == one.default)
        and all(getattr(recipe, key) in values for key, values in known.only.items())
    }


def machine_settings(recipe: Any) -> dict[str, Any]:
    """The settings of a recipe that say how the machine is used."""
    return {one.name: value for one, value, known in _settings(recipe) if known.machine}


def _settings(recipe: Any) -> list[tuple[dataclasses.Field, Any, Setting]]:
    return [(one, getattr(recipe, one.name), setting_of(one)) for one in dataclasses.fields(recipe)]


def schema_of(kind: type, leave_out: Sequence[str] = ()) -> dict[str, Any]:
    """JSON schema of a recipe's settings, without those that reach it from elsewhere in the config."""
    hints = get_type_hints(kind)
    fields = [one for one in dataclasses.fields(kind) if one.name not in leave_out]
    required = [
        one.name for one in fields if one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
    ]
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": {one.name: _schema_of_field(hints[one.name], one) for one in fields},
    }


def _schema_of_field(kind: Any, one: dataclasses.Field) -> dict[str, Any]:
    known = setting_of(one)
    if known.schema is not None:
        rule = dict(known.schema)
    elif dataclasses.is_dataclass(kind):
        rule = schema_of(kind)
    elif known.choices:
        rule = {"enum": list(known.choices)}
        if get_origin(kind) is tuple:
            rule = {"type": "array", "items": rule, "uniqueItems": True}
    else:
        rule = {"type": _TYPES[kind]}
    bounds = {"minimum": known.at_least, "exclusiveMinimum": known.above, "maximum": known.at_most}
    rule |= {name: bound for name, bound in bounds.items() if bound is not None}
    if one.default is not dataclasses.MISSING:
        rule["default"] = list(one.default) if isinstance(one.default, tuple) else one.default
    return rule | ({"description": known.meaning} if known.meaning else {})
