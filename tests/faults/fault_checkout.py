"""A checkout of its own with an experiment so small that the whole DAG takes minutes."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
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
# what RL trains and what is made from that; stages before it are deterministic by construction
AFTER_RL = ("rl/*", "*/prism-gini/*", "tables/table1*")
STARTED = re.compile(r"^Job (\d+): (.+)$", re.MULTILINE)
FINISHED = re.compile(r"^Finished jobid: (\d+)", re.MULTILINE)
# what `prism.core.files.atomic_path` calls an output until it is whole
UNFINISHED = re.compile(r"\.[0-9a-f]{8}\.")
SECONDS_FOR_ORPHANS = 40


@dataclass
class Checkout:
    """A copy of the repository with a small experiment in it."""

    folder: Path
    overlay: dict = field(default_factory=lambda: dict(OVERLAY))
    # temporary files of killed runs lie in here and go with it; Ray needs a short path for its sockets
    temporary: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="pf-", dir="/tmp")))

    @property
    def results(self) -> Path:
        """Where the experiment's results are."""
        return self.folder / self.overlay["results"]

    def start(self, log: Path, *options: str, variables: Mapping[str, str] | None = None) -> subprocess.Popen:
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
                env={**os.environ, "TMPDIR": str(self.temporary), **(variables or {})},
            )

    def run(self, log: Path, *options: str, variables: Mapping[str, str] | None = None) -> int:
        """Run Snakemake to its end; its exit code."""
        return self.start(log, *options, variables=variables).wait(timeout=1500)

    def unlock(self) -> None:
        """What `snakemake --unlock` does, without the time it takes to plan."""
        shutil.rmtree(self.folder / ".snakemake/locks", ignore_errors=True)

    def processes(self) -> list[psutil.Process]:
        """Living processes that work in the checkout, or below it."""
        found = []
        for process in psutil.process_iter():
            try:
                inside = Path(process.cwd()).is_relative_to(self.folder)
                if inside and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def orphans(self) -> list[str]:
        """Commands that are still there a while after everything should have ended."""
        deadline = time.monotonic() + SECONDS_FOR_ORPHANS
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return [command for process in left if (command := command_of(process))]

    def hashes(self) -> dict[str, str]:
        """sha256 of every compared file, by its path below the results."""
        found = {}
        for path in sorted({path for pattern in COMPARED for path in self.results.glob(pattern) if path.is_file()}):
            name = path.relative_to(self.results)
            if not any(UNFINISHED.match(part) for part in name.parts):
                found[str(name)] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def leftovers(self) -> int:
        """Temporary files and folders that killed jobs left beside their outputs."""
        return sum(bool(UNFINISHED.match(path.name)) for path in self.results.rglob("*"))

    def clean(self) -> None:
        """Forget every result, as before the first run."""
        shutil.rmtree(self.results, ignore_errors=True)
        shutil.rmtree(self.folder / ".snakemake", ignore_errors=True)

    def close(self) -> None:
        """End what still runs and remove the temporary files."""
        for process in self.processes():
            process.kill()
        shutil.rmtree(self.temporary, ignore_errors=True)


@dataclass(frozen=True)
class Differences:
    """How the files of a run differ from those of an undisturbed one.

    Attributes:
        lost: not there, or there and not expected.
        changed: other bytes, in a stage that is deterministic.
        changed_after_rl: other bytes, in RL's checkpoint or in what was made from it.
    """

    lost: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    changed_after_rl: tuple[str, ...] = ()

    def __add__(self, other: Differences) -> Differences:
        return Differences(
            self.lost + other.lost, self.changed + other.changed, self.changed_after_rl + other.changed_after_rl
        )


def differences(expected: Mapping[str, str], found: Mapping[str, str]) -> Differences:
    """Compare two runs' hashes."""
    other = [name for name in expected if name in found and expected[name] != found[name]]
    after_rl = [name for name in other if any(fnmatch(name, pattern) for pattern in AFTER_RL)]
    return Differences(
        lost=tuple(sorted(set(expected) ^ set(found))),
        changed=tuple(name for name in other if name not in after_rl),
        changed_after_rl=tuple(after_rl),
    )


def command_of(process: psutil.Process) -> str:
    """The beginning of a process's command; empty once it has ended."""
    try:
        return " ".join(process.cmdline()[:6])
    except psutil.Error:
        return ""


def started_jobs(log: str) -> set[str]:
    """Messages of the jobs that a run started."""
    return {message for _, message in STARTED.findall(log)}


def finished_jobs(log: str) -> set[str]:
    """Messages of the jobs that a run finished."""
    messages = dict(STARTED.findall(log))
    return {messages[number] for number in FINISHED.findall(log) if number in messages}
