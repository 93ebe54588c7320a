"""Attention of verl's training over rows that are packed side by side, without the flash-attn package.

verl 0.9.1 packs a micro-batch's rows into one sequence and relies on flash-attn, which has to be compiled against torch
and is in no lock. torch has FlashAttention's kernels for packed rows itself (GPU, half precision); elsewhere rows are
attended to one by one. verl passes no attention mask then; where a row begins is told by its positions, which start at
0.

The name is registered with transformers when verl imports this module (``VERL_USE_EXTERNAL_MODULES``).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface

from prism.core.errors import PrismError
from prism.gradients.attention import block_causal_attention
from prism.rl.command import PACKED_ATTENTION


def packed_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    position_ids: torch.Tensor | None = None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention function in the interface of transformers.

    Args:
        query: (1, heads, T, d); `key` and `value` may have fewer heads (GQA).
        attention_mask: None: packed rows have no padding.
        position_ids: (1, T), 0 where a row begins.

    Returns:
        (1, T, heads, d), and no attention weights.

    Raises:
        PrismError: the rows are padded instead of packed, or attention has dropout.
    """
    if attention_mask is not None or position_ids is None or len(query) != 1:
        raise PrismError(f"{PACKED_ATTENTION} is for packed rows: set actor_rollout_ref.model.use_remove_padding")
    if dropout:
        raise PrismError(f"{PACKED_ATTENTION} has no dropout: set attention_dropout to 0 in the model's config.json")
    return block_causal_attention(module, query, key, value, None, row_ends=row_boundaries(position_ids[0]), **options)


def row_boundaries(positions: torch.Tensor) -> list[int]:
    """Cumulative row boundaries of packed rows, starting with 0.

    Args:
        positions: (T,), 0 where a row begins; what comes before the first 0 is a row as well.
    """
    starts = (positions == 0).nonzero()[:, 0].tolist()
    return sorted({0, *starts, len(positions)})


AttentionInterface.register(PACKED_ATTENTION, packed_attention)
