"""A checkout of its own with an experiment so small that the whole DAG takes minutes."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml

OVERLAY = {
    "results": "results/faults",
    "benchmarks": {
        "alfworld": {
            "games": {"train": 16, "seen": 6, "unseen": 6},
            "panels": {"seen": 6, "unseen": 6},
            "max_steps": 6,
        }
    },
    "sft": {"num_train_epochs": 1},
    "rl": {"tasks_per_step": 2, "group_size": 2, "steps": 2, "save_every": 1},
    "tables": {
        "table1": {"methods": ["base", "sft", "prism-gini"]},
        "appendix_g": {"backbones": ["tiny-qwen3"]},
    },
    "targets": {"tables": ["table1", "appendix_g"], "figures": ["figure5"]},
}
# everything that holds no time and no place of its own
COMPARED = (
    "data/**/*.json*",
    "gradnorms/**/*.parquet",
    "scores/**/*.csv",
    "splits/**/*.csv",
    "sft/**/*.safetensors",
    "rl/**/*.safetensors",
    "eval/**/*.json",
    "cells/**/*.json",
    "tables/*.csv",
)
STARTED = re.compile(r"^Job (\d+): (.+)$", re.MULTILINE)
FINISHED = re.compile(r"^Finished jobid: (\d+)", re.MULTILINE)
SECONDS_FOR_ORPHANS = 40


@dataclass
class Checkout:
    """A copy of the repository with a small experiment in it."""

    folder: Path
    overlay: dict = field(default_factory=lambda: dict(OVERLAY))

    @property
    def results(self) -> Path:
        """Where the experiment's results are."""
        return self.folder / self.overlay["results"]

    def start(self, log: Path, *options: str) -> subprocess.Popen:
        """Start Snakemake in a process group of its own."""
        config = self.folder / "faults.yaml"
        config.write_text(yaml.safe_dump(self.overlay))
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--rerun-incomplete", *options]
        with log.open("w") as out:
            return subprocess.Popen(
                [*command, "--configfile", str(config)],
                cwd=self.folder,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def run(self, log: Path, *options: str) -> int:
        """Run Snakemake to its end; its exit code."""
        return self.start(log, *options).wait(timeout=1500)

    def unlock(self) -> None:
        """What `snakemake --unlock` does, without the time it takes to plan."""
        shutil.rmtree(self.folder / ".snakemake/locks", ignore_errors=True)

    def processes(self) -> list[psutil.Process]:
        """Living processes that work in the checkout."""
        found = []
        for process in psutil.process_iter():
            try:
                inside = Path(process.cwd()).is_relative_to(self.folder)
                if inside and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def orphans(self) -> list[str]:
        """Commands that are still there a while after everything should have ended."""
        deadline = time.monotonic() + SECONDS_FOR_ORPHANS
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.5)
        return [" ".join(process.cmdline()[:6]) for process in left if process.is_running()]

    def hashes(self) -> dict[str, str]:
        """sha256 of every compared file."""
        files = {path for pattern in COMPARED for path in self.results.glob(pattern) if path.is_file()}
        return {
            str(path.relative_to(self.results)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)
        }


def started_jobs(log: str) -> set[str]:
    """Messages of the jobs that a run started."""
    return {message for _, message in STARTED.findall(log)}


def finished_jobs(log: str) -> set[str]:
    """Messages of the jobs that a run finished."""
    messages = dict(STARTED.findall(log))
    return {messages[number] for number in FINISHED.findall(log) if number in messages}
