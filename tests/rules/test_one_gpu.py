"""One machine with one card: every command of its plan is sound, and never do two jobs have the card."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from itertools import pairwise

import pytest
import yaml
from snakemake_plan import dry_run, job_counts
from typer.main import get_command

from prism.cli import app
from prism.core.recipes import build_recipe
from prism.rl.recipe import RlRecipe
from prism.stages.sft_recipe import SftRecipe
from prism.tools import check_plan
from prism.tools.check_plan import Command, planned_commands
from prism.tools.snakemake_plan import Job

check_commands = partial(check_plan.check_commands, command_line=get_command(app))
parse = partial(check_plan.parse, command_line=get_command(app))
PROFILE = "profiles/gpu"
TOY = """
rule all:
    input:
        expand("{name}-{number}", name=["probe", "rl", "score"], number=range(2)),

for job in ("probe", "rl", "score"):

    rule:
        name: job
        output:
            f"{job}-{{number}}",
        shell:
            "date +%s%N > {output}; sleep 0.3; date +%s%N >> {output}"
"""


@pytest.fixture(scope="module")
def plan(root) -> list[Job]:
    """Both tables of methods, with both backbones on both benchmarks, from nothing."""
    targets = (f"results/gpu/tables/{name}.csv" for name in ("table1", "table2"))
    return dry_run(root, "--profile", PROFILE, "--forceall", "--", *targets)


@pytest.fixture(scope="module")
def commands(plan) -> list[Command]:
    return planned_commands(plan)


def recipe_of(commands, name: str, kind: type, benchmark: str):
    told = next(
        one for one in (parse(command) for command in commands if command.name == name) if benchmark in str(one)
    )
    return build_recipe(kind, told["recipe"], name, told["machine"])


def test_every_command_of_the_plan_is_sound(plan, commands):
    assert sum(check_commands(commands).values()) == len(commands) == job_counts(plan)["total"]
    # all eight methods with RL: Table 1, and Table 2 with both backbones
    assert job_counts(plan)["rl"] == 3 * 8
    assert {job.wildcards["backbone"] for job in plan if job.rule == "backbone"} == {
        "Qwen3-1.7B",
        "Llama-3.2-1B-Instruct",
    }


@pytest.mark.parametrize(("benchmark", "context"), [("alfworld", 2048), ("webshop", 4096)])
def test_the_settings_arrive(commands, benchmark, context):
    rl = recipe_of(commands, "rl", RlRecipe, benchmark)
    assert (rl.gpus, rl.tensor_parallel, rl.tasks_per_step, rl.group_size, rl.max_response_tokens) == (1, 1, 8, 4, 256)
    assert (rl.training_steps(3118, 3118), rl.training_steps(1559, 3118)) == (80, 40)
    assert (rl.prompt.context_length, rl.offload, rl.lora_rank) == (context, "always", 0)
    sft = recipe_of(commands, "sft", SftRecipe, benchmark)
    assert sft.gpus * sft.per_device_train_batch_size * sft.gradient_accumulation_steps == 128
    assert sft.deepspeed["zero_optimization"]["offload_optimizer"] == {"device": "cpu"}
    for command in commands:
        if command.name in ("evaluate", "pass-rates"):
            assert json.loads(parse(command)["recipe"])["max_new_tokens"] == 256


def test_adapters_are_one_key_in_each_training(root, tmp_path):
    """Laid over the profile's own config files; the data, the probe and the splits stay what they are."""
    mine = tmp_path / "lora.yaml"
    mine.write_text("sft: {lora_rank: 32, learning_rate: 1.0e-4}\nrl: {lora_rank: 32, learning_rate: 1.0e-5}\n")
    overlays = ("--configfile", "config/paper.yaml", "config/gpu.yaml", str(mine))
    jobs = dry_run(root, "--profile", PROFILE, *overlays, "--forceall", "--", "results/gpu/tables/table1.csv")
    commands = planned_commands(jobs)
    check_commands(commands)
    assert recipe_of(commands, "sft", SftRecipe, "alfworld").lora_rank == 32
    assert recipe_of(commands, "rl", RlRecipe, "alfworld").lora_rank == 32


def test_every_rule_that_has_a_card_on_the_cluster_asks_for_it_here(root, plan):
    cluster = yaml.safe_load((root / "slurm/config.v9+.yaml").read_text())["set-resources"]
    heavy = {rule for rule, asked in cluster.items() if "gres" in asked}
    profile = yaml.safe_load((root / PROFILE / "config.v9+.yaml").read_text())
    assert set(profile["set-resources"]) == set(profile["set-threads"]) == heavy
    assert all(asked == {"gpu": 1} for asked in profile["set-resources"].values())
    assert profile["resources"] == ["gpu=1"]
    assert {job.gpus for job in plan if job.rule in heavy} == {1}
    assert {job.gpus for job in plan if job.rule not in heavy} == {0}


def test_two_jobs_never_have_the_card_side_by_side(root, tmp_path):
    """Snakemake itself, with the profile: rules of the heavy ones' names take turns, another runs beside them."""
    (tmp_path / "Snakefile").write_text(TOY)
    command = [sys.executable, "-m", "snakemake", "--profile", PROFILE, "--snakefile", str(tmp_path / "Snakefile")]
    command += ["--directory", str(tmp_path), "--cores", "16"]
    subprocess.run(command, cwd=root, check=True, capture_output=True, timeout=120)
    times = {path.name: [int(line) for line in path.read_text().split()] for path in tmp_path.glob("*-[01]")}
    turns = sorted(span for name, span in times.items() if not name.startswith("score"))
    assert len(turns) == 4
    assert all(former[1] <= later[0] for former, later in pairwise(turns))
    (first, second) = (times[f"score-{number}"] for number in range(2))
    assert max(first[0], second[0]) < min(first[1], second[1])
