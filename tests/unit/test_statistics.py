"""Intervals and tests against simulated tables with a known answer, and against independent computations."""

import gc
from functools import lru_cache

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap

from prism.core.comparisons import (
    bootstrap_p,
    compare,
    detectable_difference,
    holm,
    mcnemar_exact,
    probability_of_improvement,
)
from prism.core.statistics import (
    SEED_TASK_BOOTSTRAP,
    TASK_BOOTSTRAP,
    WILSON,
    WILSON_ON_TASKS,
    bootstrap_interval,
    bootstrap_means,
    estimate_mean,
    few_seeds_factor,
    wilson_rate,
)

TABLES = 1000
RESAMPLES = 600
RATE = 0.6


def simulated_successes(generator, seeds, tasks, spread, seed_sd):
    """Successes of one method: tasks of different difficulty, training seeds of different quality, mean RATE.

    Args:
        spread: sum of the Beta distribution's parameters that difficulties come from; small is wide.
        seed_sd: standard deviation of the seeds' success rates.
    """
    difficulty = generator.beta(RATE * spread, (1 - RATE) * spread, tasks)
    quality = generator.normal(0, seed_sd, seeds)
    # each seed's rate is shifted towards 1 or 0 in proportion to the room there is, so that the mean stays RATE
    up, down = (1 - difficulty) / (1 - RATE), difficulty / RATE
    shift = np.where(quality[:, None] > 0, quality[:, None] * up, quality[:, None] * down)
    return (generator.random((seeds, tasks)) < np.clip(difficulty + shift, 0, 1)).astype(float)


def coverage(seeds, tasks, spread, seed_sd):
    generator = np.random.default_rng(7)
    covered = 0
    for table in range(TABLES):
        values = simulated_successes(generator, seeds, tasks, spread, seed_sd)
        low, high = bootstrap_interval(values, seed=table, resamples=RESAMPLES)
        covered += low <= RATE <= high
    return covered / TABLES


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "tasks", "spread", "seed_sd"), [(3, 128, 2, 0.04), (3, 128, 5, 0.05), (3, 48, 2, 0.06), (1, 128, 2, 0.0)]
)
def test_intervals_cover_the_truth_as_often_as_they_say(seeds, tasks, spread, seed_sd):
    assert 0.93 <= coverage(seeds, tasks, spread, seed_sd) <= 0.97


def test_wilson_covers_the_truth_as_often_as_it_says():
    solved = np.random.default_rng(0).binomial(128, RATE, TABLES)
    rates = [wilson_rate(int(count), 128) for count in solved]
    covered = np.mean([rate.low <= 100 * RATE <= rate.high for rate in rates])
    assert 0.93 <= covered <= 0.97


@pytest.mark.slow
def test_without_a_spread_between_seeds_the_interval_is_too_wide_rather_than_too_narrow():
    assert coverage(3, 128, 5, 0.0) >= 0.95


def test_the_size_of_mcnemars_test():
    """Two methods of equal quality: the exact test rejects in at most 5% of all cases, and not much less.

    With few discordant pairs it is conservative by construction; with half of 512 tasks discordant it is close to 5%.
    """
    exact = lru_cache(mcnemar_exact)
    generator = np.random.default_rng(1)
    better = generator.binomial(256, 0.5, 5 * TABLES).tolist()
    assert 0.03 <= np.mean([exact(count, 256 - count) < 0.05 for count in better]) <= 0.07
    few = generator.binomial(12, 0.5, 5 * TABLES).tolist()
    assert np.mean([exact(count, 12 - count) < 0.05 for count in few]) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "seed_sd"), [(1, 0.0), (3, 0.03)])
def test_the_size_of_the_paired_bootstrap(seeds, seed_sd):
    """Scores of two methods of equal quality on the same tasks; every training is a little better or worse.

    One training says nothing about others: with one seed the methods' trainings must be equal for the test to hold.
    """
    assert 0.03 <= share_rejected(seeds, seed_sd) <= 0.07


@pytest.mark.slow
def test_without_a_spread_between_seeds_the_paired_bootstrap_is_conservative():
    assert share_rejected(3, 0.0) <= 0.05


def share_rejected(seeds, seed_sd):
    generator = np.random.default_rng(2)
    rejected = 0
    for table in range(TABLES):
        difficulty = generator.random(128)
        runs = [
            np.clip(
                difficulty + generator.normal(0, 0.3, (seeds, 128)) + generator.normal(0, seed_sd, (seeds, 1)), 0, 1
            )
            for _ in range(2)
        ]
        rejected += bootstrap_p(runs[0] - runs[1], seed=table, resamples=RESAMPLES) < 0.05
    return rejected / TABLES


def test_holm_keeps_the_family_wise_error():
    generator = np.random.default_rng(3)
    # statsmodels collects garbage in every call: what is there before the loop is taken out of its sight
    gc.freeze()
    false_alarms = [min(holm(generator.random(9))) < 0.05 for _ in range(TABLES)]
    gc.unfreeze()
    assert 0.03 <= np.mean(false_alarms) <= 0.07


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_a_detectable_difference_is_detected_in_four_of_five_cases():
    generator = np.random.default_rng(4)
    noise = generator.normal(0, 0.4, (400, 128))
    effect = detectable_difference(noise[:1])
    spread = noise[0].std(ddof=1)
    found = [bootstrap_p((row * spread / 0.4 + effect)[None, :], resamples=RESAMPLES) < 0.05 for row in noise]
    assert 0.74 <= np.mean(found) <= 0.86


def test_no_spread_no_detectable_difference():
    assert detectable_difference(np.zeros((2, 10))) is None


@pytest.mark.parametrize(("better", "worse"), [(0, 0), (0, 7), (5, 5), (12, 3)])
def test_mcnemar_is_a_binomial_test(better, worse):
    expected = binomtest(better, better + worse).pvalue if better + worse else 1.0
    assert mcnemar_exact(better, worse) == pytest.approx(expected)


def test_the_bootstrap_of_one_seed_agrees_with_scipys():
    scores = np.random.default_rng(5).beta(2, 1, 60)
    theirs = bootstrap((scores,), np.mean, n_resamples=10_000, method="percentile", rng=0).confidence_interval
    assert bootstrap_interval(scores[None, :]) == pytest.approx((theirs.low, theirs.high), abs=0.004)


def test_the_spread_of_resampled_means_is_the_one_of_the_two_factors():
    """Seeds and tasks without a remainder: variances are known in closed form."""
    seeds, tasks = np.array([-0.1, 0.0, 0.1]), np.linspace(-0.3, 0.3, 50)
    values = 0.5 + seeds[:, None] + tasks[None, :]
    expected = seeds.var(ddof=1) / 3 + tasks.var() / 50
    assert bootstrap_means(values, resamples=40_000).var() == pytest.approx(expected, rel=0.03)


def test_few_seeds_widen_the_interval():
    differing = np.repeat([[0.2], [0.5], [0.8]], 50, axis=1)
    assert few_seeds_factor(differing) == pytest.approx(4.303 / 1.96, rel=1e-3)  # two degrees of freedom
    assert few_seeds_factor(differing[:1]) == 1.0


def test_improvement_by_counting():
    generator = np.random.default_rng(6)
    method, reference = generator.integers(0, 3, (3, 7)) / 2, generator.integers(0, 3, (2, 7)) / 2
    wins = [
        1.0 if ours > theirs else 0.5 if ours == theirs else 0.0
        for task in range(7)
        for ours in method[:, task]
        for theirs in reference[:, task]
    ]
    assert probability_of_improvement(method, reference) == pytest.approx(sum(wins) / len(wins))


def test_a_comparison():
    method, reference = np.array([[1, 1, 1, 0, 1, 0, 1, 1.0]]), np.array([[0, 0, 1, 1, 0, 0, 0, 0.0]])
    result = compare(method, reference)
    assert (result.better, result.worse, result.test) == (5, 1, "McNemar exact")
    assert result.p == pytest.approx(binomtest(1, 6).pvalue)
    assert result.difference == pytest.approx(0.5)
    assert compare(method, reference) == result
    assert compare(reference, method).difference == pytest.approx(-0.5)
    assert compare(method / 2, reference).test == "paired bootstrap"
    with pytest.raises(ValueError, match="cannot pair"):
        compare(method, reference[:, :3])


@pytest.mark.parametrize(
    ("values", "method"),
    [
        ([[1, 0, 1]], WILSON),
        ([[0, 0, 0]], WILSON),
        ([[0.5, 0.2, 1]], TASK_BOOTSTRAP),
        ([[1, 0, 1], [1, 1, 0]], SEED_TASK_BOOTSTRAP),
        ([[0, 0, 0], [0, 0, 0]], WILSON_ON_TASKS),
    ],
)
def test_which_interval_a_value_gets(values, method):
    estimate = estimate_mean(np.array(values, dtype=float))
    assert estimate.method == method
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.high > estimate.low
