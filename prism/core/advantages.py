"""Group-relative advantages of rows: one row is one environment step of one trajectory.

A group is the trajectories that were started from the same task at the same training step.
"""

from __future__ import annotations

import numpy as np

EPSILON = 1e-6


def grpo_advantages(
    groups: np.ndarray,
    trajectories: np.ndarray,
    rewards: np.ndarray,
    penalties: np.ndarray,
    statistics: str = "rows",
    norm_by_std: bool = True,
) -> np.ndarray:
    """GRPO's advantage of every row, ``(score - mean_group) / (std_group + 1e-6)``.

    A row's score is its trajectory's reward minus the row's own invalid-action penalty (verl-agent's
    `apply_invalid_action_penalty`). Mean and unbiased standard deviation are over a group's rows, so that long
    trajectories weigh more (``rows``, verl-agent's `compute_mean_std_cross_steps`), or over its trajectories' rewards
    (``trajectories``, the GRPO paper). A group of one has mean 0 and deviation 1, as in verl.

    Args:
        groups: group of each row, shape (R,).
        trajectories: trajectory of each row, shape (R,); unique within its group.
        rewards: reward of the row's trajectory, shape (R,).
        penalties: what the row loses, >= 0, shape (R,).
        statistics: ``rows`` or ``trajectories``.
        norm_by_std: divide by the deviation (GRPO) or only centre (Dr. GRPO).

    Returns:
        Advantages, shape (R,), float64.
    """
    if statistics not in ("rows", "trajectories"):
        raise ValueError(f"statistics must be 'rows' or 'trajectories', not {statistics!r}")
    scores = np.asarray(rewards, dtype=np.float64) - penalties
    advantages = np.zeros_like(scores)
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        if statistics == "rows":
            sample = scores[rows]
        else:
            _, firsts = np.unique(trajectories[rows], return_index=True)
            sample = np.asarray(rewards, dtype=np.float64)[rows[firsts]]
        mean, deviation = (sample.mean(), sample.std(ddof=1)) if len(sample) > 1 else (0.0, 1.0)
        advantages[rows] = scores[rows] - mean
        if norm_by_std:
            advantages[rows] /= deviation + EPSILON
    return advantages
