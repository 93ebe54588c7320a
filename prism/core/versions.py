"""Versions: of the heavy stages, raised when a change of code changes results, and of installed packages.

A heavy stage's jobs do not rerun because its source was edited (a comment must not cost 300 GPU-hours); they rerun
because its number here was raised. Light stages need no number: the hash of their code is a parameter of their rule.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

STAGE_VERSIONS = {
    "fetch": 1,
    "games": 1,
    "trajectories": 2,
    "backbone": 2,
    "probe": 3,
    "sft": 2,
    "rl": 4,
    "evaluate": 3,
    "pass_rates": 2,
}


def installed_version(package: str) -> str:
    """The version of an installed package, which is not imported; empty where there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
