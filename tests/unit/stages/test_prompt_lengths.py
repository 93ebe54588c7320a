"""Prompts of a corpus against the agent's limit: counted as an episode that takes the expert's way would meet them."""

from __future__ import annotations

import dataclasses

import pytest
from toy_corpus import FORM, save_toy_model, toy_corpus, toy_trajectory

from prism.core.errors import BadInput
from prism.core.files import read_json, sha256_file
from prism.core.prompts import PromptEncoder
from prism.core.tokenizers import load_tokenizer
from prism.core.trajectories import Trajectory, write_trajectories
from prism.stages.prompt_lengths import count_prompts


def crowded(trajectory: Trajectory) -> Trajectory:
    """The same, where there is twice as much to see."""
    steps = [
        dataclasses.replace(step, observation=f"{step.observation} {step.observation}") for step in trajectory.steps
    ]
    return dataclasses.replace(trajectory, steps=tuple(steps))


CORPUS = [*toy_corpus(8), crowded(toy_trajectory(8))]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_toy_model(tmp_path_factory.mktemp("model"))


def counts(model, folder, limit: int) -> dict:
    write_trajectories(folder / "corpus.jsonl", CORPUS)
    form = dataclasses.replace(FORM, context_length=limit)
    count_prompts(model, folder / "corpus.jsonl", folder / "counts.json", form)
    return read_json(folder / "counts.json")


def lengths(model, history: str) -> list[int]:
    """Tokens of the prompts that the expert's rows of SFT have, without their answers."""
    encoder = PromptEncoder(load_tokenizer(model), dataclasses.replace(FORM, history=history))
    rows = [row for trajectory in CORPUS for row in encoder.encode_trajectory(trajectory).rows]
    return [len(row.input_ids) - row.response_tokens for row in rows]


def test_prompts_are_those_of_the_rows(model, tmp_path):
    whole = lengths(model, "actions:14")
    found = counts(model, tmp_path, max(whole))
    assert (found["prompts"], found["longest"], found["longer"], found["too_long"]) == (len(whole), max(whole), 0, 0)
    assert found["data_sha256"] == sha256_file(tmp_path / "corpus.jsonl")


def test_longer_prompts_lose_history_and_then_fail(model, tmp_path):
    whole, bare = lengths(model, "actions:14"), lengths(model, "actions:0")
    assert min(bare) < max(bare) < max(whole)
    for limit in (max(bare), min(bare), min(bare) - 1):
        found = counts(model, tmp_path, limit)
        assert found["longer"] == sum(length > limit for length in whole) > 0
        assert found["too_long"] == sum(length > limit for length in bare)
    assert found["too_long"] == len(bare)


def test_a_corpus_that_is_none_is_one_line(model, tmp_path):
    (tmp_path / "corpus.jsonl").write_text("{}\n")
    with pytest.raises(BadInput, match=r"corpus\.jsonl:1"):
        count_prompts(model, tmp_path / "corpus.jsonl", tmp_path / "counts.json", FORM)
