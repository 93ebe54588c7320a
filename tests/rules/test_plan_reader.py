"""What Snakemake would do, as the tools read it: jobs with command and reason, or the word why there are none."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from prism.cli import app
from prism.core.errors import BadInput
from prism.tools.snakemake_plan import Settings, planned_jobs, settings_for

SPLIT = "results/demo/splits/alfworld/tiny-llama/gini-50.csv"


def test_a_job_has_its_command_its_reason_and_its_files(root):
    jobs = {job.rule: job for job in planned_jobs([SPLIT], everything=True, folder=root)}
    assert list(jobs)[-1] == "split"
    split = jobs["split"]
    assert split.outputs == (SPLIT,)
    assert split.log == "results/demo/logs/splits/alfworld/tiny-llama/gini-50.log"
    assert split.benchmark == "results/demo/benchmarks/split/alfworld/tiny-llama/gini-50.tsv"
    assert f"--out {SPLIT}" in split.command
    assert split.message == "split: 50% to RL by gini"
    assert split.reason == "Forced execution"
    assert split.wildcards == {"benchmark": "alfworld", "backbone": "tiny-llama", "score": "gini", "percent": "50"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["why", "results/demo/typo.csv"], "MissingRuleException: No rule to produce results/demo/typo.csv"),
        (["plan", "results/typo.csv"], "MissingRuleException: No rule to produce results/typo.csv"),
        (["check-plan", "results/smoke/typo.csv"], "MissingRuleException: No rule to produce results/smoke/typo.csv"),
        (["why", "--configfile", "wrong.yaml"], "config seeds: 'three' is not of type 'array'"),
        (["check-plan", "all", "--configfile", "none.yaml"], "No such file or directory: 'none.yaml'"),
        (["why", "--profile", "none-such"], "none-such"),
    ],
)
def test_the_reason_why_there_is_no_plan_is_one_line(copy, arguments, told):
    result = subprocess.run([sys.executable, "-m", "prism", *arguments], cwd=copy, text=True, capture_output=True)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    line = result.stderr.splitlines()[-1]
    assert line.startswith("prism: ")
    assert told in line
    assert len([line for line in result.stderr.splitlines() if line.startswith("prism: ")]) == 1


@pytest.fixture(scope="module")
def copy(copy_repository, tmp_path_factory) -> Path:
    folder = copy_repository(tmp_path_factory.mktemp("copy") / "prism")
    (folder / "wrong.yaml").write_text("seeds: three\n")
    (folder / "mine.yaml").write_text("scale: demo\nresults: results/mine\n")
    return folder


PAPER, SMALL, MINE = Path("config/paper.yaml"), Path("config/webshop-small.yaml"), Path("mine.yaml")


@pytest.mark.parametrize(
    ("target", "configfiles", "expected"),
    [
        ("results/demo/tables/table1.csv", [], Settings(None, ())),
        ("./results/demo/tables/table1.csv", [], Settings(None, ())),
        ("results/smoke/tables/table1.csv", [], Settings(None, (Path("config/smoke.yaml"),))),
        ("results/tables/table1.csv", [], Settings("slurm", ())),
        ("results/gpu/tables/table1.csv", [], Settings("profiles/gpu", ())),
        ("results/tables/table1.csv", [PAPER, MINE], Settings("slurm", (PAPER, MINE))),
        ("results/webshop-small/tables/table2.csv", [], Settings("slurm", (PAPER, SMALL))),
        ("results/mine/tables/table1.csv", [MINE], Settings(None, (MINE,))),
        ("results/demo/tables/table1.csv", [MINE], Settings(None, (MINE,))),
        ("all", [], Settings("otherwise", ())),
        ("all", [MINE], Settings("otherwise", (MINE,))),
    ],
)
def test_the_scale_is_chosen_by_the_target(copy, monkeypatch, target, configfiles, expected):
    monkeypatch.chdir(copy)
    assert settings_for([target], None, configfiles, otherwise="otherwise") == expected
    assert settings_for([target], "mine", configfiles) == Settings("mine", tuple(configfiles))


def test_targets_of_two_scales_are_refused(copy, monkeypatch):
    monkeypatch.chdir(copy)
    with pytest.raises(BadInput, match="several scales"):
        settings_for(["results/demo/a.csv", "results/smoke/a.csv"], None, [])


def test_why_is_told_for_the_targets_own_scale(copy, monkeypatch):
    """Without a profile or overlay, smoke's target would be one that the demo cannot build."""
    monkeypatch.chdir(copy)
    shown = CliRunner().invoke(app, ["why", "results/smoke/splits/alfworld/tiny-llama/gini-50.csv"])
    assert shown.exit_code == 0, shown.output
    assert "not there yet, or deleted: results/smoke/splits/alfworld/tiny-llama/gini-50.csv" in shown.output
