"""A training step's rows in mini-batches, dealt out to the ranks by verl's own functions."""

from __future__ import annotations

import math
import random

import pytest

pytest.importorskip("verl")

import torch
from verl.utils.seqlen_balancing import calculate_workload, get_seqlen_balanced_partitions

from prism.rl.in_verl.trainer import mini_batch_rows, spread_padding

GROUP = 8
PADDING_TOKENS = 2


def real_rows(rows: int, wanted: int, gpus: int) -> list[list[int]]:
    """Real rows by mini-batch and rank, as verl's trainer pads and deals rows of random lengths."""
    size = mini_batch_rows(rows, wanted, math.lcm(GROUP, gpus))
    # `_get_required_batch_multiple`, `_balance_batch` and `train_mini_batch` of verl 0.9.1
    assert size % GROUP == 0
    assert size % gpus == 0
    multiple = math.lcm(gpus, size)
    draw = random.Random(rows)
    lengths = [draw.randrange(300, 2560) for _ in range(rows)] + [PADDING_TOKENS] * (-rows % multiple)
    parts = get_seqlen_balanced_partitions(calculate_workload(torch.tensor(lengths)), gpus, equal_size=True)
    dealt = [index for part in parts for index in part]
    batches = len(lengths) // size
    order = spread_padding([index >= rows for index in dealt], gpus, batches)
    share = len(lengths) // gpus
    ranks = [order[start : start + share] for start in range(0, len(order), share)]
    # no row is lost, and none changes its rank
    assert [sorted(dealt[at] for at in rank) for rank in ranks] == parts
    cut = size // gpus
    return [
        [sum(dealt[at] < rows for at in rank[batch * cut : (batch + 1) * cut]) for rank in ranks]
        for batch in range(batches)
    ]


# rows of a step, rows wanted, GPUs: mini-batches, real rows of the smallest and the largest
TABLE = [
    (640, 256, 1, 2, 320, 320),
    (630, 256, 1, 2, 315, 315),
    (30, 256, 1, 1, 30, 30),
    (256, 64, 1, 4, 64, 64),
    # the product of group and GPUs, as multiple, gave 6 mini-batches, the last one of 10 real rows
    (650, 64, 8, 10, 65, 65),
    (450, 64, 8, 7, 64, 65),
    (1300, 64, 8, 19, 68, 69),
    (1001, 64, 8, 16, 62, 63),
    (2560, 256, 8, 10, 256, 256),
    (2561, 256, 8, 10, 256, 257),
    (5000, 256, 8, 20, 250, 250),
    (650, 64, 16, 9, 72, 73),
    (650, 64, 6, 10, 65, 65),
    (40, 64, 8, 1, 40, 40),
    (3, 64, 8, 1, 3, 3),
]


@pytest.mark.parametrize(("rows", "wanted", "gpus", "batches", "smallest", "largest"), TABLE)
def test_every_mini_batch_rests_on_equally_many_real_rows(rows, wanted, gpus, batches, smallest, largest):
    found = real_rows(rows, wanted, gpus)
    totals = [sum(batch) for batch in found]
    assert (len(found), min(totals), max(totals)) == (batches, smallest, largest)
    assert sum(totals) == rows
    for by_batch in zip(*found, strict=True):
        assert max(by_batch) - min(by_batch) <= 1


@pytest.mark.parametrize("gpus", [1, 8])
def test_mini_batches_are_near_the_wanted_size_whatever_the_number_of_rows(gpus):
    draw = random.Random(gpus)
    sizes = [mini_batch_rows(draw.randrange(450, 1300), 64, math.lcm(GROUP, gpus)) for _ in range(1000)]
    assert set(sizes) <= {64, 72}


def test_a_mini_batch_has_its_real_rows_in_verls_order():
    padding = [False, False, False, True, False, True, True, True]
    assert spread_padding(padding, 2, 2) == [0, 3, 1, 2, 4, 5, 6, 7]
