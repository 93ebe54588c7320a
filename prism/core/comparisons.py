"""Paired comparisons of methods on the same tasks: differences, tests, corrections, power."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from prism.core.power import design_of
from prism.core.statistics import RESAMPLES, bootstrap_means, difference_interval, difference_p

ALPHA = 0.05
POWER = 0.8
MCNEMAR = "McNemar exact"
PAIRED_BOOTSTRAP = "paired bootstrap"
PAIRED_RANDOM_EFFECTS = "paired, random effects of seeds and tasks"


@dataclass(frozen=True)
class Comparison:
    """A method against a reference on the same tasks.

    Attributes:
        difference, low, high: method minus reference, in the unit of the values, with its 95% interval.
        better, worse: (seed, task) pairs where the method has the higher, the lower value.
        test, p: which test, and its two-sided p value.
        improvement: probability that a run of the method does better on a task than a run of the reference.
        detectable: smallest true difference that such a paired comparison finds in 80% of all cases; None where the
            two do not differ on any task, so that their spread is unknown.
    """

    difference: float
    low: float
    high: float
    better: int
    worse: int
    test: str
    p: float
    improvement: float
    detectable: float | None


def compare(method: np.ndarray, reference: np.ndarray, seed: int = 0) -> Comparison:
    """Compare two methods that played the same tasks with the same number of seeds.

    Successes of one seed are compared by McNemar's exact test, scores of one seed by a bootstrap over tasks that keeps
    both methods' values of a task. Pairs of several seeds on one task are not independent: their differences are tested
    with random effects of seeds and tasks (`prism.core.statistics.spread_of_mean`).

    Args:
        method, reference: values in [0, 1], shape (seeds, tasks), tasks in the same order.
        seed: of the resampling.

    Raises:
        ValueError: the shapes differ.
    """
    if method.shape != reference.shape:
        raise ValueError(f"cannot pair values of shape {method.shape} with {reference.shape}")
    differences = method - reference
    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    binary = np.isin(method, (0.0, 1.0)).all() and np.isin(reference, (0.0, 1.0)).all()
    if len(method) == 1 and binary:
        test, p = MCNEMAR, mcnemar_exact(better, worse)
    elif len(method) == 1:
        test, p = PAIRED_BOOTSTRAP, bootstrap_p(differences[0], seed)
    else:
        test, p = PAIRED_RANDOM_EFFECTS, difference_p(differences)
    low, high = difference_interval(differences, seed)
    return Comparison(
        difference=float(differences.mean()),
        low=low,
        high=high,
        better=better,
        worse=worse,
        test=test,
        p=p,
        improvement=probability_of_improvement(method, reference),
        detectable=detectable_difference(differences),
    )


def mcnemar_exact(better: int, worse: int) -> float:
    """Two-sided p value of McNemar's exact test from the two discordant counts; 1 where there are none."""
    return float(mcnemar([[0, better], [worse, 0]], exact=True).pvalue)


def bootstrap_p(differences: np.ndarray, seed: int = 0, resamples: int = RESAMPLES) -> float:
    """Two-sided p value of "the mean difference is 0": share of centred resamples at least as far from 0.

    The observed difference counts as one resample: no p value is 0.

    Args:
        differences: one run's, shape (tasks,).
    """
    observed = differences.mean()
    centred = bootstrap_means(differences, seed, resamples) - observed
    # a hair of tolerance: a resample equal to the observed difference must count whatever the order of summation
    extreme = (np.abs(centred) >= abs(observed) - 1e-12).sum()
    return float((extreme + 1) / (resamples + 1))


def probability_of_improvement(method: np.ndarray, reference: np.ndarray) -> float:
    """P(method > reference) on a task, over all pairs of runs, ties counting half (Agarwal et al., 2021).

    Args:
        method, reference: shape (seeds, tasks); the numbers of seeds may differ.
    """
    pairs = method[:, None, :] - reference[None, :, :]
    return float(((pairs > 0) + 0.5 * (pairs == 0)).mean())


def detectable_difference(differences: np.ndarray) -> float | None:
    """Smallest true mean difference that the paired test at 5% finds with power 0.8, given this spread.

    Several seeds: the test with random effects of seeds and tasks, with the variances that these differences show
    (`prism.core.power`). One seed: the tasks are the sample, and what training seeds would add is not in it. None
    where the differences have no spread.

    Args:
        differences: shape (seeds, tasks).
    """
    if len(differences) > 1:
        return design_of(differences).detectable(POWER)
    by_task = differences[0]
    if len(by_task) < 3 or np.ptp(by_task) == 0:
        return None
    effect = TTestPower().solve_power(nobs=len(by_task), alpha=ALPHA, power=POWER, alternative="two-sided")
    return float(effect * by_task.std(ddof=1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values of one family of tests, in the given order."""
    return multipletests(p_values, alpha=ALPHA, method="holm")[1].tolist() if len(p_values) else []
