"""Pass rates: counts over repeated episodes, shards, the seeded order of ties, and the split made from them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_corpus import FORM, save_toy_model

from prism.core.csv_files import read_table, write_table
from prism.core.episodes import Feedback
from prism.core.errors import BadInput, PrismError
from prism.core.files import read_json
from prism.core.recipes import build_recipe
from prism.core.shards import Shard
from prism.environments.base import Panel, Task, write_panel
from prism.environments.pool import EnvironmentFailure
from prism.stages import evaluate
from prism.stages import pass_rates as passrates
from prism.stages.pass_rate_table import merge_pass_rates, tie_broken_ranks
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


@pytest.fixture
def played(monkeypatch) -> CountingPool:
    """The pool that the episodes are played in, which keeps the games of each wave."""
    pool = CountingPool()
    monkeypatch.setattr(evaluate, "EnvironmentPool", lambda *_: pool)
    return pool


def count(
    model: Path, folder: Path, recipe=RECIPE, panel=PANEL, shard: int = 0, shards: int = 1, loop_path=None
) -> Path:
    """Play one shard."""
    write_panel(folder / "panel.json", panel)
    for task in panel.tasks:
        (folder / task.game).touch()
    out = folder / f"shard-{shard}-of-{shards}.csv"
    run = evaluate.PanelRun(model, folder, folder / "panel.json")
    passrates.measure_pass_rates(run, out, recipe, Shard(shard, shards), loop_path)
    return out


def measure(model: Path, folder: Path, shards: int = 1, **settings) -> Path:
    """Play all shards, the last one first, and join them."""
    parts = [count(model, folder, shard=shard, shards=shards, **settings) for shard in reversed(range(shards))]
    merge_pass_rates(parts, folder / "rates.csv")
    return folder / "rates.csv"


def test_a_pass_rate_is_the_share_of_solved_rollouts(model, tmp_path, played):
    table = read_table(measure(model, tmp_path))
    assert table.column("id") == ["t0", "t1", "t2", "t3", "t4"]
    assert table.numbers("pass_rate") == [0.0, 0.25, 0.5, 0.75, 0.0]
    assert table.numbers("solved") == [0, 1, 2, 3, 0]
    assert table.numbers("rollouts") == [4] * 5
    assert table.numbers("errors") == [0, 0, 0, 0, 4]
    assert table.note("tied") == "2"
    assert table.note("tied_share") == "0.4000"


def test_waves_bound_the_open_environments(model, tmp_path, played, monkeypatch):
    monkeypatch.setattr(passrates, "EPISODES_AT_ONCE", 9)
    path = measure(model, tmp_path)
    assert [len(wave) for wave in played.waves] == [8, 8, 4]
    assert read_table(path).numbers("solved") == [0, 1, 2, 3, 0]


class TalkingPool(CountingPool):
    """Nobody wins before the steps run out, except by luck: a game is won by a reply that its number likes."""

    def __init__(self):
        super().__init__()
        self.said: dict[str, list[str]] = {}

    def step(self, actions):
        return [(slot, self._answer_to(slot, action)) for slot, action in actions]

    def _answer_to(self, slot, action):
        self.said.setdefault(self.games[slot], []).append(action)
        won = sum(map(ord, action)) % 2 == 0
        return Feedback("a room.", ("look",), won, won, float(won))


@pytest.mark.parametrize("shards", [2, 3, 7])
def test_the_number_of_shards_does_not_change_a_byte(model, tmp_path, monkeypatch, shards):
    """Replies and counts are those of one shard, in whatever order the panel lists the tasks."""
    monkeypatch.setattr(passrates, "EPISODES_AT_ONCE", 8)
    panel = Panel("alfworld", "train", tuple(Task(f"t{number}", "pick", f"game {number}") for number in range(9)))
    said, tables = [], []
    for parts in (1, shards):
        pool = TalkingPool()
        monkeypatch.setattr(evaluate, "EnvironmentPool", lambda *_, pool=pool: pool)
        folder = tmp_path / str(parts)
        folder.mkdir()
        tables.append(measure(model, folder, parts, panel=panel).read_bytes())
        said.append(pool.said)
    assert tables[0] == tables[1]
    assert said[0] == said[1]
    assert len({tuple(actions) for actions in said[0].values()}) > 1, "all games were played alike: nothing is shown"
    solved = read_table(tmp_path / "1/rates.csv").numbers("solved")
    assert 0 < sum(solved) < len(solved) * RECIPE.rollouts


def test_a_reply_draws_by_its_task_rollout_and_step():
    seeds = {
        passrates.reply_seed(seed, task, rollout, step)
        for seed in (0, 1) for task in ("a", "b") for rollout in range(8) for step in range(20)
    }  # fmt: skip
    assert len(seeds) == 2 * 2 * 8 * 20


def test_seeds_make_a_reply_independent_of_its_neighbours(model):
    generator = evaluate.load_generator(model, RECIPE, 0)
    prompts = [generator.tokenizer.encode(text) for text in ("go to desk 1", "look", "open drawer 2")]
    together = generator.generate(prompts, [5, 6, 7])
    assert [
        generator.generate([prompt], [seed])[0] for prompt, seed in zip(prompts, (5, 6, 7), strict=True)
    ] == together
    assert generator.generate(prompts, [8, 9, 10]) != together


def test_an_interrupted_shard_goes_on(model, tmp_path, played, monkeypatch):
    monkeypatch.setattr(passrates, "EPISODES_AT_ONCE", 8)
    whole = count(model, tmp_path).read_bytes()
    assert not list(tmp_path.glob("*.journal"))
    (tmp_path / "shard-0-of-1.csv").unlink()
    start = played.start

    def killed(games):
        if "game 2" in games:
            raise KeyboardInterrupt
        return start(games)

    monkeypatch.setattr(played, "start", killed)
    with pytest.raises(KeyboardInterrupt):
        count(model, tmp_path)
    assert not (tmp_path / "shard-0-of-1.csv").exists()
    monkeypatch.setattr(played, "start", start)
    played.waves.clear()
    journal = (tmp_path / "shard-0-of-1.csv.journal").read_text().splitlines()
    before = [json.loads(line)["seconds"] for line in journal[1:]]
    assert count(model, tmp_path, loop_path=tmp_path / "loop.json").read_bytes() == whole
    # the wave before the interruption counts too
    assert 0 < sum(before) < read_json(tmp_path / "loop.json")["loop_seconds"]
    assert [wave[0] for wave in played.waves] == ["game 2", "game 4"], "the first wave was played again"


def test_what_other_settings_left_behind_is_not_used(model, tmp_path, played, monkeypatch):
    monkeypatch.setattr(passrates, "EPISODES_AT_ONCE", 8)
    write_table = passrates.write_table
    monkeypatch.setattr(passrates, "write_table", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        count(model, tmp_path)
    monkeypatch.setattr(passrates, "write_table", write_table)
    played.waves.clear()
    count(model, tmp_path, recipe=dataclasses.replace(RECIPE, seed=1))
    assert len(played.waves) == 3


def test_shards_that_do_not_fit_together_are_refused(model, tmp_path, played, monkeypatch):
    monkeypatch.setattr(passrates, "EPISODES_AT_ONCE", 8)
    first, second = (count(model, tmp_path, shard=shard, shards=2) for shard in (0, 1))
    out = tmp_path / "rates.csv"
    with pytest.raises(BadInput, match="shard 1 of 2 is missing"):
        merge_pass_rates([first], out)
    with pytest.raises(BadInput, match="given twice"):
        merge_pass_rates([first, second, second], out)
    text = second.read_text()
    second.write_text(text.replace('"seed": 0', '"seed": 1'))
    with pytest.raises(BadInput, match=r"shard-1-of-2\.csv: has another recipe"):
        merge_pass_rates([first, second], out)
    second.write_text("".join(text.splitlines(keepends=True)[:-1]))
    with pytest.raises(BadInput, match="4 of 5 tasks"):
        merge_pass_rates([first, second], out)
    with pytest.raises(BadInput, match="shards count from 0 to 1"):
        count(model, tmp_path, shard=2, shards=2)


def test_more_shards_than_waves(model, tmp_path, played):
    assert read_table(measure(model, tmp_path, shards=3)).numbers("solved") == [0, 1, 2, 3, 0]


def test_episodes_that_all_broke_are_no_pass_rates(model, tmp_path, played):
    panel = Panel("alfworld", "train", PANEL.tasks[4:])
    with pytest.raises(PrismError, match="every episode of every shard broke"):
        measure(model, tmp_path, panel=panel)


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(0, 5))
def test_ranks_are_an_order_that_keeps_the_rates_and_ignores_the_listing(rates, seed):
    ids = [f"task-{number}" for number in range(len(rates))]
    ranks = tie_broken_ranks(ids, rates, seed)
    assert sorted(ranks) == list(range(len(ids)))
    by_rank = sorted(zip(ranks, rates, strict=True))
    assert [rate for _, rate in by_rank] == sorted(rates)
    backwards = tie_broken_ranks(ids[::-1], rates[::-1], seed)
    assert backwards[::-1] == ranks


def test_another_seed_breaks_ties_in_another_order():
    ids = [f"task-{number}" for number in range(20)]
    assert tie_broken_ranks(ids, [0] * 20, 0) != tie_broken_ranks(ids, [0] * 20, 1)


def ranked_table(path: Path, rates: list[float]) -> Path:
    ids = [f"task-{number}" for number in range(len(rates))]
    ranks = tie_broken_ranks(ids, rates, 0)
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
    with pytest.raises(BadInput, match=r"--recipe\.rollouts: 0 is too small"):
        build_recipe(passrates.PassRatesRecipe, values | {"rollouts": 0}, "--recipe")


def test_a_panel_of_nothing_or_of_an_unknown_benchmark_is_refused(model, tmp_path):
    for panel, word in ((Panel("alfworld", "train", ()), "no task"), (Panel("chess", "train", PANEL.tasks), "chess")):
        write_panel(tmp_path / "panel.json", panel)
        run = evaluate.PanelRun(model, tmp_path, tmp_path / "panel.json")
        with pytest.raises(BadInput, match=word):
            passrates.measure_pass_rates(run, tmp_path / "out.csv", RECIPE)


@pytest.mark.parametrize("benchmark", ["alfworld", "webshop"])
def test_the_config_gives_every_key_of_the_recipe(root, benchmark):
    config = yaml.safe_load((root / "config/config.yaml").read_text())
    own = config["benchmarks"][benchmark]
    del config["pass_rates"]["shards"]
    values = {**config["evaluation"], **config["pass_rates"], "prompt": own["prompt"], "max_steps": own["max_steps"]}
    recipe = build_recipe(passrates.PassRatesRecipe, values, "config")
    assert (recipe.rollouts, recipe.seed, recipe.temperature) == (8, 0, 1.0)
