"""SIGKILL at random moments: what was finished stays, what was not is done again, and the numbers are the same."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections import Counter

import pytest
from fault_checkout import Checkout, finished_jobs, started_jobs

pytestmark = pytest.mark.faults

KILLS = int(os.environ.get("PRISM_KILLS", "50"))
SECONDS_BETWEEN_KILLS = (1.0, 22.0)
# after so many kills in a row without a finished job the run is left alone until one is: start-up alone takes a while
PATIENCE = 3


def test_kills_lose_nothing(undisturbed, checkout, tmp_path, capsys):
    """Snakemake alone, and the whole process group, in turn, over the whole DAG as often as it takes."""
    draw = random.Random(7)
    expected = undisturbed.hashes()
    tally = Counter()
    repeated: list[str] = []
    orphans: list[str] = []
    wrong: list[str] = []
    while tally["kills"] < KILLS:
        tally["rounds"] += 1
        repeated += kill_until_finished(checkout, draw, tally, orphans, tmp_path)
        found = checkout.hashes()
        wrong += [name for name in sorted(set(expected) | set(found)) if expected.get(name) != found.get(name)]
        shutil.rmtree(checkout.results)
        shutil.rmtree(checkout.folder / ".snakemake")
    with capsys.disabled():
        print(
            f"\nkills tried {tally['kills']} (Snakemake alone {tally['alone']}, process group {tally['group']}), "
            f"runs recovered {tally['recovered']}, files lost or changed {len(wrong)}, jobs repeated {len(repeated)}, "
            f"orphans {len(orphans)}, rounds {tally['rounds']}"
        )
    assert tally["recovered"] == tally["kills"]
    assert (wrong, repeated, orphans) == ([], [], [])


def kill_until_finished(
    checkout: Checkout, draw: random.Random, tally: Counter, orphans: list[str], tmp_path
) -> list[str]:
    """Run the experiment to its end through kills; the jobs that ran again although they had been finished."""
    done: set[str] = set()
    repeated: list[str] = []
    fruitless = 0
    while True:
        log = tmp_path / "run.log"
        process = checkout.start(log)
        killed = tally["kills"] < KILLS and fruitless < PATIENCE and kill_after(process, draw, tally)
        code = process.wait(timeout=900)
        orphans += checkout.orphans()
        text = log.read_text()
        repeated += sorted(started_jobs(text) & done)
        finished = finished_jobs(text)
        done |= finished
        fruitless = 0 if finished - {"all"} or not killed else fruitless + 1
        checkout.unlock()
        if not killed:
            assert code == 0, text[-3000:]
            return repeated
        tally["recovered"] += 1


def kill_after(process, draw: random.Random, tally: Counter) -> bool:
    """Kill a run at a random moment; False when it had ended before."""
    deadline = time.monotonic() + draw.uniform(*SECONDS_BETWEEN_KILLS)
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return False
        time.sleep(0.1)
    alone = tally["kills"] % 2 == 0
    if alone:
        os.kill(process.pid, signal.SIGKILL)
    else:
        os.killpg(process.pid, signal.SIGKILL)
    tally["kills"] += 1
    tally["alone" if alone else "group"] += 1
    return True
