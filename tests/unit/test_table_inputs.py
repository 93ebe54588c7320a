"""The files behind tables and cells, from the config of the paper's scale alone."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from prism.core.paper_tables import TABLES
from prism.core.results import Results
from prism.settings import StageRecipes
from prism.table_inputs import TableInputs, cell_patterns, row_pattern

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from paper_settings import scale_config

R = Path("<results>")


@pytest.fixture(scope="module")
def inputs() -> TableInputs:
    config = scale_config("paper")
    return TableInputs({**config, "seeds": [0, 1], "results": "results/mine"}, Results(R))


def test_a_row_of_evaluations_is_one_panel_of_one_method(inputs):
    seeds = (0, 1)
    row = {"split": "unseen", "method": "hpt"}
    folder = R / "eval/alfworld/Qwen3-8B/hpt"
    assert inputs.measured("table1", row) == [folder / f"seed{seed}/unseen.json" for seed in seeds]
    row = {"backbone": "Llama-3.1-8B-Instruct", "method": "sft"}
    folder = R / "eval/webshop/Llama-3.1-8B-Instruct/sft"
    assert inputs.measured("table2", row) == [folder / f"seed{seed}/test.json" for seed in seeds]
    row = {"benchmark": "webshop", "method": "prism-gini"}
    folder = R / "eval/webshop/Qwen3-8B/prism-gini"
    assert inputs.measured("table4", row) == [folder / f"seed{seed}/test.json" for seed in seeds]


def test_a_row_of_times_rests_on_the_split_both_trainings_and_grpo(inputs):
    timed = inputs.measured("table3", {"benchmark": "webshop", "method": "prism-gini"})
    assert timed[:-6] == inputs.norms("webshop", "Qwen3-8B")
    folders = [path.relative_to(R).parts for path in timed[-6:]]
    assert [(parts[0], parts[3]) for parts in folders[:3]] == [
        ("sft", "gini-low50"),
        ("rl", "gini-low50--grpo--gini-high50"),
        ("rl", "base--grpo--all"),
    ]
    # a random split needs no gradient, HPT's needs rollouts
    assert inputs.timed("webshop", "random")[0].parts[1] == "sft"
    assert inputs.timed("webshop", "hpt")[0].parts[1] == "passrates"
    variant = inputs.timed("alfworld", "prism-gini-steps")
    assert variant[0] == R / "gradnorms_variants/steps/alfworld/Qwen3-8B/shard-0-of-8.parquet"
    assert not set(variant) & set(inputs.norms("alfworld", "Qwen3-8B"))
    # what is known costs nothing
    assert inputs.timed("alfworld", "oracle")[0].parts[1] == "sft"


def test_times_are_told_to_a_command_with_the_folder_written_out(inputs):
    files = inputs.timing_files("webshop", "sft-then-rl")
    assert files["probe"] == files["rollouts"] == []
    first = files["seeds"][0]
    assert first["sft"] == "results/mine/benchmarks/sft/webshop/Qwen3-8B/all/seed0.tsv"
    assert first["rl"] == "results/mine/benchmarks/rl/webshop/Qwen3-8B/all--grpo--all/seed0.tsv"
    assert first["initial"] == "results/mine/sft/webshop/Qwen3-8B/all/seed0"
    assert first["checkpoint"] == "results/mine/rl/webshop/Qwen3-8B/all--grpo--all/seed0"
    assert first["baseline"] == "results/mine/benchmarks/rl/webshop/Qwen3-8B/base--grpo--all/seed0.tsv"
    assert inputs.timing_files("webshop", "grpo")["seeds"][1]["sft"] == ""


@pytest.mark.parametrize("table", TABLES)
def test_the_cells_of_a_table_are_those_that_its_jobs_write(inputs, table):
    written = {
        R / "cells" / table / pattern.format(**row, **({} if "benchmark" in row else {"benchmark": benchmark}))
        for row in inputs.rows(table)
        for benchmark in inputs.benchmarks(table)
        for pattern in cell_patterns(table)
    }
    assert set(inputs.cells(table)) == written
    assert set(inputs.tested_cells(table)) <= written


def test_a_row_stands_in_messages_as_in_paths():
    assert row_pattern("table4") == "{method}/{benchmark}"
    assert row_pattern("table2", "wildcards.", ", ") == "{wildcards.backbone}, {wildcards.method}"


def test_the_recipe_of_a_cell_names_what_it_stands_for(inputs):
    recipe = json.loads(inputs.cell_recipe("table3", {"benchmark": "webshop", "method": "sft"}))
    assert recipe["row"] == {"benchmark": "webshop", "method": "sft"}
    assert (recipe["sft"], recipe["rl"], recipe["stands_for"]) == ("100", "-", "Qwen3-8B")
    assert recipe["settings"]["hardware"].endswith("node(s)")
    assert json.loads(inputs.cell_recipe("table4", {"method": "sft", "benchmark": "webshop"}))["columns"] == ["webshop"]


def test_splits_are_named_once_and_random_ones_for_each_seed(inputs):
    names = [path.name for path in inputs.splits("table1")]
    assert {"random-seed0-50.csv", "random-seed1-50.csv", "gini-50.csv"} <= set(names)
    assert len(names) == len(set(names))


def test_claims_about_table_4_take_its_own_panels(inputs):
    panels = {(path.parts[2], path.name) for path in inputs.compared_evaluations()}
    assert panels == {("alfworld", "seen.json"), ("alfworld", "unseen.json"), ("webshop", "test.json")}


def test_a_variant_of_the_probe_names_its_model_and_its_part_of_the_corpus():
    config = scale_config("demo")
    config["probe"]["shards"] = 2
    config["probe"]["variants"] |= {"part": {"dtype": "bfloat16", "backbones": ["tiny-llama"], "one_in": 4}}
    inputs = TableInputs(config, Results(R))
    folder = R / "gradnorms_variants"
    whole = folder / "loss-on-all/webshop/tiny-qwen3"
    assert inputs.variant_norms("loss-on-all", "webshop", "tiny-qwen3") == [
        whole / "shard-0-of-2.parquet",
        whole / "shard-1-of-2.parquet",
    ]
    part = [folder / "part/webshop/tiny-llama/shard-0-of-4.parquet"]
    assert inputs.variant_norms("part", "webshop", "tiny-llama") == part
    assert "part" in inputs.variants("tiny-llama")
    assert "part" not in inputs.variants("tiny-qwen3")
    assert inputs.probed_model("webshop", "tiny-llama", "part") == R / "backbones/tiny-llama"
    assert inputs.probed_model("webshop", "tiny-llama", "after-sft") == R / "sft/webshop/tiny-llama/all/seed0"


def test_the_scores_of_a_table_are_of_all_its_benchmarks_and_backbones(inputs):
    places = [(benchmark, backbone) for benchmark in ("alfworld", "webshop")
              for backbone in ("Qwen3-8B", "Llama-3.1-8B-Instruct")]  # fmt: skip
    assert inputs.scored("appendix_g") == [R / f"scores/{benchmark}/{backbone}.csv" for benchmark, backbone in places]


def test_the_model_after_sft_is_held_against_the_backbone(inputs):
    found = inputs.reprobed()
    assert found[:8] == inputs.norms("alfworld", "Qwen3-8B")
    assert found[8:] == [
        R / f"gradnorms_variants/after-sft/alfworld/Qwen3-8B/shard-{shard}-of-8.parquet" for shard in range(8)
    ]
    assert inputs.probed_model("alfworld", "Qwen3-8B", "after-sft") == R / "sft/alfworld/Qwen3-8B/all/seed0"


def test_a_variant_is_laid_over_the_probe_and_the_prompt_of_the_benchmark():
    config = scale_config("demo")
    recipes = StageRecipes(config)
    plain, full = recipes.probe("alfworld"), recipes.probe("alfworld", "full-prompt")
    assert full.prompt == replace(plain.prompt, style="full", history="pairs:2", context_length=1024)
    assert replace(full, prompt=plain.prompt) == plain
    assert recipes.probe("webshop", "conversation").layout == "conversation"
    assert recipes.probe("webshop", "after-sft") == recipes.probe("webshop")
