"""WebShop in RL: the source of its environments, what counts as a success, and purchases in several threads."""

from __future__ import annotations

import importlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from prism.core.benchmarks import BENCHMARKS
from prism.environments.alfworld.engine import AlfworldGames
from prism.environments.webshop import rewards
from prism.environments.webshop.environment import WebshopGames


@pytest.mark.parametrize(("benchmark", "expected"), [("alfworld", AlfworldGames), ("webshop", WebshopGames)])
def test_every_benchmark_has_a_source_of_environments(benchmark, expected):
    module, name = BENCHMARKS[benchmark].environments.split(":")
    assert getattr(importlib.import_module(module), name) is expected


def test_titles_are_tagged_by_one_thread_at_a_time(monkeypatch):
    inside = []

    def tagger(title: str):
        inside.append(title)
        time.sleep(0.005)
        assert len(inside) == 1
        inside.clear()
        return ()

    monkeypatch.setattr(rewards, "_noun_pipeline", lambda: tagger)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(rewards.nouns, [f"title that no other test tags {n}" for n in range(8)]))
    assert found == [()] * 8
