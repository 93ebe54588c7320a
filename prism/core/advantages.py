"""Group-relative advantages of rows: one row is one environment step of one trajectory.

A group is the trajectories that were started from the same task at the same training step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EPSILON = 1e-6
GIGPO_MODES = ("mean_std_norm", "mean_norm")


@dataclass(frozen=True)
class Rows:
    """The rows of one training step, each array of shape (R,), in any order of rows.

    Attributes:
        groups: group of each row.
        trajectories: trajectory of each row; unique within its group.
        steps: place of the row in its trajectory, consecutive.
        rewards: the environment's reward of the step alone.
        penalties: what the row loses, >= 0.
        anchors: observation before the step; equal values are one state.
    """

    groups: np.ndarray
    trajectories: np.ndarray
    steps: np.ndarray
    rewards: np.ndarray
    penalties: np.ndarray
    anchors: np.ndarray

    def trajectory_rewards(self) -> np.ndarray:
        """Undiscounted sum of the rewards of each row's trajectory, shape (R,), float64."""
        rewards = np.asarray(self.rewards, dtype=np.float64)
        totals = np.zeros_like(rewards)
        for rows in _rows_by_key(self.groups, self.trajectories):
            totals[rows] = rewards[rows].sum()
        return totals

    def returns(self, gamma: float) -> np.ndarray:
        """Discounted return of each row from its step on, ``R_t = r_t + gamma R_{t+1}``, shape (R,), float64."""
        rewards = np.asarray(self.rewards, dtype=np.float64)
        returns = np.zeros_like(rewards)
        for rows in _rows_by_key(self.groups, self.trajectories):
            later = 0.0
            for row in rows[np.argsort(self.steps[rows], kind="stable")][::-1]:
                later = rewards[row] + gamma * later
                returns[row] = later
        return returns


def grpo_advantages(rows: Rows, statistics: str = "rows", norm_by_std: bool = True) -> np.ndarray:
    """GRPO's advantage of every row, ``(score - mean_group) / (std_group + 1e-6)``.

    A row's score is its trajectory's reward minus the row's own invalid-action penalty (verl-agent's
    `apply_invalid_action_penalty`). Mean and unbiased standard deviation are over a group's rows, so that long
    trajectories weigh more (``rows``, verl-agent's `compute_mean_std_cross_steps`), or over its trajectories' rewards
    (``trajectories``, the GRPO paper). A group of one has mean 0 and deviation 1, as in verl. Where the sample has no
    spread, scores are centred only: over trajectories, a single penalty would else be divided by 1e-6.

    Args:
        rows: R rows.
        statistics: ``rows`` or ``trajectories``.
        norm_by_std: divide by the deviation (GRPO) or only centre (Dr. GRPO).

    Returns:
        Advantages, shape (R,), float64.
    """
    if statistics not in ("rows", "trajectories"):
        raise ValueError(f"statistics must be 'rows' or 'trajectories', not {statistics!r}")
    rewards = rows.trajectory_rewards()
    scores = rewards - rows.penalties
    advantages = np.zeros_like(scores)
    for group in np.unique(rows.groups):
        members = np.flatnonzero(rows.groups == group)
        if statistics == "rows":
            sample = scores[members]
        else:
            _, firsts = np.unique(rows.trajectories[members], return_index=True)
            sample = rewards[members[firsts]]
        mean, deviation = (sample.mean(), sample.std(ddof=1)) if len(sample) > 1 else (0.0, 1.0)
        advantages[members] = scores[members] - mean
        if norm_by_std and deviation > 0:
            advantages[members] /= deviation + EPSILON
    return advantages


def gigpo_advantages(
    rows: Rows,
    gamma: float = 0.95,
    weight: float = 1.0,
    mode: str = "mean_std_norm",
    statistics: str = "rows",
) -> np.ndarray:
    """GiGPO's advantage of every row, ``A = A_episode + weight * A_step`` (arXiv 2505.10978, eq. 3 and 5-8).

    The episode advantage is GRPO's (`grpo_advantages`). The step advantage compares
    rows of a group that stood before the same anchor observation, whichever trajectory and step they belong to:
    ``A_step = (R_t - mean_anchor) / (std_anchor + 1e-6)`` with the discounted return ``R_t = r_t + gamma R_{t+1}``;
    a row whose anchor nobody shares has 0. A row's invalid-action penalty is taken off its own return after
    discounting, so that it does not reach earlier steps, and off its own episode score (verl-agent).

    Args:
        rows: R rows.
        gamma: discount of a step's return.
        weight: of the step advantage.
        mode: ``mean_std_norm`` divides both advantages by the unbiased deviation, ``mean_norm`` only centres them.
        statistics: of the episode advantage, see `grpo_advantages`.

    Returns:
        Advantages, shape (R,), float64.
    """
    if mode not in GIGPO_MODES:
        raise ValueError(f"mode must be one of {', '.join(GIGPO_MODES)}, not {mode!r}")
    norm_by_std = mode == "mean_std_norm"
    episode = grpo_advantages(rows, statistics, norm_by_std)
    return episode + weight * step_advantages(rows, rows.returns(gamma) - rows.penalties, norm_by_std)


def step_advantages(rows: Rows, returns: np.ndarray, norm_by_std: bool) -> np.ndarray:
    """Advantage of each row among the rows of its group with the same anchor; 0 where it is alone.

    Args:
        rows: R rows.
        returns: discounted return of the row, penalty included, shape (R,).
        norm_by_std: divide by the unbiased deviation, or only centre.
    """
    advantages = np.zeros(len(returns))
    for same in _rows_by_key(rows.groups, rows.anchors):
        if len(same) > 1:
            advantages[same] = returns[same] - returns[same].mean()
            if norm_by_std:
                advantages[same] /= returns[same].std(ddof=1) + EPSILON
    return advantages


def _rows_by_key(groups: np.ndarray, values: np.ndarray) -> list[np.ndarray]:
    """Row numbers that share group and value, one array a pair, in the order of first appearance."""
    found: dict[tuple, list[int]] = {}
    for row, key in enumerate(zip(groups.tolist(), values.tolist(), strict=True)):
        found.setdefault(key, []).append(row)
    return [np.array(rows) for rows in found.values()]
