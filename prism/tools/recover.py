"""After a Snakemake on a cluster was killed: its SLURM jobs live on, and a second Snakemake would start them again.

The jobs are known by their working folder and by the comment that Snakemake's executor gives them. A job that ends well
leaves its output whole, so once the survivors have ended, Snakemake's lock can be removed and the same command goes on
with what is left.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil

from prism.core.errors import BadInput, PrismError
from prism.core.progress import say

SNAKEMAKE_FOLDER = Path(".snakemake")
# the executor's comment of a job: rule_{rule}_wildcards_{values}
COMMENT_PREFIX = "rule_"
SECONDS_BETWEEN_LOOKS = 10.0


def recover_run(cancel: bool) -> None:
    """Wait until the SLURM jobs of a killed Snakemake have ended, then remove its lock.

    Args:
        cancel: cancel the jobs instead of letting them finish.

    Raises:
        BadInput: a Snakemake still runs here, or there is none to recover from.
        PrismError: SLURM does not answer.
    """
    if not SNAKEMAKE_FOLDER.is_dir():
        raise BadInput(SNAKEMAKE_FOLDER, "not found", "run `prism recover` where Snakemake ran")
    if running := running_snakemake(Path.cwd()):
        raise BadInput(f"process {running}", "is a Snakemake that runs here", "leave it, or end it with Ctrl-C first")
    alive = living_jobs(Path.cwd())
    if alive and cancel:
        subprocess.run(["scancel", *sorted(alive)], check=False)
    while alive:
        say(f"recover: waiting for {len(alive)} SLURM jobs: {', '.join(sorted(alive))}")
        time.sleep(SECONDS_BETWEEN_LOOKS)
        alive = living_jobs(Path.cwd())
    result = subprocess.run(
        [sys.executable, "-P", "-m", "snakemake", "--unlock"], capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise PrismError(f"snakemake --unlock failed: {result.stderr.strip()}")
    say("recover: done; give the same Snakemake command again")


def living_jobs(folder: Path) -> set[str]:
    """SLURM's numbers of this user's jobs that a Snakemake in `folder` submitted and that wait or run.

    Raises:
        PrismError: squeue is missing or fails: nothing may be taken for dead then.
    """
    if not shutil.which("squeue"):
        raise PrismError("squeue is not installed here; run `prism recover` on a login node")
    command = ["squeue", "--noheader", "--me", "--format=%i|%Z|%k"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise PrismError(f"squeue failed: {result.stderr.strip()}")
    found = set()
    for line in result.stdout.splitlines():
        number, workdir, comment = line.split("|", 2)
        if Path(workdir).resolve() == folder.resolve() and comment.startswith(COMMENT_PREFIX):
            found.add(number)
    return found


def running_snakemake(folder: Path) -> int | None:
    """The number of the Snakemake process that works in a folder of this machine; None without one."""
    for process in psutil.process_iter(["pid", "cmdline", "cwd"]):
        # what may not be read of another user's process is None
        words, here = process.info["cmdline"] or [], process.info["cwd"]
        # alone, or behind an interpreter and its options; the Snakemake inside a SLURM job has --mode
        is_snakemake = any(Path(word).name == "snakemake" for word in words[:4])
        if here and Path(here) == folder.resolve() and is_snakemake and "--mode" not in words:
            return process.info["pid"]
    return None
