"""Attention over verl's packed rows: the same numbers as rows one by one."""

from __future__ import annotations

import copy

import pytest
import torch
from probe_models import random_model, random_samples

from prism.core.errors import PrismError
from prism.rl.command import PACKED_ATTENTION
from prism.rl.in_verl.packed_attention import packed_attention, row_boundaries

ROWS = [row for sample in random_samples(4) for row in sample.rows]


@pytest.mark.parametrize(("family", "settings"), [("qwen3", {}), ("llama", {}), ("mistral", {"sliding_window": 8})])
def test_packed_rows_give_the_logits_of_single_rows(family, settings):
    single = random_model(family, num_hidden_layers=2, **settings)
    packed = copy.deepcopy(single)
    packed.set_attn_implementation(PACKED_ATTENTION)
    ids = torch.cat([torch.tensor(row.input_ids) for row in ROWS])[None]
    positions = torch.cat([torch.arange(len(row.input_ids)) for row in ROWS])[None]
    found = packed(input_ids=ids, attention_mask=None, position_ids=positions, use_cache=False).logits[0]
    expected = torch.cat([single(input_ids=torch.tensor([row.input_ids])).logits[0] for row in ROWS])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("positions", "ends"),
    [
        ([0, 1, 2, 0, 1], [0, 3, 5]),
        ([0], [0, 1]),
        ([0, 0, 0], [0, 1, 2, 3]),  # padding: rows of one token
        ([4, 5, 0, 1], [0, 2, 4]),  # the rest of a row
    ],
)
def test_rows_begin_where_positions_do(positions, ends):
    assert row_boundaries(torch.tensor(positions)) == ends


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"attention_mask": torch.ones(1, 6)}, "use_remove_padding"),
        ({"position_ids": None}, "use_remove_padding"),
        ({"dropout": 0.1}, "attention_dropout"),
    ],
)
def test_what_it_is_not_for_is_refused(changed, named):
    arguments = {"attention_mask": None, "position_ids": torch.arange(6)[None], "dropout": 0.0} | changed
    tensors = [torch.randn(1, 2, 6, 8) for _ in range(3)]
    with pytest.raises(PrismError, match=named):
        packed_attention(torch.nn.Module(), *tensors, **arguments)
