"""What one card's memory is needed for at the peak of each stage: calculated from shapes and settings, not measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prism.gradients.recipe import ProbeRecipe
from prism.rl.memory import (
    GB,
    HALF,
    SINGLE,
    activations,
    adapter_parameters,
    all_parameters,
    parameters,
    update_memory,
)
from prism.rl.recipe import RlRecipe
from prism.stages.sft_recipe import SftRecipe

CONTEXTS_GB = 2.0
"""CUDA contexts, libraries and fragments of a process that holds no vLLM: assumed."""
USABLE = 0.92
"""Share of a card that is planned with: its driver and the allocator's gaps take the rest; assumed."""
WIDTHS = {"bfloat16": 2, "float32": 4, "float64": 8}


def probe_memory(model: Mapping[str, Any], recipe: ProbeRecipe) -> dict[str, float]:
    """GB of a probe with checkpointed layers; it forms no gradients of weights, and logits in small parts.

    Args:
        model: the model's ``config.json``.
    """
    kept, recomputed = activations(model, recipe.tokens_per_pack)
    # what every layer keeps of these tokens is what one layer computes again of as many
    _, kept_beside = activations(model, recipe.tokens_kept)
    kept += model["num_hidden_layers"] * kept_beside
    weights = WIDTHS[recipe.dtype] * all_parameters(model) / GB
    memory = {"weights": weights, "activations": kept + recomputed, "contexts": CONTEXTS_GB}
    if recipe.tokens_per_pass:
        layer, _ = parameters(model)
        memory["sums over parts"] = SINGLE * model["num_hidden_layers"] * layer / GB
    return memory


def sft_memory(model: Mapping[str, Any], recipe: SftRecipe) -> dict[str, float]:
    """GB of a card in SFT by DeepSpeed in bfloat16, with checkpointed layers and the longest rows.

    Args:
        model: the model's ``config.json``.
    """
    whole, adapters = all_parameters(model), adapter_parameters(model, recipe.lora_rank)
    tokens = recipe.per_device_train_batch_size * recipe.prompt.context_length
    offload = recipe.deepspeed.get("zero_optimization", {}).get("offload_optimizer", {}).get("device") == "cpu"
    trained = adapters or whole
    kept, recomputed = activations(model, tokens)
    return {
        "weights": HALF * (whole + adapters) / GB,
        "gradients": HALF * trained / GB,
        # masters and Adam's moments
        "optimizer": 0.0 if offload else 3 * SINGLE * trained / GB,
        "activations": kept + recomputed,
        # in bfloat16, once more in float32, and their gradients
        "logits": (HALF + 2 * SINGLE + HALF) * tokens * model["vocab_size"] / GB,
        "contexts": CONTEXTS_GB,
    }


def rl_memory(model: Mapping[str, Any], recipe: RlRecipe) -> dict[str, float]:
    """GB of a card at the peak of an update of RL, in the terms of the other stages."""
    terms = update_memory(model, recipe)
    activated = terms["kept activations"] + terms["one layer recomputed"]
    logits = terms["logits"] + terms["log-softmax in chunks"]
    return {
        "states": terms["states"],
        "gathered weights": terms["gathered weights"],
        "activations": activated,
        "logits": logits,
        "contexts": terms["vLLM asleep, contexts"],
    }


def kv_cache_gb(model: Mapping[str, Any], sequences: int, tokens: int) -> float:
    """GB of vLLM's cache for sequences of so many tokens each, in bfloat16."""
    head = model.get("head_dim") or model["hidden_size"] // model["num_attention_heads"]
    width = 2 * HALF * model["num_hidden_layers"] * model["num_key_value_heads"] * head
    return width * sequences * tokens / GB


def fits(need: Mapping[str, float], card_gb: float) -> bool:
    """Whether a stage's peak fits a card of so many GB."""
    return sum(need.values()) <= USABLE * card_gb
