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


def end_with_starter() -> None:
    """Watch the program that started this process, in a thread; end this process as SIGTERM does once it is gone."""
    watched = starters(psutil.Process())
    threading.Thread(target=_watch, args=(watched,), daemon=True, name="starter").start()


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
