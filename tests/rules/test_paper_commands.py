"""Every command of the paper's plan, checked by the parsers of those who would get it; none is run."""

from __future__ import annotations

import re

import pytest
import yaml
from snakemake.utils import update_config
from snakemake_plan import dry_run

from prism.core.config import check_config
from prism.core.errors import BadInput
from prism.core.recipes import build_recipe
from prism.stages import plan_check
from prism.stages.plan_check import Command, check_commands, parse, planned_commands
from prism.stages.sft import SftRecipe
from prism.verl_plugin.recipe import RlRecipe

TARGETS = [f"results/tables/table{number}.csv" for number in (1, 2, 3, 4)]


@pytest.fixture(scope="module")
def plan(root) -> str:
    """What the README's command would submit for all of the paper's tables."""
    return dry_run(root, "--profile", "slurm", "--printshellcmds", "--forceall", "--nolock", "--", *TARGETS)


@pytest.fixture(scope="module")
def commands(plan) -> list[Command]:
    return planned_commands(plan)


def recipe_of(commands: list[Command], name: str, kind: type):
    text = next(parse(command)["recipe"] for command in commands if command.name == name)
    return build_recipe(kind, text, name)


def test_every_job_of_the_plan_is_a_command_that_is_checked(plan, commands):
    jobs = len(re.findall(r"^\s*Job \d+: ", plan, re.MULTILINE))
    assert jobs > 300
    # two jobs may share a command's text only if they are the same job
    assert len(commands) == jobs
    counts = check_commands(commands)
    assert sum(counts.values()) == jobs
    assert {"fetch", "backbone", "probe", "sft", "rl", "pass-rates", "evaluate"} <= set(counts)
    # Tables 1 and 2: eight methods with RL on two backbones and two benchmarks, three seeds, two algorithms
    assert counts["rl"] >= 72


def test_the_papers_values_arrive(commands):
    sft, rl = recipe_of(commands, "sft", SftRecipe), recipe_of(commands, "rl", RlRecipe)
    assert sft.per_device_train_batch_size * sft.gradient_accumulation_steps * sft.gpus == 128
    assert sft.deepspeed["zero_optimization"]["stage"] == 3
    assert (rl.tasks_per_step, rl.group_size, rl.gpus, rl.rollout_engine) == (16, 8, 8, "vllm")


def test_a_key_that_llamafactory_does_not_know_fails(commands, monkeypatch):
    original = plan_check.llamafactory_arguments
    monkeypatch.setattr(plan_check, "llamafactory_arguments", lambda *args: original(*args) | {"learning_rat": 1})
    with pytest.raises(BadInput, match=r"LLaMA-Factory refuses its settings: .*learning_rat"):
        plan_check.check_sft(recipe_of(commands, "sft", SftRecipe))


@pytest.mark.parametrize(
    "misspelt",
    ["actor_rollout_ref.actor.optm.lr=1", "trainer.n_gpu=8", "+actor_rollout_ref.rollout.gpu_memory=0.6"],
)
def test_a_key_that_verl_does_not_know_fails(commands, monkeypatch, misspelt):
    """Hydra refuses unknown keys; one that is added with + is refused by verl's dataclass."""
    original = plan_check.verl_overrides
    monkeypatch.setattr(plan_check, "verl_overrides", lambda *args: [*original(*args), misspelt])
    with pytest.raises(BadInput, match="verl refuses"):
        plan_check.check_rl(recipe_of(commands, "rl", RlRecipe))


@pytest.mark.parametrize("path", [("overlap_com",), ("stage3_gather_16bit_weights_on_model_sav",)])
def test_a_key_that_deepspeed_does_not_know_fails(root, path):
    config = yaml.safe_load((root / "config/config.yaml").read_text())
    update_config(config, yaml.safe_load((root / "config/paper.yaml").read_text()))
    check_config(config, root / "config/schema.yaml")
    config["sft"]["deepspeed"]["zero_optimization"][path[0]] = True
    with pytest.raises(BadInput, match=r"sft\.deepspeed\.zero_optimization: unknown key .*did you mean"):
        check_config(config, root / "config/schema.yaml")


def changed(recipe, **values):
    return build_recipe(type(recipe), {**_plain(recipe), **values}, "test")


def _plain(recipe):
    from dataclasses import asdict

    return asdict(recipe)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"tasks_per_step": 15, "group_size": 6}, "90 trajectories do not divide among 8 GPUs"),
        ({"mini_batch": 100}, "100 rows do not divide among 8 GPUs"),
        ({"tensor_parallel": 3}, "3 does not divide 8 GPUs"),
        ({"micro_batch_tokens": 1024}, "1024 tokens hold no row of"),
    ],
)
def test_batches_of_rl_that_do_not_add_up_fail(commands, values, problem):
    with pytest.raises(BadInput, match=problem):
        plan_check.check_rl_batches(changed(recipe_of(commands, "rl", RlRecipe), **values))


@pytest.mark.parametrize(
    ("values", "problem"),
    [({"gpus": 0}, "DeepSpeed needs GPUs"), ({"gradient_accumulation_steps": 3}, "4 is not 3")],
)
def test_batches_of_sft_that_do_not_add_up_fail(commands, values, problem):
    recipe = recipe_of(commands, "sft", SftRecipe)
    stated = {**recipe.deepspeed, "gradient_accumulation_steps": 4}
    with pytest.raises(BadInput, match=problem):
        plan_check.check_sft_batches(changed(recipe, deepspeed=stated, **values))


def test_a_command_that_the_command_line_refuses_fails():
    with pytest.raises(BadInput, match="is no command of prism"):
        parse(Command("evalute", ()))
    with pytest.raises(BadInput, match="No such option"):
        parse(Command("split", ("scores.csv", "--scor", "gini")))
    with pytest.raises(BadInput, match="Missing"):
        parse(Command("sft", ("--model", "m")))
    with pytest.raises(BadInput, match="is not a prism command"):
        planned_commands("Shell command: rm -rf results\n")
