"""The gap of sampler and trainer is that of log-probabilities, over the response's tokens alone."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("verl")

import torch
from verl.protocol import DataProto
from verl.trainer.ppo.v1 import trainer_base

from prism.rl.in_verl.trainer import compare_log_probs
from prism.rl.run_logs import LOG_PROB_GAP, LOG_PROB_GAP_MAX


def batch(trainer: list, sampler: list, mask: list) -> DataProto:
    tensors = {"old_log_probs": torch.tensor(trainer), "rollout_log_probs": torch.tensor(sampler)}
    return DataProto.from_dict({**tensors, "response_mask": torch.tensor(mask), "responses": torch.tensor(mask)})


def test_the_gap_is_seen_where_all_probabilities_are_near_zero():
    metrics = compare_log_probs(
        batch(
            [[-20.0, -21.0, -3.0], [-19.0, 0.0, 0.0]],
            [[-21.0, -21.0, -9.0], [-17.0, -5.0, -5.0]],
            [[1, 1, 0], [1, 0, 0]],
        )
    )
    assert metrics[LOG_PROB_GAP] == pytest.approx((1 + 0 + 2) / 3)
    assert metrics[LOG_PROB_GAP_MAX] == pytest.approx(2)
    # verl's own number cannot tell the two apart
    assert metrics["training/rollout_probs_diff_mean"] < 1e-7


def test_a_batch_without_a_response_token_has_no_gap():
    metrics = compare_log_probs(batch([[-1.0]], [[-2.0]], [[0]]))
    assert LOG_PROB_GAP not in metrics
    assert math.isnan(metrics["training/rollout_probs_diff_mean"])


def test_verls_trainer_asks_for_it():
    assert trainer_base.calculate_debug_metrics is compare_log_probs
