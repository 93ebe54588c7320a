"""Causal attention over sequences packed side by side: FlashAttention in one launch, on GPUs in half precision.

The kernels are torch's own, so that nothing has to be compiled against torch.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from itertools import pairwise

import torch


def varlen_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    row_ends: Sequence[int],
    scaling: float | None,
    window: int | None,
) -> torch.Tensor:
    """Attention in which every row sees itself alone.

    Args:
        query: (1, heads, T, d), bfloat16 or float16 on a GPU; `key` and `value` may have fewer heads (GQA).
        row_ends: cumulative row boundaries, starting with 0.
        scaling: of the scores; by default 1 / sqrt(d).
        window: keys that a query sees, itself included; None for all before it.

    Returns:
        (1, T, heads, d).
    """
    from torch.nn.attention.varlen import varlen_attn

    ends = torch.tensor(row_ends, dtype=torch.int32, device=query.device)
    longest = max(end - start for start, end in pairwise(row_ends))
    tokens_first = [tensor[0].transpose(0, 1).contiguous() for tensor in (query, key, value)]
    # torch 2.11 takes fewer key heads as they are, later versions want to be told
    grouped = {"enable_gqa": True} if "enable_gqa" in inspect.signature(varlen_attn).parameters else {}
    output = varlen_attn(
        *tokens_first,
        ends,
        ends,
        longest,
        longest,
        scale=scaling,
        window_size=(window - 1 if window else -1, 0),
        **grouped,
    )
    return output[None]
