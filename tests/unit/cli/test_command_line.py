"""What the command line offers, and how soon it answers."""

import os
import re
import subprocess
import sys

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import prism
from prism.cli import app

HEAVY = ("matplotlib", "numpy", "pandas", "pyarrow", "scipy", "torch", "transformers", "yaml")


def _run(*arguments):
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "80"}, prog_name="prism")


def _started(*arguments, **environment):
    command = [sys.executable, "-m", "prism", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)
    return done.stdout


def test_the_help_begins_with_what_people_do_with_their_own_data():
    shown = _run("--help").output
    panels = re.findall(r"╭─ ([^─]+) ─", shown)
    assert panels == [
        "Options",
        "Your own data",
        "Published numbers",
        "Look at a run",
        "Cluster and containers",
        "The workflow itself",
    ]
    commands = re.findall(r"^│ ([a-z][a-z-]+) ", shown, re.MULTILINE)
    assert commands[:6] == ["probe", "score", "route", "explain", "compare", "report"]
    assert "evaluate" not in commands


def test_what_rules_call_stands_below_stage():
    shown = _run("stage", "--help").output
    assert re.search(r"│ figure ", shown)
    assert "eto-trajectories" in shown
    assert _run("stage", "evaluate", "-h").exit_code == 0


def test_rules_call_commands_that_are_there(root):
    files = [*root.glob("rules/*.smk"), root / "resources/backbones/Snakefile"]
    called = {
        words for file in files for words in re.findall(r"-m prism (?:(stage) )?([a-z][a-z-]*)", file.read_text())
    }
    people = get_command(app).commands
    there = {("", name) for name in people} | {("stage", name) for name in people["stage"].commands}
    assert len(called) > 25
    assert called - there == set()


@pytest.mark.parametrize("command", [(), ("score",), ("stage",), ("stage", "sft"), ("containers", "build")])
def test_help_is_asked_for_in_short(command):
    assert _run(*command, "-h").output == _run(*command, "--help").output != ""


def test_the_version_is_said_both_ways():
    assert _run("--version").output == f"{prism.__version__}\n"
    assert _run("version").output.startswith(f"prism-rebuildable {prism.__version__}, Python ")


def test_the_shell_can_complete():
    script = _started("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "complete -o default -F _prism_completion prism" in script
    completed = _started(_PRISM_COMPLETE="complete_bash", COMP_WORDS="prism exp", COMP_CWORD="1")
    assert completed.split() == ["explain"]


@pytest.mark.parametrize("statement", ["import prism", "import prism.cli"])
def test_nothing_heavy_is_loaded_before_a_command_needs_it(statement):
    ask = f"import sys; {statement}; print(*(name for name in {HEAVY} if name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout == "\n"
