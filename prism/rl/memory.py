"""What one GPU's memory is needed for in RL: a calculation from the model's shape and the recipe, not a measurement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prism.rl.command import CHUNK_TOKENS
from prism.rl.recipe import RlRecipe

GB = 1e9
HALF, SINGLE = 2, 4
"""Bytes of a number in bfloat16 and float32."""
REST_GB = 4.0
"""vLLM asleep, CUDA contexts and NCCL's buffers: assumed."""


def parameters(model: Mapping[str, Any]) -> tuple[int, int]:
    """Parameters of a dense decoder: those of one layer, and of one matrix between tokens and hidden states.

    Args:
        model: its ``config.json``.
    """
    hidden, heads = model["hidden_size"], model["num_attention_heads"]
    head = model.get("head_dim") or hidden // heads
    attention = 2 * hidden * head * (heads + model["num_key_value_heads"])
    return attention + 3 * hidden * model["intermediate_size"], hidden * model["vocab_size"]


def all_parameters(model: Mapping[str, Any]) -> int:
    """Parameters of a dense decoder; the small ones of its norms are left out."""
    layer, matrix = parameters(model)
    return model["num_hidden_layers"] * layer + (1 if model.get("tie_word_embeddings") else 2) * matrix


def adapter_parameters(model: Mapping[str, Any], rank: int) -> int:
    """Parameters of LoRA's adapters on all seven linear layers of every decoder layer."""
    hidden, inner, heads = model["hidden_size"], model["intermediate_size"], model["num_attention_heads"]
    head = model.get("head_dim") or hidden // heads
    queries, keys = heads * head, model["num_key_value_heads"] * head
    # what goes in and out of: queries and output, keys and values, the MLP's three
    sides = 2 * (hidden + queries) + 2 * (hidden + keys) + 3 * (hidden + inner)
    return model["num_hidden_layers"] * rank * sides


def activations(model: Mapping[str, Any], tokens: int) -> tuple[float, float]:
    """GB of a pass with checkpointed layers: the kept inputs of all layers, and one layer that is computed again."""
    hidden = model["hidden_size"]
    # a layer's backward pass: about twelve tensors of the hidden size and four of the MLP's, and two in float32
    recomputed = HALF * (12 * hidden + 4 * model["intermediate_size"]) + 2 * SINGLE * hidden
    return HALF * tokens * hidden * (model["num_hidden_layers"] + 1) / GB, tokens * recomputed / GB


def _states(model: Mapping[str, Any], recipe: RlRecipe) -> float:
    """Bytes of weights, gradients and moments that lie on one GPU during an update."""
    if recipe.offload == "always":
        return 0.0
    whole, adapters = all_parameters(model), adapter_parameters(model, recipe.lora_rank)
    # masters, both of Adam's moments, gradients; of a frozen weight the master alone
    trained = SINGLE * whole + 4 * SINGLE * adapters if recipe.lora_rank else 4 * SINGLE * whole
    return trained / (recipe.gpus * recipe.nodes)


def update_memory(model: Mapping[str, Any], recipe: RlRecipe) -> dict[str, float]:
    """GB (1e9 bytes) of one GPU at the peak of an update, by what takes them; their sum is an upper bound.

    FSDP2 with float32 masters, bfloat16 arithmetic and checkpointed layers; log-probabilities and entropies as in
    `prism.rl.in_verl.log_probs`.

    Args:
        model: the model's ``config.json``.
    """
    layer, matrix = parameters(model)
    matrices = matrix if model.get("tie_word_embeddings") else 2 * matrix
    tokens = max(recipe.micro_batch_tokens, recipe.row_tokens)
    kept, recomputed = activations(model, tokens)
    # the head's gradient is reduced in float32
    head_gradient = 0 if recipe.lora_rank else (HALF + SINGLE) * matrix
    terms = {
        "states": _states(model, recipe) / GB,
        # embeddings, head and two layers
        "gathered weights": (HALF * (matrices + 2 * layer) + head_gradient) / GB,
        "kept activations": kept,
        "one layer recomputed": recomputed,
        # and the gradients of log-probabilities and entropy
        "logits": 3 * HALF * tokens * model["vocab_size"] / GB,
        "log-softmax in chunks": 3 * SINGLE * CHUNK_TOKENS * model["vocab_size"] / GB,
    }
    return terms | {"vLLM asleep, contexts": REST_GB}


def sampling_memory(model: Mapping[str, Any], recipe: RlRecipe, card_gb: float) -> dict[str, float]:
    """GB of one GPU while vLLM samples: its share of the card, and what the trainer keeps there meanwhile."""
    share = {"vLLM": recipe.gpu_memory_utilization * card_gb}
    states = _states(model, recipe) / GB if recipe.offload == "none" else 0.0
    return share | {"states": states, "contexts": REST_GB}
