"""The SLURM profile and the rules fit together."""

import re
import subprocess
import sys

import yaml
from snakemake_plan import run_snakemake

PROFILE = "slurm/config.v9+.yaml"


def profile_of(root) -> dict:
    return yaml.safe_load((root / PROFILE).read_text())


def local_rules(root, folder) -> dict[str, bool]:
    """Whether a rule of the paper's scale runs where Snakemake runs, by the rule's name, as Snakemake has read it."""
    outer = folder / "Snakefile"
    outer.write_text(
        f'include: "{root}/Snakefile"\n'
        'print(*(f"{made.name}={workflow.is_local(made)}" for made in workflow.rules), sep="\\n", file=sys.stderr)\n'
    )
    result = run_snakemake(root, "-n", "-s", str(outer), "--configfile", "config/paper.yaml", "--", "audit")
    return {name: value == "True" for name, value in re.findall(r"^(\w+)=(True|False)$", result.stderr, re.MULTILINE)}


def test_every_rule_has_a_place_on_the_cluster(root, tmp_path):
    """Local, in a group of small jobs, or with requests of its own: a rule that was forgotten would be a job a file."""
    profile, local = profile_of(root), local_rules(root, tmp_path)
    assert {"probe", "sft", "rl", "evaluate", "split"} <= set(local)
    placed = set(profile["groups"]) | set(profile["set-resources"])
    assert [rule for rule in sorted(set(local) - placed) if not local[rule]] == []


def test_the_requests_fit_the_config(root):
    """As many GPUs as the stage starts processes for."""
    requests = profile_of(root)["set-resources"]
    paper = yaml.safe_load((root / "config/paper.yaml").read_text())
    for stage in ("sft", "rl"):
        assert requests[stage]["gres"] == f"gpu:a100:{paper[stage]['gpus']}"
        assert requests[stage].get("nodes", 1) == paper[stage].get("nodes", 1)
    for stage in ("probe", "evaluate", "pass_rates"):
        assert requests[stage]["gres"] == "gpu:a100:1"


def test_retries_are_the_profiles(root):
    """A rule's own retries would repeat inside the same SLURM job, with the same time and memory."""
    assert profile_of(root)["retries"] >= 1
    for path in [*(root / "rules").glob("*.smk"), root / "Snakefile"]:
        assert not re.search(r"^\s+retries:", path.read_text(), re.MULTILINE), path


def test_a_dry_run_says_what_each_job_asks_for(root):
    """The cluster command as a user types it: every heavy job with its GPUs, for three seeds."""
    command = [sys.executable, "-m", "snakemake", "--profile", "slurm", "-n", "--nolock", "results/tables/table1.csv"]
    result = subprocess.run(command, cwd=root, text=True, capture_output=True, check=True)
    lines = [line for line in (result.stdout + result.stderr).splitlines() if re.match(r"Job \d+: ", line)]
    for stage, gpus, seeds in (("probe", 1, False), ("SFT", 8, True), ("RL", 8, True), ("evaluate", 1, True)):
        jobs = [line for line in lines if re.match(rf"Job \d+: {stage}: ", line)]
        assert jobs
        assert all(line.endswith(f" [gpu:a100:{gpus}]") for line in jobs)
        if seeds:
            assert {seed for line in jobs for seed in re.findall(r"seed (\d)", line)} == {"0", "1", "2"}
