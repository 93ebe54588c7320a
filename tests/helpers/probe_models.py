"""Random models and samples for the tests of the prober, and the reference they are compared with."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

from prism.core.prompts import Row
from prism.gradients.norm_files import MODULES
from prism.gradients.packs import Sample

VOCABULARY = 97
CONFIGS = {"qwen3": Qwen3Config, "qwen2": Qwen2Config, "llama": LlamaConfig, "mistral": MistralConfig}


def random_model(family: str, tied: bool = False, dtype: torch.dtype = torch.float64, **overrides) -> nn.Module:
    """A random model with grouped-query attention (4 query heads, 2 key heads)."""
    settings = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 80,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": tied,
    }
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(CONFIGS[family](**(settings | overrides)), dtype=dtype)


def random_row(generator: random.Random, length: int) -> Row:
    """A row with up to three spans of response tokens."""
    mask = [0] * length
    for _ in range(3):
        start = generator.randrange(1, length)
        for index in range(start, min(length, start + 4)):
            mask[index] = 1
    return Row([generator.randrange(VOCABULARY) for _ in range(length)], mask)


def random_samples(count: int, rows: Sequence[int] = (1,), longest: int = 60, seed: int = 0) -> list[Sample]:
    """Samples of random lengths, each with a number of rows drawn from `rows`."""
    generator = random.Random(seed)
    return [
        Sample(
            f"sample-{index:03d}",
            tuple(random_row(generator, generator.randrange(5, longest)) for _ in range(generator.choice(rows))),
        )
        for index in range(count)
    ]


def beginning_alike(sample: Sample, tokens: int, seed: int = 0) -> Sample:
    """A sample whose rows all have the same tokens, none with loss, in front of their own."""
    generator = random.Random(seed)
    beginning = [generator.randrange(VOCABULARY) for _ in range(tokens)]
    rows = (Row([*beginning, *row.input_ids], [0] * tokens + list(row.response_mask)) for row in sample.rows)
    return replace(sample, rows=tuple(rows))


def compute_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep models of float64 in it: their norms, rotations and logits are float32 otherwise, also of gradients.

    What a row gets alone and what it gets beside others is rounded alike only without a shared beginning.
    """
    to = torch.Tensor.to

    def widened(tensor: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        wanted = {torch.float32: torch.float64} if tensor.dtype == torch.float64 else {}
        arguments = tuple(wanted.get(one, one) if isinstance(one, torch.dtype) else one for one in arguments)
        options = {name: wanted.get(one, one) if name == "dtype" else one for name, one in options.items()}
        return to(tensor, *arguments, **options)

    monkeypatch.setattr(torch.Tensor, "to", widened)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


def reference_norms(model: nn.Module, sample: Sample) -> tuple[list[float], float]:
    """Norms of `.grad` after an ordinary backward over every row on its own, and the loss."""
    model.requires_grad_(True).zero_grad()
    device = model.device
    total = torch.zeros((), dtype=torch.float64, device=device)
    for row in sample.rows:
        logits = model(input_ids=torch.tensor([row.input_ids], device=device)).logits[0, :-1]
        responses = torch.tensor(row.response_mask[1:], device=device).bool()
        targets = torch.tensor(row.input_ids[1:], device=device)
        total = total + F.cross_entropy(logits[responses].double(), targets[responses], reduction="sum")
    loss = total / sample.response_tokens
    loss.backward()
    norms = []
    for layer in model.model.layers:
        for name in MODULES:
            module = getattr(layer.self_attn if name in MODULES[:4] else layer.mlp, name)
            norms.append(float(module.weight.grad.double().norm()))
    return norms, float(loss.detach())
