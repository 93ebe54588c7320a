"""verl's agent loop over a scripted environment: token identity, rewards, records, broken games."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from prism.core.episodes import Feedback
from prism.core.prompts import PromptEncoder, PromptFormat
from prism.core.trajectories import Step, Trajectory
from prism.environments.base import Panel, Task
from prism.stages.evaluate import EvaluationRecipe, play_panel

pytest.importorskip("verl")

from omegaconf import OmegaConf
from verl.experimental.agent_loop.agent_loop import DictConfigWrap

from prism.rl.in_verl.agent_loop import EpisodeAgentLoop, sampling_seed

PROMPT = {"style": "compact", "history": "actions:14", "context_length": 256}
TASK = "put a mug on the desk ."
STEPS = (
    Step("you are in a room .", ("go to desk 1", "go to shelf 1"), "i go to shelf 1 .", "go to shelf 1"),
    Step("on the shelf 1 , you see a mug 1 .", ("take mug 1 from shelf 1",), "i take it .", "take mug 1 from shelf 1"),
    Step("you take the mug 1 .", ("go to desk 1",), "i go to desk 1 .", "go to desk 1"),
)
TRAJECTORY = Trajectory("t0", "alfworld", "g", TASK, "pick", "script", True, STEPS)


class ScriptedEnvironment:
    """Plays `STEPS`; any other action changes nothing, and ``look`` breaks it."""

    task = TASK

    def reset(self) -> Feedback:
        self.at = 0
        return self._feedback()

    def step(self, action: str) -> Feedback:
        if action == "look":
            raise RuntimeError("the engine fell over")
        self.at += self.at < len(STEPS) and action == STEPS[self.at].action
        return self._feedback()

    def _feedback(self) -> Feedback:
        if self.at == len(STEPS):
            return Feedback("done .", (), done=True, success=True, score=1.0)
        return Feedback(STEPS[self.at].observation, STEPS[self.at].admissible)


class ScriptedGames:
    """Opens `ScriptedEnvironment`; the game ``broken`` does not load."""

    def __init__(self, data_dir: str):
        self.data_dir = data_dir

    def open(self, game: str, spare: ScriptedEnvironment | None = None) -> ScriptedEnvironment:
        if game == "broken":
            raise ValueError("no such game")
        return spare or ScriptedEnvironment()


@dataclass
class Output:
    token_ids: list[int]
    log_probs: list[float]
    extra_fields: dict = field(default_factory=lambda: {"min_global_steps": 4, "max_global_steps": 4})


class ScriptedServer:
    """Answers with a script of replies and remembers what it was asked."""

    def __init__(self, encoder: PromptEncoder, replies: list[str]):
        self.answers = encoder.encode_responses(replies)
        self.asked: list[dict] = []

    async def generate(self, **request) -> Output:
        answer = self.answers[len(self.asked)]
        self.asked.append(request)
        return Output(answer, [-0.5] * len(answer))


@pytest.fixture(scope="module")
def tokenizer(root):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(root / "resources" / "backbones" / "tiny-qwen3")


def play(tokenizer, tmp_path: Path, replies: list[str], game: str = "g", max_steps: int = 20):
    """Outputs of one episode, the server, and its rollout record."""
    encoder = PromptEncoder(tokenizer, PromptFormat(**PROMPT))
    server = ScriptedServer(encoder, replies)
    config = OmegaConf.create(
        {
            "actor_rollout_ref": {"rollout": {"prompt_length": PROMPT["context_length"], "response_length": 32}},
            "data": {},
        }
    )

    async def episode():
        loop = EpisodeAgentLoop(
            trainer_config=DictConfigWrap(config),
            server_manager=server,
            tokenizer=tokenizer,
            processor=None,
            dataset_cls=None,
            hf_model_type="qwen3",
            data_config=DictConfigWrap(config.data),
            settings={
                "benchmark": "alfworld",
                "source": f"{__name__}:ScriptedGames",
                "games_dir": "/games",
                "environment_threads": 2,
                "environment_processes": 0,
                "prompt": PROMPT,
                "max_steps": max_steps,
                "success_reward": 10.0,
                "invalid_action_penalty": 0.1,
                "rollout_folder": str(tmp_path),
                "seed": 7,
            },
        )
        return await loop.run(
            {"temperature": 1.0},
            extra_info={"task_id": "t0", "task_type": "pick", "game": game},
            global_steps=5,
            session_id=3,
        )

    outputs = asyncio.run(episode())
    [log] = tmp_path.glob("*.jsonl")
    return outputs, server, json.loads(log.read_text())


def reply(step: Step) -> str:
    return f"<think>{step.thought}</think><action>{step.action}</action>"


def test_rows_are_the_token_ids_of_the_expert_trajectory(tokenizer, tmp_path):
    outputs, _, _ = play(tokenizer, tmp_path, [reply(step) for step in STEPS])
    encoded = PromptEncoder(tokenizer, PromptFormat(**PROMPT)).encode_trajectory(TRAJECTORY)
    rows = encoded.rows
    assert encoded.truncated == 0
    assert [output.prompt_ids + output.response_ids for output in outputs] == [row.input_ids for row in rows]
    assert [sum(output.response_mask) for output in outputs] == [row.response_tokens for row in rows]


def test_success_is_rewarded_once_on_every_row_of_the_trajectory(tokenizer, tmp_path):
    outputs, _, record = play(tokenizer, tmp_path, [reply(step) for step in STEPS])
    assert [output.reward_score for output in outputs] == [10.0, 10.0, 10.0]
    assert [output.extra_fields["prism"]["penalty"] for output in outputs] == [0.0, 0.0, 0.0]
    assert record["reward"] == 10.0
    assert record["success"] is True
    assert record["steps"] == 3
    assert record["training_step"] == 5
    assert record["session"] == 3
    assert record["task_id"] == "t0"
    assert record["task_type"] == "pick"


def test_an_invalid_action_costs_its_own_row(tokenizer, tmp_path):
    replies = [reply(STEPS[0]), "go to desk 1", *(reply(step) for step in STEPS[1:])]
    outputs, _, record = play(tokenizer, tmp_path, replies)
    assert [output.extra_fields["prism"]["penalty"] for output in outputs] == [0.0, 0.1, 0.0, 0.0]
    assert [output.reward_score for output in outputs] == [10.0] * 4
    assert record["invalid_actions"] == 1
    assert record["reward"] == pytest.approx(9.9)
    assert record["actions"] == [STEPS[0].action, "go to desk 1", STEPS[1].action, STEPS[2].action]


def test_an_episode_that_runs_out_of_steps_has_no_reward(tokenizer, tmp_path):
    outputs, _, record = play(tokenizer, tmp_path, [reply(STEPS[0])] * 2, max_steps=2)
    assert [output.reward_score for output in outputs] == [0.0, 0.0]
    assert record["success"] is False
    assert record["error"] == ""


def test_an_environment_that_breaks_ends_its_episode_as_failed(tokenizer, tmp_path):
    breaking = "<think>i look .</think><action>look</action>"
    outputs, _, record = play(tokenizer, tmp_path, [reply(STEPS[0]), breaking])
    assert len(outputs) == 2
    assert record["success"] is False
    assert "fell over" in record["error"]


def test_a_game_that_does_not_open_is_a_row_without_loss(tokenizer, tmp_path):
    [output], server, record = play(tokenizer, tmp_path, [], game="broken")
    assert server.asked == []
    assert sum(output.response_mask) == 0
    assert "no such game" in record["error"]
    assert record["steps"] == 0


def test_every_response_has_a_seed_of_its_own_that_repeats(tokenizer, tmp_path):
    _, server, _ = play(tokenizer, tmp_path, [reply(step) for step in STEPS])
    seeds = [request["sampling_params"]["seed"] for request in server.asked]
    assert seeds == [sampling_seed(7, 5, "t0", 3, step) for step in range(3)]
    assert len(set(seeds)) == 3
    assert sampling_seed(7, 5, "t0", 2, 0) != seeds[0]


def test_rows_carry_what_gigpo_needs(tokenizer, tmp_path):
    replies = [reply(STEPS[0]), "go to desk 1", *(reply(step) for step in STEPS[1:])]
    outputs, _, _ = play(tokenizer, tmp_path, replies)
    facts = [output.extra_fields["prism"] for output in outputs]
    # the invalid action changed nothing: the third row stands before the second row's observation
    assert [row["anchor"] for row in facts] == [STEPS[at].observation for at in (0, 1, 1, 2)]
    assert [row["step_reward"] for row in facts] == [0.0, 0.0, 0.0, 10.0]
    assert [row["step"] for row in facts] == [0, 1, 2, 3]


def test_a_prompt_that_does_not_fit_fails_the_episode(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setitem(PROMPT, "context_length", 10)
    [output], server, record = play(tokenizer, tmp_path, [])
    assert server.asked == []
    assert sum(output.response_mask) == 0
    assert "does not fit 10" in record["error"]


class ScriptedPool:
    """One `ScriptedEnvironment`, as evaluation steps it."""

    def start(self, games):
        self.environment = ScriptedEnvironment()
        return [(TASK, self.environment.reset()) for _ in games]

    def step(self, actions):
        return [(slot, self.environment.step(action)) for slot, action in actions]


class ScriptedGenerator:
    """Answers one prompt after the other with a script of replies and keeps the prompts."""

    def __init__(self, tokenizer, replies: list[str]):
        self.tokenizer = tokenizer
        self.answers = PromptEncoder(tokenizer, PromptFormat(**PROMPT)).encode_responses(replies)
        self.prompts: list[list[int]] = []

    def generate(self, prompts, seeds=None):
        self.prompts += prompts
        return [self.answers[len(self.prompts) - 1]]


def test_rl_and_evaluation_play_the_same_prompts_up_to_the_same_length(tokenizer, tmp_path, monkeypatch):
    """The longest prompt of an episode may fill the context; a token more costs it its history, not the episode."""
    replies = [reply(step) for step in STEPS]
    outputs, _, _ = play(tokenizer, tmp_path / "whole", replies)
    longest = max(len(output.prompt_ids) for output in outputs)
    for context_length in (longest, longest - 1):
        monkeypatch.setitem(PROMPT, "context_length", context_length)
        outputs, _, record = play(tokenizer, tmp_path / str(context_length), replies)
        assert record["success"] is True
        trained = [output.prompt_ids for output in outputs]
        assert (max(map(len, trained)) == longest) == (context_length == longest)

        recipe = EvaluationRecipe(PromptFormat(**PROMPT), 20, 0.4, 1.0, 32, 8, 1)
        panel = Panel("alfworld", "one", (Task("t0", "pick", "g"),))
        generator = ScriptedGenerator(tokenizer, replies)
        [episode] = play_panel(ScriptedPool(), generator, panel, recipe)
        assert episode.success
        assert generator.prompts == trained
