"""The files behind the tables about the scores and behind the figures, and what these are told, from a config alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from prism.core.figures import FIGURES
from prism.core.results import Results
from prism.core.study_tables import STUDY_TABLES
from prism.figure_inputs import FigureInputs, file_options
from prism.study_inputs import StudyInputs
from prism.table_inputs import TableInputs

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from paper_settings import scale_config

R = Path("<results>")
BACKBONES = ("tiny-qwen3", "tiny-llama")


def run(**sections) -> TableInputs:
    """The demo with some sections of its config changed, each key by key."""
    config = scale_config("demo")
    for section, keys in sections.items():
        config[section] |= keys
    return TableInputs(config, Results(R))


def study(name: str, **keys) -> StudyInputs:
    inputs = run(scores={"epsilon": 1e-6})
    inputs.config["tables"]["score_study"] |= keys
    return StudyInputs(name, inputs)


def test_a_table_about_the_scores_is_made_of_every_benchmark_and_backbone():
    files = study("score_correlates", benchmarks=["alfworld", "webshop"]).files()
    assert tuple(files) == STUDY_TABLES["score_correlates"].inputs
    places = [f"{benchmark}/{backbone}" for benchmark in ("alfworld", "webshop") for backbone in BACKBONES]
    assert files["scores"] == [R / f"scores/{place}.csv" for place in places]
    assert files["norms"] == [R / f"gradnorms/{place}/shard-0-of-1.parquet" for place in places]
    assert files["facts"] == [R / "data/alfworld/facts.csv", R / "data/webshop/facts.csv"]
    # no table of the demo has a method that counts rollouts
    assert files["pass_rates"] == []
    measured = study("consensus").files()
    assert measured == {"consensus": [R / f"consensus/alfworld/{backbone}.json" for backbone in BACKBONES]}


def test_memory_is_measured_on_the_first_benchmark_alone():
    files = study("memory", benchmarks=["webshop", "alfworld"]).files()
    assert files == {"memory": [R / f"memory/webshop/{backbone}.json" for backbone in BACKBONES]}


def test_pass_rates_are_those_that_a_built_table_has_counted():
    inputs = run(targets={"tables": ["table2"]})
    inputs.config["tables"]["score_study"]["benchmarks"] = ["alfworld", "webshop"]
    files = StudyInputs("appendix_f", inputs).files()
    assert files["pass_rates"] == [R / f"passrates/webshop/{backbone}.csv" for backbone in BACKBONES]


def test_the_sensitivity_is_told_what_each_variant_changes_where_and_the_scores_epsilon():
    inputs = study("routing_sensitivity", variants=["conversation", "full-prompt"], benchmarks=["alfworld", "webshop"])
    told = json.loads(inputs.settings())
    assert told["epsilon"] == 1e-6
    assert told["changes"]["conversation"] == {
        benchmark: ["layout", "steps", "conversation"] for benchmark in ("alfworld", "webshop")
    }
    aspect, own, other = told["changes"]["full-prompt"]["alfworld"]
    assert (aspect, other) == ("prompt", "full, pairs:2")
    assert own.startswith("compact, ")
    probed = [path.parts[2] for path in inputs.files()["variants"]]
    assert set(probed) == {"conversation", "full-prompt"}
    # a table without variants is told nothing, and does not run again when the epsilon changes
    assert study("appendix_b").settings() == "{}"


def test_a_variant_that_is_the_benchmark_s_own_way_is_not_probed():
    inputs = run()
    inputs.config["tables"]["score_study"]["variants"] = ["own"]
    inputs.config["probe"]["variants"]["own"] = {"layout": inputs.config["probe"]["layout"]}
    table = StudyInputs("routing_sensitivity", TableInputs(inputs.config, Results(R)))
    assert table.files()["variants"] == []
    assert json.loads(table.settings())["changes"] == {"own": {}}


@pytest.mark.parametrize("name", [name for name, figure in FIGURES.items() if figure.section])
def test_every_figure_gets_its_kinds_of_files_and_settings(name):
    figure = FigureInputs(name, run())
    assert tuple(figure.files()) == FIGURES[name].inputs
    assert all(figure.files().values())
    assert set(json.loads(figure.settings())) == set(FIGURES[name].settings)


def test_figures_name_their_files():
    inputs = run(figures={"figure5": {"benchmarks": ["alfworld", "webshop"], "backbones": list(BACKBONES)}})
    places = [f"{benchmark}/{backbone}" for benchmark in ("alfworld", "webshop") for backbone in BACKBONES]
    assert FigureInputs("figure5", inputs).files() == {"consensus": [R / f"consensus/{place}.json" for place in places]}
    case = FigureInputs("figure1", inputs).files()
    assert case["norms"] == [R / "gradnorms/alfworld/tiny-qwen3/shard-0-of-1.parquet"]
    assert case["trajectories"] == [R / "data/alfworld/trajectories.jsonl"]
    evaluations = FigureInputs("figure4", inputs).files()["evaluations"]
    folder = R / "eval/webshop/tiny-qwen3"
    assert evaluations == [
        folder / f"{method}/seed0/test.json" for method in ("ratio-10", "ratio-30", "prism-cv", "ratio-70", "ratio-90")
    ]
    tables = FigureInputs("forest", inputs).files()["tables"]
    assert tables == [R / "tables/table1.csv"]


def test_figures_are_told_of_the_methods_that_end_with_rl():
    inputs = run()
    inputs.config["seeds"] = [0, 1]
    curves = FigureInputs("training_curves", inputs)
    names = ("grpo", "random", "sft-then-rl", "prism-gini")
    assert json.loads(curves.settings()) == {"names": [name for name in names for _ in (0, 1)]}
    assert len(curves.files()["runs"]) == 8
    shares = json.loads(FigureInputs("figure4", inputs).settings())["shares"]
    assert shares == {"ratio-10": 10, "ratio-30": 30, "prism-cv": 50, "ratio-70": 70, "ratio-90": 90}


def test_the_schedule_waits_for_all_else_but_itself():
    waited = FigureInputs("schedule", run(targets={"tables": ["table1"], "figures": ["figure1", "schedule"]})).files()
    assert waited["times"] == [R / "tables/table1.csv", R / "figures/figure1.svg"]
    assert file_options(waited, "a folder") == ["--times=a folder"]
    assert file_options({"pass_rates": ["a", "b"]}, "") == ["--pass-rates=a", "--pass-rates=b"]
