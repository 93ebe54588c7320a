"""A real SLURM on this machine (scripts/slurm_sandbox.py), and a clone of the repository to run in."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def sandbox(root):
    """The sandbox's module, with the sandbox up; skips with the reason where there can be none."""
    spec = importlib.util.spec_from_file_location("slurm_sandbox", root / "scripts/slurm_sandbox.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if reason := module.why_not():
        pytest.skip(f"no SLURM for these tests: {reason}")
    module.start()
    yield module
    module.stop()


@pytest.fixture(scope="session")
def clone(copy_repository, tmp_path_factory) -> Path:
    """The repository as a third party would get it."""
    return copy_repository(tmp_path_factory.mktemp("clone") / "prism")


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """This interpreter's programs first on PATH, as in an activated environment; the jobs inherit it."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parent / "quick_looks"),
    }
