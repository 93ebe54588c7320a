"""SIGKILL at random moments: what was finished stays, what was not is done again, and the numbers are the same."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fault_checkout import Checkout, Differences, differences, finished_jobs, started_jobs

pytestmark = pytest.mark.faults

KILLS = int(os.environ.get("PRISM_KILLS", "50"))
# seconds between the start of a run's first job and its kill: most within the short stages, some deep in training
SOON, LATE, SHARE_LATE = (0.0, 8.0), (8.0, 45.0), 0.25
# one kill in so many hits Snakemake itself while it still plans
PLANNING = 10
SECONDS_OF_PLANNING = 4.0
# after so many kills in a row without a finished job, the next kill waits until one is
PATIENCE = 3
SECONDS_AFTER_A_JOB = (0.0, 3.0)
STAGE = re.compile(r"^[a-zA-Z]+")
REPORT = Path("results/faults")


@dataclass
class Campaign:
    """What the kills did."""

    kills: int = 0
    recovered: int = 0
    rounds: int = 0
    leftovers: int = 0
    by_kind: Counter = field(default_factory=Counter)
    by_stage: Counter = field(default_factory=Counter)
    repeated: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    found: Differences = field(default_factory=Differences)
    history: list[str] = field(default_factory=list)

    def lines(self, seconds: float) -> list[str]:
        """The figures in words."""
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.by_kind.items()))
        stages = ", ".join(f"{stage} {count}" for stage, count in self.by_stage.most_common())
        lost = len(self.found.lost) + len(self.found.changed)
        return [
            f"kills tried {self.kills} ({kinds}), runs recovered {self.recovered}, files lost {lost}, "
            f"jobs repeated {len(self.repeated)}",
            f"orphans {len(self.orphans)}, temporary files left {self.leftovers}, whole runs {self.rounds}, "
            f"files that differ after RL {len(self.found.changed_after_rl)}, {seconds / 60:.1f} min",
            f"at work when killed: {stages}",
        ]


def test_kills_lose_nothing(undisturbed, expected, checkout, tmp_path, tell, figures, root):
    """Snakemake alone, and the whole process group, in turn, over the whole DAG as often as it takes."""
    campaign = Campaign()
    draw = random.Random(7)
    started = time.monotonic()
    tell(f"{KILLS} kills; the logs are in {tmp_path}")
    try:
        while campaign.kills < KILLS:
            campaign.rounds += 1
            before = campaign.kills
            kill_until_finished(checkout, draw, campaign, tmp_path, tell)
            found = differences(expected, checkout.hashes())
            campaign.found += found
            campaign.leftovers += checkout.leftovers()
            if not (found.lost or found.changed):
                campaign.recovered += campaign.kills - before
            tell(
                f"run {campaign.rounds} came to its end through {campaign.kills - before} kills; "
                f"{len(found.lost) + len(found.changed)} files lost, {len(found.changed_after_rl)} differ after RL"
            )
            checkout.clean()
    finally:
        lines = campaign.lines(time.monotonic() - started)
        figures += lines
        write_report(root / REPORT, campaign, lines, tmp_path)
        tell(f"report: {root / REPORT / 'report.md'}")
    assert campaign.recovered == campaign.kills
    assert (campaign.found.lost, campaign.found.changed) == ((), ())
    assert (campaign.repeated, campaign.orphans) == ([], [])


def kill_until_finished(
    checkout: Checkout, draw: random.Random, campaign: Campaign, logs: Path, tell: Callable[[str], None]
) -> None:
    """Run the experiment to its end through kills, and note the jobs that ran again although they had been finished."""
    done: set[str] = set()
    fruitless = 0
    while True:
        log = logs / f"after-{campaign.kills:03d}-kills-run-{campaign.rounds}.log"
        process = checkout.start(log)
        killed = campaign.kills < KILLS and kill_after(process, log, draw, campaign, fruitless >= PATIENCE)
        code = process.wait(timeout=900)
        orphans = checkout.orphans()
        text = log.read_text()
        started, finished = started_jobs(text), finished_jobs(text)
        repeated = sorted(started & done)
        campaign.repeated += repeated
        campaign.orphans += orphans
        done |= finished
        fruitless = 0 if finished else fruitless + 1
        checkout.unlock()
        if not killed:
            campaign.history.append(f"run {campaign.rounds}: to its end, code {code}, {len(finished)} jobs, log {log}")
            assert code == 0, f"{log}\n{text[-3000:]}"
            return
        note_kill(campaign, sorted(started - finished), len(finished), repeated, orphans, tell)


def note_kill(
    campaign: Campaign,
    at_work: list[str],
    finished: int,
    repeated: list[str],
    orphans: list[str],
    tell: Callable[[str], None],
) -> None:
    """Say what a kill hit."""
    for message in at_work or ["planning"]:
        campaign.by_stage[STAGE.match(message)[0]] += 1
    work = "; ".join(at_work) or "nothing yet"
    line = f"kill {campaign.kills:2d}/{KILLS}: {finished} jobs finished before; at work: {work}"
    if repeated or orphans:
        line += f"; REPEATED {repeated}, ORPHANS {orphans}"
    campaign.history.append(line)
    tell(line)


def kill_after(process: subprocess.Popen, log: Path, draw: random.Random, campaign: Campaign, patient: bool) -> bool:
    """Kill a run at a random moment; False when it ended before."""
    planning = draw.randrange(PLANNING) == 0
    delay = draw.uniform(*(LATE if draw.random() < SHARE_LATE else SOON))
    if patient:
        delay, awaited = draw.uniform(*SECONDS_AFTER_A_JOB), finished_jobs
    elif planning:
        delay, awaited = draw.uniform(0, SECONDS_OF_PLANNING), None
    else:
        awaited = started_jobs
    while awaited and not awaited(log.read_text()) and process.poll() is None:
        time.sleep(0.1)
    deadline = time.monotonic() + delay
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    if process.poll() is not None:
        return False
    kind = "Snakemake alone" if campaign.kills % 2 == 0 else "process group"
    if kind == "process group":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        os.kill(process.pid, signal.SIGKILL)
    campaign.kills += 1
    campaign.by_kind[kind] += 1
    return True


def write_report(folder: Path, campaign: Campaign, lines: list[str], logs: Path) -> None:
    """Leave what happened for a person to read, with the logs of the runs."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for log in sorted(logs.glob("*.log")):
        shutil.copyfile(log, folder / log.name)
    sections = {
        "What every kill hit": campaign.history,
        "Files lost": list(campaign.found.lost),
        "Files changed": list(campaign.found.changed),
        "Files changed after RL": list(campaign.found.changed_after_rl),
        "Jobs repeated": campaign.repeated,
        "Orphans": campaign.orphans,
    }
    text = ["# Kills", "", *lines]
    for title, entries in sections.items():
        text += ["", f"## {title}", "", *(f"- {entry}" for entry in entries or ["none"])]
    (folder / "report.md").write_text("\n".join(text) + "\n")
