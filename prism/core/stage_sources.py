"""What code a light stage's output comes from: its own module, and what that imports of ours.

A rule of a light stage has the hash of that code among its parameters, so that its jobs rerun when the code changes.
Comments, docstrings and the layout of the lines are left out of the hash. What belongs to the code is read off the
imports: a module that a stage begins to use cannot be forgotten.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

# how a stage reads, writes and speaks, not what it computes
PLUMBING = ("prism.core.errors", "prism.core.files", "prism.core.progress", "prism.core.recipes")
# heavy stages and the formats of what they make: a change of results raises a version (`prism.core.versions`), and a
# change of anything else shall cost no training
VERSIONED = (
    "prism.gradients",
    "prism.core.trajectories",
    "prism.stages.evaluate",
    "prism.stages.games",
    "prism.stages.memory",
    "prism.stages.rl",
    "prism.stages.trajectories",
)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
# how the parameter of a rule begins
CODE_OF = "code of "
FOLLOWED = ("prism.core", "prism.stages")


def code_of(root: str | Path, stages: Sequence[str], others: Sequence[str] = ()) -> str:
    """What a rule of a light stage is told of its code: ``code of {stage}: {hash}``.

    Args:
        root: the repository.
        stages: modules or packages of `prism.stages`, with ``/`` between names: ``scores``, ``figures/forest``.
        others: files beside the modules, relative to `root`; of those that are no Python every byte counts.
    """
    root = Path(root)
    digest = hashlib.sha256()
    for name in sorted({name for stage in stages for name in stage_sources(root, stage)}):
        digest.update(f"{name}\n{_code(root / name)}\n".encode())
    for name in others:
        path = root / name
        digest.update(_code(path).encode() if path.suffix == ".py" else path.read_bytes())
    return f"{CODE_OF}{', '.join(stages)}: {digest.hexdigest()[:16]}"


@functools.cache
def _code(path: Path) -> str:
    """The code of a file without its comments and docstrings, in one form for every layout of the lines."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def stage_sources(root: str | Path, stage: str) -> list[str]:
    """Source files of a light stage, sorted.

    Args:
        root: the repository.
        stage: a module or package of `prism.stages`, with ``/`` between names: ``scores``, ``figures/forest``.

    Returns:
        Paths relative to `root`: the stage's own and, followed through their imports, those of `prism.core` and
        `prism.stages` that hold neither plumbing nor a heavy stage.
    """
    root = Path(root)
    folder = root / "prism/stages" / stage
    own = sorted(folder.glob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    found: set[Path] = set()
    waiting = list(own)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += [_file(root, module) for module in _imports(root, path) if is_followed(module)]
    return sorted(str(path.relative_to(root)) for path in found)


def is_followed(module: str) -> bool:
    """Whether a light stage that imports a module depends on its source."""
    return _is_in(module, FOLLOWED) and not _is_in(module, PLUMBING + VERSIONED)


def _is_in(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _imports(root: Path, path: Path) -> Iterator[str]:
    """Modules of ours that a file imports, or from which it imports names."""
    for module, name in _imported_names(path):
        if module.startswith("prism."):
            yield _home(root, module, name) if name else module


def _home(root: Path, module: str, name: str) -> str:
    """Where a name that a module offers comes from: a module of the package, or one that the package takes it from."""
    package = root.joinpath(*module.split("."))
    if not package.is_dir():
        return module
    if (package / f"{name}.py").is_file() or (package / name).is_dir():
        return f"{module}.{name}"
    offered = {offer: source for source, offer in _imported_names(package / "__init__.py")}
    return offered.get(name, module)


def _file(root: Path, module: str) -> Path:
    path = root.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@functools.cache
def _imported_names(path: Path) -> tuple[tuple[str, str], ...]:
    """What a file imports at any depth, as (module, name); the name is empty for ``import MODULE``."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
    return tuple(found)
