"""A stage ends when the program that started it was killed, and not when somebody else ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

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
