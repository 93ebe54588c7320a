"""The tables of config/README.md: every key with its type, default, values by scale and meaning.

    python scripts/config_tables.py        # writes each table between its two marks

A stage's settings come from its recipe, what else a config may hold from config/schema.yaml, values from config/*.yaml.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from snakemake.utils import update_config

from prism.core.recipes import setting_of
from prism.settings import STAGES, read_schema

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "config/README.md"
SCALES = ("demo", "laptop", "paper")
MARKS = re.compile(r"(<!-- keys of (\S+) -->\n).*?(<!-- end of keys -->\n)", re.DOTALL)
# what a benchmark lays over a stage's settings has the stage's keys; the sections of DeepSpeed have its own
WHOLE = ("overlay", "deepspeed")


def scale_config(scale: str) -> dict[str, Any]:
    """The config of a scale: an overlay, where it is not the demo's own."""
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    if scale != "demo":
        update_config(config, yaml.safe_load((ROOT / f"config/{scale}.yaml").read_text(encoding="utf-8")))
    return config


def table(section: str) -> str:
    """The table of a section of the config, a dotted name; ``top`` for the keys of no section."""
    schema = read_schema(ROOT / "config/schema.yaml")
    rule = schema
    for name in section.split(".") if section != "top" else ():
        rule = _resolved(rule, schema)["properties"][name]
    # backbones have names of the user's, and each the same keys
    rule = rule["additionalProperties"] if isinstance(rule.get("additionalProperties"), Mapping) else rule
    shown = list(_keys(_resolved(rule, schema), schema, section == "top"))
    configs = [scale_config(scale) for scale in SCALES]
    heads = ("key", "type", "default", *SCALES, "meaning")
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for key, own in shown:
        path = key if section == "top" else f"{section}.{key}"
        values = [_text(_value(config, path)) for config in configs]
        default = _text(own["default"]) if "default" in own else ""
        lines.append(f"| {' | '.join([f'`{key}`', _type(own), default, *values, _meaning(section, key, own)])} |")
    return "\n".join(lines) + "\n"


def _keys(rule: Mapping[str, Any], schema: Mapping[str, Any], flat: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Dotted names of the settings below a rule of the schema, with their rules; `flat` leaves out sections."""
    for name, stated in rule["properties"].items():
        own = _resolved(stated, schema)
        whole = str(stated.get("$ref", "")).rpartition("/")[2] in WHOLE
        if "properties" in own and not whole:
            if not flat:
                yield from ((f"{name}.{key}", inner) for key, inner in _keys(own, schema, False))
        elif not (flat and own.get("type") == "object"):
            yield name, own


def _resolved(rule: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """A rule with what it refers to."""
    if "$ref" not in rule:
        return dict(rule)
    return schema["$defs"][rule["$ref"].rpartition("/")[2]] | {k: v for k, v in rule.items() if k != "$ref"}


def _value(config: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(config, Mapping) or name not in config:
            return None
        config = config[name]
    return config


def _type(rule: Mapping[str, Any]) -> str:
    """Type, values and bounds of a setting, in words."""
    if "enum" in rule:
        return ", ".join(f"`{json.dumps(value) if isinstance(value, bool) else value}`" for value in rule["enum"])
    words = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true`, `false`"}
    kind = words.get(rule.get("type", ""), "list" if rule.get("type") == "array" else "mapping")
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    return " ".join([kind, *(f"{sign} {rule[name]:g}" for name, sign in signs.items() if name in rule)])


def _text(value: Any) -> str:
    """A value as a cell shows it: as YAML, on one line."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:g}".replace("e-0", "e-")
    if isinstance(value, Mapping) and len(str(value)) > 60:
        return "set"
    return f"`{yaml.safe_dump(value, default_flow_style=True, width=1000).strip().removesuffix('...').strip()}`"


def _meaning(section: str, key: str, rule: Mapping[str, Any]) -> str:
    """What a setting does; of a stage also whether it says how the machine is used."""
    words = [rule.get("description", "")]
    if section in STAGES and key in STAGES[section][0].__dataclass_fields__:
        known = setting_of(STAGES[section][0].__dataclass_fields__[key])
        # that it is one algorithm's is said in words
        words += [
            f"(with `{other}` {' or '.join(f'`{value}`' for value in values)})"
            for other, values in known.only.items()
            if other != "algorithm"
        ]
        words += ["(machine)"] if known.machine else []
    return " ".join(words)


def page(text: str) -> str:
    """The page with every table between its marks."""
    return MARKS.sub(lambda found: found[1] + table(found[2]) + found[3], text)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
