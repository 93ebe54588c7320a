"""The experiment's config: checked against the schema and against itself before anything is planned."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from prism.core.errors import BadInput
from prism.core.methods import build_methods


def check_config(config: Mapping[str, Any], schema_path: str | Path) -> None:
    """Check a config; nothing is changed.

    Raises:
        BadInput: one line with the key, what is wrong with it and what is allowed.
    """
    schema = yaml.safe_load(Path(schema_path).read_text(encoding="utf-8"))
    error = best_match(Draft202012Validator(schema).iter_errors(config))
    if error is not None:
        raise _describe(error)
    known = {"methods": build_methods(config["methods"]), **{key: config[key] for key in ("backbones", "benchmarks")}}
    for kind in ("tables", "figures"):
        for product, target in config[kind].items():
            for key, names in known.items():
                for name in target.get(key, []):
                    _require_known(name, names, f"config {kind}.{product}.{key}", key)
            if "benchmark" in target:
                place = f"config {kind}.{product}.benchmark"
                _require_known(target["benchmark"], known["benchmarks"], place, "benchmarks")
    draws = config["scores"]["random_draws"]
    if max(config["seeds"]) >= draws:
        raise BadInput("config seeds", f"seed {max(config['seeds'])} has no random split", "raise scores.random_draws")


def _require_known(name: str, known: Mapping[str, Any], place: str, kind: str) -> None:
    if name not in known:
        raise BadInput(place, f"{name!r} is not among the config's {kind}", _suggest(name, known))


def _describe(error: ValidationError) -> BadInput:
    place = "config " + (".".join(map(str, error.absolute_path)) or "(top level)")
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        unknown = sorted(set(error.instance) - set(known))
        return BadInput(place, f"unknown key {unknown[0]!r}", _suggest(unknown[0], known))
    if error.validator == "required":
        missing = sorted(set(error.validator_value) - set(error.instance))
        return BadInput(place, f"key {missing[0]!r} is missing", "see config/README.md")
    if error.validator == "enum":
        return BadInput(place, f"{error.instance!r} is not allowed", f"use one of {error.validator_value}")
    return BadInput(place, error.message, "see config/README.md")


def _suggest(word: str, known: Any) -> str:
    near = difflib.get_close_matches(str(word), [str(key) for key in known], 1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(map(str, known))}"
