"""The comparison with the paper: estimates recomputed by other means, and the rule of the verdicts."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from prism.core.errors import BadInput
from prism.core.files import write_json
from prism.stages.audit.paper import Claim, read_claims
from prism.stages.comparison import (
    ComparisonRecipe,
    Estimate,
    Outcome,
    common_share,
    compare_with_paper,
    spearman_interval,
)

GAIN = {"kind": "gain", "table": "table1"}


def outcome(*intervals, threshold=0.0, below=False, missing=()):
    claim = Claim("c", "place", "statement", GAIN, threshold, below, ())
    return Outcome(
        claim, tuple(Estimate("e", (low + high) / 2, low, high, "points") for low, high in intervals), missing
    )


@pytest.mark.parametrize(
    ("found", "here", "at_paper_scale"),
    [
        (outcome((1, 5)), "holds", "supported"),
        (outcome((-5, -1)), "fails", "not supported"),
        (outcome((-1, 5)), "unclear", "inconclusive at this scale"),
        (outcome((0, 0)), "unclear", "inconclusive at this scale"),
        (outcome((1, 5), (2, 3)), "holds", "supported"),
        (outcome((1, 5), (-1, 3)), "unclear", "inconclusive at this scale"),
        (outcome((1, 5), (-4, -3)), "fails", "not supported"),
        (outcome((1, 5), missing=("hpt",)), "unclear", "inconclusive at this scale"),
        (outcome((1, 5), threshold=3), "unclear", "inconclusive at this scale"),
        (outcome((1, 1.5), threshold=2, below=True), "holds", "supported"),
        (outcome((2.5, 3), threshold=2, below=True), "fails", "not supported"),
        (outcome(), "not built in this run", "not built in this run"),
    ],
)
def test_the_rule(found, here, at_paper_scale):
    assert found.in_this_run == here
    assert found.verdict("paper") == at_paper_scale
    for scale in ("demo", "smoke", "laptop"):
        assert found.verdict(scale) in ("inconclusive at this scale", "not built in this run")


def write_run(folder, benchmark, method, panel, successes, seed=0):
    episodes = [
        {"task_id": f"t{index}", "task_type": "pick", "success": bool(success), "score": float(success)}
        for index, success in enumerate(successes)
    ]
    path = folder / "eval" / benchmark / "tiny" / method / f"seed{seed}" / f"{panel}.json"
    record = {"benchmark": benchmark, "panel": panel, "panel_sha256": panel, "seed": seed, "recipe": {}}
    write_json(path, {**record, "episodes": episodes})
    return path


def run_comparison(root, folder, paths, targets=("table1",), scale="demo", **more):
    recipe = ComparisonRecipe(scale, tuple(targets), {name: ("tiny",) for name in targets})
    out = folder / "comparison.csv", folder / "comparison.md"
    compare_with_paper(root / "resources/paper/v1", paths, recipe, *out, **more)
    table = pd.read_csv(out[0], comment="#").set_index("claim")
    return table, out[1].read_text()


@pytest.fixture
def outcomes():
    """Successes of two methods on 40 tasks: the first is better on ten, worse on two."""
    reference = np.array([1] * 20 + [0] * 20)
    method = reference.copy()
    method[20:30], method[:2] = 1, 0
    return method, reference


def test_gain_is_the_paired_difference(root, tmp_path, outcomes):
    method, reference = outcomes
    paths = [
        write_run(tmp_path, "alfworld", "prism-gini", "seen", method),
        write_run(tmp_path, "alfworld", "sft-then-rl", "seen", reference),
    ]
    table, markdown = run_comparison(root, tmp_path, paths, scale="paper")
    row = table.loc["seen-sft-then-rl"]
    assert row["estimate"] == pytest.approx(100 * (method - reference).mean())
    # normal approximation of the paired mean, by hand
    half = 196 * (method - reference).std(ddof=1) / np.sqrt(40)
    assert row["low"] == pytest.approx(row["estimate"] - half, abs=2.5)
    assert row["high"] == pytest.approx(row["estimate"] + half, abs=2.5)
    assert (row["in_this_run"], row["verdict"]) == ("holds", "supported")
    assert "20.0 [" in markdown
    assert set(table.loc[["webshop-llama-success", "consensus", "probe-share"], "verdict"]) == {"not built in this run"}


def test_a_small_scale_never_decides_and_says_so(root, tmp_path, outcomes):
    paths = [
        write_run(tmp_path, "alfworld", name, "seen", successes)
        for name, successes in zip(("prism-gini", "sft-then-rl"), outcomes, strict=True)
    ]
    table, markdown = run_comparison(root, tmp_path, paths)
    row = table.loc["seen-sft-then-rl"]
    assert (row["in_this_run"], row["verdict"]) == ("holds", "inconclusive at this scale")
    assert "DEMO SCALE" in markdown
    assert "It cannot show whether a claim holds for 8B models" in markdown
    assert "**supported**" not in markdown
    assert (tmp_path / "comparison.csv").read_text().startswith("# Claims of arXiv")


def test_methods_that_the_run_lacks_are_named(root, tmp_path, outcomes):
    paths = [
        write_run(tmp_path, "alfworld", name, "seen", successes)
        for name, successes in zip(("prism-gini", "random"), outcomes, strict=True)
    ]
    table, _ = run_comparison(root, tmp_path, paths, scale="paper")
    rows = table.loc["seen-all-baselines"]
    assert list(rows["in_this_run"]) == ["holds", *["not built in this run"] * 3]
    assert set(rows["verdict"]) == {"inconclusive at this scale"}


def test_different_panels_are_not_compared(root, tmp_path, outcomes):
    first = write_run(tmp_path, "alfworld", "prism-gini", "seen", outcomes[0])
    second = write_run(tmp_path, "alfworld", "sft-then-rl", "seen", outcomes[1])
    record = json.loads(second.read_text())
    write_json(second, {**record, "panel_sha256": "another"})
    with pytest.raises(BadInput, match="not on the panel and seeds"):
        run_comparison(root, tmp_path, [first, second])


def test_times(root, tmp_path):
    times = tmp_path / "table3.csv"
    times.write_text(
        "# seconds\nbenchmark,method,probe_seconds,sft_seconds,rl_seconds,total_seconds\n"
        "alfworld,grpo,-,-,1000,1000\nalfworld,random,-,10,390,400\nalfworld,prism-gini,5,10,185,200\n"
        "webshop,prism-gini,5,10,85,100\n"
    )
    table, _ = run_comparison(root, tmp_path, [], ["table3"], "paper", times=times)
    assert table.loc["speedup-alfworld", "estimate"] == 5.0
    assert table.loc["speedup-alfworld", "verdict"] == "supported"
    assert table.loc["speedup-over-random", "estimate"] == 2.0
    assert table.loc["probe-share", "estimate"] == 5.0
    assert table.loc["probe-share", "verdict"] == "not supported"
    assert table.loc["speedup-webshop", "verdict"] == "not built in this run"


def test_consensus_of_independent_scores_is_a_quarter(root, tmp_path):
    generator = np.random.default_rng(0)
    scores = pd.DataFrame(generator.normal(size=(4000, 3)), columns=["gini", "kurtosis", "cv"])
    path = tmp_path / "alfworld" / "tiny.csv"
    path.parent.mkdir()
    scores.to_csv(path)
    table, _ = run_comparison(root, tmp_path, [], ["figure5"], "paper", scores=[path])
    row = table.loc["consensus"]
    assert row["low"] < 25 < row["high"]
    assert row["high"] - row["low"] < 6
    assert row["in_this_run"] == "unclear"
    assert common_share(np.array([[1, 2, 3, 4]] * 3)) == 100


def test_interval_of_a_rank_correlation_covers_the_truth():
    """Coverage over simulated pairs with a known correlation."""
    generator = np.random.default_rng(1)
    truth = 6 / np.pi * np.arcsin(0.8 / 2)  # Spearman's rho of a normal pair with correlation 0.8
    covered = 0
    for _ in range(400):
        pair = generator.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], size=80)
        low, high = spearman_interval(spearmanr(pair[:, 0], pair[:, 1]).statistic, 80)
        covered += low <= truth <= high
    assert 0.92 <= covered / 400 <= 0.98


def test_the_shipped_claims_are_read(root):
    claims = read_claims(root / "resources/paper/v1/claims.yaml")
    assert len(claims) > 20
    assert all(claim.published or claim.quantity["table"].startswith("figure") for claim in claims)
