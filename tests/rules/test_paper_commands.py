"""Every command of the paper's plan, checked by the parsers of those who would get it; none is run."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest
import yaml
from snakemake.utils import update_config
from snakemake_plan import dry_run, job_counts
from transformers import AutoTokenizer
from typer.main import get_command

from prism.cli import app
from prism.core.errors import BadInput
from prism.core.methods import share_percent
from prism.core.prompts import PromptEncoder
from prism.core.recipes import build_recipe
from prism.core.trajectories import Step, Trajectory
from prism.rl.recipe import RlRecipe
from prism.settings import check_config
from prism.stages.probe import ProbeRecipe
from prism.stages.sft import SftRecipe
from prism.tools import check_plan
from prism.tools.check_plan import RECIPES, Command, planned_commands
from prism.tools.snakemake_plan import Job

check_commands = partial(check_plan.check_commands, command_line=get_command(app))
parse = partial(check_plan.parse, command_line=get_command(app))


@pytest.fixture(scope="module")
def config(root) -> dict:
    """The config at paper scale."""
    merged = yaml.safe_load((root / "config/config.yaml").read_text())
    update_config(merged, yaml.safe_load((root / "config/paper.yaml").read_text()))
    return merged


@pytest.fixture(scope="module")
def plan(root) -> list[Job]:
    """What the profile would submit for the whole paper: every table and figure, from nothing."""
    return dry_run(root, "--profile", "slurm", "--forceall", "--", "all")


@pytest.fixture(scope="module")
def commands(plan) -> list[Command]:
    return planned_commands(plan)


@pytest.fixture(scope="module")
def one_of_each(commands) -> dict[str, Command]:
    """The first command of each name."""
    return {command.name: command for command in reversed(commands)}


@pytest.fixture(scope="module")
def sft(one_of_each) -> SftRecipe:
    told = parse(one_of_each["sft"])
    return build_recipe(SftRecipe, told["recipe"], "sft", told["machine"])


@pytest.fixture(scope="module")
def rl(commands) -> RlRecipe:
    """ALFWorld's: the order of a plan's jobs is not fixed."""
    every = [parse(command) for command in commands if command.name == "rl"]
    told = next(one for one in every if "alfworld" in str(one["games"]))
    return build_recipe(RlRecipe, told["recipe"], "rl", told["machine"])


def test_every_job_of_the_whole_paper_is_a_command_that_is_checked(plan, commands, config):
    # the rule `all` itself does nothing
    jobs = job_counts(plan)["total"] - 1
    assert jobs > 400
    # two jobs with the same command would write the same file
    assert len(commands) == jobs
    counts = check_commands(commands)
    assert sum(counts.values()) == jobs
    assert {"fetch", "backbone", "probe", "sft", "rl", "pass-rates", "evaluate", "cells", "claims"} <= set(counts)
    # Tables 1 and 2: eight methods with RL on two backbones and two benchmarks, three seeds, two algorithms
    assert counts["rl"] >= 72
    written = " ".join(word for command in commands for word in command.arguments)
    for kind, suffix in (("tables", "csv"), ("figures", "svg")):
        assert [name for name in config["targets"][kind] if f"results/{kind}/{name}.{suffix}" not in written] == []


def test_the_papers_values_arrive(sft, rl):
    assert sft.per_device_train_batch_size * sft.gradient_accumulation_steps * sft.gpus == 128
    assert sft.deepspeed["zero_optimization"]["stage"] == 3
    # no optimizer state is written while Table 3's clock runs
    assert sft.save_strategy == "no"
    assert (rl.tasks_per_step, rl.group_size, rl.gpus, rl.rollout_engine) == (16, 8, 8, "vllm")


def test_prompts_have_the_papers_lengths_and_the_response_comes_on_top(commands):
    """In every RL run, evaluation and measurement of pass rates of the whole plan."""
    lengths = set()
    for command in commands:
        if command.name in ("rl", "evaluate", "pass-rates"):
            recipe = json.loads(parse(command)["recipe"])
            benchmark = {50: "alfworld", 15: "webshop"}[recipe["max_steps"]]
            response = recipe.get("max_response_tokens") or recipe["max_new_tokens"]
            lengths.add((command.name, benchmark, recipe["prompt"]["context_length"], response))
    expected = {("alfworld", 2048, 512), ("webshop", 4096, 512)}
    assert lengths == {(name, *row) for name in ("rl", "evaluate", "pass-rates") for row in expected}


def recipes_of(commands, name: str, kind: type) -> list[tuple[Command, object]]:
    """Every command of a name with its recipe."""
    return [
        (command, build_recipe(kind, parse(command)["recipe"], name)) for command in commands if command.name == name
    ]


@pytest.mark.parametrize(("tiny", "template"), [("tiny-qwen3", "qwen3.jinja"), ("tiny-llama", "llama3.1.jinja")])
@pytest.mark.parametrize("benchmark", ["alfworld", "webshop"])
def test_probe_and_sft_take_one_row_a_trajectory(commands, root, benchmark, tiny, template):
    """Every command of the plan, under the backbones' own chat templates, cut where the paper cuts."""
    tokenizer = AutoTokenizer.from_pretrained(root / "resources/backbones" / tiny)
    tokenizer.chat_template = (root / "tests/unit/templates" / template).read_text()
    step = Step("a desk 1. " * 20, ("go to desk 1", "look"), "look around. " * 10, "look")
    trajectory = Trajectory("a", benchmark, "a", "put a mug in desk.", "pick", "x", True, (step,) * 40)
    forms = set()
    for name, kind in (("probe", ProbeRecipe), ("sft", SftRecipe)):
        # a variant of the probe is another layout or mask on purpose
        of_benchmark = [
            one
            for command, one in recipes_of(commands, name, kind)
            if f"/{benchmark}/" in str(command) and "/gradnorms_variants/" not in str(command)
        ]
        assert len(of_benchmark) >= 16
        forms |= {(one.prompt, one.layout) for one in of_benchmark}
    ((prompt, layout),) = forms
    encoded = PromptEncoder(tokenizer, prompt).encode_trajectory(trajectory, layout)
    (row,) = encoded.rows
    assert len(row.input_ids) == {"alfworld": 2048, "webshop": 4096}[benchmark]
    assert encoded.truncated == 1
    answers = [token for token, carries in zip(row.input_ids, row.response_mask, strict=True) if carries]
    assert answers.count(tokenizer.eos_token_id) > 5
    assert encoded.response_tokens_cut > 0


# ETO's recorded corpora, and what is left of WebShop's without the goals of the test panel
@pytest.mark.parametrize(("benchmark", "sizes"), [("alfworld", (3118,)), ("webshop", (1823, 1549, 1448))])
def test_rl_takes_150_steps_on_a_corpus_and_75_on_a_half(commands, benchmark, sizes):
    planned = [
        (int(share_percent(Path(parse(command)["out"]).parent.name.split("--")[2])), recipe)
        for command, recipe in recipes_of(commands, "rl", RlRecipe)
        if f"/{benchmark}/" in str(command)
    ]
    assert {percent for percent, _ in planned} == {50, 100} | ({10, 30, 70, 90} if benchmark == "webshop" else set())
    for percent, recipe in planned:
        for corpus in sizes:
            for tasks in {math.floor(corpus * percent / 100), math.ceil(corpus * percent / 100)}:
                assert recipe.training_steps(tasks, corpus) == 150 * percent // 100


def test_a_key_that_llamafactory_does_not_know_fails(one_of_each, monkeypatch):
    original = check_plan.llamafactory_arguments
    monkeypatch.setattr(check_plan, "llamafactory_arguments", lambda *args: original(*args) | {"learning_rat": 1})
    with pytest.raises(BadInput, match=r"LLaMA-Factory refuses its settings: .*learning_rat"):
        check_commands([one_of_each["sft"]])


@pytest.mark.parametrize(
    "misspelt",
    ["actor_rollout_ref.actor.optm.lr=1", "trainer.n_gpu=8", "+actor_rollout_ref.rollout.gpu_memory=0.6"],
)
def test_a_key_that_verl_does_not_know_fails(one_of_each, monkeypatch, misspelt):
    """Hydra refuses unknown keys; one that is added with + is refused by verl's dataclass."""
    original = check_plan.verl_overrides
    monkeypatch.setattr(check_plan, "verl_overrides", lambda *args: [*original(*args), misspelt])
    with pytest.raises(BadInput, match="verl refuses"):
        check_commands([one_of_each["rl"]])


def test_a_key_that_prism_does_not_know_fails(one_of_each):
    """Whatever a command is told in JSON: a misspelt key in it is refused, with the command's name."""
    told = [(name, option) for name, option in RECIPES if name in one_of_each]
    assert {("sft", "recipe"), ("rl", "recipe"), ("cells", "row"), ("timing-cells", "files")} <= set(told)
    for name, option in told:
        text = parse(one_of_each[name])[option]
        if not text:
            # games: the released ones need no recipe
            continue
        key = next(iter(json.loads(text)), "")
        misspelt = text.replace(f'"{key}":', f'"{key}x":', 1) if key else '{"x":1}'
        arguments = [
            word.removesuffix(text) + misspelt if word.endswith(text) else word for word in one_of_each[name].arguments
        ]
        with pytest.raises(BadInput, match=rf"{name} --{option}.*unknown key '{key}x'"):
            check_commands([Command(name, tuple(arguments))])


def test_an_option_that_prism_does_not_know_fails(one_of_each):
    for name, command in one_of_each.items():
        last = [word for word in command.arguments if word.startswith("--")][-1]
        option, equals, value = last.partition("=")
        arguments = [f"{option}x{equals}{value}" if word == last else word for word in command.arguments]
        with pytest.raises(BadInput, match=f"No such option.*{option}x"):
            check_commands([Command(name, tuple(arguments))])


def test_json_that_nothing_would_check_is_refused(one_of_each, monkeypatch):
    monkeypatch.delitem(RECIPES, ("cells", "row"))
    with pytest.raises(BadInput, match="cells --row: is JSON that nothing checks"):
        check_commands([one_of_each["cells"]])


@pytest.mark.parametrize("misspelt", ["overlap_com", "stage3_gather_16bit_weights_on_model_sav"])
def test_a_key_that_deepspeed_does_not_know_fails(root, config, misspelt):
    check_config(config, root / "config/schema.yaml")
    zero = {**config["sft"]["deepspeed"]["zero_optimization"], misspelt: True}
    edited = {
        **config,
        "sft": {**config["sft"], "deepspeed": {**config["sft"]["deepspeed"], "zero_optimization": zero}},
    }
    with pytest.raises(BadInput, match=r"sft\.deepspeed\.zero_optimization: unknown key .*did you mean"):
        check_config(edited, root / "config/schema.yaml")


def changed(recipe, **values):
    return build_recipe(type(recipe), {**asdict(recipe), **values}, "test")


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"tasks_per_step": 15, "group_size": 6}, "90 trajectories do not divide among 8 GPUs"),
        ({"mini_batch": 100}, "100 rows do not divide among 8 GPUs"),
        ({"tensor_parallel": 3}, "3 does not divide 8 GPUs"),
        ({"micro_batch_tokens": 2048}, "2048 tokens hold no row of 2560"),
    ],
)
def test_batches_of_rl_that_do_not_add_up_fail(rl, values, problem):
    with pytest.raises(BadInput, match=problem):
        changed(rl, **values).check_batches()


@pytest.mark.parametrize(
    ("values", "problem"),
    [({"gpus": 0}, "DeepSpeed needs GPUs"), ({"gradient_accumulation_steps": 3}, "4 is not 3")],
)
def test_batches_of_sft_that_do_not_add_up_fail(sft, values, problem):
    stated = {**sft.deepspeed, "gradient_accumulation_steps": 4}
    with pytest.raises(BadInput, match=problem):
        changed(sft, deepspeed=stated, **values)


def test_a_command_that_the_command_line_refuses_fails():
    with pytest.raises(BadInput, match="is no command of prism"):
        parse(Command("evalute", ()))
    with pytest.raises(BadInput, match="No such option"):
        parse(Command("split", ("scores.csv", "--scor", "gini")))
    with pytest.raises(BadInput, match="Missing"):
        parse(Command("sft", ("--model", "m")))
    with pytest.raises(BadInput, match="is not a prism command"):
        planned_commands([Job(1, "mine", {}, (), (), None, 0, 1, "rm -rf results")])
