"""vLLM against the HF generator, DeepSpeed's config class, verl's vLLM rollout section."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
import yaml

from prism.core.tiny import Shape, build_config, find_family
from prism.generation.base import Sampling
from prism.generation.hf import HFGenerator

# vLLM's attention on a CPU takes heads of 32 and more; the shipped backbones have 24
SHAPE = Shape(
    num_hidden_layers=2,
    hidden_size=96,
    intermediate_size=256,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=32,
)
NEW_TOKENS = 24
SAMPLES = 200
Z = 3.3  # a false alarm in a thousand runs


@pytest.fixture(scope="session")
def model(root, tmp_path_factory):
    """A tiny Qwen3 whose logits are spread, so that it says different things and ends now and then."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("model")
    tokenizer = AutoTokenizer.from_pretrained(root / "resources/backbones/tiny-qwen3")
    config = build_config(find_family("qwen3"), SHAPE, tokenizer)
    config.initializer_range = 0.2
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        # the end of the turn becomes likely enough to be seen
        model.get_input_embeddings().weight[tokenizer.eos_token_id].mul_(1.7)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def prompts():
    draw = random.Random(0)
    return [[draw.randrange(30, 340) for _ in range(draw.randrange(3, 200))] for _ in range(32)]


@pytest.fixture(scope="session")
def said(in_gpu_stack, model, prompts):
    """What vLLM said."""
    return in_gpu_stack(
        "generate_with_vllm.py",
        {
            "model": str(model),
            "prompts": prompts,
            "sampled_prompts": [prompts[0]] * SAMPLES,
            "sampling": {"temperature": 0.8, "top_p": 0.9, "max_new_tokens": NEW_TOKENS, "seed": 7},
            "max_new_tokens": NEW_TOKENS,
            "batch_size": 64,
        },
    )


def test_greedy_replies_are_equal_token_by_token(said, model, prompts):
    generator = HFGenerator.load(model, Sampling(0.0, 1.0, NEW_TOKENS, 0), batch_size=16)
    expected = generator.generate(prompts)
    assert said["greedy"] == expected
    assert said["stop_ids"] == generator.stop_ids
    ended = [reply for reply in expected if reply[-1] in generator.stop_ids]
    # both kinds of end are compared
    assert 0 < len(ended) < len(expected)
    assert all(len(reply) == NEW_TOKENS for reply in expected if reply not in ended)


def test_sampled_replies_follow_the_same_distribution(said, model, prompts):
    """The rate at which a reply ends by itself, and the first token's frequencies, agree within their intervals."""
    generator = HFGenerator.load(model, Sampling(0.8, 0.9, NEW_TOKENS, 7), batch_size=64)
    expected = generator.generate([prompts[0]] * (2 * SAMPLES))
    sampled = [reply for call in said["sampled"][0] for reply in call]
    assert len(sampled) == len(expected) == 2 * SAMPLES
    stop = said["stop_ids"][0]
    events = {"ends by itself": lambda reply: reply[-1] == stop}
    first = Counter(reply[0] for reply in expected)
    for token, _ in first.most_common(4):
        events[f"starts with {token}"] = lambda reply, token=token: reply[0] == token
    for name, event in events.items():
        ours, theirs = (sum(map(event, replies)) / len(replies) for replies in (sampled, expected))
        pooled = (ours + theirs) / 2
        allowed = Z * math.sqrt(2 * pooled * (1 - pooled) / (2 * SAMPLES))
        assert abs(ours - theirs) <= allowed, (name, ours, theirs, allowed)
    # nothing outside the nucleus is ever said
    assert {reply[0] for reply in sampled} <= {reply[0] for reply in generator_nucleus(model, prompts[0])}


def generator_nucleus(model, prompt):
    """Every first token of the nucleus, as replies of one token."""
    import torch
    from transformers import AutoModelForCausalLM

    logits = AutoModelForCausalLM.from_pretrained(model)(torch.tensor([prompt])).logits[0, -1]
    ordered, order = (logits / 0.8).softmax(-1).sort(descending=True)
    kept = order[(ordered.cumsum(-1) - ordered) < 0.9]
    return [[token] for token in kept.tolist()]


def test_a_seed_repeats_and_successive_calls_differ(said):
    first, again = said["sampled"]
    assert first == again
    assert first[0] != first[1]
    assert len({tuple(reply) for reply in first[0]}) > SAMPLES / 4


def papers_deepspeed(root):
    return yaml.safe_load((root / "config/paper.yaml").read_text())["sft"]["deepspeed"]


def test_deepspeeds_own_class_reads_the_papers_settings(in_gpu_stack, root):
    """With the sizes that LLaMA-Factory puts in for "auto"; and the schema allows only what DeepSpeed knows."""
    settings = papers_deepspeed(root) | {
        "train_batch_size": 16,
        "train_micro_batch_size_per_gpu": 4,
        "gradient_accumulation_steps": 4,
        "gradient_clipping": 1.0,
        "bf16": {"enabled": True},
    }
    answer = in_gpu_stack("parse_deepspeed.py", {"settings": settings, "misspelt": {"stage": 3, "overlap_com": True}})
    assert answer["stage"] == 3
    assert answer["gather"] is True
    assert (answer["micro_batch"], answer["accumulation"]) == (4, 4)
    assert "overlap_com" in answer["misspelt"]
    schema = yaml.safe_load((root / "config/schema.yaml").read_text())["$defs"]["deepspeed"]
    assert set(schema["properties"]["zero_optimization"]["properties"]) <= set(answer["zero_fields"])


def test_verls_vllm_rollout_is_composed_and_converted(root):
    """The section that configures vLLM inside verl, through verl's own dataclass."""
    from pathlib import Path

    from prism.core.recipes import build_recipe
    from prism.rl.command import RunPaths, verl_overrides
    from prism.rl.recipe import RlRecipe
    from prism.tools.check_plan import compose_verl, convert_verl

    paper = yaml.safe_load((root / "config/paper.yaml").read_text())
    prompt = paper["benchmarks"]["alfworld"]["prompt"]
    settings = {key: value for key, value in paper["rl"].items() if key != "algorithms"}
    recipe = build_recipe(RlRecipe, {**settings, "prompt": prompt, "max_steps": 50}, "paper.yaml")
    paths = RunPaths(Path("/run/model"), Path("/run/work"), Path("/run/ray"))
    rollout = convert_verl(compose_verl(verl_overrides(recipe, paths, 3000, 150, 1)))["actor_rollout_ref.rollout"]
    assert type(rollout).__name__ == "RolloutConfig"
    assert (rollout.name, rollout.n, rollout.tensor_model_parallel_size, rollout.seed) == ("vllm", 8, 2, 1)
    # the response comes on top of the paper's 2,048
    assert (rollout.prompt_length, rollout.response_length, rollout.max_model_len) == (2048, 512, 2560)
