from __future__ import annotations

import dataclasses
import json

import pytest
from toy_corpus import FORM, PLACES, save_toy_model

from prism.core.episodes import Feedback
from prism.core.errors import BadInput, PrismError
from prism.core.recipes import build_recipe
from prism.core.tiny import build_tokenizer, find_family
from prism.environments import load_data
from prism.environments.base import Panel, Task, write_panel
from prism.environments.pool import EnvironmentFailure
from prism.stages import evaluate

RECIPE = evaluate.EvaluationRecipe(
    prompt=FORM, max_steps=4, temperature=0.4, top_p=1.0, max_new_tokens=8, batch_size=8, workers=1, threads=1
)
PANEL = Panel("alfworld", "seen", tuple(Task(f"task-{place}", "pick", place) for place in PLACES))
CHOICES = tuple(f"go to {place}" for place in PLACES)


class ToyPool:
    """The task is to go to the place that the game is named after; `broken` games fail in their second step."""

    def __init__(self, *_: object, broken: tuple[str, ...] = (), unopened: tuple[str, ...] = ()):
        self.broken, self.unopened, self.sent = broken, unopened, []

    def __enter__(self):
        return self

    def __exit__(self, *_: object):
        pass

    def start(self, games):
        self.games, self.steps = list(games), [0] * len(games)
        room = Feedback("You are in the middle of a room.", CHOICES)
        return [
            ("", EnvironmentFailure("no such game")) if game in self.unopened else (f"look at {game}.", room)
            for game in games
        ]

    def step(self, actions):
        self.sent.append(actions)
        return [(slot, self._answer(slot, action)) for slot, action in actions]

    def _answer(self, slot, action):
        self.steps[slot] += 1
        game = self.games[slot]
        if game in self.broken and self.steps[slot] == 2:
            return EnvironmentFailure("the engine broke")
        won = action == f"go to {game}"
        return Feedback(f"You arrive at {action[6:]}.", CHOICES, won, won, float(won))


class ToyAgent:
    """Goes to the given places in turn, whatever it is told."""

    def __init__(self, tokenizer, replies):
        self.tokenizer, self.replies, self.prompts = tokenizer, iter(replies), []

    def generate(self, prompts, seeds=None):
        self.prompts.append(prompts)
        reply = self.tokenizer(next(self.replies), add_special_tokens=False)["input_ids"]
        return [[*reply, self.tokenizer.eos_token_id] for _ in prompts]


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(find_family("qwen3"), load_data("alfworld").words())


def going_to(*places: str) -> list[str]:
    return [f"<think>go.</think><action>go to {place}</action>" for place in places]


def test_episodes_advance_together_and_leave_when_solved(tokenizer):
    pool, agent = ToyPool(), ToyAgent(tokenizer, going_to("bed 1", "desk 1", "bed 1", "shelf 1"))
    episodes = evaluate.play_panel(pool, agent, PANEL, RECIPE)
    # PLACES: desk 1, bed 1, drawer 2, shelf 1
    assert [episode.success for episode in episodes] == [True, True, False, True]
    assert [len(episode.replies) for episode in episodes] == [2, 1, 4, 4]
    assert [len(prompts) for prompts in agent.prompts] == [4, 3, 2, 2]
    assert [episode.task_id for episode in episodes] == [task.id for task in PANEL.tasks]
    assert episodes[2].record()["actions"] == ["go to bed 1", "go to desk 1", "go to bed 1", "go to shelf 1"]


def test_prompt_shows_the_past_as_the_training_rows_do(tokenizer):
    agent = ToyAgent(tokenizer, going_to("bed 1", "drawer 2", "drawer 2", "drawer 2"))
    evaluate.play_panel(ToyPool(), agent, PANEL, RECIPE)
    text = tokenizer.decode(agent.prompts[1][0])
    assert "past : go to bed 1" in text
    assert "now : you arrive at bed 1" in text


def test_a_broken_environment_fails_its_own_episode_only(tokenizer):
    pool = ToyPool(broken=("desk 1",), unopened=("shelf 1",))
    agent = ToyAgent(tokenizer, going_to("bed 1", "drawer 2", "bed 1", "bed 1"))
    episodes = evaluate.play_panel(pool, agent, PANEL, RECIPE)
    assert [episode.success for episode in episodes] == [False, True, True, False]
    assert [episode.error for episode in episodes] == ["the engine broke", "", "", "no such game"]
    assert "2 episodes broke" in evaluate.summarize(episodes)[-1]


def test_invalid_replies_are_counted(tokenizer):
    agent = ToyAgent(tokenizer, ["go to bed 1", *going_to("bed 1"), "look", "look"])
    episodes = evaluate.play_panel(ToyPool(), agent, PANEL, RECIPE)
    assert [episode.record()["invalid_actions"] for episode in episodes] == [3, 1, 3, 3]


def test_a_prompt_that_does_not_fit_fails_the_episode(tokenizer):
    recipe = dataclasses.replace(RECIPE, prompt=dataclasses.replace(FORM, context_length=20))
    episodes = evaluate.play_panel(ToyPool(), ToyAgent(tokenizer, []), PANEL, recipe)
    assert all("does not fit" in episode.error for episode in episodes)


def test_equal_runs_are_equal_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "EnvironmentPool", ToyPool)
    save_toy_model(tmp_path / "model")
    write_panel(tmp_path / "panel.json", PANEL)
    for task in PANEL.tasks:
        (tmp_path / task.game).touch()
    run = evaluate.PanelRun(tmp_path / "model", tmp_path, tmp_path / "panel.json")
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, workers in zip(files, (1, 2), strict=True):
        recipe = dataclasses.replace(RECIPE, workers=workers)
        evaluate.evaluate(run, path, recipe, seed=7)
    assert files[0].read_bytes() == files[1].read_bytes()
    result = json.loads(files[0].read_text())
    assert result["panel_sha256"] == PANEL.sha256
    assert result["seed"] == 7
    assert len(result["episodes"]) == 4
    evaluate.evaluate(run, files[1], RECIPE, seed=8)
    assert json.loads(files[1].read_text())["episodes"] != result["episodes"]


def test_an_evaluation_whose_environments_all_broke_is_refused(tmp_path, monkeypatch):
    """That is no success rate of 0; where one episode was played, there is one."""
    save_toy_model(tmp_path / "model")
    write_panel(tmp_path / "panel.json", PANEL)
    for task in PANEL.tasks:
        (tmp_path / task.game).touch()
    run, out = evaluate.PanelRun(tmp_path / "model", tmp_path, tmp_path / "panel.json"), tmp_path / "out.json"
    monkeypatch.setattr(evaluate, "EnvironmentPool", lambda *_: ToyPool(unopened=PLACES))
    with pytest.raises(PrismError, match=r"panel\.json: every episode broke; task-.*: no such game"):
        evaluate.evaluate(run, out, RECIPE, seed=0)
    assert not out.exists()
    monkeypatch.setattr(evaluate, "EnvironmentPool", lambda *_: ToyPool(unopened=PLACES[1:]))
    evaluate.evaluate(run, out, RECIPE, seed=0)
    assert [bool(episode["error"]) for episode in json.loads(out.read_text())["episodes"]] == [False, True, True, True]


def test_unknown_generator_is_refused():
    with pytest.raises(BadInput, match="unknown value 'tgi'"):
        build_recipe(evaluate.EvaluationRecipe, {**vars(RECIPE), "prompt": vars(FORM), "generator": "tgi"}, "recipe")
