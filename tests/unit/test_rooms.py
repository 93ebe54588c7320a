"""Imports run one way, as the table in CONTRIBUTING.md orders the rooms; the layout of results has one home."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PATH_PARTS = re.compile(r"\.parts\[[^\]]*\]$|\.parent\.name$")
ROOM = re.compile(r"`prism/([\w/]+?)(?:/|\.py)`")


def module_of(path: Path, root: Path) -> str:
    """Dotted name of a file of the package."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(tree: ast.AST, modules: set[str]) -> set[str]:
    """Modules of ours that a file imports anywhere, inside functions too; not what type checkers alone read."""
    found = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & modules
        elif isinstance(node, ast.ImportFrom) and node.module in modules:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & modules
            # names of the package itself, not modules in it
            found |= {node.module} if inner - modules else set()
        else:
            found |= imports_of(node, modules)
    return found


@pytest.fixture(scope="module")
def imports(root) -> dict[str, set[str]]:
    files = {module_of(path, root): path for path in sorted((root / "prism").rglob("*.py"))}
    return {name: imports_of(ast.parse(path.read_text()), set(files)) for name, path in files.items()}


@pytest.fixture(scope="module")
def allowed(root) -> dict[str, set[str]]:
    """The rooms of CONTRIBUTING's table, from top to bottom, and what each may import."""
    rows = [line.split("|") for line in (root / "CONTRIBUTING.md").read_text().splitlines() if line.startswith("| `")]
    rows = [row for row in rows if ROOM.search(row[1])][: 1 + [row[1] for row in rows].index(" `prism/core/` ")]
    return {room: set(re.findall(r"`(\w[\w/]*)`", row[3])) for row in rows for room in ROOM.findall(row[1])}


def room_of(module: str, rooms: dict[str, set[str]]) -> str | None:
    """The innermost room of the table that holds a module; None for the package's own name and version."""
    path = module.replace(".", "/").removeprefix("prism").removeprefix("/")
    return max((room for room in rooms if f"{path}/".startswith(f"{room}/")), key=len, default=None)


def test_every_module_has_a_room(imports, allowed):
    assert {"cli", "tools", "stages", "rl/in_verl", "environments", "core"} <= set(allowed)
    homeless = [name for name in imports if room_of(name, allowed) is None]
    # what the interpreter starts, and the stand-in for a library
    assert [name for name in homeless if not name.startswith("prism.shims")] == ["prism", "prism.__main__"]


def test_the_table_runs_downwards(allowed):
    rooms = list(allowed)
    for place, room in enumerate(rooms):
        assert allowed[room] <= set(rooms[place + 1 :]), f"{room} names a room that is not below it"


def test_no_import_leaves_the_table(imports, allowed):
    wrong = []
    for module, used in imports.items():
        home = room_of(module, allowed)
        for other in sorted(used):
            room = room_of(other, allowed)
            if home and room and room != home and room not in allowed[home]:
                wrong.append(f"{module} imports {other}")
    assert wrong == []


def test_no_two_modules_need_each_other(imports):
    """Raises CycleError, which names the modules of the circle."""
    parents = {name: used - {name, "prism"} for name, used in imports.items()}
    assert len(list(TopologicalSorter(parents).static_order())) > 100


def test_what_the_test_sees():
    """An import within a function counts, one for type checkers does not."""
    modules = {"prism.a", "prism.b", "prism.c", "prism.c.d"}
    text = "def f():\n    from prism.a import x\nif TYPE_CHECKING:\n    import prism.b\nfrom prism.c import d"
    assert imports_of(ast.parse(text), modules) == {"prism.a", "prism.c.d"}


def layouts_in(tree: ast.AST, folders: set[str]) -> list[str]:
    """Where a module spells the layout of a folder of results, or takes such a path apart.

    A text without spaces in which a folder of results is followed by a slash; such a folder's name as a part of a path,
    by ``/``, ``joinpath`` or ``glob``; the last parts of a path, or its parent's name.
    """
    names = "|".join(sorted(folders))
    below = re.compile(rf"(^|/)({names})/|/({names})$")
    found = []
    for node in ast.walk(tree):
        parts: list[ast.expr] = []
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not re.search(r"\s", node.value):
            found += [f"{node.lineno}: {node.value}"] if below.search(node.value) else []
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            parts = [node.left, node.right]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("joinpath", "glob", "rglob"):
            parts = node.args
        elif isinstance(node, ast.Subscript | ast.Attribute) and PATH_PARTS.search(ast.unparse(node)):
            found.append(f"{node.lineno}: {ast.unparse(node)}")
        found += [
            f"{part.lineno}: {part.value}" for part in parts if isinstance(part, ast.Constant) and part.value in folders
        ]
    return found


# paths of other folders: the data sets' own, the repository's, the kernel's, archives; what examples in helps name
OTHER_PATHS = {
    "prism/environments/alfworld/data.py": {"Path(task.game).parent.name"},
    "prism/environments/alfworld/dataset.py": {"trial.parent.name"},
    "prism/core/eto.py": {"path.parent.name"},
    "prism/core/memory.py": {"memory"},
    "prism/tools/doctor.py": {"backbones", "rl", "sft"},
}


def test_the_layout_of_results_is_spelt_in_one_module(root):
    """What a folder of results holds is read off `PATTERNS` and the rules' own patterns."""
    text = (root / "prism/core/results.py").read_text()
    folders = set(re.findall(r"self\.root / f\"(\w+)/", text)) | {"benchmarks", "cells", "figures", "logs", "tables"}
    assert {"backbones", "data", "eval", "gradnorms", "passrates", "rl", "scores", "sft", "splits"} <= folders
    spelt = []
    for path in sorted((root / "prism").rglob("*.py")):
        place = path.relative_to(root).as_posix()
        if place != "prism/core/results.py":
            other = OTHER_PATHS.get(place, set())
            spelt += [
                f"{place}:{found}"
                for found in layouts_in(ast.parse(path.read_text()), folders)
                if found.split(": ", 1)[1] not in other
            ]
    assert spelt == []


def test_files_are_short(root):
    """A file that one can read at a sitting; the workflow's rules too."""
    lengths = {
        path.relative_to(root).as_posix(): len(path.read_text().splitlines())
        for pattern in ("prism/**/*.py", "rules/*.smk", "Snakefile", "scripts/*.py")
        for path in root.glob(pattern)
    }
    assert [name for name, lines in lengths.items() if lines > (400 if name.endswith(".py") else 160)] == []
    assert sum(lines for name, lines in lengths.items() if name.startswith("rules/")) < 1200


def test_the_workflow_touches_nothing_private_of_snakemake(root):
    """What begins with an underscore changes without notice."""
    for path in [*root.glob("rules/*.smk"), root / "Snakefile", root / "records.smk"]:
        assert not re.search(r"\w\._[a-z]", path.read_text()), path


# what transformers calls by its own list of arguments
CALLED_BY_LIBRARIES = {"block_causal_attention", "packed_attention"}


def test_functions_take_few_arguments(root):
    """Seven or more are told apart by nobody: a small dataclass says what belongs together. Commands have options."""
    long = []
    for path in sorted((root / "prism").rglob("*.py")):
        if path.relative_to(root / "prism").parts[0] == "cli":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                given = node.args
                names = {one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)} - {"self", "cls"}
                if len(names) >= 7 and node.name not in CALLED_BY_LIBRARIES:
                    long.append(f"{path.relative_to(root)}: {node.name}")
    assert long == []
