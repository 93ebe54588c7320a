"""Linear weights that hold several projections at once: which of their outputs belong to which projection.

The gradient of a fused weight is its parts' gradients one beside the other, so that the norm of a part is exact. What
is not known here stays whole: a wrong split would give norms of nothing.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import PretrainedConfig
from transformers.pytorch_utils import Conv1D

Outputs = slice | torch.Tensor

QKV = ("qkv_proj", "query_key_value", "c_attn", "Wqkv")
# the layer that the heads' outputs go through: its inputs are as many as the queries' outputs
_BACK = ("o_proj", "out_proj", "dense", "c_proj")
# all queries, then all keys, then all values
_IN_BLOCKS = {"dbrx", "gpt2", "mpt", "openai-gpt", "phi3", "phi4_multimodal"}
# a head's query, key and value, then those of the next head
_HEAD_BY_HEAD = {"bloom", "gpt_neox", "gpt_neox_japanese", "minimax", "persimmon"}


def split_outputs(leaf: str, outputs: int, parent: nn.Module, config: PretrainedConfig) -> dict[str, Outputs]:
    """Outputs of each projection that a linear weight holds, by the projection's usual name.

    Args:
        leaf: the weight's own name.
        outputs: output width of the weight.
        parent: the module that holds it.
        config: of the language model.

    Returns:
        Nothing where the weight is not fused, or fused in a way that is not known.
    """
    if leaf == "gate_up_proj":
        return _gate_and_up(outputs, config)
    if leaf not in QKV or not (groups := _groups(config)):
        return {}
    back = next((child for name, child in parent.named_children() if name in _BACK), None)
    if back is None:
        return {}
    period = outputs // groups
    queries = linear_inputs(back) // groups
    keys = (period - queries) // 2
    ends = (0, queries, queries + keys, period)
    rows = torch.arange(outputs).view(groups, period)
    return {
        name: slice(start, end) if groups == 1 else rows[:, start:end].reshape(-1)
        for name, start, end in zip(("q_proj", "k_proj", "v_proj"), ends, ends[1:], strict=False)
    }


def _gate_and_up(outputs: int, config: PretrainedConfig) -> dict[str, Outputs]:
    if config.model_type == "gpt_oss":
        return {"gate_proj": slice(0, None, 2), "up_proj": slice(1, None, 2)}
    return {"gate_proj": slice(0, outputs // 2), "up_proj": slice(outputs // 2, outputs)}


def _groups(config: PretrainedConfig) -> int:
    """How many times queries, keys and values follow each other; 0 where that is not known."""
    if config.model_type in _IN_BLOCKS:
        return 1
    if config.model_type in _HEAD_BY_HEAD:
        return config.num_attention_heads
    if config.model_type == "falcon" and config.new_decoder_architecture:
        return config.num_kv_heads
    if config.model_type in ("falcon", "gpt_bigcode"):
        return 1 if config.multi_query else config.num_attention_heads
    return 0


def linear_inputs(linear: nn.Linear | Conv1D) -> int:
    """Input width."""
    return linear.in_features if isinstance(linear, nn.Linear) else linear.nx
