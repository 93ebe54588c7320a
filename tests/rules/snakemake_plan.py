"""Reads what a dry run would do."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

JOB = re.compile(r"^Job \d+: (.+)$", re.MULTILINE)
STATS = re.compile(r"^([a-z0-9_]+) +(\d+)$", re.MULTILINE)


def run_snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run Snakemake in a checkout with this interpreter."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    return subprocess.run(command, cwd=folder, text=True, capture_output=True, timeout=120, check=False)


def dry_run(folder: Path, *arguments: str) -> str:
    """Output of a dry run that must be plannable."""
    result = run_snakemake(folder, "--dry-run", *arguments)
    assert result.returncode == 0, result.stderr[-2000:] + result.stdout[-2000:]
    return result.stdout + result.stderr


def planned_jobs(text: str) -> list[str]:
    """Messages of the planned jobs, sorted; a message names the rule's work and its wildcards."""
    return sorted(JOB.findall(text))


def job_counts(text: str) -> dict[str, int]:
    """Jobs by rule, from the dry run's statistics."""
    return {rule: int(count) for rule, count in STATS.findall(text)}


def planned_recipes(text: str, command: str, option: str = "recipe") -> list[dict]:
    """What a command's planned jobs are told in JSON, from a dry run that prints the shell commands."""
    found = re.findall(rf"-m prism(?: stage)? {command} .*?--{option} '(\{{.*?\}})' ", text)
    return [json.loads(recipe) for recipe in found]
