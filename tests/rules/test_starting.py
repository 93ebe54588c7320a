"""The workflow as people start it: from any shell, folder and path, with a profile or without, or inside another."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from snakemake.cli import parse_args
from snakemake_plan import run_snakemake

SNAKEMAKE = str(Path(sys.executable).with_name("snakemake"))
AUDIT = "results/audit/paper.csv"
SCORES = "results/mine/scores/alfworld/tiny-qwen3.csv"


@pytest.fixture(scope="module")
def checkout(copy_repository, tmp_path_factory) -> Path:
    """A checkout in a folder whose name needs quoting."""
    return copy_repository(tmp_path_factory.mktemp("place") / "o'neil and co")


def start(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run Snakemake by its path, in a shell in which no environment was activated and there is no ``python``."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["PATH"] = "/usr/bin:/bin"
    command = [SNAKEMAKE, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=False)


def planned_rules(plan: subprocess.CompletedProcess) -> set[str]:
    """Rules in the statistics that a dry run prints."""
    return set(re.findall(r"^(\w+) +\d+$", plan.stdout + plan.stderr, re.MULTILINE))


def test_nothing_needs_to_be_activated_and_no_file_takes_the_place_of_pythons(checkout):
    for name in ("random", "types", "token"):
        (checkout / f"{name}.py").write_text("raise SystemExit('not the standard library')\n")
    result = start(checkout, AUDIT)
    for name in ("random", "types", "token"):
        (checkout / f"{name}.py").unlink()
    assert result.returncode == 0, result.stderr
    assert (checkout / AUDIT).is_file()


def test_an_interpreter_without_the_packages_is_named_in_one_line(checkout):
    """Snakemake from elsewhere, which has not what the jobs need."""
    code = "import sys; sys.modules['typer'] = None; from snakemake.cli import main; main()"
    command = [sys.executable, "-c", code, "-n", AUDIT]
    result = subprocess.run(command, cwd=checkout, text=True, capture_output=True, check=False)
    assert result.returncode != 0
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("prism: ")]
    assert "make setup" in line


def test_another_working_folder(checkout, tmp_path):
    result = start(tmp_path, "--snakefile", str(checkout / "Snakefile"), "--until", "audit", "--", AUDIT)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / AUDIT).is_file()
    (tmp_path / "sub").mkdir()
    plan = start(checkout.parent, "-s", str(checkout / "Snakefile"), "--directory", str(tmp_path / "sub"), "-n")
    assert plan.returncode == 0, plan.stderr
    assert "crate" in planned_rules(plan)


def test_a_working_folder_with_a_config_of_its_own(checkout, tmp_path):
    config = (checkout / "config/config.yaml").read_text()
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").write_text(config.replace("results: results/demo", "results: results/mine"))
    plan = start(tmp_path, "-s", str(checkout / "Snakefile"), "-n", SCORES)
    assert plan.returncode == 0, plan.stderr


@pytest.mark.parametrize("config", ['config: config["prism"]', "", "config: config"])
def test_the_rules_as_a_module_of_another_workflow(checkout, tmp_path, config):
    """What is shipped comes from the repository; the outer workflow's config is laid over the repository's."""
    own = {'config: config["prism"]': "prism: {results: results/mine}\n", "config: config": "results: results/mine\n"}
    (tmp_path / "config.yaml").write_text(own.get(config, "{}\n"))
    scores = SCORES if config else SCORES.replace("mine", "demo")
    (tmp_path / "Snakefile").write_text(
        f'configfile: "config.yaml"\n\nmodule prism:\n    snakefile: "{checkout}/Snakefile"\n    {config}\n\n'
        "use rule * from prism as prism_*\n\n"
        f'rule mine:\n    default_target: True\n    input: "{scores}", "{AUDIT}"\n'
    )
    plan = start(tmp_path, "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert {"prism_scores", "prism_probe", "prism_audit", "mine"} <= planned_rules(plan)
    assert start(tmp_path, "--cores", "1", "--until", "prism_audit").returncode == 0
    assert (tmp_path / AUDIT).is_file()


# what a user says, and the cores, jobs and executor that Snakemake then takes
STARTS = {
    "": (2, None, None),
    "--dry-run": (2, None, None),
    "results/x.csv --configfile config/smoke.yaml": (2, None, None),
    "--cores 5": (5, None, None),
    "-c5": (5, None, None),
    "--jobs 7": (None, 7, None),
    "--profile slurm": (None, 100, "slurm"),
    "--profile=slurm --jobs 9": (None, 9, "slurm"),
    "--executor slurm -j 3": (None, 3, "slurm"),
}


@pytest.mark.parametrize("words", STARTS)
def test_two_cores_unless_something_else_is_said(root, monkeypatch, words):
    """A number of cores in the default profile would be the cluster's too, and cap every job's threads there."""
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "argv", ["snakemake", *words.split()])
    _, arguments = parse_args(words.split())
    assert (arguments.cores, arguments.jobs, arguments.executor) == STARTS[words]
    assert arguments.show_failed_logs


@pytest.mark.parametrize("overlay", ["config", "paper", "smoke", "learning"])
def test_every_rule_has_an_image(root, tmp_path, overlay):
    """Also one that is written tomorrow: what names no image gets that of the CPU."""
    outer = tmp_path / "Snakefile"
    outer.write_text(
        f'include: "{root}/Snakefile"\n'
        'print(*(f"{made.name}={made.container_img}" for made in workflow.rules), sep="\\n", file=sys.stderr)\n'
    )
    result = run_snakemake(root, "-n", "-s", str(outer), "--configfile", f"config/{overlay}.yaml", "--", AUDIT)
    images = dict(line.split("=") for line in result.stderr.splitlines() if re.fullmatch(r"\w+=\S+", line))
    assert len(images) > 30
    own = {"sft": "sft"} | dict.fromkeys(("rl", "probe", "probe_variant", "memory", "evaluate", "pass_rates"), "rl")
    roles = {name: own.get(name, "cpu") if overlay == "paper" else "cpu" for name in images}
    assert images == {name: f"containers/{role}.sif" for name, role in roles.items()}
