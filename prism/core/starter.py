"""A stage that a workflow started ends with it: nobody waits for the result of a job whose scheduler was killed.

SIGKILL cannot be passed on. Without this, a killed Snakemake leaves its jobs running, and the next one starts the same
jobs beside them.
"""

from __future__ import annotations

import os
import signal
import threading
import time

import psutil

SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_TO_CLEAN_UP = 20.0
# the process that a stage ends with, as its number and the namespace that the number belongs to
VARIABLE = "PRISM_STARTER"


def announce() -> None:
    """Name this process, to all that it will start, as the one that stages end with.

    A stage needs a moment before it can look who started it. If that process was killed meanwhile, the stage finds
    another parent, which tells it nothing; the announcement does.
    """
    os.environ[VARIABLE] = f"{os.getpid()} {_namespace()}"


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
