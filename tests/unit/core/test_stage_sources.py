"""A light stage reruns when anything that its output comes from changes, and for nothing else."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

from prism.core.stage_sources import PLUMBING, VERSIONED, is_followed, stage_sources

HEAD = r"^ *(?:use rule \w+ as|rule) "
RULE = re.compile(rf"{HEAD}(\w+)\b(.*?)(?={HEAD}|\Z)", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"\bsource\(\"([\w/]+)\"\)|\bfigure_sources\(([^)]*)\)")


def rules(root: Path) -> dict[str, str]:
    """The text of every rule of the workflow, by its name."""
    texts = [path.read_text() for path in sorted((root / "rules").rglob("*.smk"))]
    return {name: body for text in texts for name, body in RULE.findall(text)}


def light_stages(root: Path) -> set[str]:
    """Stages that some rule names as its source."""
    text = "".join(path.read_text() for path in (root / "rules").rglob("*.smk"))
    stages = set()
    for stage, figures in NAMED.findall(text):
        stages |= {stage} - {""} | {f"figures/{name}" for name in re.findall(r'"(\w+)"', figures)}
    return stages


def used_modules(module: ModuleType) -> set[str]:
    """Modules of ours whose functions, classes and modules a loaded module has taken names from."""
    used = set()
    for value in vars(module).values():
        home = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        if isinstance(home, str) and home.startswith("prism.") and home != module.__name__:
            used.add(home)
    return used


def test_every_rule_has_a_source_or_a_version(root):
    """Else an edit of its code would rerun nothing, in silence."""
    found = rules(root)
    assert {"scores", "split", "table4", "alfworld_panel", "figure_forest", "sft", "fetch"} <= set(found)
    without = [name for name, body in found.items() if "source=" not in body and "version=STAGE_VERSIONS" not in body]
    assert without == []


def test_what_a_stage_uses_once_it_is_loaded_is_among_its_sources(root):
    """Another way to the same answer: the names that the loaded modules hold, rather than their text."""
    stages = light_stages(root)
    assert {"scores", "splits", "panels", "tables", "cells", "figures/consensus"} <= stages
    missing = []
    for stage in sorted(stages):
        sources = stage_sources(root, stage)
        for path in sources:
            module = importlib.import_module(path.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
            for used in filter(is_followed, used_modules(module)):
                file = Path(importlib.import_module(used).__file__).relative_to(root)
                if str(file) not in sources:
                    missing.append((stage, path, str(file)))
    assert missing == []


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("scores", {"core/concentration.py", "core/csv_files.py", "stages/scores.py"}),
        ("splits", {"core/splits.py", "core/csv_files.py", "stages/splits.py"}),
        # games and trajectories are heavy stages, whose version says when their results change
        ("panels", {"stages/panels.py"}),
        # a figure takes one line of text from the tables, not their rendering
        (
            "figures/forest",
            {"core/csv_files.py", "stages/figures/forest.py", "stages/figures/style.py", "stages/tables/notes.py"},
        ),
    ],
)
def test_sources_of_a_stage(root, stage, expected):
    assert {path.removeprefix("prism/") for path in stage_sources(root, stage)} == expected


def test_no_light_stage_depends_on_a_heavy_one(root):
    """A comment in what trains must not redraw a table, let alone train again."""
    heavy = {"prism/stages/sft.py", "prism/stages/rl.py", "prism/stages/evaluate.py", "prism/stages/probe.py"}
    for stage in light_stages(root):
        assert not heavy & set(stage_sources(root, stage)), stage


def test_what_is_left_out_exists(root):
    for module in PLUMBING + VERSIONED:
        path = root.joinpath(*module.split("."))
        assert path.is_dir() or path.with_suffix(".py").is_file(), module


def test_stages_import_names_from_modules_only(root):
    """`import prism.core.x` would not be followed."""
    for path in [*(root / "prism/stages").rglob("*.py"), *(root / "prism/core").rglob("*.py")]:
        imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import)]
        assert not [alias.name for node in imports for alias in node.names if alias.name.startswith("prism.")], path
