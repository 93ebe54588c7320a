"""What is probed is what is trained and what is evaluated: the same token ids in every stage, for both families.

The RL agent loop's part stands in tests/unit/rl/test_agent_loop.py.
"""

from __future__ import annotations

import pytest

from prism.core.episodes import Feedback
from prism.core.prompts import PromptEncoder, PromptFormat, render_response
from prism.core.trajectories import Step, Trajectory, write_trajectories
from prism.environments.base import Panel, Task
from prism.gradients.corpus import load_corpus
from prism.stages.evaluate import EvaluationRecipe, play_panel
from prism.stages.sft import encode_subset, write_rows

FORM = PromptFormat("compact", "actions:14", 512)
STEPS = (
    Step("a desk 1 and a drawer 1.", ("go to desk 1", "go to drawer 1", "help"), "check desk 1.", "go to desk 1"),
    Step("on the desk 1, you see a mug 1.", ("take mug 1 from desk 1",), "take it.", "take mug 1 from desk 1"),
    Step("you pick up the mug 1.", ("go to drawer 1", "look"), "carry mug 1 to drawer 1.", "go to drawer 1"),
)
TRAJECTORY = Trajectory("train/a", "alfworld", "train/a/game", "put a mug in drawer.", "pick", "x", True, STEPS)


@pytest.fixture(params=["tiny-qwen3", "tiny-llama"])
def model(request, root):
    return root / "resources/backbones" / request.param


@pytest.fixture
def tokenizer(model):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model)


@pytest.fixture
def rows(tokenizer):
    """The rows of the expert trajectory, by the prompt builder."""
    encoded = PromptEncoder(tokenizer, FORM).encode_trajectory(TRAJECTORY)
    rows = encoded.rows
    assert len(rows) == len(STEPS)
    assert encoded.truncated == 0
    assert tokenizer.unk_token_id not in [token for row in rows for token in row.input_ids]
    return rows


def test_probe(rows, tokenizer, tmp_path):
    write_trajectories(tmp_path / "t.jsonl", [TRAJECTORY])
    sample = load_corpus(tmp_path / "t.jsonl").encode("train/a", tokenizer, FORM, "steps", "response")
    assert list(sample.rows) == rows


def test_probe_and_sft_see_the_same_conversation(model, tokenizer, tmp_path):
    """One row a trajectory: what is probed is, token for token and label for label, what LLaMA-Factory gets."""
    from datasets import load_from_disk

    write_trajectories(tmp_path / "t.jsonl", [TRAJECTORY])
    sample = load_corpus(tmp_path / "t.jsonl").encode("train/a", tokenizer, FORM, "conversation", "response")
    write_rows(encode_subset(model, [TRAJECTORY], FORM, "conversation").rows, tmp_path / "rows")
    (stored,) = load_from_disk(str(tmp_path / "rows"))["train"]
    (row,) = sample.rows
    assert stored["input_ids"] == row.input_ids
    assert [label != -100 for label in stored["labels"]] == [bool(carries) for carries in row.response_mask]


def test_sft(rows, model, tmp_path):
    """The dataset that LLaMA-Factory gets: input ids, and labels on the response alone."""
    from datasets import load_from_disk

    write_rows(encode_subset(model, [TRAJECTORY], FORM).rows, tmp_path / "rows")
    stored = load_from_disk(str(tmp_path / "rows"))["train"]
    assert stored["input_ids"][:] == [row.input_ids for row in rows]
    for labels, row in zip(stored["labels"], rows, strict=True):
        assert [label != -100 for label in labels] == [bool(carries) for carries in row.response_mask]
        assert [label for label in labels if label != -100] == row.input_ids[-row.response_tokens :]


class ScriptedPool:
    """Answers with the expert's observations, whatever is done."""

    def start(self, games):
        return [(TRAJECTORY.task, Feedback(STEPS[0].observation, STEPS[0].admissible))]

    def step(self, actions):
        [(slot, action)] = actions
        done = [step.action for step in STEPS].index(action) + 1
        if done == len(STEPS):
            return [(slot, Feedback("you put it down.", (), done=True, success=True, score=1.0))]
        return [(slot, Feedback(STEPS[done].observation, STEPS[done].admissible))]


class ExpertGenerator:
    """Replies as the expert does, and keeps the prompts it was given."""

    def __init__(self, tokenizer):
        self.tokenizer, self.prompts, self.replies = tokenizer, [], []

    def generate(self, prompts, seeds=None):
        step = STEPS[len(self.prompts)]
        reply = self.tokenizer(render_response(step.thought, step.action), add_special_tokens=False)["input_ids"]
        self.prompts += prompts
        self.replies.append([*reply, self.tokenizer.eos_token_id])
        return self.replies[-1:]


def test_evaluation(rows, tokenizer):
    generator = ExpertGenerator(tokenizer)
    panel = Panel("alfworld", "seen", (Task("train/a", "pick", "train/a/game"),))
    recipe = EvaluationRecipe(FORM, 20, 0.4, 1.0, 32, 8, 1)
    [episode] = play_panel(ScriptedPool(), generator, panel, recipe)
    assert episode.success
    played = [prompt + reply for prompt, reply in zip(generator.prompts, generator.replies, strict=True)]
    assert played == [row.input_ids for row in rows]
