"""How concentrated a gradient is over the projection matrices: Gini, kurtosis, CV (eq. 5-7 of the paper), and L2.

Every function takes norms of shape (samples, N) with N = 7L and returns one value a sample.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from prism.core.epsilon import EPSILON

Metric = Callable[[np.ndarray, float], np.ndarray]
SHAPE_METRICS: dict[str, Metric] = {}
# the three that the paper compares
PAPER_METRICS = ("gini", "kurtosis", "cv")


def shape_metric(metric: Metric) -> Metric:
    """Make a function of the norms' shape a score: a column of its name, and one of its variant ``_normalised``."""
    SHAPE_METRICS[metric.__name__] = metric
    return metric


@shape_metric
def gini(norms: np.ndarray, epsilon: float = EPSILON) -> np.ndarray:
    """Gini coefficient, eq. 5: 0 when all matrices have equal norms, near 1 when one holds everything."""
    count = norms.shape[1]
    ranks = 2 * np.arange(1, count + 1) - count - 1
    # not a matrix product: a trajectory's score must not depend, in the last bit, on those it is scored with
    weighted = np.sort(norms, axis=1) * ranks
    return weighted.sum(axis=1) / (count * norms.sum(axis=1) + epsilon)


@shape_metric
def kurtosis(norms: np.ndarray, epsilon: float = EPSILON) -> np.ndarray:
    """Excess kurtosis with population moments, eq. 6."""
    squares = np.square(norms - norms.mean(axis=1, keepdims=True))
    deviation = np.sqrt(squares.mean(axis=1))
    # numpy's general power is ten times slower than squaring twice
    return np.square(squares).mean(axis=1) / (deviation + epsilon) ** 4 - 3


@shape_metric
def cv(norms: np.ndarray, epsilon: float = EPSILON) -> np.ndarray:
    """Coefficient of variation with the population standard deviation, eq. 7."""
    return norms.std(axis=1) / (norms.mean(axis=1) + epsilon)


def l2(norms: np.ndarray) -> np.ndarray:
    """Norm of the whole gradient over the 7L matrices: the magnitude that the other scores leave out."""
    return np.sqrt((norms**2).sum(axis=1))


def effective_rank(norms: np.ndarray) -> np.ndarray:
    """Number of matrices that share the gradient: the exponential of the entropy of their shares, 1 to N.

    Roy and Vetterli (2007) define it for singular values. Concentrated gradients have the low numbers.
    """
    total = norms.sum(axis=1, keepdims=True)
    shares = np.divide(norms, total, out=np.full(norms.shape, 1 / norms.shape[1]), where=total > 0)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.exp(-(shares * logs).sum(axis=1))


# what a probe records beside the norms: scores that need no gradient, and their columns in the file of norms
PROBE_COLUMNS = {"length": "response_tokens", "loss": "loss"}


def score_names() -> tuple[str, ...]:
    """Columns of the score table: what follows from gradient norms, then from what else the probe records."""
    normalised = (f"{name}_normalised" for name in SHAPE_METRICS)
    return (*SHAPE_METRICS, "l2", "effective_rank", *normalised, *PROBE_COLUMNS)


def concentration_scores(
    norms: np.ndarray, parameter_counts: np.ndarray, epsilon: float = EPSILON
) -> dict[str, np.ndarray]:
    """All scores that depend on gradient norms alone.

    Args:
        norms: (samples, N) Frobenius norms.
        parameter_counts: (N,) number of weights of each matrix, for the variants of appendix G: norms divided by
            their square root, relative to the average matrix. A common factor changes no score but for epsilon, which
            would weigh thousands of times as much on norms of the size of one weight's gradient.
        epsilon: keeps the denominators of eq. 5-7 away from zero.

    Returns:
        Score name to (samples,) values, in the order of `score_names` without `PROBE_COLUMNS`.
    """
    scores = {name: metric(norms, epsilon) for name, metric in SHAPE_METRICS.items()}
    scores |= {"l2": l2(norms), "effective_rank": effective_rank(norms)}
    normalised = norms / np.sqrt(parameter_counts / np.mean(parameter_counts))
    return scores | {f"{name}_normalised": metric(normalised, epsilon) for name, metric in SHAPE_METRICS.items()}
