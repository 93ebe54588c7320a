"""What is installed here, part by part: what `pip install .[PART]` brings."""

from __future__ import annotations

import platform

import prism
from prism.core.versions import installed_version

# the packages by which a part is known; each stands in the part's list in pyproject.toml
PARTS = {
    "probe": ("torch", "transformers", "pyarrow", "scipy", "matplotlib"),
    "workflow": ("snakemake", "llamafactory", "alfworld", "textworld"),
    "rl": ("verl", "ray"),
    "dev": ("pytest", "ruff", "mkdocs"),
}


def describe() -> list[str]:
    """This package's version, Python's, then a line a part: its packages' versions, or how to get what is missing.

    Nothing is imported: the answer is there at once.
    """
    return [
        f"prism-rebuildable {prism.__version__}, Python {platform.python_version()}",
        *(f"{part:<10}{_found(part, packages)}" for part, packages in PARTS.items()),
    ]


def _found(part: str, packages: tuple[str, ...]) -> str:
    versions = {package: installed_version(package) for package in packages}
    here = ", ".join(f"{package} {found}" for package, found in versions.items() if found)
    missing = [package for package, found in versions.items() if not found]
    if not missing:
        return here
    remedy = f"no {', '.join(missing)}: pip install '.[{part}]' in the repository"
    return f"{here}; {remedy}" if here else remedy
