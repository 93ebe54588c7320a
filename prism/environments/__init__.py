"""The benchmarks: ALFWorld on the unmodified TextWorld engine, WebShop on an engine of our own."""

from __future__ import annotations

import importlib
from typing import Any

from prism.core.benchmarks import find_benchmark


def load(name: str) -> Any:
    """What a ``module:name`` of the registry names."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def load_data(benchmark: str, place: object = "benchmark") -> Any:
    """How a benchmark's tasks and trajectories are made: its `prism.environments.base.BenchmarkData`.

    Raises:
        BadInput: there is no such benchmark; names `place`.
    """
    return load(find_benchmark(benchmark, place).data)()
