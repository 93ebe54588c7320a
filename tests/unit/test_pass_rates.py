"""Pass rates: counts over repeated episodes, the seeded order of ties, and the split that is made from them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_corpus import FORM, save_toy_model

from prism.core.csvfiles import read_table, write_table
from prism.core.episodes import Feedback
from prism.core.errors import BadInput
from prism.core.recipes import build_recipe
from prism.environments.base import Panel, Task, write_panel
from prism.environments.pool import EnvironmentFailure
from prism.stages import evaluate, passrates
from prism.stages.splits import make_split

RECIPE = passrates.PassRatesRecipe(
    prompt=FORM, max_steps=2, temperature=1.0, top_p=1.0, max_new_tokens=4, batch_size=8, workers=1, threads=1,
    rollouts=4, seed=0,
)  # fmt: skip
PANEL = Panel("alfworld", "train", tuple(Task(f"t{number}", "pick", f"game {number}") for number in range(5)))


class CountingPool:
    """A game called ``game N`` is solved by its first N rollouts, whatever the agent does; game 4 breaks."""

    def __init__(self, *_: object):
        self.waves: list[list[str]] = []

    def __enter__(self):
        return self

    def __exit__(self, *_: object):
        pass

    def start(self, games):
        self.waves.append(list(games))
        self.games = list(games)
        return [("look.", Feedback("a room.", ("look",))) for _ in games]

    def step(self, actions):
        return [(slot, self._answer(slot)) for slot, _ in actions]

    def _answer(self, slot):
        number = int(self.games[slot].split()[1])
        if number == 4:
            return EnvironmentFailure("broken")
        rollout = slot - self.games.index(self.games[slot])
        won = rollout < number
        return Feedback("a room.", ("look",), won, won, float(won))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_toy_model(tmp_path_factory.mktemp("model") / "model")


def measure(model: Path, folder: Path, monkeypatch, recipe=RECIPE, panel=PANEL) -> tuple[Path, CountingPool]:
    pool = CountingPool()
    monkeypatch.setattr(evaluate, "EnvironmentPool", lambda *_: pool)
    write_panel(folder / "panel.json", panel)
    for task in panel.tasks:
        (folder / task.game).touch()
    passrates.measure_pass_rates(model, folder, folder / "panel.json", folder / "rates.csv", recipe)
    return folder / "rates.csv", pool


def test_a_pass_rate_is_the_share_of_solved_rollouts(model, tmp_path, monkeypatch):
    table = read_table(measure(model, tmp_path, monkeypatch)[0])
    assert table.column("id") == ["t0", "t1", "t2", "t3", "t4"]
    assert table.numbers("pass_rate") == [0.0, 0.25, 0.5, 0.75, 0.0]
    assert table.numbers("solved") == [0, 1, 2, 3, 0]
    assert table.numbers("rollouts") == [4] * 5
    assert table.numbers("errors") == [0, 0, 0, 0, 4]
    assert table.note("tied") == "2"
    assert table.note("tied_share") == "0.4000"


def test_waves_bound_the_open_environments_and_do_not_change_the_counts(model, tmp_path, monkeypatch):
    monkeypatch.setattr(passrates, "EPISODES_AT_ONCE", 9)
    path, pool = measure(model, tmp_path, monkeypatch)
    assert [len(wave) for wave in pool.waves] == [8, 8, 4]
    assert read_table(path).numbers("solved") == [0, 1, 2, 3, 0]


def test_equal_runs_are_equal_bytes(model, tmp_path, monkeypatch):
    first = measure(model, tmp_path, monkeypatch)[0].read_bytes()
    assert measure(model, tmp_path, monkeypatch)[0].read_bytes() == first


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(0, 5))
def test_ranks_are_an_order_that_keeps_the_rates_and_ignores_the_listing(rates, seed):
    ids = [f"task-{number}" for number in range(len(rates))]
    ranks = passrates.tie_broken_ranks(ids, rates, seed)
    assert sorted(ranks) == list(range(len(ids)))
    by_rank = sorted(zip(ranks, rates, strict=True))
    assert [rate for _, rate in by_rank] == sorted(rates)
    backwards = passrates.tie_broken_ranks(ids[::-1], rates[::-1], seed)
    assert backwards[::-1] == ranks


def test_another_seed_breaks_ties_in_another_order():
    ids = [f"task-{number}" for number in range(20)]
    assert passrates.tie_broken_ranks(ids, [0] * 20, 0) != passrates.tie_broken_ranks(ids, [0] * 20, 1)


def ranked_table(path: Path, rates: list[float]) -> Path:
    ids = [f"task-{number}" for number in range(len(rates))]
    ranks = passrates.tie_broken_ranks(ids, rates, 0)
    write_table(path, [], ["id", "pass_rate", "pass_rate_rank"], zip(ids, rates, ranks, strict=True))
    return path


def test_a_split_of_tied_pass_rates_has_two_halves_and_says_what_chance_decided(tmp_path):
    rates = [0.0] * 8 + [0.5, 1.0]
    split = make_split(ranked_table(tmp_path / "rates.csv", rates), "pass_rate", 50, tmp_path / "split.csv")
    assert (split.count("sft"), split.count("rl")) == (5, 5)
    table = read_table(tmp_path / "split.csv")
    assert table.numbers("score") == rates
    assert table.column("regime")[8:] == ["rl", "rl"]
    assert table.note("tied") == "8"
    assert table.note("decided_by_tie_break") == "8"
    assert table.note("decided_by_tie_break_share") == "0.8000"


def test_a_split_between_two_rates_was_not_decided_by_chance(tmp_path):
    make_split(ranked_table(tmp_path / "rates.csv", [0.0, 0.0, 1.0, 1.0]), "pass_rate", 50, tmp_path / "split.csv")
    table = read_table(tmp_path / "split.csv")
    assert table.column("regime") == ["sft", "sft", "rl", "rl"]
    assert (table.note("tied"), table.note("decided_by_tie_break")) == ("4", "0")


def test_the_recipe_is_an_evaluations_with_rollouts_and_seed():
    values = {**vars(RECIPE), "prompt": vars(FORM)}
    assert build_recipe(passrates.PassRatesRecipe, values, "--recipe") == RECIPE
    with pytest.raises(BadInput, match="rollouts"):
        dataclasses.replace(RECIPE, rollouts=0)


def test_a_panel_of_nothing_or_of_an_unknown_benchmark_is_refused(model, tmp_path):
    for panel, word in ((Panel("alfworld", "train", ()), "no task"), (Panel("chess", "train", PANEL.tasks), "chess")):
        write_panel(tmp_path / "panel.json", panel)
        with pytest.raises(BadInput, match=word):
            passrates.measure_pass_rates(model, tmp_path, tmp_path / "panel.json", tmp_path / "out.csv", RECIPE)


@pytest.mark.parametrize("benchmark", ["alfworld", "webshop"])
def test_the_config_gives_every_key_of_the_recipe(root, benchmark):
    config = yaml.safe_load((root / "config/config.yaml").read_text())
    own = config["benchmarks"][benchmark]
    values = {**config["evaluation"], **config["pass_rates"], "prompt": own["prompt"], "max_steps": own["max_steps"]}
    recipe = build_recipe(passrates.PassRatesRecipe, values, "config")
    assert (recipe.rollouts, recipe.seed, recipe.temperature) == (8, 0, 1.0)
