"""GiGPO's advantage: hand-computed vectors, and a slow implementation in plain Python on random groups."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prism.core.advantages import Rows, gigpo_advantages, grpo_advantages, step_advantages

# one group of two trajectories of two steps; both stood in the room first. Trajectory 0 solved the task; the second
# action of trajectory 1 was invalid.
GROUPS = np.array(["g"] * 4)
TRAJECTORIES = np.array([0, 0, 1, 1])
STEPS = np.array([0, 1, 0, 1])
REWARDS = np.array([0.0, 10.0, 0.0, 0.0])
PENALTIES = np.array([0.0, 0.0, 0.0, 0.1])
ANCHORS = np.array(["room", "shelf", "room", "desk"])
ROWS = Rows(GROUPS, TRAJECTORIES, STEPS, REWARDS, PENALTIES, ANCHORS)

# scores 10, 10, 0, -0.1: mean 4.975, unbiased deviation sqrt(101.0075 / 3) = 5.802514
EPISODE = np.array([5.025, 5.025, -4.975, -5.075]) / 5.802514
# returns before the room with gamma 0.5: 5 and 0, mean 2.5, deviation sqrt(12.5); the others stand alone
STEP = np.array([1.0, 0.0, -1.0, 0.0]) * 2.5 / math.sqrt(12.5)


def in_the_room(*groups: str) -> Rows:
    """A row of each group, all before the same observation."""
    zeros = np.zeros(len(groups))
    return Rows(np.array(groups), zeros, zeros, zeros, zeros, np.array(["room"] * len(groups)))


def test_returns_are_discounted_backwards_and_summed_undiscounted():
    assert ROWS.trajectory_rewards().tolist() == [10.0, 10.0, 0.0, 0.0]
    assert ROWS.returns(0.5).tolist() == [5.0, 10.0, 0.0, 0.0]


def test_two_trajectories_that_share_their_first_observation():
    assert gigpo_advantages(ROWS, gamma=0.5) == pytest.approx(EPISODE + STEP, abs=1e-6)


def test_the_weight_scales_the_step_advantage_alone():
    assert gigpo_advantages(ROWS, gamma=0.5, weight=0.0) == pytest.approx(EPISODE, abs=1e-6)
    assert gigpo_advantages(ROWS, gamma=0.5, weight=3.0) == pytest.approx(EPISODE + 3 * STEP, abs=1e-6)


def test_mean_norm_only_centres():
    expected = np.array([5.025 + 2.5, 5.025, -4.975 - 2.5, -5.075])
    assert gigpo_advantages(ROWS, gamma=0.5, mode="mean_norm") == pytest.approx(expected)


def test_a_group_that_always_succeeds_has_the_step_advantage_alone():
    # the second trajectory needs one step less: it stands nearer to the reward when it leaves the room
    trajectories, steps = np.array([0, 0, 1]), np.array([0, 1, 0])
    rewards, anchors = np.array([0.0, 10.0, 10.0]), np.array(["room", "shelf", "room"])
    found = gigpo_advantages(Rows(GROUPS[:3], trajectories, steps, rewards, np.zeros(3), anchors), gamma=0.5)
    assert found == pytest.approx(np.array([-1, 0, 1]) * math.sqrt(0.5), abs=1e-6)


def test_anchors_that_nobody_shares_leave_grpo():
    anchors = np.array(["a", "b", "c", "d"])
    found = gigpo_advantages(dataclasses.replace(ROWS, anchors=anchors))
    assert found.tolist() == grpo_advantages(ROWS).tolist()


def test_an_invalid_action_costs_its_own_row_and_not_the_steps_before():
    rows = dataclasses.replace(ROWS, anchors=np.array(["room", "shelf", "room", "shelf"]))
    found = step_advantages(rows, rows.returns(0.5) - PENALTIES, norm_by_std=False)
    assert found == pytest.approx([2.5, 5.05, -2.5, -5.05])


def test_a_state_met_twice_by_one_trajectory_is_one_anchor():
    found = step_advantages(in_the_room("g", "g"), np.array([1.0, 3.0]), norm_by_std=False)
    assert found.tolist() == [-1.0, 1.0]


def test_anchors_of_two_tasks_do_not_mix():
    found = step_advantages(in_the_room("g", "h"), np.array([1.0, 3.0]), norm_by_std=False)
    assert found.tolist() == [0.0, 0.0]


def test_refuses_an_unknown_mode():
    with pytest.raises(ValueError, match="mode"):
        gigpo_advantages(ROWS, mode="median")


# the slow implementation: one row at a time, straight from the equations


def spread(values: list[float]) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def normalised(value: float, sample: list[float], mode: str) -> float:
    centred, deviation = value - sum(sample) / len(sample), spread(sample)
    # a sample without spread is centred only
    return centred / (deviation + 1e-6) if mode == "mean_std_norm" and deviation > 0 else centred


def slow_gigpo(rows: list[dict], gamma: float, weight: float, mode: str, statistics: str) -> list[float]:
    for row in rows:
        mine = [other for other in rows if (other["u"], other["t"]) == (row["u"], row["t"])]
        later = [other for other in mine if other["k"] >= row["k"]]
        row["R"] = sum(gamma ** (other["k"] - row["k"]) * other["r"] for other in later) - row["p"]
        row["total"] = sum(other["r"] for other in mine)
        row["S"] = row["total"] - row["p"]
    advantages = []
    for row in rows:
        group = [other for other in rows if other["u"] == row["u"]]
        if statistics == "rows":
            sample = [other["S"] for other in group]
        else:
            sample = [other["total"] for other in group if other["k"] == 0]
        # a group of one has mean 0 and deviation 1
        alone = row["S"] / (1 + 1e-6) if mode == "mean_std_norm" else row["S"]
        episode = normalised(row["S"], sample, mode) if len(sample) > 1 else alone
        anchor = [other["R"] for other in group if other["o"] == row["o"]]
        step = normalised(row["R"], anchor, mode) if len(anchor) > 1 else 0.0
        advantages.append(episode + weight * step)
    return advantages


@st.composite
def random_rows(draw) -> list[dict]:
    rows = []
    for group in range(draw(st.integers(1, 3))):
        for trajectory in range(draw(st.integers(1, 4))):
            length = draw(st.integers(1, 5))
            won = draw(st.booleans())
            for step in range(length):
                reward = 10.0 if won and step == length - 1 else 0.0
                penalty = draw(st.sampled_from([0.0, 0.0, 0.1]))
                seen = draw(st.sampled_from("abc"))
                rows.append({"u": f"g{group}", "t": trajectory, "k": step, "r": reward, "p": penalty, "o": seen})
    return draw(st.permutations(rows))


@settings(max_examples=100, deadline=None)
@given(
    random_rows(),
    st.sampled_from([0.0, 0.5, 0.95, 1.0]),
    st.sampled_from([0.0, 1.0, 2.0]),
    st.sampled_from(["mean_std_norm", "mean_norm"]),
    st.sampled_from(["rows", "trajectories"]),
)
def test_agrees_with_the_slow_implementation(rows, gamma, weight, mode, statistics):
    columns = [np.array([row[name] for row in rows]) for name in "utkrpo"]
    found = gigpo_advantages(Rows(*columns), gamma=gamma, weight=weight, mode=mode, statistics=statistics)
    # where all values of a sample are equal, rounding of 1e-16 is divided by 1e-6
    assert found == pytest.approx(slow_gigpo(rows, gamma, weight, mode, statistics), abs=1e-7, rel=1e-6)


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=2, max_size=8), st.integers(1, 6))
def test_advantages_of_a_group_of_equal_lengths_sum_to_zero(won, length):
    rows = [(t, k, 10.0 if w and k == length - 1 else 0.0) for t, w in enumerate(won) for k in range(length)]
    trajectories, steps, rewards = (np.array(column) for column in zip(*rows, strict=True))
    groups, anchors = np.array(["g"] * len(rows)), np.array([f"state {k}" for _, k, _ in rows])
    found = gigpo_advantages(Rows(groups, trajectories, steps, rewards, np.zeros(len(rows)), anchors))
    assert found.sum() == pytest.approx(0, abs=1e-6)
    winners = {t for t, w in enumerate(won) if w}
    if 0 < len(winners) < len(won):
        assert all((found[row] > 0) == (rows[row][0] in winners) for row in range(len(rows)))
