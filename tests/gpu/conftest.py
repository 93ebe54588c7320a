"""These tests need an NVIDIA GPU; elsewhere they are skipped with the reason."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
# random models and the reference in float64 are those of the CPU's tests
sys.path.insert(0, str(HERE.parent / "helpers"))


def pytest_collection_modifyitems(items):
    """Everything in this folder needs a GPU."""
    for item in items:
        if HERE in Path(item.fspath).parents:
            item.add_marker(pytest.mark.gpu)
            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))
