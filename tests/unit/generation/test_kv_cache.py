"""Sampling without copies of keys and values, and with equal prompts read once: the same replies as with them."""

from __future__ import annotations

import pytest
import torch
from toy_corpus import save_toy_model
from transformers import DynamicCache

from prism.core.savings import VARIABLE
from prism.generation.base import Sampling
from prism.generation.hf import HFGenerator, _distinct
from prism.generation.kv_cache import SHARED_HEADS, LayerWithRoom, cache_with_room

DIFFERENT = [[5, 9, 11], [7], [30, 31, 32, 33, 34, 35, 36, 37], [40, 41, 42, 43], [8, 9]]


def load(folder) -> HFGenerator:
    generator = HFGenerator.load(folder, Sampling(1.0, 1.0, 12, 0), 64)
    # large weights: a distribution with something to choose from, and rows that end at different tokens
    with torch.no_grad():
        for parameter in generator.model.parameters():
            parameter.mul_(3.0)
    generator.stop_ids = list(range(100, 160))
    return generator


@pytest.mark.parametrize("family", ["qwen3", "llama3"])
def test_without_copies_the_bits_are_the_same(family, tmp_path, monkeypatch):
    from prism.generation import hf

    folder = save_toy_model(tmp_path / family, family, seed=3)
    seen = []
    choose = hf._choose
    monkeypatch.setattr(hf, "_choose", lambda logits, *rest: seen.append(logits.clone()) or choose(logits, *rest))
    generator = load(folder)
    assert generator.model.config._attn_implementation == SHARED_HEADS
    assert generator.model.config.num_attention_heads > generator.model.config.num_key_value_heads
    replies = generator.generate(DIFFERENT * 2, seeds=range(10))
    assert len({len(reply) for reply in replies}) > 1, (
        "rows should end at different tokens, so that rows leave the batch"
    )
    found, seen[:] = list(seen), []
    monkeypatch.setenv(VARIABLE, "cache_in_place,shared_heads")
    usual = load(folder)
    assert usual.model.config._attn_implementation == "sdpa"
    assert usual.generate(DIFFERENT * 2, seeds=range(10)) == replies
    assert len(seen) == len(found)
    assert all(torch.equal(*pair) for pair in zip(seen, found, strict=True))


def test_equal_prompts_are_read_once_and_answered_each_by_its_own_numbers(tmp_path, monkeypatch):
    generator = load(save_toy_model(tmp_path / "toy", "qwen3", seed=3))
    read = []
    forward = generator.model.forward
    monkeypatch.setattr(
        generator.model, "forward", lambda **inputs: read.append(len(inputs["input_ids"])) or forward(**inputs)
    )
    prompts = [prompt for prompt in DIFFERENT for _ in range(8)]
    replies = generator.generate(prompts, seeds=range(40))
    assert (read[0], read[1]) == (5, 40)
    assert len({tuple(reply) for reply in replies[:8]}) > 1
    monkeypatch.setenv(VARIABLE, "equal_prompts")
    read.clear()
    assert generator.generate(prompts, seeds=range(40)) == replies
    assert read[0] == 40


def test_a_prompt_is_found_among_the_different_ones():
    assert _distinct([[1, 2], [3], [1, 2], [1], [3]]) == ([0, 1, 3], [0, 1, 0, 2, 1])


def test_room_is_made_anew_when_it_is_used_up_and_after_rows_have_left():
    torch.manual_seed(0)
    ours, theirs = LayerWithRoom(2), DynamicCache().layer_class_to_replicate()
    for step, tokens in enumerate([5, 1, 1, 1, 3]):
        new = torch.randn(4, 2, tokens, 6), torch.randn(4, 2, tokens, 6)
        for found, wanted in zip(ours.update(*new), theirs.update(*new), strict=True):
            assert torch.equal(found, wanted)
        if step == 2:
            for layer in (ours, theirs):
                layer.batch_select_indices(torch.tensor([2, 0, 2, 3]))
    assert ours.get_seq_length() == 11


def test_a_model_with_sliding_windows_keeps_the_cache_of_transformers():
    from transformers import Qwen3Config

    sliding = Qwen3Config(num_hidden_layers=2, use_sliding_window=True, sliding_window=4, max_window_layers=1)
    assert not any(isinstance(layer, LayerWithRoom) for layer in cache_with_room(sliding, 3).layers)
    assert all(
        isinstance(layer, LayerWithRoom) for layer in cache_with_room(Qwen3Config(num_hidden_layers=2), 3).layers
    )
