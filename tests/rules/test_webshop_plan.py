"""WebShop in the workflow: generated catalog, original files, and a corpus of one's own."""

import json
from functools import partial

from snakemake_plan import dry_run, job_counts, planned_recipes, run_snakemake
from typer.main import get_command

from prism.cli import app
from prism.tools import check_plan
from prism.tools.check_plan import planned_commands

check_commands = partial(check_plan.check_commands, command_line=get_command(app))
parse = partial(check_plan.parse, command_line=get_command(app))
EVALUATION = "results/demo/eval/webshop/tiny-qwen3/sft/seed0/test.json"
TRAINING_PANEL = "results/demo/data/webshop/panels/train.json"


def counts_with(root, override=""):
    arguments = ["--forceall", EVALUATION, TRAINING_PANEL]
    return job_counts(dry_run(root, *arguments, *(["--config", override] if override else [])))


def test_everything_is_made_from_a_generated_catalog(root):
    counts = counts_with(root)
    assert {rule: counts[rule] for rule in ("catalog", "games", "expert_trajectories")} == dict.fromkeys(
        ("catalog", "games", "expert_trajectories"), 1
    )
    assert counts["panel"] == 2
    assert counts["sft"] == counts["evaluate"] == 1


def test_the_original_files_take_the_place_of_the_catalog(root):
    jobs = dry_run(
        root, "--forceall", EVALUATION,
        "--config", 'benchmarks={"webshop": {"source": "dataset", "data_dir": "/original/files"}}',
    )  # fmt: skip
    assert "catalog" not in job_counts(jobs)
    assert "games webshop --files /original/files" in str(jobs)


def test_verl_agents_webshop_is_an_overlay_of_the_papers_scale(root):
    """1,000 products, synthetic goals, test 0-499 and train 500+, the oracle shopper as expert."""
    target = "results/webshop-small/tables/table2.csv"
    overlays = ("--configfile", "config/paper.yaml", "config/webshop-small.yaml")
    jobs = dry_run(root, "--profile", "slurm", *overlays, "--forceall", "--", target)
    commands = planned_commands(jobs)
    assert sum(check_commands(commands).values()) == len(commands) == job_counts(jobs)["total"]
    assert "eto-trajectories" not in str(jobs)
    assert {path.split("/")[1] for job in jobs for path in job.outputs} == {"webshop-small"}
    told = {command.name: parse(command) for command in commands}
    assert (told["fetch"]["collection"], str(told["fetch"]["folder"])) == (
        "webshop-small",
        "resources/webshop-small",
    )
    for name in ("trajectories", "panel"):
        recipe = json.loads(told[name]["recipe"])
        assert (recipe["goals"], recipe["split"]) == ("synthetic", {"test": 500, "dev": 0})
    assert json.loads(told["games"]["recipe"])["goals"] == ["synthetic"]
    assert [json.loads(told[name]["recipe"])["prompt"]["context_length"] for name in ("rl", "evaluate")] == [
        4096,
        4096,
    ]


def test_the_papers_scale_keeps_all_goals_beyond_the_test(root):
    """ETO has 1,823 goals: 274 of the first 500, 102 of the next 1,000, which the original keeps for a dev set."""
    jobs = dry_run(root, "--profile", "slurm", "--", "results/data/webshop/trajectories.jsonl")
    (recipe,) = planned_recipes(jobs, "eto-trajectories")
    assert (recipe["goals"], recipe["split"]) == ("human", {"test": 500, "dev": 0})


def test_a_corpus_of_ones_own_takes_the_place_of_the_shopper(root, tmp_path):
    own = tmp_path / "own.jsonl"
    step = '{"observation": "o", "admissible": ["click[a]"], "thought": "t", "action": "click[a]"}'
    own.write_text(
        '{"id": "human-00100", "benchmark": "webshop", "game": "human/100", "task": "t", "task_type": "toys",'
        f' "expert": "me", "success": true, "steps": [{step}]}}\n'
    )
    counts = counts_with(root, f'benchmarks={{"webshop": {{"trajectories_file": "{own}"}}}}')
    assert counts["corpus"] == 1
    assert "expert_trajectories" not in counts
    own.write_text("{}\n")
    result = run_snakemake(
        root, "--dry-run", EVALUATION, "--config", f'benchmarks={{"webshop": {{"trajectories_file": "{own}"}}}}'
    )
    assert result.returncode != 0
    assert f"prism: {own}:1" in result.stderr
