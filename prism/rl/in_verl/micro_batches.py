"""Micro-batches of verl's training, cut out of a mini-batch's rows at little cost.

verl 0.9.1 takes every ragged field of all rows apart into one tensor a row, for each micro-batch anew: with rows of a
hundred tokens that takes longer than the model's passes. Here a micro-batch's rows are gathered in one go.

verl loads this module on every platform (``VERL_USE_EXTERNAL_MODULES``).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import verl.utils.tensordict_utils as tensordict_utils
from tensordict import TensorDict

from prism.core.savings import active
from prism.rl.in_verl import replace

_verls_own = tensordict_utils.index_select_tensor_dict


def select_rows(batch: TensorDict | None, indices: torch.Tensor | Sequence[int]) -> TensorDict | None:
    """Rows of a batch, in the order of `indices`; the same values as verl's ``index_select_tensor_dict`` gives.

    Args:
        indices: row numbers, one-dimensional.
    """
    ragged = {} if batch is None else {key: value for key, value in batch.items() if _is_ragged(value)}
    if not (ragged and active("cut_rows_at_once")):
        return _verls_own(batch, indices)
    wanted = torch.as_tensor(indices)
    rest = batch.exclude(*ragged)
    selected = _verls_own(rest, wanted) if len(rest.keys()) else TensorDict({}, batch_size=wanted.shape)
    for key, value in ragged.items():
        selected[key] = _ragged_rows(value, wanted)
    # verl's code finds fields by name; the order is kept for whoever looks at it
    return selected.select(*batch.keys())


def _is_ragged(value: object) -> bool:
    """Rows of tokens, each of its own length, one after the other in memory."""
    return (
        isinstance(value, torch.Tensor)
        and value.is_nested
        and value.layout == torch.jagged
        and value.dim() == 2
        and value.lengths() is None
    )


def _ragged_rows(rows: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    offsets = rows.offsets()
    wanted = wanted.to(offsets.device)
    starts, lengths = offsets[:-1][wanted], offsets.diff()[wanted]
    ends = lengths.cumsum(0)
    shift = torch.repeat_interleave(starts - (ends - lengths), lengths)
    tokens = torch.arange(len(shift), device=offsets.device) + shift
    # torch pads rows to the sum of their lengths unless it is told the longest
    return torch.nested.nested_tensor_from_jagged(
        rows.values()[tokens],
        torch.cat([ends.new_zeros(1), ends]),
        min_seqlen=int(lengths.min()),
        max_seqlen=int(lengths.max()),
    )


replace(tensordict_utils, "index_select_tensor_dict", select_rows)
