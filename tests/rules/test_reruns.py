"""What depends on what, read off a copy of the finished demo."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from snakemake_plan import dry_run, job_counts, planned_jobs

pytestmark = pytest.mark.demo
RESULTS = Path("results/demo")
AFTER_TABLE = [
    "summary: seconds by rule",
    "paired tests of table 1",
    "table 1",
    "forest plot: all methods with their intervals",
    "index page: results/demo/index.html",
    "provenance: results/demo/ro-crate-metadata.json",
]
# what comes after everything else
LAST = ("all", "total", "benchmark_summary", "figure_forest", "index_page", "crate")


@pytest.fixture(scope="module")
def finished(root, tmp_path_factory) -> Path:
    """A clone beside the finished demo's results and their metadata, as a third party would receive them."""
    if not (root / RESULTS / "tables/table1.csv").is_file():
        pytest.skip("results/demo is not built: run `make demo` first")
    clone = tmp_path_factory.mktemp("clone") / "prism"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True).stdout
    for name in tracked.decode().split("\0"):
        if name and (root / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, clone / name)
    shutil.copytree(root / RESULTS, clone / RESULTS, symlinks=True)
    shutil.copytree(root / ".snakemake/metadata", clone / ".snakemake/metadata")
    return clone


def plan_without(finished: Path, *names: str) -> list[str]:
    """Jobs that a dry run plans once the named results are gone; they are put back afterwards."""
    hidden = []
    for name in names:
        path = finished / RESULTS / name
        path.rename(path.with_name(path.name + ".hidden"))
        hidden.append(path)
    try:
        return planned_jobs(dry_run(finished))
    finally:
        for path in hidden:
            path.with_name(path.name + ".hidden").rename(path)


def test_a_finished_demo_has_nothing_to_do(finished):
    assert "Nothing to be done" in dry_run(finished)
    assert "Nothing to be done" in dry_run(finished, "--cores", "1")


def test_a_deleted_cell(finished):
    jobs = plan_without(finished, "cells/table1/seen/sft/pick.json")
    assert jobs == sorted(["cells of table 1: seen, sft", *AFTER_TABLE])


def test_a_deleted_evaluation(finished):
    jobs = plan_without(finished, "eval/alfworld/tiny-qwen3/grpo/seed0/unseen.json")
    assert jobs == sorted(["evaluate: grpo on unseen, seed 0", "cells of table 1: unseen, grpo", *AFTER_TABLE])


def test_a_deleted_split(finished):
    """Only what was trained on the split's subsets, and what came out of that."""
    jobs = plan_without(finished, "splits/alfworld/tiny-qwen3/gini-50.csv")
    assert jobs == sorted(
        [
            "split: 50% to RL by gini",
            "SFT: tiny-qwen3 on gini-low50, seed 0",
            "RL: grpo on gini-high50 from gini-low50, seed 0",
            "training curves",
            *(f"evaluate: prism-gini on {panel}, seed 0" for panel in ("seen", "unseen")),
            *(f"cells of table 1: {panel}, prism-gini" for panel in ("seen", "unseen")),
            *AFTER_TABLE,
        ]
    )


def counts_with(finished: Path, override: str) -> dict[str, int]:
    """Jobs by rule after an edit, given as an overlay of the config."""
    overlay = finished / "edit.yaml"
    overlay.write_text(override)
    counts = job_counts(dry_run(finished, "--configfile", str(overlay)))
    return {rule: count for rule, count in counts.items() if rule not in LAST}


FIGURES = {"figure_case_study", "figure_consensus", "figure_score_distributions"}
TABLE = {"table1_row", "table_statistics", "table1"}
TRAINED = {"split", "sft", "rl", "evaluate", "figure_training_curves"}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("scores: {epsilon: 1.0e-6}", {"scores", "sensitivity"} | TRAINED | TABLE | FIGURES),
        ("evaluation: {temperature: 0.5}", {"evaluate"} | TABLE),
        ("rl: {learning_rate: 1.0e-5}", {"rl", "evaluate", "figure_training_curves"} | TABLE),
        ("benchmarks: {alfworld: {panels: {seen: 47}}}", {"alfworld_panel", "evaluate"} | TABLE),
        ("backbones: {tiny-llama: {template: qwen3}}", set()),
    ],
)
def test_an_edit_reruns_what_it_touches(finished, override, expected):
    assert set(counts_with(finished, override)) == expected


def test_an_rl_edit_leaves_the_methods_without_rl_alone(finished):
    counts = counts_with(finished, "rl: {learning_rate: 1.0e-5}")
    assert counts["rl"] == 4
    assert counts["evaluate"] == counts["table1_row"] == 8  # base and sft are not evaluated again
