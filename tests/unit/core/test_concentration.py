"""Scores to the letter of eq. 5-7, and their stage."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from norm_files import fake_norms
from scipy.stats import entropy, spearmanr, variation
from scipy.stats import kurtosis as scipy_kurtosis

from prism.core.concentration import (
    EPSILON,
    PROBE_COLUMNS,
    concentration_scores,
    cv,
    effective_rank,
    gini,
    kurtosis,
    l2,
    score_names,
)
from prism.core.consensus import measure_consensus
from prism.core.csv_files import read_table, write_table
from prism.core.errors import BadInput
from prism.stages.scores import ScoresRecipe, compute_scores

VECTORS = st.lists(st.floats(1e-3, 1e3), min_size=7, max_size=28)


@given(VECTORS)
def test_metrics_follow_the_equations(vector):
    count, total = len(vector), sum(vector)
    mean = total / count
    deviation = math.sqrt(sum((value - mean) ** 2 for value in vector) / count)
    by_equation = {
        gini: sum((2 * rank - count - 1) * value for rank, value in enumerate(sorted(vector), 1))
        / (count * total + EPSILON),
        kurtosis: sum(((value - mean) / (deviation + EPSILON)) ** 4 for value in vector) / count - 3,
        cv: deviation / (mean + EPSILON),
        l2: math.sqrt(sum(value**2 for value in vector)),
    }
    for metric, expected in by_equation.items():
        assert metric(np.array([vector]))[0] == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_known_values():
    even, single = np.ones((1, 8)), np.array([[0, 0, 0, 0, 0, 0, 0, 5.0]])
    assert gini(even)[0] == pytest.approx(0)
    assert cv(even)[0] == pytest.approx(0)
    assert kurtosis(even)[0] == pytest.approx(-3)
    assert gini(single)[0] == pytest.approx(7 / 8)
    assert cv(single)[0] == pytest.approx(math.sqrt(7))
    assert gini(np.array([[1.0, 2, 3, 4]]))[0] == pytest.approx(0.25)


def test_gini_is_invariant_to_a_common_factor_only():
    """Appendix G claims invariance under scaling of a subset; that is not so."""
    vector = np.array([[1.0, 2, 3, 4]])
    assert gini(10 * vector)[0] == pytest.approx(gini(vector)[0])
    assert gini(vector * [10, 1, 1, 1])[0] != pytest.approx(gini(vector)[0], abs=0.01)


def test_normalised_variants_divide_by_the_root_of_the_parameter_count():
    norms = np.array([[1.0, 4.0, 2.0], [3.0, 1.0, 1.0]])
    counts = np.array([4.0, 16.0, 1.0])
    scores = concentration_scores(norms, counts)
    np.testing.assert_allclose(scores["gini_normalised"], gini(norms / [2, 4, 1]))
    assert (*scores, *PROBE_COLUMNS) == score_names()
    paper = {"gini", "kurtosis", "cv", "l2", "gini_normalised", "kurtosis_normalised", "cv_normalised"}
    assert paper <= set(scores)


@pytest.mark.parametrize("mean", [1e-3, 1e-4])
def test_normalised_variants_do_not_depend_on_the_size_of_the_norms(mean):
    """Epsilon keeps the variants' denominators from zero; it does not take part in the ranking."""
    rng = np.random.default_rng(0)
    counts = np.tile([4096 * 4096, 4096 * 1024, 4096 * 1024, 4096 * 4096, *[4096 * 12288] * 3], 36)
    norms = mean * rng.lognormal(0, 0.3, (400, counts.size)) * np.sqrt(counts / counts.mean())
    exact = concentration_scores(norms, counts, epsilon=0.0)
    scores = concentration_scores(norms, counts)
    for name in ("gini_normalised", "kurtosis_normalised", "cv_normalised"):
        np.testing.assert_allclose(scores[name], exact[name], rtol=0.01, atol=0.01)
        assert spearmanr(scores[name], exact[name]).statistic > 0.9999


# ------------------------------------------------------------------------------------------------ the stage


def test_scores_of_shards_equal_scores_of_the_whole(tmp_path):
    whole = fake_norms(tmp_path / "whole.parquet", range(20))
    parts = [fake_norms(tmp_path / f"{shard}.parquet", range(shard, 20, 3), shard, 3) for shard in (2, 0, 1)]
    recipe = ScoresRecipe()
    compute_scores([whole], None, tmp_path / "a.csv", recipe)
    compute_scores(parts, None, tmp_path / "b.csv", recipe)
    one, other = (read_table(tmp_path / name) for name in ("a.csv", "b.csv"))
    assert one.rows == other.rows
    assert one.column("id") == sorted(one.column("id"))
    assert one.columns == ["id", *score_names()]


def test_pass_rates_become_a_column(tmp_path):
    norms = fake_norms(tmp_path / "n.parquet", range(3))
    rates = tmp_path / "rates.csv"
    write_table(rates, ["8 rollouts"], ["id", "pass_rate"], [["t-002", 0.5], ["t-000", 0.0], ["t-001", 1.0]])
    compute_scores([norms], rates, tmp_path / "s.csv", ScoresRecipe())
    assert read_table(tmp_path / "s.csv").numbers("pass_rate") == [0.0, 1.0, 0.5]
    write_table(rates, [], ["id", "pass_rate"], [["t-002", 0.5]])
    with pytest.raises(BadInput, match="t-000"):
        compute_scores([norms], rates, tmp_path / "x.csv", ScoresRecipe())
    assert not (tmp_path / "x.csv").exists()


def test_shards_that_do_not_belong_together_are_refused(tmp_path):
    first = fake_norms(tmp_path / "0.parquet", range(4), 0, 2)
    with pytest.raises(BadInput, match="shards"):
        compute_scores([first], None, tmp_path / "s.csv", ScoresRecipe())
    with pytest.raises(BadInput, match="shards"):
        compute_scores([first, first], None, tmp_path / "s.csv", ScoresRecipe())
    other = fake_norms(tmp_path / "1.parquet", range(4), 1, 2, model_sha256="other")
    with pytest.raises(BadInput, match="model_sha256"):
        compute_scores([first, other], None, tmp_path / "s.csv", ScoresRecipe())
    again = fake_norms(tmp_path / "2.parquet", range(4), 1, 2)
    with pytest.raises(BadInput, match="twice"):
        compute_scores([first, again], None, tmp_path / "s.csv", ScoresRecipe())


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_broken_norms_name_the_trajectory(tmp_path, value):
    path = fake_norms(tmp_path / "n.parquet", range(3), broken=(1, value))
    with pytest.raises(BadInput, match=r"n\.parquet: .*'t-001' is NaN, infinite or negative"):
        compute_scores([path], None, tmp_path / "s.csv", ScoresRecipe())
    assert not (tmp_path / "s.csv").exists()


def _as_text(table):
    column = table.column_names.index("layers.1.up_proj")
    return table.set_column(column, "layers.1.up_proj", pa.array(["1"] * len(table)))


@pytest.mark.parametrize("damage", [lambda table: table.drop_columns("layers.1.up_proj"), _as_text])
def test_norms_that_do_not_fit_their_metadata_are_refused(tmp_path, damage):
    path = fake_norms(tmp_path / "n.parquet", range(3))
    pq.write_table(damage(pq.read_table(path)), path)
    with pytest.raises(BadInput, match="does not hold the norms of 14 matrices"):
        compute_scores([path], None, tmp_path / "s.csv", ScoresRecipe())


@pytest.mark.parametrize("content", ["not parquet", ""])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "n.parquet"
    path.write_text(content)
    with pytest.raises(BadInput, match="parquet"):
        compute_scores([path], None, tmp_path / "s.csv", ScoresRecipe())
    with pytest.raises(BadInput, match="cannot be read"):
        compute_scores([tmp_path / "missing.parquet"], None, tmp_path / "s.csv", ScoresRecipe())


@pytest.mark.slow
def test_noise_does_not_exceed_its_permutation_null_more_often_than_it_may():
    """The size of the consensus test at 2.5% on the upper side, with and without a factor a trajectory."""
    generator = np.random.default_rng(1)
    exceeded = []
    for _ in range(400):
        sizes = generator.lognormal(0, 1, (120, 1))
        norms = generator.lognormal(0, 0.6, (120, 14)) * generator.lognormal(0, 0.5, (1, 14)) * sizes
        exceeded.append(measure_consensus(norms, 79).above_null[1] > 0)
    assert np.mean(exceeded) <= 0.05


def test_noise_puts_more_than_half_of_a_half_into_all_three():
    """By other means: scipy's moments and the pairwise definition of Gini, on norms that hold no signal at all."""
    norms = np.random.default_rng(0).lognormal(0, 0.6, (500, 60))
    pairs = np.abs(norms[:, :, None] - norms[:, None, :]).mean(axis=(1, 2))
    scores = [pairs / (2 * norms.mean(axis=1)), scipy_kurtosis(norms, axis=1), variation(norms, axis=1)]
    halves = [set(np.argsort(score)[250:].tolist()) for score in scores]
    common, union = len(set.intersection(*halves)), len(set.union(*halves))
    consensus = measure_consensus(norms, 19)
    assert (consensus.common, consensus.half) == (common, 250)
    assert consensus.of_half == pytest.approx(100 * common / 250)
    assert consensus.of_union == pytest.approx(100 * common / union)
    assert consensus.of_half > 50
    assert consensus.p > 0.05


def test_equal_trajectories_have_no_half_in_common():
    consensus = measure_consensus(np.ones((6, 14)), 9)
    assert (consensus.common, consensus.half, consensus.of_half, consensus.of_union) == (0, 0, 0.0, 0.0)
    assert consensus.p == 1.0


def test_the_effective_rank_counts_the_matrices_that_share_a_gradient():
    assert effective_rank(np.ones((1, 14)))[0] == pytest.approx(14)
    assert effective_rank(np.array([[0.0, 0, 5, 0]]))[0] == pytest.approx(1)
    assert effective_rank(np.array([[3.0, 3, 0, 0]]))[0] == pytest.approx(2)
    norms = np.random.default_rng(0).gamma(2, size=(5, 14))
    by_scipy = np.exp(entropy(norms, axis=1))
    assert effective_rank(norms) == pytest.approx(by_scipy)
    assert effective_rank(1000 * norms) == pytest.approx(by_scipy)


def test_lengths_and_losses_are_scores_as_the_probe_recorded_them(tmp_path):
    shards = [fake_norms(tmp_path / f"{shard}.parquet", [shard, shard + 2], shard, 2) for shard in (0, 1)]
    compute_scores(shards, None, tmp_path / "scores.csv", ScoresRecipe())
    table = read_table(tmp_path / "scores.csv")
    assert table.numbers("loss") == [1.5] * 4
    assert table.numbers("length") == [1.0] * 4  # one of the two tokens of a made-up row is a response
