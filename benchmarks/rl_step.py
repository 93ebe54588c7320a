"""CPU seconds of an RL training step by process and by part, with this project's savings and without.

    python benchmarks/rl_step.py --init MODEL --games DIR --panel FILE [--steps N] [--without NAME ...] [--recipe JSON]

Runs ``prism stage rl`` once for each ``--without``: names of `prism.core.savings`, or ``all``; first without nothing.
Same model, tasks and seeds: the first training step has the same episodes, as long as rounding changes no token, and
how many are the same is printed with how far the trained weights are apart. On a shared machine the CPU seconds count.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
import torch
from rl_startup import rl_command, seconds
from safetensors.torch import load_file

from prism.core.files import read_jsonl
from prism.core.savings import VARIABLE

# name of a process as Ray gives it -> what it does in a training step
ROLES = {
    "ray::HFServer": "sampler",
    "ray::AgentLoopWorker": "episodes: environments, prompts, queue",
    "ray::WorkerDict": "trainer: log-probs, update",
    "ray::TaskRunner": "driver: advantages, metrics",
}
OTHERS = "Ray and the queue"
PARTS = ("generation", "old_log_prob", "reference_log_prob", "update", "weights", "checkpoint", "other", "step")
POLL_SECONDS = 0.25
# config/learning.yaml's: one optimizer step on all rows of 16 tasks with 8 trajectories each
LEARNING = {
    "prompt": {"style": "compact", "history": "actions:14", "context_length": 512},
    "max_steps": 15,
    "learning_rate": 2e-4,
    "tasks_per_step": 16,
    "mini_batch": 4096,
    "micro_batch_tokens": 8192,
    "max_response_tokens": 32,
    "steps_rule": "constant",
    "temperature": 0.6,
    "group_statistics": "trajectories",
    "loss_aggregation": "seq-mean-token-mean",
    "shuffle_rows": True,
    "entropy_coefficient": 0.0,
    "max_grad_norm": 0.2,
    "threads": 1,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("init", "games", "panel"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without", nargs="*", default=["all"], help="savings switched off, one run each")
    parser.add_argument("--recipe", default="{}", help="JSON, on top of config/learning.yaml's settings")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        first = None
        for number, without in enumerate(["", *options.without]):
            run = Path(folder) / str(number)
            cpu = measure(run, options, without)
            print(f"\nwithout {without}" if without else "\nwith all savings")
            report(run, cpu)
            if first:
                compare(first[0], run, options.steps)
                print(f"{'ratio of CPU seconds':44}{sum(cpu.values()) / sum(first[1].values()):8.2f}")
            first = first or (run, cpu)


def measure(run: Path, options: argparse.Namespace, without: str) -> Counter[str]:
    """CPU seconds by role from the first training step's begin to the last one's end."""
    recipe = {**LEARNING, **json.loads(options.recipe), "steps": options.steps}
    command = rl_command(run, options, recipe, options.seed)
    run.mkdir()
    with (run / "output.txt").open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, VARIABLE: without}
        )
    log = run / "work" / "verl.log"
    begin = wait_for(process, log, "Training Progress:   0%")
    end = wait_for(process, log, f"step:{options.steps} - ")
    if process.wait() != 0:
        sys.exit((run / "output.txt").read_text()[-3000:])
    return end - begin


def wait_for(process: subprocess.Popen, log: Path, text: str) -> Counter[str]:
    """CPU seconds by role up to when a log has a text, or the process has ended."""
    taken: Counter[str] = Counter()
    while process.poll() is None:
        taken = cpu_seconds(process.pid)
        if log.exists() and text in log.read_text(errors="replace"):
            break
        time.sleep(POLL_SECONDS)
    return taken


def cpu_seconds(process: int) -> Counter[str]:
    """CPU seconds by role of all living descendants."""
    taken: Counter[str] = Counter()
    for child in psutil.Process(process).children(recursive=True):
        try:
            title, times = " ".join(child.cmdline()), child.cpu_times()
        except psutil.Error:
            continue
        role = next((role for name, role in ROLES.items() if title.startswith(name)), OTHERS)
        taken[role] += times.user + times.system
    return taken


def report(run: Path, cpu: Counter[str]) -> None:
    with (run / "out" / "metrics.csv").open() as table:
        rows = list(csv.DictReader(table))
    for row in rows:
        parts = ", ".join(f"{name} {seconds(row, f'seconds_{name}'):.1f}" for name in PARTS)
        environment = seconds(row, "seconds_environment")
        print(
            f"step {row['step']}: {float(row['rows']):.0f} rows; wall s: {parts}; environments' CPU {environment:.1f}"
        )
    for role in (*ROLES.values(), OTHERS):
        print(f"{role:44}{cpu[role] / len(rows):8.1f} CPU s a step")
    print(f"{'all':44}{sum(cpu.values()) / len(rows):8.1f} CPU s a step")


def compare(first: Path, second: Path, steps: int) -> None:
    """How many episodes of two runs are the same, and how far their weights are apart."""
    episodes = [
        {(record["training_step"], record["task_id"], record["session"]): record["actions"] for record in records}
        for records in ([record for _, record in read_jsonl(run / "out" / "rollouts.jsonl")] for run in (first, second))
    ]
    same = sum(episodes[0][key] == episodes[1][key] for key in episodes[0])
    weights = [load_file(run / "out" / "model.safetensors") for run in (first, second)]
    distance = max(float((weights[0][name] - weights[1][name]).abs().max()) for name in weights[0])
    equal = all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    print(f"{same} of {len(episodes[0])} episodes the same; weights after {steps} steps: ", end="")
    print("the same bits" if equal else f"{distance:.1e} apart at most")


if __name__ == "__main__":
    main()
