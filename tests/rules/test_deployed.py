"""The workflow from a git host: by snakedeploy, and as a module of another workflow. The host is a folder here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_starting import AUDIT, planned_rules

VERSION = "0.17.1"
REPOSITORY = "prism-authors/prism"
TAG = "v0"


@pytest.fixture(scope="module")
def host(copy_repository, tmp_path_factory) -> dict[str, str]:
    """An environment in which github.com is a folder that holds this repository, with a tag."""
    hub = tmp_path_factory.mktemp("hub")
    checkout = copy_repository(tmp_path_factory.mktemp("checkout") / "prism")
    for command in (
        ["init", "--quiet", "--initial-branch", "main"],
        ["add", "--all"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "all"],
        ["tag", TAG],
    ):
        subprocess.run(["git", *command], cwd=checkout, check=True)
    subprocess.run(["git", "clone", "--quiet", "--bare", checkout, hub / f"{REPOSITORY}.git"], check=True)
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return inherited | {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{hub}/.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/",
        "XDG_CACHE_HOME": str(hub / "cache"),
        "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR", str(Path("~/.cache/pip").expanduser())),
    }


@pytest.fixture(scope="module")
def snakedeploy(tmp_path_factory) -> Path:
    """The program, in an environment of its own."""
    folder = tmp_path_factory.mktemp("snakedeploy")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    installed = subprocess.run(
        [folder / "bin/pip", "install", "--quiet", f"snakedeploy=={VERSION}"], capture_output=True, text=True
    )
    if installed.returncode:
        pytest.skip(f"snakedeploy cannot be installed: {installed.stderr.splitlines()[-1]}")
    return folder / "bin/snakedeploy"


def start_hosted(folder: Path, host: dict[str, str], *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *arguments]
    return subprocess.run(command, cwd=folder, env=host, capture_output=True, text=True)


@pytest.mark.slow
def test_snakedeploy_ends_in_a_plan_of_the_whole_demo(host, snakedeploy, tmp_path):
    place = tmp_path / "deployed"
    command = [snakedeploy, "deploy-workflow", f"https://github.com/{REPOSITORY}", place, "--tag", TAG]
    subprocess.run(command, env=host, check=True, capture_output=True)
    assert (
        f'github("{REPOSITORY}", path="workflow/Snakefile", tag="{TAG}")' in (place / "workflow/Snakefile").read_text()
    )
    plan = start_hosted(place, host, "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert {"probe", "sft", "rl", "evaluate", "table1", "crate", "everything"} <= planned_rules(plan)
    made = start_hosted(place, host, AUDIT)
    assert made.returncode == 0, made.stderr
    assert (place / AUDIT).is_file()


@pytest.mark.slow
def test_a_module_from_a_git_host(host, tmp_path):
    """Its config is laid over the repository's, which is in no folder of the user's."""
    (tmp_path / "config.yaml").write_text("prism: {results: results/mine}\n")
    (tmp_path / "Snakefile").write_text(
        'configfile: "config.yaml"\n\n'
        f'module prism:\n    snakefile: github("{REPOSITORY}", path="Snakefile", tag="{TAG}")\n'
        '    config: config["prism"]\n\nuse rule * from prism as prism_*\n\n'
        'rule mine:\n    default_target: True\n    input: "results/mine/scores/alfworld/tiny-qwen3.csv"\n'
    )
    plan = start_hosted(tmp_path, host, "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert {"prism_probe", "prism_scores", "mine"} <= planned_rules(plan)
    # one of its jobs, in the package that was unpacked
    made = start_hosted(tmp_path, host, "--until", "prism_backbone")
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "results/mine/backbones/tiny-qwen3/model.safetensors").is_file()
