"""How often the paired test of several seeds finds a difference: the test's own random-effects model, simulated.

Under normal effects the mean squares of a seeds x tasks table are independent multiples of chi-squared variables, and
independent of the mean. Only they are drawn; the mean is integrated out. So the estimated spread and the critical value
that goes with it (Student's t of few seeds) take part, as they do in `prism.core.statistics.difference_p`.

`Outcomes` goes without the normal effects: it draws solved and unsolved episodes and puts them to the test itself.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import norm

from prism.core.statistics import MeanSquares, mean_squares, spread_from, spread_of_mean

DRAWS = 4000
# standard errors of a difference that any design finds
_CERTAIN = 1000.0


@dataclass(frozen=True)
class Design:
    """Paired differences of two methods on the same tasks, several seeds each.

    Attributes:
        seeds, tasks: how many; at least two of each.
        of_seeds, of_tasks, rest: variances of one difference: between trainings, between tasks, and what is left.
    """

    seeds: int
    tasks: int
    of_seeds: float
    of_tasks: float
    rest: float

    @property
    def error(self) -> float:
        """Standard error of the mean difference."""
        variance = self.of_seeds / self.seeds + self.of_tasks / self.tasks + self.rest / (self.seeds * self.tasks)
        return float(np.sqrt(variance))

    def half_intervals(self, seed: int = 0) -> np.ndarray:
        """Draws of half the 95% interval."""
        generator = np.random.default_rng(seed)
        free = self.seeds - 1, self.tasks - 1, (self.seeds - 1) * (self.tasks - 1)
        expected = self.tasks * self.of_seeds + self.rest, self.seeds * self.of_tasks + self.rest, self.rest
        drawn = (mean * generator.chisquare(count, DRAWS) / count for mean, count in zip(expected, free, strict=True))
        spread = spread_from(MeanSquares(*drawn, self.seeds, self.tasks))
        return spread.critical() * np.sqrt(spread.variance)

    def power(self, gain: float, seed: int = 0) -> float:
        """Probability that the two-sided test at 5% finds a true mean difference."""
        half = self.half_intervals(seed)
        above, below = ((sign * gain - half) / self.error for sign in (1, -1))
        return float((norm.cdf(above) + norm.cdf(below)).mean())

    def detectable(self, power: float, seed: int = 0) -> float | None:
        """Smallest true mean difference found with this power; None where nothing scatters."""
        if self.error == 0:
            return None
        return float(brentq(lambda gain: self.power(gain, seed) - power, 0, _CERTAIN * self.error))


def design_of(differences: np.ndarray) -> Design:
    """The design of an experiment that was made, with the variances that it shows.

    Args:
        differences: shape (seeds, tasks), at least two seeds.
    """
    squares = mean_squares(differences)
    seeds, tasks, rest = squares.seeds, squares.tasks, float(squares.rest)
    of_seeds = max(float(squares.of_seeds) - rest, 0.0) / tasks
    of_tasks = max(float(squares.of_tasks) - rest, 0.0) / seeds
    return Design(seeds, tasks, of_seeds, of_tasks, rest)


def planned_design(seeds: int, tasks: int, rate: float, task_sd: float, scatter: float) -> Design:
    """The design of an experiment that is planned: two methods that solve tasks of different difficulty.

    Args:
        rate: success rate of the median task.
        task_sd: spread of the tasks' difficulty, standard deviation of the log-odds.
        scatter: standard deviation of a method's rate between its trainings.
    """
    quantiles = norm.ppf((np.arange(400) + 0.5) / 400)
    solved = expit(np.log(rate / (1 - rate)) + task_sd * quantiles)
    return Design(seeds, tasks, 2 * scatter**2, 0.0, 2 * float((solved * (1 - solved)).mean()))


@dataclass(frozen=True)
class Outcomes:
    """Two methods on the same tasks, episode by episode: what the paired test of several seeds would be given.

    Attributes:
        seeds, tasks: how many trainings of each method, and how many tasks.
        rate: success rate of the reference, mean over the tasks.
        task_sd: spread of the tasks' difficulty, standard deviation of the log-odds.
        scatter: standard deviation of a method's rate between its trainings.
    """

    seeds: int
    tasks: int
    rate: float
    task_sd: float
    scatter: float

    def power(self, gain: float, alpha: float = 0.05, seed: int = 0, draws: int = 1000) -> float:
        """Share of drawn experiments in which the two-sided test at `alpha` finds a true gain, on its own side."""
        generator = np.random.default_rng(seed)
        difficulty = generator.normal(0, self.task_sd, (draws, 1, self.tasks))
        reference, method = (self._solved(rate, difficulty, generator) for rate in (self.rate, self.rate + gain))
        differences = method - reference
        spread = spread_of_mean(differences)
        return float((differences.mean(axis=(-2, -1)) > spread.critical(1 - alpha) * np.sqrt(spread.variance)).mean())

    def detectable(self, power: float, alpha: float = 0.05, step: float = 0.005) -> float | None:
        """Smallest gain found with this power, to the next multiple of `step`; None where no rate is high enough."""
        counts = range(1, int((0.99 - self.rate) / step))
        # a larger gain is found more often
        found = bisect_left(counts, True, key=lambda count: self.power(count * step, alpha) >= power)
        return counts[found] * step if found < len(counts) else None

    def _solved(self, rate: float, difficulty: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Solved (1) or not, shape (draws, seeds, tasks); each training is as much better or worse on every task."""
        quantiles = self.task_sd * norm.ppf((np.arange(400) + 0.5) / 400)
        centre = brentq(lambda level: expit(level + quantiles).mean() - rate, -20, 20)
        chances = expit(centre + quantiles)
        # of the rate by the log-odds
        slope = float((chances * (1 - chances)).mean())
        trained = generator.normal(0, self.scatter / slope, (len(difficulty), self.seeds, 1))
        chance = expit(centre + difficulty + trained)
        return (generator.random(chance.shape) < chance).astype(float)
