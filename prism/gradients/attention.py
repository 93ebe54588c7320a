"""Block-causal attention: every row of a pack attends to itself alone, and to the beginning that it shares.

On GPUs in half precision all rows go through one launch of FlashAttention (`varlen_attention`), with torch's own
kernels, so that nothing has to be compiled against torch; elsewhere row by row.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface

from prism.core.errors import BadInput

IMPLEMENTATION = "prism_block_causal"
# entries of a mask, queries times keys, that may lie in memory at once; longer rows go without one or in blocks
MASK_ENTRIES = 2**24


def block_causal_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    row_ends: Sequence[int] = (),
    row_queries: Sequence[torch.Tensor] = (),
    row_beginnings: Sequence[int | None] = (),
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention function in the interface of transformers.

    Args:
        query: (1, heads, T, d); `key` and `value` may have fewer heads (GQA).
        row_ends: cumulative row boundaries, starting with 0.
        row_queries: for each row, the positions whose output is needed where `module.only_row_queries` is set; the
            output of the others is zero there.
        row_beginnings: for each row, the number of an earlier one whose tokens come before its own; not in half
            precision on a GPU.

    Returns:
        (1, T, heads, d), and no attention weights.
    """
    for name in ("softcap", "s_aux"):
        if options.get(name) is not None:
            raise BadInput(
                type(module).__name__, f"attention with {name} is not supported", "probe another architecture"
            )
    if query.is_cuda and query.dtype in (torch.bfloat16, torch.float16):
        return varlen_attention(query, key, value, row_ends, scaling, sliding_window), None
    lengths = [end - start for start, end in pairwise(row_ends)]
    # split, not slices: the backward of a slice fills a whole pack with zeros, once a row
    rows = list(zip(*(tensor.split(lengths, dim=2) for tensor in (query, key, value)), strict=True))
    outputs = []
    for number, row in enumerate(rows):
        beginning = row_beginnings[number] if row_beginnings else None
        whole, before = (row, 0) if beginning is None else _behind(rows[beginning], row)
        if not getattr(module, "only_row_queries", False):
            output = _whole_row(*whole, scaling, sliding_window)
        elif len(row_queries[number]):
            output = _some_queries(*whole, row_queries[number] + before, scaling, sliding_window)
        else:
            output = torch.zeros_like(whole[0])
        outputs.append(output[:, :, before:])
    return torch.cat(outputs, dim=2).transpose(1, 2), None


def _behind(beginning: Sequence[torch.Tensor], row: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], int]:
    """A row with the beginning that it shares in front, as query, key and value, and how many tokens that is."""
    query, *seen = beginning
    # what the beginning itself sees was computed with it: here its queries only fill their places
    whole = [torch.cat(pair, dim=2) for pair in zip((query.detach(), *seen), row, strict=True)]
    return whole, query.shape[2]


def _whole_row(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None, window: int | None
) -> torch.Tensor:
    length = query.shape[2]
    mask = None
    if window is not None and length > window:
        if length**2 > MASK_ENTRIES:
            return _blocks_of_queries(query, key, value, scaling, window)
        mask = _causal_mask(torch.arange(length, device=query.device), length, window)
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=mask is None, scale=scaling, enable_gqa=True
    )


def _some_queries(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    positions: torch.Tensor,
    scaling: float | None,
    window: int | None,
) -> torch.Tensor:
    if len(positions) * key.shape[2] > MASK_ENTRIES:
        # the fused causal kernel needs no mask; what it computes at the other positions nothing reads
        return _whole_row(query, key, value, scaling, window)
    mask = _causal_mask(positions, key.shape[2], window)
    output = F.scaled_dot_product_attention(
        query[:, :, positions], key, value, attn_mask=mask, scale=scaling, enable_gqa=True
    )
    return torch.zeros_like(query).index_copy_(2, positions, output)


def _blocks_of_queries(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None, window: int
) -> torch.Tensor:
    """Sliding attention of a long row: memory grows with its length, not with its square."""

    def block(start: int, end: int) -> torch.Tensor:
        first = max(0, start - window + 1)
        mask = _causal_mask(torch.arange(start - first, end - first, device=query.device), end - first, window)
        seen = key[:, :, first:end], value[:, :, first:end]
        return F.scaled_dot_product_attention(
            query[:, :, start:end], *seen, attn_mask=mask, scale=scaling, enable_gqa=True
        )

    size = max(1, min(window, MASK_ENTRIES // (2 * window)))
    ends = [*range(size, query.shape[2], size), query.shape[2]]
    # the masks of all blocks are not kept: each is made again in the backward pass
    outputs = [
        checkpoint(block, start, end, use_reentrant=False, preserve_rng_state=False)
        for start, end in zip([0, *ends], ends, strict=False)
    ]
    return torch.cat(outputs, dim=2)


def _causal_mask(positions: torch.Tensor, length: int, window: int | None) -> torch.Tensor:
    """True where a query at `positions` sees a key: (queries, length)."""
    distance = positions[:, None] - torch.arange(length, device=positions.device)[None, :]
    return distance >= 0 if window is None else (distance >= 0) & (distance < window)


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


AttentionInterface.register(IMPLEMENTATION, block_causal_attention)
