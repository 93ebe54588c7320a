"""Intervals and tests against simulated tables with a known answer, and against independent computations."""

import gc
import importlib.util
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import binomtest, bootstrap, norm, ttest_1samp
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.proportion import proportion_confint

from prism.core.comparisons import (
    bootstrap_p,
    compare,
    detectable_difference,
    holm,
    mcnemar_exact,
    probability_of_improvement,
)
from prism.core.power import Design, design_of, planned_design
from prism.core.statistics import (
    RANDOM_EFFECTS,
    TASK_BOOTSTRAP,
    WILSON,
    WILSON_ON_TASKS,
    bootstrap_interval,
    difference_interval,
    difference_p,
    estimate_mean,
    spread_of_mean,
    wilson_rate,
)

TABLES = 1000
RESAMPLES = 600
RATE = 0.6


@pytest.fixture(scope="module")
def study(root):
    """The simulation study that is printed in full by benchmarks/intervals.py."""
    spec = importlib.util.spec_from_file_location("intervals", root / "benchmarks/intervals.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_simulated_tables_have_the_rate_and_the_spread_that_they_are_asked_for(study):
    values = study.simulate_tables(np.random.default_rng(0), 4000, 3, 200, 0.3, 0.05, 1.0)[0]
    assert values.mean() == pytest.approx(0.3, abs=0.004)
    # seeds of one table play the same tasks: the variance between them is the seeds' and the remainder's
    task_means = values.mean(axis=1, keepdims=True)
    seed_means = values.mean(axis=2, keepdims=True)
    rest = ((values - task_means - seed_means + values.mean(axis=(1, 2), keepdims=True)) ** 2).sum() / 4000 / 2 / 199
    between = seed_means.var(axis=1, ddof=1).mean() - rest / 200
    assert np.sqrt(between) == pytest.approx(0.05, abs=0.003)


@pytest.mark.parametrize(
    ("tasks", "rate", "seed_sd", "task_sd"),
    [(128, 0.5, 0.0, 1.5), (128, 0.2, 0.02, 1.5), (128, 0.5, 0.04, 0.5), (128, 0.8, 0.06, 1.5), (40, 0.5, 0.06, 0.5)],
)
def test_intervals_cover_the_truth_as_often_as_they_say(study, tasks, rate, seed_sd, task_sd):
    values = study.simulate_tables(np.random.default_rng(7), 2 * TABLES, 3, tasks, rate, seed_sd, task_sd)[0]
    assert 0.93 <= study.coverage(values, rate) <= 0.97


def test_bootstrap_intervals_of_scores_cover_the_truth_as_often_as_they_say():
    scores = np.random.default_rng(7).beta(2 * RATE, 2 * (1 - RATE), (TABLES, 128))
    intervals = [bootstrap_interval(row, seed, RESAMPLES) for seed, row in enumerate(scores)]
    assert 0.93 <= np.mean([low <= RATE <= high for low, high in intervals]) <= 0.97


def test_wilson_covers_the_truth_as_often_as_it_says():
    solved = np.random.default_rng(0).binomial(128, RATE, TABLES)
    rates = [wilson_rate(int(count), 128) for count in solved]
    covered = np.mean([rate.low <= 100 * RATE <= rate.high for rate in rates])
    assert 0.93 <= covered <= 0.97


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


@pytest.mark.parametrize(("seed_sd", "least"), [(0.0, 0.0), (0.03, 0.03)])
def test_the_size_of_the_paired_test_of_several_seeds(study, seed_sd, least):
    """Two methods of equal quality on the same tasks; conservative where trainings do not differ in quality."""
    runs = study.simulate_tables(np.random.default_rng(2), TABLES, 3, 128, RATE, seed_sd, 1.0, methods=2)
    most = 0.07 if seed_sd else 0.05
    assert least <= study.rejected(runs[0] - runs[1]) <= most


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "most"), [(3, 0.08), (5, 0.06), (8, 0.06)])
@pytest.mark.parametrize("seed_sd", [0.02, 0.04, 0.06])
def test_the_size_of_the_paired_test_where_trainings_scatter(study, seeds, most, seed_sd):
    """The range in which the test holds its 5%: five seeds or more; with three it errs a little more often."""
    generator, sizes = np.random.default_rng(3), []
    for tasks in (140, 500):
        for _ in range(3):
            runs = study.simulate_tables(generator, 1000, seeds, tasks, 0.75, seed_sd, 1.0, methods=2)
            sizes.append(study.rejected(runs[0] - runs[1]))
    assert np.mean(sizes) <= most


def test_the_size_of_the_paired_bootstrap_of_one_seed():
    """One training says nothing about others: the methods' trainings must be equal for the test to hold."""
    generator = np.random.default_rng(2)
    difficulty = generator.random((TABLES, 128))
    ours, theirs = (np.clip(difficulty + generator.normal(0, 0.3, difficulty.shape), 0, 1) for _ in range(2))
    p_values = [bootstrap_p(row, seed, RESAMPLES) for seed, row in enumerate(ours - theirs)]
    assert 0.03 <= np.mean(np.array(p_values) < 0.05) <= 0.07


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
    found = [bootstrap_p(row * spread / 0.4 + effect, resamples=RESAMPLES) < 0.05 for row in noise]
    assert 0.74 <= np.mean(found) <= 0.86


def test_no_spread_no_detectable_difference():
    assert detectable_difference(np.zeros((2, 10))) is None
    assert detectable_difference(np.zeros((1, 10))) is None


def normal_differences(generator, design, gain, tables):
    """Tables of the random-effects model, drawn effect by effect."""
    shape = tables, design.seeds, design.tasks
    of_seeds = np.sqrt(design.of_seeds) * generator.normal(size=(tables, design.seeds, 1))
    of_tasks = np.sqrt(design.of_tasks) * generator.normal(size=(tables, 1, design.tasks))
    return gain + of_seeds + of_tasks + np.sqrt(design.rest) * generator.normal(size=shape)


@pytest.mark.parametrize(
    "design", [Design(3, 40, 0, 0, 0.3), Design(3, 40, 0.01, 0.1, 0.3), Design(6, 30, 0.004, 0, 0.3)]
)
def test_the_power_of_a_design_is_that_of_the_test(study, design):
    gain = 2.5 * design.error
    found = study.rejected(normal_differences(np.random.default_rng(3), design, gain, 4000))
    assert found == pytest.approx(design.power(gain), abs=0.025)
    assert design.power(design.detectable(0.8)) == pytest.approx(0.8)
    assert design.power(0) == pytest.approx(
        study.rejected(normal_differences(np.random.default_rng(4), design, 0, 4000)), abs=0.015
    )


def test_what_several_seeds_detect_knows_of_seeds_and_of_the_critical_value():
    """Three seeds and 140 tasks that scatter like the paper's: not the 7.7 points that the tasks alone would give."""
    design = planned_design(3, 140, 0.75, 1.5, 0.0)
    alone = (norm.ppf(0.975) + norm.ppf(0.8)) * design.error
    assert 100 * alone == pytest.approx(7.7, abs=0.2)
    assert 100 * design.detectable(0.8) > 12
    differences = normal_differences(np.random.default_rng(5), planned_design(3, 140, 0.75, 1.5, 0.05), 0, 1)[0]
    assert detectable_difference(differences) == design_of(differences).detectable(0.8)


def test_the_design_of_differences_has_the_variances_that_they_were_drawn_with():
    drawn = Design(60, 300, 0.02, 0.05, 0.3)
    found = design_of(normal_differences(np.random.default_rng(6), drawn, 0.1, 1)[0])
    assert (found.of_seeds, found.of_tasks, found.rest) == pytest.approx((0.02, 0.05, 0.3), rel=0.35)


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "scatter"), [(3, 0.0), (3, 0.025), (6, 0.05)])
def test_a_planned_power_is_reached_by_successes_and_failures(study, seeds, scatter):
    """The plan's normal model against what it is for: episodes that succeed or not, and two methods 8 points apart."""
    generator, tables, tasks = np.random.default_rng(7), 1500, 140
    difficulty = 1.5 * generator.normal(size=(tables, 1, tasks))

    def played(rate):
        # the slope of the mean success rate in the log-odds turns points into log-odds
        logit = brentq(lambda level: expit(level + difficulty).mean() - rate, -5, 8)
        slope = (lambda p: (p * (1 - p)).mean())(expit(logit + difficulty))
        shift = scatter / slope * generator.normal(size=(tables, seeds, 1))
        return (generator.random((tables, seeds, tasks)) < expit(logit + difficulty + shift)).astype(float)

    planned = planned_design(seeds, tasks, 0.80, 1.5, scatter)
    assert study.rejected(played(0.79) - played(0.71)) == pytest.approx(planned.power(0.08), abs=0.06)


@pytest.mark.parametrize(("better", "worse"), [(0, 0), (0, 7), (5, 5), (12, 3)])
def test_mcnemar_is_a_binomial_test(better, worse):
    expected = binomtest(better, better + worse).pvalue if better + worse else 1.0
    assert mcnemar_exact(better, worse) == pytest.approx(expected)


def test_the_bootstrap_of_one_seed_agrees_with_scipys():
    scores = np.random.default_rng(5).beta(2, 1, 60)
    theirs = bootstrap((scores,), np.mean, n_resamples=10_000, method="percentile", rng=0).confidence_interval
    assert bootstrap_interval(scores) == pytest.approx((theirs.low, theirs.high), abs=0.004)


def test_the_variance_of_a_mean_is_the_one_of_an_analysis_of_variance():
    generator = np.random.default_rng(5)
    seeds, tasks = generator.normal(0, 0.3, (3, 1)), generator.normal(0, 0.3, (1, 12))
    values = 0.5 + seeds + tasks + generator.normal(0, 0.1, (3, 12))
    frame = pd.DataFrame(values).melt(ignore_index=False, var_name="task", value_name="value").reset_index(names="seed")
    squares = anova_lm(ols("value ~ C(seed) + C(task)", frame).fit())
    squares = squares["sum_sq"] / squares["df"]
    spread = spread_of_mean(values)
    assert spread.variance == pytest.approx((squares["C(seed)"] + squares["C(task)"] - squares["Residual"]) / 36)
    assert spread.of_seeds == pytest.approx(squares["C(seed)"] / 36)


def test_without_a_spread_between_seeds_the_noise_is_counted_once():
    """Seeds that agree better than chance: the variance is the tasks' alone."""
    values = np.array([[1, 0, 0, 1, 0, 1], [0, 1, 0, 1, 1, 0], [0, 0, 1, 0, 1, 1.0]])
    spread = spread_of_mean(values)
    assert spread.of_seeds == 0
    assert spread.critical() == pytest.approx(1.96, abs=1e-3)


def test_few_seeds_widen_the_interval():
    """Seeds are all that differs: Student's t of their means."""
    differing = np.repeat([[0.2], [0.5], [0.8]], 50, axis=1)
    expected = ttest_1samp(differing.mean(axis=1), 0).confidence_interval()
    assert difference_interval(differing) == pytest.approx((expected.low, expected.high))
    assert difference_p(differing) == pytest.approx(ttest_1samp([0.2, 0.5, 0.8], 0).pvalue)
    assert spread_of_mean(differing[:, :1]).variance == pytest.approx(0.09 / 3)


def test_the_interval_of_several_seeds_is_statsmodels_wilson_at_the_effective_sample_size():
    generator = np.random.default_rng(8)
    values = (generator.random((3, 60)) < generator.random((1, 60))).astype(float)
    mean, spread = values.mean(), spread_of_mean(values)
    trials = mean * (1 - mean) / spread.variance
    alpha = 2 * norm.sf(spread.critical())
    expected = proportion_confint(mean * trials, trials, alpha, method="wilson")
    estimate = estimate_mean(values)
    assert (estimate.low, estimate.high) == pytest.approx(expected)


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.1, 0.4])
def test_test_and_interval_of_several_seeds_agree(shift):
    generator = np.random.default_rng(9)
    differences = shift + generator.normal(0, 0.05, (3, 1)) + generator.normal(0, 0.4, (3, 60))
    low, high = difference_interval(differences)
    assert (difference_p(differences) < 0.05) == (not low <= 0 <= high)


def test_equal_runs_do_not_differ():
    assert difference_p(np.zeros((3, 10))) == 1.0
    assert difference_interval(np.zeros((3, 10))) == (0.0, 0.0)


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
    assert compare(np.tile(method, (2, 1)), np.tile(reference, (2, 1))).test.startswith("paired, random effects")
    with pytest.raises(ValueError, match="cannot pair"):
        compare(method, reference[:, :3])


@pytest.mark.parametrize(
    ("values", "method"),
    [
        ([[1, 0, 1]], WILSON),
        ([[0, 0, 0]], WILSON),
        ([[0.5, 0.2, 1]], TASK_BOOTSTRAP),
        ([[1, 0, 1], [1, 1, 0]], RANDOM_EFFECTS),
        ([[1], [0]], RANDOM_EFFECTS),
        ([[0.5, 0.2, 1], [1, 0.3, 0.1]], RANDOM_EFFECTS),
        ([[0, 0, 0], [0, 0, 0]], WILSON_ON_TASKS),
    ],
)
def test_which_interval_a_value_gets(values, method):
    estimate = estimate_mean(np.array(values, dtype=float))
    assert estimate.method == method
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.high > estimate.low
