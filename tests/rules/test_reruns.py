"""What depends on what, read off a copy of the finished demo."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
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
COMPARISON = "the paper's claims beside this run"
# what comes after everything else
LAST = ("all", "total", "benchmark_summary", "figure_forest", "comparison", "index_page", "crate")


@pytest.fixture(scope="module")
def finished(root, copy_repository, tmp_path_factory) -> Path:
    """A clone beside the finished demo's results and their metadata, as a third party would receive them."""
    if not (root / RESULTS / "tables/table1.csv").is_file():
        pytest.skip("results/demo is not built: run `make demo` first")
    clone = copy_repository(tmp_path_factory.mktemp("clone") / "prism")
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
    assert jobs == sorted(
        ["evaluate: grpo on unseen, seed 0", "cells of table 1: unseen, grpo", COMPARISON, *AFTER_TABLE]
    )


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
            COMPARISON,
            *AFTER_TABLE,
        ]
    )


def counts_with(finished: Path, override: str) -> dict[str, int]:
    """Jobs by rule after an edit, given as an overlay of the config."""
    overlay = finished / "edit.yaml"
    overlay.write_text(override)
    counts = job_counts(dry_run(finished, "--configfile", str(overlay)))
    return {rule: count for rule, count in counts.items() if rule not in LAST}


# What an edit makes run again, as jobs by rule, without what wraps every run up (LAST).
TABLE = {"table1_row": 12, "table_statistics": 1, "table1": 1}
# evaluations of six methods on two panels
ALL_METHODS = {"evaluate": 12} | TABLE
# base is the backbone itself
TRAINED_METHODS = {"evaluate": 10} | TABLE | {"table1_row": 10}
RL_METHODS = {"rl": 4, "figure_training_curves": 1, "evaluate": 8} | TABLE | {"table1_row": 8}
# sft, random, sft-then-rl, prism-gini: grpo starts from the backbone
SFT_METHODS = {"sft": 3, "rl": 3, "figure_training_curves": 1, "evaluate": 8} | TABLE | {"table1_row": 8}
# random and prism-gini
SPLIT_METHODS = {
    "split": 2, "sft": 2, "rl": 2, "figure_training_curves": 1, "evaluate": 4,
} | TABLE | {"table1_row": 4}  # fmt: skip
SCORE_FIGURES = {"figure_case_study": 1, "figure_consensus": 1, "figure_score_distributions": 1}
FROM_SCORES = {"scores": 2, "sensitivity": 1} | SPLIT_METHODS | SCORE_FIGURES
FROM_PROBE = {"probe": 2} | FROM_SCORES
FROM_PROMPT = FROM_PROBE | {"sft": 3} | RL_METHODS | ALL_METHODS
FROM_TRAJECTORIES = (
    FROM_PROBE | {"alfworld_trajectories": 1, "alfworld_training_panel": 1, "sft": 3} | RL_METHODS | TRAINED_METHODS
)
FROM_GAMES = FROM_TRAJECTORIES | {"alfworld_games": 1, "alfworld_panel": 2} | ALL_METHODS
ONE_PANEL = {"alfworld_panel": 1, "evaluate": 6} | TABLE | {"table1_row": 6}
NOTHING: dict[str, int] = {}

# every key of config.yaml: (an edit, what runs again)
EDITS = {
    "benchmarks.alfworld.games.seed": (1, FROM_GAMES),
    "benchmarks.alfworld.games.train": (639, FROM_GAMES),
    "benchmarks.alfworld.games.seen": (49, FROM_GAMES),
    "benchmarks.alfworld.games.unseen": (49, FROM_GAMES),
    "benchmarks.alfworld.games.size.max_receptacles": (5, FROM_GAMES),
    "benchmarks.alfworld.games.size.max_objects": (5, FROM_GAMES),
    "benchmarks.alfworld.expert.seed": (1, FROM_TRAJECTORIES),
    "benchmarks.alfworld.expert.noise": (0.07, FROM_TRAJECTORIES),
    "benchmarks.alfworld.expert.max_steps": (19, FROM_TRAJECTORIES),
    "benchmarks.alfworld.panels.seen": (47, ONE_PANEL),
    "benchmarks.alfworld.panels.unseen": (47, ONE_PANEL),
    "benchmarks.alfworld.max_steps": (19, RL_METHODS | ALL_METHODS),
    "benchmarks.alfworld.prompt.style": ("full", FROM_PROMPT),
    "benchmarks.alfworld.prompt.history": ("actions:13", FROM_PROMPT),
    "benchmarks.alfworld.prompt.layout": ("conversation", FROM_PROMPT),
    "benchmarks.alfworld.prompt.context_length": (500, FROM_PROMPT),
    "benchmarks.webshop.max_steps": (7, NOTHING),
    "benchmarks.webshop.catalog.seed": (1, NOTHING),
    "benchmarks.webshop.prompt.history": ("actions:7", NOTHING),
    "backbones.tiny-llama.template": ("qwen3", NOTHING),
    "backbones.Qwen3-8B.revision": ("0" * 40, NOTHING),
    "containers.cpu": ("elsewhere.sif", NOTHING),
    "probe.dtype": ("float64", FROM_PROBE),
    "probe.tokens_per_pack": (2048, FROM_PROBE),
    "scores.epsilon": (1.0e-6, FROM_SCORES),
    "pass_rates.rollouts": (4, NOTHING),
    "pass_rates.seed": (1, NOTHING),
    "pass_rates.temperature": (0.5, NOTHING),
    "pass_rates.shards": (2, NOTHING),
    "sft.learning_rate": (1.0e-3, SFT_METHODS),
    "sft.num_train_epochs": (2, SFT_METHODS),
    "sft.per_device_train_batch_size": (8, SFT_METHODS),
    "sft.gradient_accumulation_steps": (2, SFT_METHODS),
    "sft.lr_scheduler_type": ("linear", SFT_METHODS),
    "sft.warmup_ratio": (0.2, SFT_METHODS),
    "sft.train_sampling_strategy": ("random", SFT_METHODS),
    "rl.learning_rate": (1.0e-5, RL_METHODS),
    "rl.tasks_per_step": (3, RL_METHODS),
    "rl.group_size": (4, RL_METHODS),
    "rl.mini_batch": (128, RL_METHODS),
    "rl.max_response_tokens": (30, RL_METHODS),
    "rl.steps": (2, RL_METHODS),
    "rl.algorithms.gigpo.kl_coefficient": (0.02, NOTHING),
    "evaluation.temperature": (0.5, ALL_METHODS),
    "evaluation.top_p": (0.9, ALL_METHODS),
    "evaluation.max_new_tokens": (31, ALL_METHODS),
    "methods.prism-cv.sft": ("cv-low40", NOTHING),
    "methods.prism-gini.algorithm": ("gigpo", {"rl": 1, "figure_training_curves": 1, "evaluate": 2, "table1_row": 2,
                                               "table_statistics": 1, "table1": 1}),
    "tables.table2.methods": (["base"], NOTHING),
    "figures.figure4.methods": (["prism-cv"], NOTHING),
}  # fmt: skip


def overlay(key: str, value: object) -> str:
    """An overlay of the config that sets one dotted key."""
    for name in reversed(key.split(".")):
        value = {name: value}
    return yaml.safe_dump(value)


@pytest.mark.parametrize("key", EDITS)
def test_an_edit_reruns_exactly_what_it_touches(finished, key):
    value, expected = EDITS[key]
    assert counts_with(finished, overlay(key, value)) == expected


def test_comments_and_the_order_of_keys_do_not_matter(finished):
    config = finished / "config/config.yaml"
    original = config.read_text()
    try:
        turned = dict(reversed(yaml.safe_load(original).items()))
        config.write_text("# a comment\n" + yaml.safe_dump(turned, sort_keys=False))
        assert "Nothing to be done" in dry_run(finished)
    finally:
        config.write_text(original)


def test_a_new_seed_leaves_the_others_alone(finished):
    """The second seed trains and is evaluated; of the first, only what sums up over seeds is made again."""
    counts = counts_with(finished, "seeds: [0, 1]")
    second_seed = {"split": 1, "sft": 3, "rl": 4, "evaluate": 12}
    assert counts == second_seed | TABLE | {"figure_training_curves": 1}
