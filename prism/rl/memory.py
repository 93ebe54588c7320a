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


def update_memory(model: Mapping[str, Any], recipe: RlRecipe) -> dict[str, float]:
    """GB (1e9 bytes) of one GPU at the peak of an update, by what takes them; their sum is an upper bound.

    FSDP2 with float32 masters, bfloat16 arithmetic and checkpointed layers; log-probabilities and entropies as in
    `prism.rl.in_verl.log_probs`.

    Args:
        model: the model's ``config.json``.
    """
    layer, matrix = parameters(model)
    layers, hidden = model["num_hidden_layers"], model["hidden_size"]
    matrices = matrix if model.get("tie_word_embeddings") else 2 * matrix
    tokens = max(recipe.micro_batch_tokens, recipe.row_tokens)
    # a layer's backward pass: about twelve tensors of the hidden size and four of the MLP's, and two in float32
    recomputed = HALF * (12 * hidden + 4 * model["intermediate_size"]) + 2 * SINGLE * hidden
    terms = {
        # masters, both of Adam's moments, gradients
        "states": 4 * SINGLE * (layers * layer + matrices) / (recipe.gpus * recipe.nodes),
        # embeddings, head and two layers; the head's gradient is reduced in float32
        "gathered weights": HALF * (matrices + 2 * layer) + (HALF + SINGLE) * matrix,
        "kept activations": HALF * tokens * hidden * (layers + 1),
        "one layer recomputed": tokens * recomputed,
        # and the gradients of log-probabilities and entropy
        "logits": 3 * HALF * tokens * model["vocab_size"],
        "log-softmax in chunks": 3 * SINGLE * CHUNK_TOKENS * model["vocab_size"],
    }
    return {name: size / GB for name, size in terms.items()} | {"vLLM asleep, contexts": REST_GB}


def sampling_memory(model: Mapping[str, Any], recipe: RlRecipe, card_gb: float) -> dict[str, float]:
    """GB of one GPU while vLLM samples: its share of the card, and what the trainer keeps there meanwhile."""
    share = {"vLLM": recipe.gpu_memory_utilization * card_gb}
    return share | {"states": update_memory(model, recipe)["states"], "contexts": REST_GB}
