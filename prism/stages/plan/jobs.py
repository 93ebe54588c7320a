"""The jobs of a target, as Snakemake's own dry run lists them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prism.core.errors import BadInput
from prism.core.files import read_jsonl

PLUGIN_FOLDER = Path(__file__).with_name("plugin")
GPU_REQUEST = re.compile(r"gpu(?::[a-z0-9_.]+)?:(\d+)")


@dataclass(frozen=True)
class Job:
    """A planned job.

    Attributes:
        id: Snakemake's number.
        rule: its rule.
        wildcards: values of the rule's wildcards.
        inputs: files it reads.
        outputs: files it writes.
        benchmark: where Snakemake will write (or wrote, when it ran before) its run time; None for none.
        gpus: GPUs on all of its nodes.
        nodes: nodes it runs on.
        command: the shell command.
    """

    id: int
    rule: str
    wildcards: dict[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    benchmark: str | None
    gpus: int
    nodes: int
    command: str

    @property
    def label(self) -> str:
        """Rule and wildcards in one line."""
        return " ".join([self.rule, *self.wildcards.values()])


def list_jobs(target: str, everything: bool, snakemake: Sequence[str]) -> list[Job]:
    """The jobs that Snakemake would run for a target.

    Args:
        target: a file or rule.
        everything: also the jobs whose results are there already.
        snakemake: further arguments, such as a profile.

    Raises:
        BadInput: Snakemake refuses the target.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jobs.jsonl"
        force = ["--forceall"] if everything else []
        command = [sys.executable, "-m", "snakemake", "--dry-run", "--nolock", *force, "--logger", "prism", *snakemake]
        # targets come last and behind --: options before them may take several values
        result = subprocess.run(
            [*command, "--", target], env=_environment(path), capture_output=True, text=True, check=False
        )
        if result.returncode != 0:
            lines = (result.stdout + result.stderr).strip().splitlines()
            raise BadInput(target, f"cannot be planned: {lines[-1] if lines else 'no message'}", "try `snakemake -n`")
        records = [record for _, record in read_jsonl(path)]
    return [_job(record) for record in records]


def _environment(path: Path) -> dict[str, str]:
    search = [str(PLUGIN_FOLDER), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PRISM_PLAN_JOBS": str(path),
        "PYTHONPATH": os.pathsep.join(folder for folder in search if folder),
    }


def _job(record: dict) -> Job:
    resources = record["resources"]
    nodes = int(resources.get("nodes") or 1)
    request = GPU_REQUEST.fullmatch(resources.get("gres") or "")
    return Job(
        id=int(record["jobid"]),
        rule=record["rule_name"],
        wildcards=record["wildcards"],
        inputs=tuple(record["input"]),
        outputs=tuple(record["output"]),
        benchmark=record["benchmark"],
        # SLURM's gres counts a node's
        gpus=nodes * int(request[1]) if request else 0,
        nodes=nodes,
        command=record["shellcmd"] or "",
    )


def dependencies(jobs: Sequence[Job]) -> dict[int, set[int]]:
    """For each job the jobs that write what it reads."""
    makers = {path: job.id for job in jobs for path in job.outputs}
    return {job.id: {makers[path] for path in job.inputs if path in makers} for job in jobs}


def ancestors(jobs: Sequence[Job], last: Job) -> list[Job]:
    """A job and all that it needs, in the order of `jobs`."""
    needs = dependencies(jobs)
    wanted, open_jobs = set(), [last.id]
    while open_jobs:
        job = open_jobs.pop()
        if job not in wanted:
            wanted.add(job)
            open_jobs += needs[job]
    return [job for job in jobs if job.id in wanted]
