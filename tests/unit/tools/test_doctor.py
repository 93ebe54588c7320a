"""What the doctor finds, and how it runs its exercises; no GPU is needed."""

from __future__ import annotations

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from prism.cli import app
from prism.tools import check_plan, doctor
from prism.tools.doctor import FAILED, MISSING, OK, SKIPPED, Finding, Step


def test_the_machine_is_described_in_one_table():
    findings = {finding.item: finding for finding in doctor.examine()}
    assert findings["torch"].state == OK
    assert findings["verl"].detail.startswith("0.9.1")
    assert findings["vllm"].state in (OK, MISSING)
    assert {"gcc", "disk", "memory", "sbatch", "apptainer"} <= set(findings)


def test_a_machine_without_gpu_says_so_and_ends_with_1(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    result = CliRunner().invoke(app, ["doctor", "--gpu"])
    assert result.exit_code == 1
    assert "GPU  missing  torch sees none" in result.output
    assert "docs/cluster.md" in result.output
    assert "Traceback" not in result.output


def test_only_what_failed_or_is_required_counts():
    assert doctor.is_sound([Finding("vllm", MISSING, ""), Finding("SFT", SKIPPED, "")])
    assert not doctor.is_sound([Finding("torch", MISSING, "", required=True)])
    assert not doctor.is_sound([Finding("RL step", FAILED, "")])


def test_columns_line_up():
    lines = doctor.table([Finding("a", OK, "x"), Finding("long name", SKIPPED, "y")]).splitlines()
    assert lines == ["a          ok       x", "long name  skipped  y"]


def findings_of(steps, answers, tmp_path):
    ran = []

    def run(command, log):
        ran.append(command[0])
        return answers.get(command[0], "")

    return {finding.item: finding for finding in doctor._run_steps(steps, tmp_path, run)}, ran


def test_steps_run_in_order_and_a_failure_skips_what_needs_it(tmp_path):
    steps = [
        Step("data", (), (), (("games",), ("panel",))),
        Step("probe", (), ("data",), (("probe",),)),
        Step("other", (), (), (("score",),)),
    ]
    findings, ran = findings_of(steps, {"panel": "status 2: no games"}, tmp_path)
    assert ran == ["games", "panel", "score"]
    assert findings["data"].detail == "prism panel: status 2: no games"
    assert findings["probe"] == Finding("probe", SKIPPED, "needs data")
    assert findings["other"].state == OK


def test_a_step_of_another_environment_is_skipped(tmp_path):
    findings, ran = findings_of([Step("RL", ("no-such-package",), (), (("rl",),))], {}, tmp_path)
    assert findings["RL"] == Finding("RL", SKIPPED, "no-such-package is not in this environment")
    assert ran == []


@pytest.mark.slow
def test_every_exercise_is_a_sound_command(tmp_path):
    """The commands are parsed and their recipes built and checked as those of a plan are."""
    steps = doctor.gpu_steps(tmp_path)
    assert [step.name for step in steps] == ["data", "probe", "SFT", "vLLM generation", "RL step"]
    commands = [check_plan.Command(command[0], tuple(command[1:])) for step in steps for command in step.commands]
    assert sum(check_plan.check_commands(commands, get_command(app)).values()) == len(commands)


def test_a_failing_command_is_reported_by_its_last_line(tmp_path):
    log = tmp_path / "log"
    problem = doctor.run_prism(
        ["stage", "panel", "alfworld", "--games", str(tmp_path), "--split", "seen", "--out", "x"], log
    )
    assert problem.startswith("status 2: prism: ")
    assert "manifest.json" in problem
    assert log.read_text().startswith("$ prism stage panel")


@pytest.mark.slow
def test_the_tiny_model_is_one_that_gpu_kernels_take(tmp_path):
    from transformers import AutoConfig

    doctor.save_tiny_model(tmp_path / "model")
    config = AutoConfig.from_pretrained(tmp_path / "model")
    assert config.head_dim == 64
    assert str(config.dtype).endswith("bfloat16")
