"""WebShop in RL: the source of its environments, what counts as a success, and purchases in several threads."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from prism.environments.webshop import rewards
from prism.environments.webshop.environment import WebshopGames
from prism.stages import rl


def test_every_benchmark_of_rl_has_a_source_of_environments():
    pytest.importorskip("verl")
    from prism.verl_plugin.agent_loop import load_class

    assert load_class(rl.GAMES["webshop"]) is WebshopGames
    assert {"alfworld", "webshop"} == set(rl.GAMES)


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
