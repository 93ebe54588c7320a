"""What a run decides: one test a question, Holm over the questions, and verdicts by the protocol's rule."""

import json

import numpy as np
import pandas as pd
import pytest
from evaluations import write_evaluation

from prism.core.comparisons import compare, holm
from prism.core.decisions import Check, DecisionRecipe, Question
from prism.core.errors import BadInput
from prism.core.files import write_json
from prism.stages.decision import success_by_method, verdict, write_decision

SEEDS, TASKS = 5, 40
RATES = {"base": 0.1, "sft": 0.5, "near": 0.55, "far": 0.2, "best": 0.9}
RECIPE = DecisionRecipe(
    SEEDS,
    3.0,
    (Question("Q1", "best", ("sft",)), Question("Q2", "best", ("far", "near"))),
    (Check("learns", "sft", "base", 15.0, 0.01), Check("learns more", "sft", "base", 95.0, 0.01)),
)


@pytest.fixture
def solved():
    """Success of every method, seed and task, seen and unseen panel side by side."""
    generator = np.random.default_rng(0)
    return {name: (generator.random((SEEDS, 2 * TASKS)) < rate).astype(float) for name, rate in RATES.items()}


@pytest.fixture
def evaluations(tmp_path, solved):
    return [
        write_evaluation(tmp_path, method, panel, successes[seed, part * TASKS : (part + 1) * TASKS], seed=seed)
        for method, successes in solved.items()
        for seed in range(SEEDS)
        for part, panel in enumerate(("seen", "unseen"))
    ]


def decide(recipe, evaluations, tmp_path):
    out = tmp_path / "decision.csv", tmp_path / "decision.md"
    write_decision(recipe, evaluations, "laptop", *out)
    return pd.read_csv(out[0], comment="#").set_index("name"), out[1].read_text()


def test_panels_are_pooled_and_each_row_is_the_paired_test(tmp_path, solved, evaluations):
    table, page = decide(RECIPE, evaluations, tmp_path)
    expected = compare(solved["best"], solved["sft"])
    row = table.loc["Q1"]
    assert row["tasks"] == 2 * TASKS
    assert row["difference"] == pytest.approx(expected.difference, rel=1e-3)
    assert row["p"] == pytest.approx(expected.p, rel=1e-3)
    assert (row["better"], row["worse"]) == (expected.better, expected.worse)
    assert "| Q1" in page
    assert "tiny backbones" in page


def test_the_nearest_reference_counts_with_the_largest_p(tmp_path, solved, evaluations):
    table, _ = decide(RECIPE, evaluations, tmp_path)
    p_values = [compare(solved["best"], solved[name]).p for name in ("far", "near")]
    assert table.loc["Q2", "reference"] == "near"
    assert table.loc["Q2", "p"] == pytest.approx(max(p_values), rel=1e-3)
    corrected = holm([compare(solved["best"], solved["sft"]).p, max(p_values)])
    assert table.loc[["Q1", "Q2"], "p_holm"].tolist() == pytest.approx(corrected, rel=1e-3)


def test_a_check_needs_its_points_as_well(tmp_path, evaluations):
    table, _ = decide(RECIPE, evaluations, tmp_path)
    assert table["verdict"].tolist() == ["supported", "supported", "met", "not met"]
    assert table.loc[["learns", "learns more"], "p_holm"].isna().all()
    assert table.loc[["learns", "learns more"], "asked"].tolist() == [0.15, 0.95]
    assert table.loc[["Q1", "Q2"], "asked"].isna().all()


def test_fewer_seeds_than_the_protocol_has_give_no_verdict(tmp_path, evaluations):
    some = [path for path in evaluations if path.parent.name in ("seed0", "seed1")]
    table, page = decide(RECIPE, some, tmp_path)
    assert set(table["verdict"]) == {"interim"}
    assert "INTERIM: 2 of 5 seeds" in page


@pytest.mark.parametrize(
    ("difference", "high", "p", "said"),
    [
        (0.08, 0.12, 0.01, "supported"),
        (0.02, 0.028, 0.01, "supported, below the margin"),
        (0.08, 0.2, 0.2, "undecided"),
        (0.01, 0.025, 0.4, "not supported"),
        (-0.08, -0.01, 0.001, "not supported"),
        (-0.08, 0.05, 0.2, "undecided"),
        (0.0, 0.03, 1.0, "undecided"),
    ],
)
def test_the_rule(difference, high, p, said):
    assert verdict(difference, high, p, 0.03) == said


def test_methods_on_other_panels_or_seeds_are_refused(tmp_path, evaluations):
    path = next(path for path in evaluations if path.match("best/seed1/unseen.json"))
    with pytest.raises(BadInput, match="panels and seeds"):
        success_by_method([other for other in evaluations if other.parent != path.parent])
    for seed in range(SEEDS):
        other = json.loads((path.parents[1] / f"seed{seed}/unseen.json").read_text())
        write_json(path.parents[1] / f"seed{seed}/unseen.json", {**other, "panel_sha256": "1"})
    with pytest.raises(BadInput, match="panels and seeds"):
        success_by_method(evaluations)


def test_a_method_without_evaluations_is_named(tmp_path, evaluations):
    with pytest.raises(BadInput, match="'far'"):
        decide(RECIPE, [path for path in evaluations if "/far/" not in path.as_posix()], tmp_path)
