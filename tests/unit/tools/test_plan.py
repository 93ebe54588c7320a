"""Costs and least hours of small plans, checked by hand."""

import csv
import json
import re

import pytest
import yaml

from prism.core.errors import BadInput
from prism.core.power import planned_design
from prism.core.results import Results
from prism.tools.plan import plan_power
from prism.tools.plan.costs import Cost, CostModel, least_hours, measured_hours, recipe_of
from prism.tools.plan.power import SHOWN_SEEDS, PowerAssumptions, power_sentence
from prism.tools.plan.report import ASSUMPTIONS, Plan, write_lines
from prism.tools.snakemake_plan import Job, Settings, ancestors, dependencies

PANELS = {"alfworld": {"seen": 140, "unseen": 134}, "webshop": {"test": 500}}


def job(number, rule="rl", gpus=8, inputs=(), outputs=(), timing=None, nodes=1, command="", **wildcards):
    return Job(
        number, rule, wildcards, tuple(inputs), tuple(outputs) or (f"out{number}",), timing, gpus, nodes, command
    )


def rl(init, subset, benchmark="alfworld", algorithm="grpo", gpus=8):
    return job(1, gpus=gpus, init=init, subset=subset, benchmark=benchmark, algorithm=algorithm, seed="0")


@pytest.fixture
def model(root):
    return CostModel(yaml.safe_load((root / ASSUMPTIONS).read_text()), PANELS)


@pytest.fixture
def start(model):
    return model._model["start_hours"]["rl"]


def test_the_runs_of_table_3_take_what_table_3_says(model, start):
    for init, subset, benchmark, hours in (
        ("base", "all", "alfworld", 36 + 13 / 60),
        ("base", "all", "webshop", 5 + 53 / 60),
        ("gini-low50", "gini-high50", "alfworld", 11 + 6 / 60),
        ("random-seed2-low50", "random-seed2-high50", "webshop", 3 + 16 / 60),
    ):
        cost = model.cost(rl(init, subset, benchmark))
        assert cost.basis == "table 3"
        assert cost.hours - start == pytest.approx(hours, abs=0.001)


def test_other_runs_are_linear_in_the_share_of_the_corpus(model, start):
    hours = {percent: model.cost(rl("x", f"cv-high{percent}", "webshop")).hours - start for percent in (10, 30, 70, 90)}
    assert model.cost(rl("x", "cv-high30")).basis == "model"
    assert hours[90] == pytest.approx(9 * hours[10])
    assert hours[10] + hours[90] == pytest.approx(hours[30] + hours[70])


RL = {
    "prompt": {"style": "full", "history": "pairs:2", "context_length": 2048}, "max_steps": 50,
    "learning_rate": 1e-6, "tasks_per_step": 16, "group_size": 8, "mini_batch": 256, "micro_batch_tokens": 32768,
    "max_response_tokens": 512, "steps": 150,
}  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "factor", "basis"),
    [
        ({"steps_rule": "share"}, 1, "table 3"),
        # half of the corpus for as many steps as all of it
        ({"steps_rule": "constant"}, 2, "model"),
        ({"steps_rule": "share", "group_size": 16}, 2, "model"),
        # one pass over 1,559 tasks of 16 a step: 98 steps instead of 75
        ({"steps_rule": "epochs", "epochs": 1.0}, 98 / 75, "model"),
    ],
)
def test_rl_costs_follow_the_rule_of_its_steps(model, start, settings, factor, basis):
    command = f"prism stage rl --recipe '{json.dumps(RL | settings)}'"
    wildcards = {"init": "gini-low50", "subset": "gini-high50", "benchmark": "alfworld", "algorithm": "grpo"}
    cost = model.cost(job(1, command=command, **wildcards))
    assert cost.hours - start == pytest.approx(factor * 11.1, abs=0.01)
    assert cost.basis == basis


@pytest.mark.parametrize(("rule", "wildcards"), [("sft", {"subset": "gini-low50"}), ("probe", {"shards": "8"})])
@pytest.mark.parametrize(("benchmark", "ratio"), [("alfworld", 5374 / 1124), ("webshop", 4.9 * 1500 / 2500)])
def test_step_rows_cost_more_than_one_sequence(model, rule, wildcards, benchmark, ratio):
    def cost(layout):
        command = f"""prism {rule} --recipe '{{"layout":"{layout}"}}'"""
        return model.cost(job(1, rule, command=command, benchmark=benchmark, **wildcards))

    table, rows = cost("conversation"), cost("steps")
    idle = model._model["start_hours"][rule]
    assert (table.basis, rows.basis) == ("table 3", "model")
    assert (rows.hours - idle) / (table.hours - idle) == pytest.approx(ratio, rel=0.02)


def test_gigpo_is_no_row_of_table_3(model):
    assert model.cost(rl("base", "all", algorithm="gigpo")).basis == "model"


def test_half_the_gpus_take_twice_as_long(model, start):
    assert model.cost(rl("base", "all", gpus=4)).hours - start == pytest.approx(2 * (36 + 13 / 60), abs=0.01)


def test_the_shards_of_a_probe_add_up_to_table_3(model):
    shards = [job(number, "probe", 1, benchmark="webshop", shard=str(number), shards="8") for number in range(8)]
    hours = [model.cost(one).hours - model._model["start_hours"]["probe"] for one in shards]
    assert sum(hours) == pytest.approx(8 * 108 / 3600)


def test_a_variant_of_the_probe_costs_what_a_probe_does(model):
    settings = {
        "gpus": 1,
        "benchmark": "alfworld",
        "shards": "8",
        "command": """prism probe --recipe '{"layout":"steps"}'""",
    }
    assert model.cost(job(1, "probe_variant", **settings)) == model.cost(job(1, "probe", **settings))


def test_a_small_job_takes_what_is_assumed_of_its_rule_and_benchmark(model):
    known = {
        ("games", "alfworld"): (0.5, 3.0),
        ("games", "webshop"): (0.02, 6.0),
        ("games", "drawers"): (0.02, 0.001),
        ("eto_trajectories", "alfworld"): (1.0, 0.001),
        ("expert_trajectories", "webshop"): (0.5, 0.001),
        ("split", "alfworld"): (0.02, 0.001),
    }
    for (rule, benchmark), expected in known.items():
        cost = model.cost(job(1, rule, 0, benchmark=benchmark))
        assert (cost.hours, cost.storage_gb) == expected, (rule, benchmark)
    assert model.cost(job(1, "backbone", 0, backbone="Qwen3-8B")).hours == 0.3


def test_what_is_assumed_of_rules_names_rules_that_there_are(root, model):
    rules = "\n".join(path.read_text() for path in (root / "rules").glob("*.smk"))
    known = set(re.findall(r"^rule (\w+):", rules, re.MULTILINE)) | {"probe", "probe_variant", "default"}
    assumed = model._assumptions
    for by_rule in (model._model["start_hours"], model._model["cpu_hours"], assumed["storage_gb"], assumed["work_gb"]):
        assert set(by_rule) <= known


def test_the_shards_of_the_pass_rates_add_up_whatever_their_number(model):
    command = """prism stage pass-rates --recipe '{"rollouts":8}'"""
    sums = []
    for count in (1, 16):
        wildcards = [{"benchmark": "alfworld", "shard": str(number), "shards": str(count)} for number in range(count)]
        costs = [model.cost(job(1, "pass_rates", 1, command=command, **one)) for one in wildcards]
        sums.append(sum(cost.hours - model._model["start_hours"]["pass_rates"] for cost in costs))
    # 3,118 tasks x 8 rollouts, at half of a step of 128 episodes of GRPO's 36 h 13 min on eight GPUs
    assert sums == pytest.approx([3118 * 8 * 36.2167 * 8 * 0.5 / (150 * 128)] * 2)


def test_a_benchmark_file_goes_before_the_model(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "seed0.tsv").write_text("s\th:m:s\n7200.0\t2:00:00\n")
    assert measured_hours(job(1, timing="seed0.tsv")) == 2
    # another seed of the same run
    assert measured_hours(job(1, timing="seed7.tsv")) == 2
    assert measured_hours(job(1, timing="other.tsv")) is None
    (tmp_path / "seed0.tsv").write_text("nonsense\n")
    with pytest.raises(BadInput, match=r"seed0\.tsv"):
        measured_hours(job(1, timing="seed0.tsv"))


def test_a_recipe_is_read_from_the_command():
    assert recipe_of(job(1, command="""prism x --recipe '{"rollouts":3}' --out y""")) == {"rollouts": 3}
    assert recipe_of(job(1, command="prism x --out y")) == {}


def chain():
    """Two trainings that wait for one small job, and an evaluation of one of them."""
    return [
        job(0, "split", 0, outputs=["split"]),
        job(1, inputs=["split"], outputs=["a"]),
        job(2, inputs=["split"], outputs=["b"]),
        job(3, "evaluate", 1, inputs=["b", "elsewhere"], outputs=["cells/b.json"]),
    ]


def test_jobs_wait_for_what_they_read():
    assert dependencies(chain()) == {0: set(), 1: {0}, 2: {0}, 3: {2}}
    assert [one.id for one in ancestors(chain(), chain()[3])] == [0, 2, 3]


def test_no_schedule_beats_the_least_hours():
    costs = {number: Cost(hours, "model", 0, 0) for number, hours in ((0, 1.0), (1, 10.0), (2, 10.0), (3, 2.0))}
    # two trainings on eight GPUs and the evaluation on one: 8 x 20 + 2 GPU-hours
    assert least_hours(chain(), costs, 1) == pytest.approx(162 / 8)
    # split, training and evaluation wait for each other, however many GPUs there are
    assert least_hours(chain(), costs, 2) == least_hours(chain(), costs, 4) == 13
    # without GPUs the chain alone counts; jobs beside each other do not add up
    assert least_hours([job(0, "split", 0), job(1, "split", 0)], costs, 1) == 10
    assert least_hours([], {}, 1) == 0


def test_a_plan_as_csv(model, tmp_path):
    jobs = chain()[:1] + [
        Job(
            **{**vars(one), "wildcards": {"init": "base", "subset": "all", "benchmark": "webshop", "algorithm": "grpo"}}
        )
        for one in chain()[1:3]
    ]
    plan = Plan(jobs, {one.id: model.cost(one) for one in jobs}, model)
    write_lines(tmp_path / "plan.csv", list(plan.lines()))
    with (tmp_path / "plan.csv").open() as source:
        rows = list(csv.DictReader(source))
    assert [row["name"] for row in rows] == ["all jobs", "rl", "split"]
    hours = model.cost(jobs[1]).hours
    assert float(rows[0]["gpu_hours"]) == pytest.approx(16 * hours, rel=1e-3)
    assert float(rows[1]["least_hours_1_node"]) == pytest.approx(2 * hours, rel=1e-3)
    assert float(rows[1]["least_hours_2_nodes"]) == pytest.approx(hours, rel=1e-3)


def test_no_two_targets_have_one_plan():
    assert Results.short_name("results/tables/table1.csv") == "table1"
    assert Results.short_name("all") == "all"
    assert Results.short_name("results/cells/table1/seen/prism-gini/all.json") == "cells-table1-seen-prism-gini-all"


def test_the_plan_says_how_many_seeds_a_claimed_gain_needs(root, monkeypatch, capsys):
    """The numbers of the printed table against the power of the same design."""
    monkeypatch.chdir(root)
    plan_power(Settings("slurm", ()))
    lines = [
        line for line in capsys.readouterr().out.splitlines() if "7 points" in line and "140 (alfworld seen)" in line
    ]
    assert len(lines) == 3
    cells = [cell.strip() for cell in lines[1].strip("│").split("│")]
    assert cells[:3] == ["7 points", "140 (alfworld seen)", "2.5 points"]
    powers = [planned_design(seeds, 140, 0.75, 1.5, 0.025).power(0.07) for seeds in SHOWN_SEEDS]
    assert [float(cell) for cell in cells[3:-1]] == pytest.approx(powers, abs=0.005)
    needed = int(cells[-1])
    assert planned_design(needed, 140, 0.75, 1.5, 0.025).power(0.07) >= 0.8
    assert planned_design(needed - 1, 140, 0.75, 1.5, 0.025).power(0.07) < 0.8


def test_three_seeds_are_said_to_be_too_few_for_the_headline_claims(root):
    assumed = PowerAssumptions(**yaml.safe_load((root / ASSUMPTIONS).read_text())["power"])
    sentence = power_sentence(assumed, 3, PANELS["alfworld"])
    assert "With 3 seed(s) on 140 tasks (seen)" in sentence
    assert "7 points: 32%, 80% needs 8 seeds; 10 points: 46%, 80% needs 5 seeds" in sentence
    assert "not tested" in power_sentence(assumed, 1, PANELS["alfworld"])
    assert assumed.seeds_needed(0.1, 140, 5) is None
