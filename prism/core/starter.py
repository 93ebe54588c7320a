"""A stage that a workflow started ends with it: nobody waits for the result of a job whose scheduler was killed.

SIGKILL cannot be passed on. Without this, a killed Snakemake leaves its jobs running, and the next one starts the same
jobs beside them.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import psutil

from prism.core.errors import BadInput

SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_TO_CLEAN_UP = 20.0
# the process that a stage ends with, as its number and the namespace that the number belongs to
VARIABLE = "PRISM_STARTER"


def announce() -> None:
    """Name this process, to all that it will start, as the one that stages end with.

    When this process is killed while a stage starts, the system gives the stage another parent before it can look. The
    environment still names this one.
    """
    os.environ[VARIABLE] = f"{os.getpid()} {_namespace()}"


def prepare_jobs(package: Path, deployed: bool, conda: bool) -> None:
    """Let the rules' commands, ``python -m prism ...``, find an interpreter and this package.

    Without images and conda environments it is the interpreter that runs Snakemake, whether or not its environment was
    activated. Jobs do not look for modules in the folder where they run.

    Args:
        package: a folder that holds the package and nothing else.
        deployed: whether jobs run in images or conda environments, which have interpreters of their own.
        conda: whether it is conda environments: Snakemake takes PYTHONPATH from those, they find the package where the
            job runs.

    Raises:
        BadInput: Snakemake was installed without the packages that the jobs need.
    """
    _prepend("PYTHONPATH", package)
    if not conda:
        os.environ["PYTHONSAFEPATH"] = "1"
    if deployed:
        return
    # the link of a virtual environment, not the system's interpreter behind it
    folder = Path(sys.executable).parent
    if find_spec("typer") is None or not (folder / "python").exists():
        problem = "runs Snakemake, but has not the packages that the jobs need"
        raise BadInput(sys.executable, problem, "run `make setup`, then .venv/bin/snakemake; or give --sdm apptainer")
    _prepend("PATH", folder)


def _prepend(variable: str, folder: Path) -> None:
    folders = [str(folder), *filter(None, os.environ.get(variable, "").split(os.pathsep))]
    os.environ[variable] = os.pathsep.join(dict.fromkeys(folders))


def end_with_starter() -> None:
    """Watch the program that started this process, in a thread; end this process as SIGTERM does once it is gone."""
    try:
        watched = [*starters(psutil.Process()), *announced()]
    except psutil.NoSuchProcess:
        os.kill(os.getpid(), signal.SIGTERM)
        return
    threading.Thread(target=_watch, args=(watched,), daemon=True, name="starter").start()


def announced() -> list[psutil.Process]:
    """The process that announced itself; none where nobody did, or where its number means another process.

    Raises:
        psutil.NoSuchProcess: it has ended.
    """
    number, _, namespace = os.environ.get(VARIABLE, "").partition(" ")
    return [psutil.Process(int(number))] if number and namespace == _namespace() else []


def _namespace() -> str:
    """Process numbers mean the same where this is the same: a container may count its own."""
    return os.readlink("/proc/self/ns/pid")


def starters(process: psutil.Process) -> list[psutil.Process]:
    """The program that started `process`, and the shell between the two if it was started through ``sh -c``."""
    parents = process.parents()
    through_shell = bool(parents) and parents[0].cmdline()[1:2] == ["-c"]
    return parents[: 2 if through_shell else 1]


def _watch(watched: list[psutil.Process]) -> None:
    # is_running compares start times: a process number that was given out again does not count
    while all(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in watched):
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SECONDS_TO_CLEAN_UP)
    os.kill(os.getpid(), signal.SIGKILL)
