"""Intervals for rates, by scipy."""

from __future__ import annotations

from dataclasses import dataclass

from scipy.stats import binomtest

CONFIDENCE = 0.95


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


def wilson_rate(successes: int, episodes: int) -> Rate:
    """Success rate with its Wilson score interval (95%), in percent.

    Raises:
        ValueError: no episode, or more successes than episodes.
    """
    interval = binomtest(successes, episodes).proportion_ci(CONFIDENCE, method="wilson")
    return Rate(100 * successes / episodes, 100 * interval.low, 100 * interval.high, episodes)
