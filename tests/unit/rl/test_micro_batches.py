"""Rows of a batch cut out as verl's own function cuts them."""

from __future__ import annotations

import pytest

pytest.importorskip("verl")

import torch
import verl.utils.tensordict_utils as tensordict_utils
from verl.utils.seqlen_balancing import rearrange_micro_batches

from prism.rl.in_verl.micro_batches import _verls_own, select_rows

LENGTHS = (3, 7, 1, 5, 4)


def a_batch():
    """Ragged and plain fields, text a row, and a setting of the whole batch."""
    rows = [torch.arange(length) + 100 * number for number, length in enumerate(LENGTHS)]
    fields = [
        {"input_ids": row, "loss_mask": (row % 2).float(), "sums": row.sum(), "name": f"row {number}"}
        for number, row in enumerate(rows)
    ]
    batch = tensordict_utils.list_of_dict_to_tensordict(fields)
    tensordict_utils.assign_non_tensor(batch, max_token_len_per_gpu=12)
    return batch


def same(found, wanted) -> bool:
    """The same fields with the same values and types."""
    assert list(found.keys()) == list(wanted.keys())
    assert found.batch_size == wanted.batch_size
    for key in list(wanted.keys()):
        ours, theirs = found[key], wanted[key]
        if isinstance(theirs, torch.Tensor) and theirs.is_nested:
            assert torch.equal(ours.offsets(), theirs.offsets())
            assert torch.equal(ours.to_padded_tensor(0), theirs.to_padded_tensor(0))
            ours, theirs = ours.values(), theirs.values()
        if isinstance(theirs, torch.Tensor):
            assert ours.dtype == theirs.dtype
            assert torch.equal(ours, theirs)
        else:
            assert ours == theirs or list(ours) == list(theirs)
    return True


@pytest.mark.parametrize("indices", [[4, 0, 2], [1], torch.tensor([3, 3, 0])])
def test_rows_are_those_of_verls_own_function(indices):
    batch = a_batch()
    assert same(select_rows(batch, indices), _verls_own(batch, indices))
    rows = select_rows(batch, [2, 3])["input_ids"].unbind()
    assert [row.tolist() for row in rows] == [[200], [300, 301, 302, 303, 304]]


def test_verl_cuts_its_micro_batches_with_it(monkeypatch):
    assert tensordict_utils.index_select_tensor_dict is select_rows
    found, order = rearrange_micro_batches(a_batch(), max_token_len=12)
    monkeypatch.setattr(tensordict_utils, "index_select_tensor_dict", _verls_own)
    wanted, same_order = rearrange_micro_batches(a_batch(), max_token_len=12)
    assert order == same_order
    assert len(found) == 2
    assert all(same(*pair) for pair in zip(found, wanted, strict=True))
