"""Estimates with intervals: Wilson for one run, a random-effects model of seeds and tasks for several.

Values come as a matrix of seeds x tasks: every seed plays the same panel, so seeds and tasks are crossed, not nested.
What is estimated is the mean over the trainings that could have been (seeds) and over the tasks that the panel was
drawn from; with one seed, the mean of this one training over those tasks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binomtest, norm, t

CONFIDENCE = 0.95
RESAMPLES = 10_000
# draws of one block: bounds the memory of the bootstrap
_BLOCK = 4_000_000
WILSON = "Wilson score"
WILSON_ON_TASKS = "Wilson score on the tasks (all values are equal)"
TASK_BOOTSTRAP = "bootstrap over tasks"
RANDOM_EFFECTS = "Wilson score, random effects of seeds and tasks"


@dataclass(frozen=True)
class Rate:
    """A success rate in percent with its interval.

    Attributes:
        value, low, high: percent.
        episodes: number of episodes it is the mean of.
    """

    value: float
    low: float
    high: float
    episodes: int


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval, in the unit of its values.

    Attributes:
        method: how the interval was made.
    """

    value: float
    low: float
    high: float
    method: str

    def in_percent(self) -> Estimate:
        """The estimate of a share in percent."""
        return Estimate(100 * self.value, 100 * self.low, 100 * self.high, self.method)

    @property
    def errors(self) -> tuple[float, float]:
        """Distances to the interval's ends, as error bars show them."""
        return max(self.value - self.low, 0.0), max(self.high - self.value, 0.0)


def wilson_rate(successes: int, episodes: int) -> Rate:
    """Success rate with its Wilson score interval (95%), in percent.

    Raises:
        ValueError: no episode, or more successes than episodes.
    """
    interval = binomtest(successes, episodes).proportion_ci(CONFIDENCE, method="wilson")
    return Rate(100 * successes / episodes, 100 * interval.low, 100 * interval.high, episodes)


def estimate_mean(values: np.ndarray, seed: int = 0) -> Estimate:
    """Mean of a seeds x tasks matrix of values in [0, 1], with its 95% interval.

    Successes of one seed get Wilson's interval, scores of one seed a bootstrap over tasks. Several seeds get Wilson's
    interval with the variance of the mean that `spread_of_mean` finds in place of the binomial one (the effective
    sample size of Korn and Graubard, 1998, for proportions of clustered samples). Where all values are 0 or all are 1
    no spread can be seen, and the interval is Wilson's with the tasks as trials (an upper bound for a score too).

    Coverage on simulated tables of three seeds: benchmarks/intervals.py.

    Args:
        values: shape (seeds, tasks).
        seed: of the resampling.
    """
    mean = float(values.mean())
    if values.shape[0] == 1 and np.isin(values, (0.0, 1.0)).all():
        return _wilson(mean, values.size, WILSON)
    if mean in (0.0, 1.0):
        return _wilson(mean, values.shape[1], WILSON_ON_TASKS)
    if values.shape[0] == 1:
        low, high = bootstrap_interval(values[0], seed)
        return Estimate(mean, max(low, 0.0), min(high, 1.0), TASK_BOOTSTRAP)
    low, high = score_interval(mean, spread_of_mean(values))
    return Estimate(mean, float(low), float(high), RANDOM_EFFECTS)


def _wilson(mean: float, trials: int, method: str) -> Estimate:
    rate = wilson_rate(round(mean * trials), trials)
    return Estimate(mean, rate.low / 100, rate.high / 100, method)


@dataclass(frozen=True)
class Spread:
    """Variance of the mean of a seeds x tasks table, by where it is known from; arrays hold one number a table.

    Attributes:
        of_seeds: the part that is estimated from the spread between seeds, of which there are few.
        of_tasks: the part that is estimated from the tasks, of which there are many.
        seeds: number of seeds.
    """

    of_seeds: np.ndarray
    of_tasks: np.ndarray
    seeds: int

    @property
    def variance(self) -> np.ndarray:
        """Variance of the mean."""
        return self.of_seeds + self.of_tasks

    def critical(self, confidence: float = CONFIDENCE) -> np.ndarray:
        """Two-sided critical value of (estimate - truth) / standard error, after Cochran and Cox (1957).

        The mean of Student's quantile with seeds - 1 degrees of freedom and of the normal quantile, weighted by the
        two parts of the variance. Satterthwaite's degrees of freedom give too narrow intervals with three seeds: a
        spread between seeds that is small by chance then counts twice, in the variance and in the quantile.
        """
        upper = (1 + confidence) / 2
        share = np.divide(self.of_seeds, self.variance, out=np.zeros_like(self.variance), where=self.variance > 0)
        return share * t.ppf(upper, self.seeds - 1) + (1 - share) * norm.ppf(upper)


def spread_of_mean(values: np.ndarray) -> Spread:
    """Variance of the mean of crossed seeds x tasks tables, from the mean squares of the two-way layout.

    With mean squares A between seeds, B between tasks and E of the remainder, all of S x T values, the model
    ``value = mean + seed + task + remainder`` with random seeds and tasks gives the unbiased variance
    ``(A + B - E) / ST`` (Searle, Casella and McCulloch, 1992, chapter 4): A and B both contain the remainder, and
    adding them counts it twice. Neither seeds nor tasks have a negative variance, so A and B count as at least E.
    Where A does not exceed E nothing speaks for a spread between seeds, and the remainder is known from many values.

    A single task says nothing about others: the spread between seeds is all there is.

    Args:
        values: shape (..., seeds, tasks), at least two seeds.
    """
    return spread_from(mean_squares(values))


@dataclass(frozen=True)
class MeanSquares:
    """Mean squares of a seeds x tasks table; arrays hold one number a table.

    Attributes:
        of_seeds, of_tasks: between seeds, between tasks.
        rest: of the remainder; 0 where there is a single task.
        seeds, tasks: size of the table.
    """

    of_seeds: np.ndarray
    of_tasks: np.ndarray
    rest: np.ndarray
    seeds: int
    tasks: int


def mean_squares(values: np.ndarray) -> MeanSquares:
    """Mean squares of the two-way layout without replication.

    Args:
        values: shape (..., seeds, tasks), at least two seeds.
    """
    seeds, tasks = values.shape[-2:]
    mean = values.mean(axis=(-2, -1), keepdims=True)
    by_seed = values.mean(axis=-1, keepdims=True)
    by_task = values.mean(axis=-2, keepdims=True)
    of_seeds = tasks * ((by_seed - mean) ** 2).sum(axis=(-2, -1)) / (seeds - 1)
    if tasks == 1:
        return MeanSquares(of_seeds, np.zeros_like(of_seeds), np.zeros_like(of_seeds), seeds, tasks)
    of_tasks = seeds * ((by_task - mean) ** 2).sum(axis=(-2, -1)) / (tasks - 1)
    rest = ((values - by_seed - by_task + mean) ** 2).sum(axis=(-2, -1)) / ((seeds - 1) * (tasks - 1))
    return MeanSquares(of_seeds, of_tasks, rest, seeds, tasks)


def spread_from(squares: MeanSquares) -> Spread:
    """Variance of the mean from mean squares, as `spread_of_mean` explains."""
    differ = squares.of_seeds > squares.rest
    of_seeds = np.where(differ, squares.of_seeds, 0.0)
    of_tasks = np.where(differ, 0.0, squares.rest) + np.maximum(squares.of_tasks - squares.rest, 0.0)
    values = squares.seeds * squares.tasks
    return Spread(of_seeds / values, of_tasks / values, squares.seeds)


def score_interval(mean: np.ndarray | float, spread: Spread) -> tuple[np.ndarray, np.ndarray]:
    """95% interval of means in (0, 1): Wilson's with as many trials as give the mean this variance.

    The variance of a rate p goes with p (1 - p); Wilson's interval follows that, a symmetric one misses rates near 0
    and 1. All p with ``(mean - p)^2 <= critical^2 p (1 - p) / trials`` are in it.
    """
    square = spread.critical() ** 2 * spread.variance / (mean * (1 - mean))
    centre = (mean + square / 2) / (1 + square)
    half = np.sqrt(square * mean * (1 - mean) + square**2 / 4) / (1 + square)
    return centre - half, centre + half


def difference_interval(differences: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95% interval of the mean of paired differences: symmetric from `spread_of_mean`, one seed's by bootstrap.

    Args:
        differences: shape (seeds, tasks).
        seed: of the resampling.
    """
    if len(differences) == 1:
        return bootstrap_interval(differences[0], seed)
    mean, spread = differences.mean(), spread_of_mean(differences)
    half = spread.critical() * np.sqrt(spread.variance)
    return float(mean - half), float(mean + half)


def difference_p(differences: np.ndarray) -> float:
    """Two-sided p value of "the mean difference is 0" for several seeds: agrees with `difference_interval`.

    Size of the test at 5%, simulated with successes on 140 and 500 tasks (tests/unit/core/test_statistics.py): with
    three seeds 3 to 7.5%, most where trainings scatter by 3 to 6 points of success rate; with five or more 2.5 to 5.5%.

    Args:
        differences: shape (seeds, tasks), at least two seeds.
    """
    distance, spread = abs(differences.mean()), spread_of_mean(differences)
    if distance == 0:
        return 1.0
    if spread.variance == 0:
        return 0.0
    statistic = distance / np.sqrt(spread.variance)
    tiny = 1e-12
    if statistic >= spread.critical(1 - tiny):
        return tiny
    return float(brentq(lambda p: spread.critical(1 - p) - statistic, tiny, 1 - tiny))


def bootstrap_interval(values: np.ndarray, seed: int = 0, resamples: int = RESAMPLES) -> tuple[float, float]:
    """95% percentile interval of the mean of one run's values, tasks drawn with replacement.

    Args:
        values: shape (tasks,).
    """
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(bootstrap_means(values, seed, resamples), (tail, 1 - tail))
    return float(low), float(high)


def bootstrap_means(values: np.ndarray, seed: int = 0, resamples: int = RESAMPLES) -> np.ndarray:
    """Means of `resamples` draws with replacement, in blocks of bounded memory.

    Args:
        values: shape (tasks,).
    """
    generator = np.random.default_rng(seed)
    size = len(values)
    mean = values.mean()
    block = max(1, _BLOCK // size)
    parts = []
    for start in range(0, resamples, block):
        drawn = generator.integers(size, size=(min(block, resamples - start), size))
        parts.append((values - mean)[drawn].mean(axis=1))
    return mean + np.concatenate(parts)
