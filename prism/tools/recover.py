"""After a Snakemake on a cluster was killed: its SLURM jobs live on, and a second Snakemake would start them again.

The jobs are known by their working folder and by the comment that Snakemake's executor gives them. A job that ends well
leaves its output whole, so once the survivors have ended, Snakemake's lock can be removed and the same command goes on
with what is left.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

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
    """The process of a Snakemake that works in a folder of this machine."""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            here = (process / "cwd").resolve() == folder.resolve()
        except OSError:
            continue
        # the Snakemake inside a job has --mode, the one that gave it to SLURM has not
        is_snakemake = any(Path(word).name == "snakemake" for word in words[:3]) or words[1:3] == ["-m", "snakemake"]
        if here and is_snakemake and "--mode" not in words:
            return int(process.name)
    return None
