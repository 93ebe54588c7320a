"""Where the seconds of a short RL run go: start-up part by part, then generation, update and the rest of each step.

    python benchmarks/rl_startup.py --init MODEL --games DIR --panel FILE [--cold] [--runs N] [--steps N]

Runs ``prism rl`` (N runs at once) and prints a table made from the second of each line of verl's log and from
metrics.csv. ``--cold`` starts Ray's processes the ordinary way, for comparison.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# a part of the start-up ends where verl's log first says this
MILESTONES = (
    ("imports and configuration", "ray init kwargs"),
    ("Ray's services", "Started a local Ray instance"),
    ("task runner, queue, data", "Total training steps"),
    ("trainer process and model", "actor and ref model engine initialized"),
    ("sampler process and model", "all initialize finished"),
    ("agent loops, first weights", "Training Progress:   0%"),
)
STEP_PARTS = ("seconds_generation", "seconds_old_log_prob", "seconds_update")
DEMO = {
    "prompt": {"style": "compact", "history": "actions:14", "layout": "steps", "context_length": 512},
    "max_env_steps": 20,
    "learning_rate": 3e-4,
    "tasks_per_step": 4,
    "mini_batch": 256,
    "micro_batch_tokens": 8192,
    "max_response_tokens": 32,
    "steps_rule": "constant",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("init", "games", "panel"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--runs", type=int, default=1, help="runs at the same time")
    parser.add_argument("--cold", action="store_true", help="start Ray's processes the ordinary way")
    parser.add_argument("--recipe", default="{}", help="JSON, on top of the demo's settings")
    options = parser.parse_args()
    recipe = {**DEMO, "steps": options.steps, "warm_workers": not options.cold, **json.loads(options.recipe)}
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        runs = [start(Path(folder) / str(number), options, recipe, number) for number in range(options.runs)]
        for number, run in enumerate(runs):
            if run.wait() != 0:
                sys.exit(f"run {number} failed:\n{(Path(folder) / f'{number}.txt').read_text()[-3000:]}")
        wall = time.monotonic() - started
        for number in range(options.runs):
            report(Path(folder) / str(number))
    print(f"{'all, wall clock':32}{wall:8.1f} s")


def start(folder: Path, options: argparse.Namespace, recipe: dict, seed: int) -> subprocess.Popen:
    command = [sys.executable, "-m", "prism", "rl", "--init", options.init, "--games", options.games]
    command += ["--panel", options.panel, "--out", str(folder / "out"), "--work", str(folder / "work")]
    command += ["--recipe", json.dumps(recipe), "--seed", str(seed)]
    with folder.with_name(f"{folder.name}.txt").open("w") as output:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)


def report(folder: Path) -> None:
    lines = (folder / "work" / "verl.log").read_text(errors="replace").splitlines()
    reached = 0.0
    for part, text in MILESTONES:
        second = next(second_of(line) for line in lines if text in line)
        print(f"{part:32}{second - reached:8.1f} s")
        reached = second
    print(f"{'start-up':32}{reached:8.1f} s")
    with (folder / "out" / "metrics.csv").open() as table:
        for row in csv.DictReader(table):
            total = float(row["seconds_step"])
            parts = [float(row[name]) for name in STEP_PARTS]
            shares = ", ".join(f"{name[8:]} {value:.1f}" for name, value in zip(STEP_PARTS, parts, strict=True))
            accounted = sum(parts) / total
            print(
                f"{'step ' + row['step']:32}{total:8.1f} s  ({shares}, environment CPU "
                f"{float(row['seconds_environment']):.1f}; {accounted:.0%} accounted for; {row['rows']} rows)"
            )


def second_of(line: str) -> float:
    return float(re.match(r"\s*([\d.]+)", line).group(1))


if __name__ == "__main__":
    main()
