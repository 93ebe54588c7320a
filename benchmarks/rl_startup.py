"""Where the seconds of a short RL run go: start-up part by part, then generation, update and the rest of each step.

    python benchmarks/rl_startup.py --init MODEL --games DIR --panel FILE [--cold] [--runs N] [--steps N]

Runs ``prism stage rl`` (N runs at once) and prints a table made from the second of each line of verl's log and from
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
WORK = ("seconds_generation", "seconds_old_log_prob", "seconds_reference_log_prob", "seconds_update")
REST = ("seconds_weights", "seconds_checkpoint", "seconds_other")
DEMO = {
    "prompt": {"style": "compact", "history": "actions:14", "context_length": 512},
    "max_steps": 20,
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


def rl_command(folder: Path, options: argparse.Namespace, recipe: dict, seed: int) -> list[str]:
    command = [sys.executable, "-m", "prism", "stage", "rl", "--init", options.init, "--games", options.games]
    command += ["--panel", options.panel, "--out", str(folder / "out"), "--work", str(folder / "work")]
    return [*command, "--recipe", json.dumps(recipe), "--seed", str(seed)]


def start(folder: Path, options: argparse.Namespace, recipe: dict, seed: int) -> subprocess.Popen:
    command = rl_command(folder, options, recipe, seed)
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
        rows = list(csv.DictReader(table))
    for row in rows:
        parts = ", ".join(f"{name[8:]} {seconds(row, name):.1f}" for name in (*WORK, *REST))
        print(
            f"{'step ' + row['step']:32}{seconds(row, 'seconds_step'):8.1f} s  ({parts}, environment CPU "
            f"{seconds(row, 'seconds_environment'):.1f}; {row['rows']} rows)"
        )
    total = sum(seconds(row, "seconds_step") for row in rows)
    for title, names in (("generation, environment, update", WORK), ("environment CPU", ("seconds_environment",))):
        print(f"{title:32}{sum(seconds(row, name) for row in rows for name in names) / total:8.1%} of the steps")


def seconds(row: dict[str, str], column: str) -> float:
    """A time of metrics.csv; 0 where the run had no such part."""
    return float(row[column] or 0)


def second_of(line: str) -> float:
    return float(re.match(r"\s*([\d.]+)", line).group(1))


if __name__ == "__main__":
    main()
