"""A handful of made-up ALFWorld trajectories and a random tiny model: enough to run a stage, far too small to learn."""

from __future__ import annotations

import random
from pathlib import Path

from prism.core.prompts import PromptFormat
from prism.core.tiny import Shape, build_model, build_tokenizer, find_family
from prism.core.trajectories import Step, Trajectory
from prism.environments import load_data

FORM = PromptFormat("compact", "actions:14", 256)
SHAPE = Shape(
    num_hidden_layers=2,
    hidden_size=32,
    intermediate_size=48,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=16,
)
PLACES = ("desk 1", "bed 1", "drawer 2", "shelf 1")


def toy_trajectory(number: int, steps: int = 3) -> Trajectory:
    draw = random.Random(number)
    choices = tuple(f"go to {place}" for place in PLACES)
    moves = []
    for _ in range(steps):
        action = draw.choice(choices)
        seen = f"You arrive at {draw.choice(PLACES)}. On it, you see a mug {draw.randint(1, 3)}."
        moves.append(Step(seen, choices, f"check {action[6:]}.", action))
    return Trajectory(
        f"toy-{number:03d}",
        "alfworld",
        f"train/{number}",
        "put a mug in desk.",
        "pick",
        "handcoded",
        True,
        tuple(moves),
    )


def toy_corpus(size: int) -> list[Trajectory]:
    return [toy_trajectory(number, 2 + number % 3) for number in range(size)]


def save_toy_model(folder: Path, family_name: str = "qwen3", seed: int = 0) -> Path:
    family = find_family(family_name)
    tokenizer = build_tokenizer(family, load_data("alfworld").words())
    build_model(family, SHAPE, tokenizer, seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
