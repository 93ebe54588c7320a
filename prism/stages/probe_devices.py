"""A probe on several devices: a process a device takes its share of the packs, and their norms become one file.

The first process plans for all of them; its journal, once it is there, holds the plan. Each keeps a journal, a log and
a file of norms of its own beside the output. What is left of them after an interruption is gathered into the journal
that one process would have left, so that ``--resume`` goes on from it on any number of devices.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

import prism
from prism.core.data_source import DataSource
from prism.core.errors import PrismError
from prism.core.progress import SECONDS_BETWEEN_LINES, complain, say, seconds_left
from prism.core.shards import Journal, Shard, gather_journals, journal_fingerprint
from prism.gradients.corpus import load_corpus
from prism.gradients.norm_files import merge_norms
from prism.gradients.recipe import ProbeRecipe
from prism.stages.probe_team import Team, left_by_teams, left_journal, remove_files

SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_TO_END = 10.0
# what a process says of its progress, without the lines that libraries print
_SAID = re.compile(r"\d\d:\d\d:\d\d probe: ")


class ProcessEnded(PrismError):
    """A process of the team ended before its work was done; the exit code is its own where it said why."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


def number_of_trajectories(source: DataSource, recipe: ProbeRecipe, shard: Shard) -> int:
    """How many trajectories a shard has.

    Raises:
        BadInput: names what of the data cannot be used.
    """
    return len(shard.of(load_corpus(source, recipe.chat).ids))


def probe_on_devices(command: Sequence[str], devices: tuple[str, ...], out: Path, total: int, resume: bool) -> None:
    """Probe a shard on several devices at once; the output is that of one process.

    Args:
        command: arguments of the ``prism`` command that is running; a process gets them and its number.
        devices: a device a process.
        out: the parquet file.
        total: number of trajectories.
        resume: go on from what an interrupted run of the same probe left beside the output.

    Raises:
        ProcessEnded: a process ended early; names its device and log. What is finished is kept for ``--resume``.
    """
    team = [Team(out, devices, member) for member in range(len(devices))]
    if resume:
        gather_journals(left_journal(out), left_by_teams(out, "journal"))
    else:
        left_journal(out).unlink(missing_ok=True)
    remove_files(left_by_teams(out))
    processes = _Processes(command, total)
    try:
        processes.start(team[0])
        while not (plan := journal_fingerprint(team[0].journal)):
            processes.watch()
        for member in team[1:]:
            Journal(member.journal, plan).start()
            processes.start(member)
        while processes.running:
            processes.watch()
        merge_norms(out, [member.file for member in team])
    except BaseException as error:
        processes.stop()
        gather_journals(left_journal(out), left_by_teams(out, "journal"))
        if isinstance(error, KeyboardInterrupt):
            say(f"probe: interrupted; the same command with --resume goes on from {left_journal(out)}")
        raise
    remove_files([*left_by_teams(out), left_journal(out)])


class _Lines:
    """Lines of a file that another process writes."""

    def __init__(self, path: Path):
        self._path, self._read = path, 0

    def new(self) -> list[str]:
        """What has come since the last time, whole lines only."""
        if not self._path.is_file():
            return []
        with self._path.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        return whole.decode("utf-8", errors="replace").splitlines()


class _Processes:
    """The processes of a team: started, watched and stopped.

    Args:
        command: of the process that started them.
        total: number of trajectories that all of them probe.
    """

    def __init__(self, command: Sequence[str], total: int):
        self.command, self.total = command, total
        self.running: dict[Team, subprocess.Popen] = {}
        self._log: _Lines | None = None
        self._journals: list[_Lines] = []
        self._done, self._new, self._worked = 0, 0, 0.0
        self._started = self._last = time.monotonic()

    def start(self, member: Team) -> None:
        """Start a process in a session of its own: Ctrl-C comes to this one alone, which ends them all."""
        with member.log.open("w", encoding="utf-8") as log:
            self.running[member] = subprocess.Popen(
                [sys.executable, "-m", "prism", *self.command, "--worker", str(member.member)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment(member), start_new_session=True,
            )  # fmt: skip
        self._log = self._log or _Lines(member.log)
        self._journals.append(_Lines(member.journal))

    def watch(self) -> None:
        """Wait a moment, pass on what the first process says, tell the progress of all.

        Raises:
            ProcessEnded: one ended early.
        """
        time.sleep(SECONDS_BETWEEN_LOOKS)
        ended = {member: process for member, process in self.running.items() if process.poll() is not None}
        for line in self._log.new():
            if _SAID.match(line):
                complain(line)
        for member, process in ended.items():
            if process.returncode:
                raise _reason(member, process.returncode)
            del self.running[member]
        self._tell_progress()

    def stop(self) -> None:
        """End those that still run."""
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _tell_progress(self) -> None:
        for journal in self._journals:
            for line in journal.new():
                record = json.loads(line)
                self._done += "id" in record
                self._new += bool(record.get("share"))
                self._worked += record.get("share", 0.0)
        now = time.monotonic()
        if self._new and (now - self._last >= SECONDS_BETWEEN_LINES or not self.running):
            self._last, took = now, now - self._started
            left = seconds_left(took, self._worked) if self.running else 0.0
            where = f"{len(self._journals)} devices"
            say(f"probe: {self._done}/{self.total} samples on {where}, {self._new / took:.1f}/s, {left:.0f} s left")


def _environment(member: Team) -> dict[str, str]:
    """The interpreter finds this package, and processes on one CPU share its cores."""
    home = str(Path(prism.__file__).parents[1])
    paths = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
    threads = str(max(1, torch.get_num_threads() // member.neighbours))
    return os.environ | {"PYTHONPATH": paths, "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": threads}


def _reason(member: Team, code: int) -> ProcessEnded:
    """Why a process ended, in one line: what it said of it, or the signal that killed it."""
    said = [line for line in member.log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    if said and said[-1].startswith("prism: "):
        return ProcessEnded(f"{said[-1].removeprefix('prism: ')} (on {member.device}; log: {member.log})", code)
    how = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"
    remedy = "the same command with --resume goes on from what is finished"
    return ProcessEnded(f"the process on {member.device} {how}; its log is {member.log}; {remedy}", 1)
