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
from typing import NamedTuple

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
        digest.update(f"{name}\n{_read(root / name).code}\n".encode())
    for name in others:
        path = root / name
        digest.update(_read(path).code.encode() if path.suffix == ".py" else path.read_bytes())
    return f"{CODE_OF}{', '.join(stages)}: {digest.hexdigest()[:16]}"


class _Source(NamedTuple):
    """A file's code without comments and docstrings, in one form for every layout of the lines; and what it imports.

    Attributes:
        code: the code.
        imports: what is imported at any depth, as (module, name); the name is empty for ``import MODULE``.
    """

    code: str
    imports: tuple[tuple[str, str], ...]


@functools.cache
def _read(path: Path) -> _Source:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = []
    for node in _statements(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            imports += [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            imports += [(alias.name, "") for alias in node.names]
        elif isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return _Source(ast.unparse(tree), tuple(imports))


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all statements in it; imports and docstrings are in no expression."""
    yield node
    for field in ("body", "handlers", "orelse", "finalbody", "cases"):
        for part in getattr(node, field, ()):
            yield from _statements(part)


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
            waiting += _followed(root, path)
    return sorted(str(path.relative_to(root)) for path in found)


def is_followed(module: str) -> bool:
    """Whether a light stage that imports a module depends on its source."""
    return _is_in(module, FOLLOWED) and not _is_in(module, PLUMBING + VERSIONED)


def _is_in(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@functools.cache
def _followed(root: Path, path: Path) -> tuple[Path, ...]:
    """Files of ours that a file imports, or from which it imports names, as far as a light stage depends on them."""
    ours = [(module, name) for module, name in _read(path).imports if module.startswith("prism.")]
    homes = [_home(root, module, name) if name else module for module, name in ours]
    return tuple(_file(root, home) for home in dict.fromkeys(homes) if is_followed(home))


def _home(root: Path, module: str, name: str) -> str:
    """Where a name that a module offers comes from: a module of the package, or one that the package takes it from."""
    package = root.joinpath(*module.split("."))
    if not package.is_dir():
        return module
    if (package / f"{name}.py").is_file() or (package / name).is_dir():
        return f"{module}.{name}"
    offered = {offer: source for source, offer in _read(package / "__init__.py").imports}
    return offered.get(name, module)


def _file(root: Path, module: str) -> Path:
    path = root.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
