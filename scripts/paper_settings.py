"""The table of docs/fidelity.md: every setting that the paper states, beside this project's value and its config key.

    python scripts/paper_settings.py       # writes the table between its two marks

The paper's side is resources/paper/v1/settings.yaml, this project's side the config at paper scale.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import yaml
from config_tables import ROOT, scale_config

from prism.settings import StageRecipes

SETTINGS = ROOT / "resources/paper/v1/settings.yaml"
PAGE = ROOT / "docs/fidelity.md"
BEGIN, END = "<!-- made by scripts/paper_settings.py -->\n", "<!-- end of what scripts/paper_settings.py made -->\n"


def paper_settings() -> list[dict[str, Any]]:
    """What the paper states, in its order."""
    return yaml.safe_load(SETTINGS.read_text(encoding="utf-8"))["settings"]


def value_of(key: str, config: Mapping[str, Any]) -> Any:
    """What a config key comes to at paper scale, defaults included; a list where benchmarks or backbones differ.

    Raises:
        KeyError, AttributeError: there is no such key.
    """
    stage, _, field = key.partition(".")
    recipes = StageRecipes(config)
    backbones = config["tables"]["table2"]["backbones"]
    made = {
        "probe": lambda: [recipes.probe(benchmark) for benchmark in config["benchmarks"]],
        "scores": lambda: [recipes.scores()],
        "sft": lambda: [recipes.sft(*pair) for pair in itertools.product(config["benchmarks"], backbones)],
        "rl": lambda: [recipes.rl(benchmark, "grpo") for benchmark in config["benchmarks"]],
    }
    if stage in made and "." not in field:
        values = [getattr(recipe, field) for recipe in made[stage]()]
    else:
        values = list(_walk(config, key.split(".")))
    distinct = [value for index, value in enumerate(values) if value not in values[:index]]
    return distinct[0] if len(distinct) == 1 else distinct


def _walk(node: Any, path: list[str]) -> Any:
    if not path:
        yield node
        return
    for name in list(node) if path[0] == "*" else [path[0]]:
        yield from _walk(node[name], path[1:])


def table() -> str:
    """The table as Markdown."""
    config = scale_config("paper")
    lines = ["| paper | setting | it says | here | config key |", "| --- | --- | --- | --- | --- |"]
    for row in paper_settings():
        key = row.get("key")
        here = [f"`{_text(value_of(key, config))}`"] if key else []
        here += [row["here"]] if "here" in row else []
        shown = f"`{key}`" if key else "fixed"
        lines.append(f"| {row['place']} | {row['setting']} | {row['paper']} | {': '.join(here)} | {shown} |")
    return "\n".join(lines) + "\n"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}".replace("e-0", "e-")
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_text(inner)}" for key, inner in value.items())
    return ", ".join(map(_text, value)) if isinstance(value, list) else str(value)


def page_with(made: str) -> str:
    """The page with a table between its marks."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    return before + BEGIN + made + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(page_with(table()), encoding="utf-8")
