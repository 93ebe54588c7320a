"""Group-relative advantages on hand-computed vectors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from prism.core.advantages import Rows, grpo_advantages

# one group: trajectory 0 succeeded in two rows, trajectory 1 failed in one row, whose action was invalid
ROWS = Rows(
    groups=np.array(["g", "g", "g"]),
    trajectories=np.array([0, 0, 1]),
    steps=np.array([0, 1, 0]),
    rewards=np.array([0.0, 10.0, 0.0]),
    penalties=np.array([0.0, 0.0, 0.1]),
    anchors=np.array(["room", "shelf", "room"]),
)


def test_statistics_over_rows():
    scores = np.array([10.0, 10.0, -0.1])
    expected = (scores - 19.9 / 3) / (scores.std(ddof=1) + 1e-6)
    assert grpo_advantages(ROWS) == pytest.approx(expected)


def test_statistics_over_trajectories():
    deviation = np.sqrt(50.0) + 1e-6
    expected = np.array([5.0, 5.0, -5.1]) / deviation
    found = grpo_advantages(ROWS, statistics="trajectories")
    assert found == pytest.approx(expected)


def test_centred_only():
    found = grpo_advantages(ROWS, norm_by_std=False)
    assert found == pytest.approx([10 - 19.9 / 3, 10 - 19.9 / 3, -0.1 - 19.9 / 3])


def test_equal_rewards_give_no_advantage():
    rows = replace(ROWS, rewards=np.array([0.0, 10.0, 10.0]), penalties=np.zeros(3))
    assert grpo_advantages(rows).tolist() == [0.0, 0.0, 0.0]


def test_a_penalty_in_a_group_without_contrast_stays_small():
    """Equal rewards have no spread over trajectories: the penalty is not divided by it."""
    found = grpo_advantages(replace(ROWS, rewards=np.zeros(3)), statistics="trajectories")
    assert found == pytest.approx([0.0, 0.0, -0.1])


def test_groups_do_not_mix():
    zeros = np.zeros(4)
    groups, trajectories = np.array(["a", "a", "b", "b"]), np.array([0, 1, 0, 1])
    found = grpo_advantages(Rows(groups, trajectories, zeros, np.array([10.0, 0.0, 0.0, 0.0]), zeros, zeros))
    assert found == pytest.approx([np.sqrt(0.5), -np.sqrt(0.5), 0, 0], abs=1e-6)


def test_a_group_of_one_keeps_its_score():
    row = Rows(*map(np.array, (["a"], [0], [0], [10.0], [0.1], ["room"])))
    found = grpo_advantages(row)
    assert found == pytest.approx([9.9], abs=1e-4)


def test_refuses_unknown_statistics():
    with pytest.raises(ValueError, match="statistics"):
        grpo_advantages(ROWS, statistics="median")
