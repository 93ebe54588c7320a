"""Runs Snakemake in forks of a process that has imported it: its import is half of a plan's time.

A fork is like a start of `python -P -m snakemake`: folder, environment and output are its own, and nothing of the
workflow's package is imported before it.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_SERVER = multiprocessing.get_context("forkserver")
# with the plugin that its parser of arguments imports; the server of Python 3.11 finds installed modules alone
_SERVER.set_forkserver_preload(["snakemake.cli", "snakemake.report.html_reporter"])


def run(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Snakemake with the given arguments; two minutes at most."""
    command = ["snakemake", *arguments]
    with tempfile.TemporaryDirectory() as temporary:
        out, error = Path(temporary) / "out", Path(temporary) / "error"
        of_its_own = (folder, dict(environment or os.environ), out, error)
        process = _SERVER.Process(target=_snakemake, args=(command, *of_its_own))
        process.start()
        process.join(timeout=120)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(command, 120)
        return subprocess.CompletedProcess(command, process.exitcode, out.read_text(), error.read_text())


def _snakemake(command: list[str], folder: Path, environment: dict[str, str], out: Path, error: Path) -> None:
    """Be `python -m snakemake` in a folder."""
    assert "prism" not in sys.modules, "the workflow's package must come from the folder's own checkout"
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in ((1, out), (2, error)):
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.path[:0] = [name for name in environment.get("PYTHONPATH", "").split(os.pathsep) if name]
    sys.argv = command
    from snakemake.cli import main

    main()
