"""Group-relative advantages on hand-computed vectors."""

from __future__ import annotations

import numpy as np
import pytest

from prism.core.advantages import grpo_advantages

# one group: trajectory 0 succeeded in two rows, trajectory 1 failed in one row, whose action was invalid
GROUPS = np.array(["g", "g", "g"])
TRAJECTORIES = np.array([0, 0, 1])
REWARDS = np.array([10.0, 10.0, 0.0])
PENALTIES = np.array([0.0, 0.0, 0.1])


def test_statistics_over_rows():
    scores = np.array([10.0, 10.0, -0.1])
    expected = (scores - 19.9 / 3) / (scores.std(ddof=1) + 1e-6)
    assert grpo_advantages(GROUPS, TRAJECTORIES, REWARDS, PENALTIES) == pytest.approx(expected)


def test_statistics_over_trajectories():
    deviation = np.sqrt(50.0) + 1e-6
    expected = np.array([5.0, 5.0, -5.1]) / deviation
    found = grpo_advantages(GROUPS, TRAJECTORIES, REWARDS, PENALTIES, statistics="trajectories")
    assert found == pytest.approx(expected)


def test_centred_only():
    found = grpo_advantages(GROUPS, TRAJECTORIES, REWARDS, PENALTIES, norm_by_std=False)
    assert found == pytest.approx([10 - 19.9 / 3, 10 - 19.9 / 3, -0.1 - 19.9 / 3])


def test_equal_rewards_give_no_advantage():
    zeros = np.zeros(3)
    assert grpo_advantages(GROUPS, TRAJECTORIES, zeros + 10, zeros).tolist() == [0.0, 0.0, 0.0]


def test_a_penalty_in_a_group_without_contrast_stays_small():
    """Equal rewards have no spread over trajectories: the penalty is not divided by it."""
    zeros = np.zeros(3)
    found = grpo_advantages(GROUPS, TRAJECTORIES, zeros, PENALTIES, statistics="trajectories")
    assert found == pytest.approx([0.0, 0.0, -0.1])


def test_groups_do_not_mix():
    groups = np.array(["a", "a", "b", "b"])
    found = grpo_advantages(groups, np.array([0, 1, 0, 1]), np.array([10.0, 0.0, 0.0, 0.0]), np.zeros(4))
    assert found == pytest.approx([np.sqrt(0.5), -np.sqrt(0.5), 0, 0], abs=1e-6)


def test_a_group_of_one_keeps_its_score():
    found = grpo_advantages(np.array(["a"]), np.array([0]), np.array([10.0]), np.array([0.1]))
    assert found == pytest.approx([9.9], abs=1e-4)


def test_refuses_unknown_statistics():
    with pytest.raises(ValueError, match="statistics"):
        grpo_advantages(GROUPS, TRAJECTORIES, REWARDS, PENALTIES, statistics="median")
