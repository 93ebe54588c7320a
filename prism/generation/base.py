"""The interface of a sampler; evaluation and RL know nothing else of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from prism.core.seeds import seed_of


@dataclass(frozen=True)
class Sampling:
    """How to sample: `temperature` 0 is greedy; `seed` makes a run repeatable."""

    temperature: float
    top_p: float
    max_new_tokens: int
    seed: int


class Generator(Protocol):
    """Continues prompts given as token ids.

    Attributes:
        tokenizer: the model's own.
    """

    tokenizer: Any

    def generate(self, prompts: list[list[int]], seeds: Sequence[int] | None = None) -> list[list[int]]:
        """Response token ids per prompt, end-of-turn token included where one was produced.

        Args:
            prompts: token ids.
            seeds: one a prompt: what a reply draws depends on its own seed alone. Without them a reply's seed follows
                from the sampler's and the number of prompts before it (`request_seed`).
        """


def request_seed(seed: int, request: int) -> int:
    """Seed of a run's request number `request`: what a reply draws does not depend on who shares its batch."""
    return seed_of(f"{seed}/{request}")
