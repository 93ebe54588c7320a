"""A stage ends when the program that started it was killed, and not when somebody else ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from prism.core.starter import VARIABLE, announce

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
