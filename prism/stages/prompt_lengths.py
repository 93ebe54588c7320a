"""How many prompts of a corpus are longer than the agent's limit, counted as RL and evaluation decide it."""

from __future__ import annotations

from pathlib import Path

from prism.core.episodes import Episode, Feedback, next_prompts
from prism.core.files import sha256_file, write_json
from prism.core.progress import say, track
from prism.core.prompts import PromptEncoder, PromptFormat
from prism.core.tokenizers import load_tokenizer
from prism.core.trajectories import Trajectory, read_trajectories


def count_prompts(model: str | Path, trajectories: str | Path, out_json: str | Path, prompt: PromptFormat) -> None:
    """Count the prompts that the expert's steps would have been for an agent.

    Args:
        model: folder whose tokenizer counts; no weights are read.
        out_json: written with ``prompts`` (steps of all trajectories), ``longest`` (tokens), ``limit`` (tokens),
            ``longer`` (prompts above the limit: they lose history), ``too_long`` (above it even without any history:
            there an episode of RL or evaluation fails), and what was counted.

    Raises:
        BadInput: a file cannot be read, or the tokenizer has no chat template.
    """
    encoder = PromptEncoder(load_tokenizer(model), prompt)
    corpus = read_trajectories(trajectories)
    lengths: list[int] = []
    too_long = 0
    for trajectory in track(corpus, len(corpus), "prompts", "trajectories"):
        episodes = episodes_at_each_step(trajectory)
        whole = encoder.encode_prompts([episode.prompt(prompt) for episode in episodes])
        lengths += map(len, whole)
        longer = [episode for episode, ids in zip(episodes, whole, strict=True) if len(ids) > prompt.context_length]
        too_long += next_prompts(longer, encoder).count(None)
    counts = {
        "prompts": len(lengths),
        "longest": max(lengths),
        "limit": prompt.context_length,
        "longer": sum(length > prompt.context_length for length in lengths),
        "too_long": too_long,
    }
    facts = {"model": str(model), "data_sha256": sha256_file(trajectories), "prompt_sha256": prompt.sha256()}
    write_json(out_json, {**counts, **facts})
    say(f"{counts['longer']} of {len(lengths)} prompts are longer than {prompt.context_length} tokens")


def episodes_at_each_step(trajectory: Trajectory) -> list[Episode]:
    """The episode that the expert played, as it stood before each of its steps."""
    past = [(step.observation, step.action) for step in trajectory.steps]
    return [
        Episode(
            trajectory.benchmark, trajectory.id, trajectory.task_type, trajectory.task, len(past),
            Feedback(step.observation, step.admissible), past[:index],
        )
        for index, step in enumerate(trajectory.steps)
    ]  # fmt: skip
