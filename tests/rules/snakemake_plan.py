"""Starts Snakemake in a checkout, and reads what a dry run would do."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import forked_snakemake

from prism.tools.snakemake_plan import Job
from prism.tools.snakemake_plan import planned_jobs as ask


def run_snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run Snakemake in a checkout with this interpreter."""
    return forked_snakemake.run(["--cores", "2", *arguments], folder)


def dry_run(folder: Path, *arguments: str) -> list[Job]:
    """Jobs of a dry run that must be plannable; `arguments` are options and targets, as on the command line."""
    return ask(options=arguments, folder=folder, run=forked_snakemake.run)


def planned_jobs(jobs: Sequence[Job]) -> list[str]:
    """Messages of the planned jobs, sorted; a message names the rule's work and its wildcards."""
    return sorted(job.message for job in jobs if job.command)


def job_counts(jobs: Sequence[Job]) -> dict[str, int]:
    """Jobs by rule, and in all."""
    return {**Counter(job.rule for job in jobs), "total": len(jobs)}


def planned_recipes(jobs: Sequence[Job], command: str, option: str = "recipe") -> list[dict]:
    """What a command's planned jobs are told in JSON."""
    pattern = re.compile(rf"-m prism(?: stage)? {command} .*?--{option} '(\{{.*?\}})'(?: |$)")
    return [json.loads(found[1]) for found in (pattern.search(job.command) for job in jobs) if found]
