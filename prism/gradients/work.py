"""What probing costs: floating-point operations of a trajectory, and the seconds that a first small pass takes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

from torch import nn

from prism.core.errors import NotFinite
from prism.core.prompts import Row
from prism.gradients.packs import Sample, useful_length
from prism.gradients.projections import decoder_layers

# tokens of a row that is measured before anything is planned, and how many such rows are timed: a GPU that gets few
# tokens waits for its launches
MEASURED_TOKENS = 256
TIMED_ROWS = {"cpu": 1, "cuda": 8}
# a pass shorter than this is timed again: the first one also loads kernels
SHORT_PASS = 2.0


@dataclass(frozen=True)
class Work:
    """What a model computes for a trajectory.

    Attributes:
        weights: weights of the decoder layers.
        attention: width of the queries, summed over the layers.
        head: weights of the output head.
        measured: weights whose gradients are measured.
        gram_tokens: tokens below which norms cost less than one product a weight (`norms.gram_is_cheaper`).
    """

    weights: int
    attention: int
    head: int
    measured: int = 0
    gram_tokens: float = 0.0

    @classmethod
    def of(cls, model: nn.Module, counts: Sequence[int], gram: bool) -> Work:
        """The work of a model of transformers.

        Args:
            counts: weights of each measured matrix.
            gram: whether norms may be taken without forming the gradient.
        """
        layers, head = decoder_layers(model), model.get_output_embeddings()
        config = model.config.get_text_config()
        heads, head_dim = (getattr(config, name, None) for name in ("num_attention_heads", "head_dim"))
        width = heads * head_dim if heads and head_dim else model.get_input_embeddings().weight.shape[-1]
        return cls(
            sum(counts),
            len(layers) * width,
            head.weight.numel() if head is not None else 0,
            sum(counts),
            # that of square matrices of the same size
            sqrt(sum(counts) / len(counts)) if gram and counts else 0.0,
        )

    def floor(self, sample: Sample) -> float:
        """FLOPs of forward pass and activation gradients: projections, causal attention row by row, logits."""
        # scores and values: 4 T^2 d by the half that is causal, once forward and twice backward
        squares = sum(useful_length(row) ** 2 for row in sample.rows)
        return 4 * self.weights * sample.tokens + 6 * self.attention * squares + 4 * self.head * sample.response_tokens

    def whole(self, sample: Sample) -> float:
        """The floor, and the norms."""
        tokens = sample.tokens
        cheaper = min(1.0, tokens / self.gram_tokens) if self.gram_tokens else 1.0
        return self.floor(sample) + 2 * self.measured * tokens * cheaper

    def shares(self, samples: Iterable[Sample]) -> dict[str, float]:
        """What part of the work on all samples each of them is, by id."""
        costs = {sample.id: self.whole(sample) for sample in samples}
        total = sum(costs.values())
        return {identifier: cost / total for identifier, cost in costs.items()}

    def seconds(self, samples: Iterable[Sample], pace: float) -> float:
        """How long these samples take at a pace in seconds a FLOP."""
        return pace * sum(map(self.whole, samples))


def beginning(samples: Sequence[Sample]) -> Sample:
    """The first tokens of a row, all with loss: small enough to be measured before anything is planned."""
    identifier, row = next((sample.id, row) for sample in samples for row in sample.rows if useful_length(row))
    ids = row.input_ids[: MEASURED_TOKENS + 1]
    return Sample(identifier, (Row(ids, [1] * len(ids)),))


def measure_pace(prober: Any, work: Work, samples: Sequence[Sample], tokens_per_pack: int) -> float:
    """Seconds a FLOP of a small pass, forward and backward, with the norms."""
    small = beginning(samples)
    most = TIMED_ROWS["cuda" if prober.device.type == "cuda" else "cpu"]
    rows = max(1, min(most, tokens_per_pack // small.tokens))
    pack = [replace(small, id=f"{small.id} {number}") for number in range(rows)]
    seconds = _time(prober, pack)
    if seconds < SHORT_PASS:
        seconds = min(seconds, _time(prober, pack))
    return seconds / sum(map(work.whole, pack))


def _time(prober: Any, pack: list[Sample]) -> float:
    started = time.perf_counter()
    # whether the norms can be used is said when they are asked for
    with suppress(NotFinite):
        list(prober.probe([pack]))
    return time.perf_counter() - started
