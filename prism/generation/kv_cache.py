"""Keys and values of a batch that is sampled on a CPU, without the copies that transformers makes at every token.

Its cache is concatenated anew for each token, and its attention repeats the keys for all query heads that share them
before it calls torch, which needs neither: for a small model these copies take longer than everything else. What is
computed is the same to the last bit.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, Cache, DynamicCache, PretrainedConfig
from transformers.cache_utils import DynamicLayer

from prism.core.savings import active

SHARED_HEADS = "prism_shared_heads"


class LayerWithRoom(DynamicLayer):
    """A layer's keys and values in tensors with room for the tokens to come.

    Args:
        room: tokens to make room for whenever the tensors have to be made anew.
    """

    def __init__(self, room: int):
        super().__init__()
        self.room = room
        self._space: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Add keys and values (B, heads, T, d); returns all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if self._space is None or self._space[0].shape[-2] < end:
            self._space = self._with_room(self.keys, key_states, end), self._with_room(self.values, value_states, end)
        for space, new in zip(self._space, (key_states, value_states), strict=True):
            space[:, :, start:end] = new
        self.keys, self.values = (space[:, :, :end] for space in self._space)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Rows of the batch, in this order and as often as they are named."""
        super().batch_select_indices(indices)
        self._space = None

    def _with_room(self, old: Tensor, new: Tensor, end: int) -> Tensor:
        space = new.new_empty(*new.shape[:2], end + self.room, new.shape[3])
        if old.numel():
            space[:, :, : old.shape[-2]] = old
        return space


def cache_with_room(config: PretrainedConfig, room: int) -> Cache:
    """An empty cache; for a model that does not keep all keys of all layers, the one that transformers gives it."""
    usual = DynamicCache(config=config)
    if not active("cache_in_place") or any(type(layer) is not DynamicLayer for layer in usual.layers):
        return usual
    return Cache(layers=[LayerWithRoom(room) for _ in range(config.num_hidden_layers)])


def attention_with_shared_heads(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention function in the interface of transformers, for sampling: without dropout.

    Args:
        query: (B, heads, T, d); `key` and `value` may have fewer heads (GQA).
        attention_mask: additive, (B, 1, T, keys); None: causal.

    Returns:
        (B, T, heads, d), and no attention weights.
    """
    output = F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=attention_mask,
        is_causal=attention_mask is None and query.shape[2] > 1,
        scale=options.get("scaling"),
        enable_gqa=True,
    )
    return output.transpose(1, 2).contiguous(), None


def sampling_attention() -> str:
    """Name of the attention of a model that samples on a CPU."""
    return SHARED_HEADS if active("shared_heads") else "sdpa"


AttentionInterface.register(SHARED_HEADS, attention_with_shared_heads)
