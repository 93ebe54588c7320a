"""Rank correlations, partial ones and sides of a median split, against scipy and against simulations."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, rankdata, spearmanr

from prism.core.associations import (
    areas_under_curve,
    compare_orders,
    correlations,
    distinct_factors,
    explained_by_groups,
    means_by_half,
    share_in_upper_half,
    tenths,
)

GENERATOR = np.random.default_rng(0)
COUNT = 300


@pytest.fixture(scope="module")
def chain():
    """A score that a hidden size makes, and a factor that goes with the score through that size alone."""
    size = GENERATOR.normal(size=COUNT)
    return size + 0.5 * GENERATOR.normal(size=COUNT), size, size + 0.5 * GENERATOR.normal(size=COUNT)


def test_plain_correlations_are_scipys_also_with_ties(chain):
    score, size, other = chain
    coarse = np.round(other)
    for factor, (plain, _) in zip((size, coarse), correlations(score, [size, coarse]), strict=True):
        assert plain.value == pytest.approx(spearmanr(score, factor).statistic, abs=1e-12)
        assert plain.low < plain.value < plain.high


def test_partial_correlation_is_that_of_the_residuals(chain):
    score, size, other = chain
    (_, partial), _ = correlations(score, [size, other])
    ranks = [rankdata(values) for values in (score, size, other)]
    design = np.column_stack([np.ones(COUNT), ranks[2]])
    residuals = [values - design @ np.linalg.lstsq(design, values, rcond=None)[0] for values in ranks[:2]]
    assert partial.value == pytest.approx(np.corrcoef(residuals)[0, 1], abs=1e-9)


def test_what_goes_with_a_score_through_another_factor_alone_has_no_partial_correlation(chain):
    score, size, other = chain
    _, (plain, partial) = correlations(score, [size, other])
    assert plain.low > 0.5
    assert partial.low < 0 < partial.high


def test_intervals_cover_what_is_estimated():
    """95% of samples of 80 from a normal pair with Spearman's rho of 0.5."""
    linear = 2 * np.sin(np.pi * 0.5 / 6)
    generator = np.random.default_rng(1)
    hits = 0
    for _ in range(100):
        first = generator.normal(size=80)
        second = linear * first + np.sqrt(1 - linear**2) * generator.normal(size=80)
        rho, _ = compare_orders(first, second)
        hits += rho.low <= 0.5 <= rho.high
    assert 87 <= hits <= 100


def test_factors_that_cannot_be_told_apart_are_left_out():
    kept, left_out = distinct_factors({"a": np.arange(5.0), "b": np.ones(5), "c": np.arange(5.0) ** 3})
    assert kept == ["a"]
    assert left_out == {"b": "is 1 for every trajectory", "c": "orders the trajectories exactly as a"}


def test_sides_change_for_half_of_all_where_scores_are_unrelated():
    first, second = np.random.default_rng(2).normal(size=(2, 2000))
    rho, moved = compare_orders(first, second)
    assert rho.low < 0 < rho.high
    assert moved.low < 50 < moved.high
    rho, moved = compare_orders(first, np.exp(first))
    assert (rho.value, rho.low, rho.high) == pytest.approx((1, 1, 1))
    assert (moved.value, moved.low, moved.high) == (0, 0, 0)
    _, moved = compare_orders(first, -first)
    assert moved.value == 100


def test_shares_and_means_by_half():
    score = np.arange(8.0)
    assert share_in_upper_half(score, score > 3).value == 100
    assert share_in_upper_half(score, score % 2 == 0).value == 50
    sft, rl, difference = means_by_half(score, 10 * score)
    assert (sft.value, rl.value, difference.value) == (15, 55, 40)
    assert difference.low > 0


def test_groups_explain_a_score_made_of_them_and_no_other():
    groups = np.repeat(list("abcd"), 50)
    made, unrelated = np.repeat([0.0, 1, 2, 3], 50), np.random.default_rng(3).normal(size=200)
    assert explained_by_groups(made, groups) == pytest.approx(100)
    assert abs(explained_by_groups(unrelated, groups)) < 5


def test_the_same_data_gives_the_same_intervals(chain):
    score, size, other = chain
    assert correlations(score, [size, other]) == correlations(score, [size, other])


def test_areas_are_mann_and_whitneys_over_all_pairs_and_within_strata(chain):
    score, size, _ = chain
    labels = (size > np.median(size)).astype(float)
    strata = tenths(GENERATOR.integers(0, 25, COUNT))
    coarse = np.round(score)
    plain, within = areas_under_curve([score, coarse], labels, strata)
    for values, one, other in zip((score, coarse), plain, within, strict=True):
        pairs = [mannwhitneyu(values[labels == 1], values[labels == 0]).statistic, labels.sum() * (1 - labels).sum()]
        assert one.value == pytest.approx(pairs[0] / pairs[1])
        parts = [values[strata == stratum] for stratum in range(10)], [labels[strata == n] for n in range(10)]
        wins = [mannwhitneyu(part[mark == 1], part[mark == 0]).statistic for part, mark in zip(*parts, strict=True)]
        of = [mark.sum() * (1 - mark).sum() for mark in parts[1]]
        assert other.value == pytest.approx(sum(wins) / sum(of))
        assert one.low < one.value < one.high


def test_a_score_that_follows_length_alone_finds_nothing_at_equal_length():
    """Labelled trajectories are longer, and the score is their length: at equal length it is noise."""
    labels = GENERATOR.integers(0, 2, 2000).astype(float)
    length = 10 + 3 * labels + GENERATOR.normal(size=2000)
    (plain,), (within,) = areas_under_curve([np.round(length)], labels, tenths(np.round(length)))
    assert plain.low > 0.95
    assert within.low < 0.6


def test_tenths_keep_equal_values_together():
    assert tenths(np.arange(20.0)).tolist() == [number // 2 for number in range(20)]
    assert len(set(tenths(np.ones(7)).tolist())) == 1
