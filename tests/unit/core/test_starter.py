"""A stage ends when the program that started it was killed, and not when somebody else ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from prism.core.starter import VARIABLE, announce, prepare_jobs

STAGE = "import time; from prism.core.starter import end_with_starter; end_with_starter(); print('up', flush=True); time.sleep(60)"  # noqa: E501
# a scheduler that starts the stage through a shell, which starts it as a child of its own
SCHEDULER = """
import subprocess, sys
job = subprocess.Popen(["bash", "-c", f"{sys.executable} -c \\"{sys.argv[1]}\\"; true"], stdout=subprocess.PIPE, text=True)
job.stdout.readline()
print("ready", flush=True)
job.wait()
"""  # noqa: E501


@pytest.fixture
def scheduler():
    """A running scheduler, and its stage."""
    process = subprocess.Popen([sys.executable, "-c", SCHEDULER, STAGE], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    family = psutil.Process(process.pid).children(recursive=True)
    stage = next(child for child in family if child.name().startswith("python"))
    yield process, stage
    for survivor in family:
        if survivor.is_running():
            survivor.kill()
    process.kill()
    process.wait()


def test_a_stage_ends_with_a_killed_scheduler(scheduler):
    process, stage = scheduler
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    gone, _ = psutil.wait_procs([stage], timeout=15)
    assert gone


def test_a_stage_goes_on_while_its_scheduler_lives(scheduler):
    _, stage = scheduler
    time.sleep(2.5)
    assert stage.is_running()
    assert stage.status() != psutil.STATUS_ZOMBIE


def stage_that_hears_of(starter: str, expected: int) -> None:
    """Run a stage under an announcement to its end."""
    program = "import time; from prism.core.starter import end_with_starter; end_with_starter(); time.sleep(0.1)"
    stage = subprocess.run([sys.executable, "-c", program], env={**os.environ, VARIABLE: starter}, check=False)
    assert stage.returncode == expected


def test_a_stage_whose_scheduler_was_gone_before_it_could_look_ends_at_once(monkeypatch):
    """A scheduler that is killed while a job's interpreter starts."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    monkeypatch.setenv(VARIABLE, "")
    announce()
    _, namespace = os.environ[VARIABLE].split()
    stage_that_hears_of(f"{gone.pid} {namespace}", -signal.SIGTERM)
    # the announced process lives; the number is counted elsewhere; nobody announced anything
    stage_that_hears_of(os.environ[VARIABLE], 0)
    stage_that_hears_of(f"{gone.pid} pid:[1]", 0)
    stage_that_hears_of("", 0)


@pytest.mark.parametrize(
    ("deployed", "conda", "python", "safe"),
    [(False, False, True, True), (True, False, False, True), (True, True, False, False)],
    ids=["here", "in an image", "in a conda environment"],
)
def test_jobs_find_an_interpreter_and_the_package(tmp_path, monkeypatch, deployed, conda, python, safe):
    """An image or a conda environment brings its own Python; Snakemake takes PYTHONPATH from the latter."""
    monkeypatch.setattr(os, "environ", {"PATH": "/usr/bin", "PYTHONPATH": "/elsewhere"})
    prepare_jobs(tmp_path, deployed, conda)
    assert os.environ["PATH"] == (f"{Path(sys.executable).parent}:/usr/bin" if python else "/usr/bin")
    assert os.environ["PYTHONPATH"] == f"{tmp_path}:/elsewhere"
    assert ("PYTHONSAFEPATH" in os.environ) == safe
