"""The comparison with the paper: estimates recomputed by other means, and the rule of the verdicts."""

import json

import jsonschema
import numpy as np
import pandas as pd
import pytest
from evaluations import write_evaluation
from norm_files import fake_norms
from scipy.stats import spearmanr
from study_run import write_consensus

from prism.core.errors import BadInput
from prism.core.files import write_json
from prism.core.results import Results
from prism.stages.audit.paper import Claim, read_claims
from prism.stages.comparison import ComparisonRecipe, RunFiles, compare_with_paper
from prism.stages.comparison.estimators import spearman_interval
from prism.stages.comparison.outcomes import Estimate, Outcome

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
    for scale in ("demo", "smoke", "gpu"):
        assert found.verdict(scale) in ("inconclusive at this scale", "not built in this run")


def test_the_scale_with_a_protocol_says_what_holds_in_its_world_once_it_has_all_seeds():
    decided = [
        found.verdict("laptop", decided=True) for found in (outcome((1, 5)), outcome((-5, -1)), outcome((-1, 5)))
    ]
    assert decided == ["holds in this world", "fails in this world", "unclear in this world"]
    assert outcome((1, 5)).verdict("laptop", decided=False) == "interim"
    assert outcome((1, 5)).verdict("laptop") == "inconclusive at this scale"
    assert outcome().verdict("laptop", decided=True) == "not built in this run"


def run_comparison(root, folder, paths, targets=("table1",), scale="demo", **more):
    recipe = ComparisonRecipe(scale, tuple(targets), {name: ("tiny",) for name in targets})
    consensus = [
        write_consensus(folder, shards, "/".join(place))
        for place, shards in Results.by_place(more.get("norms", [])).items()
    ]
    files = RunFiles(paths, consensus=consensus, **more)
    compare_with_paper(root / "resources/paper/v1", files, recipe, folder)
    record = json.loads((folder / "claims.json").read_text())
    jsonschema.validate(record, json.loads((root / "resources/schemas/claims.json").read_text()))
    table = pd.read_csv(folder / "comparison.csv", comment="#").set_index("claim")
    verdicts = {claim["id"]: claim["verdict"] for claim in record["claims"]}
    assert verdicts == {claim: rows["verdict"].iloc[0] for claim, rows in table.groupby("claim")}
    return table, (folder / "comparison.md").read_text()


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
        write_evaluation(tmp_path, "prism-gini", "seen", method),
        write_evaluation(tmp_path, "sft-then-rl", "seen", reference),
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
        write_evaluation(tmp_path, name, "seen", successes)
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
        write_evaluation(tmp_path, name, "seen", successes)
        for name, successes in zip(("prism-gini", "random"), outcomes, strict=True)
    ]
    table, _ = run_comparison(root, tmp_path, paths, scale="paper")
    rows = table.loc["seen-all-baselines"]
    assert list(rows["in_this_run"]) == ["holds", *["not built in this run"] * 3]
    assert set(rows["verdict"]) == {"inconclusive at this scale"}


def test_different_panels_are_not_compared(root, tmp_path, outcomes):
    first = write_evaluation(tmp_path, "prism-gini", "seen", outcomes[0])
    second = write_evaluation(tmp_path, "sft-then-rl", "seen", outcomes[1])
    record = json.loads(second.read_text())
    write_json(second, {**record, "panel_sha256": "another"})
    with pytest.raises(BadInput, match="not on the panel and seeds"):
        run_comparison(root, tmp_path, [first, second])


def times_table(path, rows, columns=""):
    head = f"benchmark,method,probe_seconds,sft_seconds,rl_seconds,total_seconds{columns}"
    path.write_text("# seconds\n" + "\n".join([head, *rows]) + "\n")
    return path


def test_times(root, tmp_path):
    rows = [
        "alfworld,grpo,-,-,1000,1000",
        "alfworld,random,-,10,390,400",
        "alfworld,prism-gini,5,10,185,200",
        "webshop,prism-gini,5,10,85,100",
    ]
    times = times_table(tmp_path / "table3.csv", rows)
    table, _ = run_comparison(root, tmp_path, [], ["table3"], "paper", tables=[times])
    assert table.loc["speedup-alfworld", "estimate"] == 5.0
    assert table.loc["speedup-alfworld", "verdict"] == "supported"
    assert table.loc["speedup-over-random", "estimate"] == 2.0
    assert table.loc["probe-share", "estimate"] == 5.0
    assert table.loc["probe-share", "verdict"] == "not supported"
    assert table.loc["speedup-webshop", "verdict"] == "not built in this run"


def test_the_published_times_support_what_is_said_of_them(root, tmp_path):
    """An exact reproduction of Table 3: the speed-ups hold; 5% over random is within what a single timing can say."""
    published = pd.read_csv(root / "resources/paper/v1/table3.csv", comment="#", dtype=str)
    path = tmp_path / "table3.csv"
    published.to_csv(path, index=False)
    table, _ = run_comparison(root, tmp_path, [], ["table3"], "paper", tables=[path])
    assert set(table.loc[["speedup-alfworld", "speedup-webshop", "probe-share"], "verdict"]) == {"supported"}
    assert table.loc["speedup-over-random", "in_this_run"] == "unclear"


def test_times_of_several_seeds_have_their_own_interval(root, tmp_path):
    rows = ["alfworld,random,-,-,105,105,106.05", "alfworld,prism-gini,-,-,100,100,101"]
    times = times_table(tmp_path / "table3.csv", rows, ",total_high")
    table, _ = run_comparison(root, tmp_path, [], ["table3"], "paper", tables=[times])
    row = table.loc["speedup-over-random"]
    # two errors of 1% each, added in squares
    assert row["high"] == pytest.approx(1.05 * (1 + 0.01 * np.sqrt(2)), abs=0.005)
    assert row["verdict"] == "supported"


def write_shards(folder, norms):
    """A norm file of its own making: two shards, as the probe leaves them."""
    paths = []
    for shard, part in enumerate(np.array_split(np.arange(len(norms)), 2)):
        path = folder / "gradnorms" / "alfworld" / "tiny" / f"shard-{shard}-of-2.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        paths.append(fake_norms(path, part.tolist(), shard, 2, values=norms))
    return paths


def test_consensus_of_noise_is_unclear_and_of_a_common_factor_holds(root, tmp_path):
    """Noise puts far more than a quarter of a half into all three halves: that alone supports nothing."""
    generator = np.random.default_rng(0)
    noise = generator.lognormal(0, 0.6, (300, 14))
    table, _ = run_comparison(root, tmp_path, [], ["figure5"], "paper", norms=write_shards(tmp_path / "a", noise))
    row = table.loc["consensus"]
    share = float(row["comparison"].partition("share ")[2].partition("%")[0])
    assert share > 40
    assert (row["in_this_run"], row["verdict"]) == ("unclear", "inconclusive at this scale")
    # one factor moves all matrices of a trajectory: its profile is flat or steep
    steepness, profile = generator.uniform(0, 1.5, (300, 1)), generator.normal(0, 1, (1, 14))
    signal = np.exp(steepness * profile + generator.normal(0, 0.1, (300, 14)))
    table, _ = run_comparison(root, tmp_path, [], ["figure5"], "paper", norms=write_shards(tmp_path / "b", signal))
    assert table.loc["consensus", "verdict"] == "supported"


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
    # what the paper says in words or shows in a figure has no published number
    in_words = [claim.quantity["kind"] == "study" or claim.quantity["table"].startswith("figure") for claim in claims]
    assert all(claim.published or worded for claim, worded in zip(claims, in_words, strict=True))


def test_claims_about_the_score_rest_on_the_largest_model_of_the_run(root, tmp_path):
    """A model of a million weights beside one of twenty: only the larger one's rows count, and the label says which."""
    noise = np.random.default_rng(0).lognormal(0, 0.6, (40, 14))
    norms = []
    for name, count in (("small", 1000), ("large", 20000)):
        path = tmp_path / f"norms/alfworld/{name}/shard-0-of-1.parquet"
        path.parent.mkdir(parents=True)
        norms.append(fake_norms(path, range(40), values=noise, parameter_counts=str([count] * 14)))
    header = "benchmark,backbone,score,factor,measure,value,value_low,value_high\n"
    rows = [f"alfworld,{name},gini,L2 norm,spearman,{rho},{low},{high}" for name, rho, low, high in (
        ("small", 0.1, 0.0, 0.2), ("large", 0.9, 0.8, 0.95),
    )]  # fmt: skip
    (tmp_path / "score_correlates.csv").write_text(header + "\n".join(rows) + "\n")
    rows = ["alfworld,small,gini,0.5,40", "alfworld,large,gini,0.999,40"]
    (tmp_path / "appendix_g.csv").write_text("benchmark,backbone,metric,spearman,trajectories\n" + "\n".join(rows))
    (tmp_path / "memory.csv").write_text(
        "benchmark,backbone,pass,times_forward\nalfworld,small,probe,1.0\nalfworld,large,probe,3.0\n"
    )
    tables = [tmp_path / f"{name}.csv" for name in ("score_correlates", "appendix_g", "memory")]
    targets = ["score_correlates", "appendix_g", "memory", "figure5", "appendix_b"]
    table, _ = run_comparison(root, tmp_path / "out", [], targets, "paper", tables=tables, norms=norms)
    row = table.loc["magnitude"]
    assert "large (0.28M weights probed)" in row["comparison"]
    assert (float(row["estimate"]), row["in_this_run"], row["verdict"]) == (0.9, "fails", "not supported")
    assert "small" not in "".join(table["comparison"].dropna())
    assert table.loc["architecture", "comparison"] == "alfworld large gini"
    assert "large (0.28M" in table.loc["consensus", "comparison"]
    # a single measurement is off by a twentieth at most
    assert (float(table.loc["memory", "low"]), table.loc["memory", "in_this_run"]) == (2.85, "fails")
    assert table.loc["error-recovery", "verdict"] == "not built in this run"
