"""A light stage reruns when anything that its output comes from changes, and for nothing else."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from prism.core.stage_sources import CODE_OF, PLUMBING, VERSIONED, code_of, is_followed, stage_sources

FORMATTED = """import os


def add(first, second):
    # a comment
    return (
        first + second
    )
"""
DOCUMENTED = '''"""What it is."""
import os
def add(first, second):
    """The sum."""
    return first + second
'''


@pytest.fixture(scope="module")
def rules(root, tmp_path_factory) -> dict[str, dict[str, str]]:
    """Parameters and inputs that say what a rule's output is made by, by the rule's name.

    A rule without output runs whenever it is asked for.
    """
    outer = tmp_path_factory.mktemp("outer") / "Snakefile"
    outer.write_text(
        f'import json\n\ninclude: "{root}/Snakefile"\n'
        "made = [rule for rule in workflow.rules if rule.output]\n"
        "told = {rule.name: {**dict(rule.input.items()), **dict(rule.params.items())} for rule in made}\n"
        'kept = ("code", "version", "source")\n'
        "said = {name: {key: str(values[key]) for key in kept if key in values} for name, values in told.items()}\n"
        'print("RULES", json.dumps(said), file=sys.stderr)\n'
    )
    command = [sys.executable, "-m", "snakemake", "-n", "-s", str(outer), "--cores", "1", "--", "audit"]
    result = subprocess.run(command, cwd=root, text=True, capture_output=True, check=False)
    line = next((line for line in result.stderr.splitlines() if line.startswith("RULES ")), None)
    assert line, result.stderr[-2000:]
    return json.loads(line.removeprefix("RULES "))


@pytest.fixture(scope="module")
def light_stages(rules) -> set[str]:
    """Stages whose code some rule names."""
    named = [values["code"].split(": ")[0] for values in rules.values() if "code" in values]
    return {stage for name in named for stage in name.removeprefix(CODE_OF).split(", ")}


def used_modules(module: ModuleType) -> set[str]:
    """Modules of ours whose functions, classes and modules a loaded module has taken names from."""
    used = set()
    for value in vars(module).values():
        home = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        if isinstance(home, str) and home.startswith("prism.") and home != module.__name__:
            used.add(home)
    return used


def test_every_rule_names_its_code_or_a_version(rules):
    """Else an edit of its code would rerun nothing, in silence."""
    assert {"scores", "split", "table4", "panel", "figure_forest", "sft"} <= set(rules)
    assert [name for name, values in rules.items() if not values] == []


def test_what_a_stage_uses_once_it_is_loaded_is_among_its_sources(root, light_stages):
    """Another way to the same answer: the names that the loaded modules hold, rather than their text."""
    assert {"scores", "splits", "panels", "tables", "cells"} <= light_stages
    missing = []
    for stage in sorted(light_stages):
        sources = stage_sources(root, stage)
        for path in sources:
            module = importlib.import_module(path.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
            for used in filter(is_followed, used_modules(module)):
                file = Path(importlib.import_module(used).__file__).relative_to(root)
                if str(file) not in sources:
                    missing.append((stage, path, str(file)))
    assert missing == []


def stage_of(folder: Path, code: str) -> str:
    """What a rule is told of a stage with this code, in a repository of its own."""
    (folder / "prism/stages").mkdir(parents=True)
    (folder / "prism/stages/sums.py").write_text(code)
    (folder / "prism/stages/page.html").write_text("<p>")
    return code_of(folder, ["sums"], ["prism/stages/page.html"])


@pytest.mark.parametrize("code", [FORMATTED, DOCUMENTED])
def test_a_comment_a_docstring_and_the_layout_cost_nothing(tmp_path, code):
    plain = "import os\n\n\ndef add(first, second):\n    return first + second\n"
    told = stage_of(tmp_path / "plain", plain)
    assert re.fullmatch("code of sums: [0-9a-f]{16}", told)
    assert stage_of(tmp_path / "other", code) == told
    assert stage_of(tmp_path / "changed", code.replace("+", "-")) != told


def test_a_file_beside_the_modules_counts_as_it_is(tmp_path):
    told = stage_of(tmp_path, FORMATTED)
    (tmp_path / "prism/stages/page.html").write_text("<p >")
    assert code_of(tmp_path, ["sums"], ["prism/stages/page.html"]) != told


@pytest.mark.parametrize("line", ["import prism.core.more", "from prism.core import more"])
def test_code_that_is_imported_in_any_way_counts(tmp_path, line):
    (tmp_path / "prism/core").mkdir(parents=True)
    (tmp_path / "prism/core/more.py").write_text("MORE = 1\n")
    stage_of(tmp_path, line)
    assert stage_sources(tmp_path, "sums") == ["prism/core/more.py", "prism/stages/sums.py"]


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("scores", {"core/concentration.py", "core/epsilon.py", "core/csv_files.py", "stages/scores.py"}),
        ("splits", {"core/splits.py", "core/csv_files.py", "core/detours.py", "stages/splits.py"}),
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


def test_no_light_stage_depends_on_a_heavy_one(root, light_stages):
    """A comment in what trains must not redraw a table, let alone train again."""
    heavy = {"prism/stages/sft.py", "prism/stages/rl.py", "prism/stages/evaluate.py", "prism/stages/probe.py"}
    for stage in light_stages:
        assert not heavy & set(stage_sources(root, stage)), stage


def test_what_is_left_out_exists(root):
    for module in PLUMBING + VERSIONED:
        path = root.joinpath(*module.split("."))
        assert path.is_dir() or path.with_suffix(".py").is_file(), module
