"""How to step many ALFWorld games at once: one process's threads, processes of threads, or a process pool, in one run.

Each variant plays the same games with the same random admissible actions; a hash over every observation, every list of
admissible actions and every score shows that the transcripts are those of one game after the other. Only steps are
timed, from the first step of any game to the last. CPU time a step, over all processes, does not depend on what else
the machine does: one process steps no faster than one step in that time, whatever its number of threads.

    python benchmarks/environments.py --games results/demo/data/alfworld/games --out environments.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from prism.core.benchmarks import BENCHMARKS
from prism.core.episodes import Feedback
from prism.environments.alfworld.engine import AlfworldGames
from prism.environments.pool import ProcessGames

# agent-loop processes, threads in each, and environment processes behind each (0: the threads step the games)
VARIANTS = {
    "one after the other": (1, 1, 0),
    "1 x 64 threads": (1, 64, 0),
    "8 x 8 threads": (8, 8, 0),
    "64 threads, 8 processes": (1, 64, 8),
}


def play(folder: str, games: list[list[Any]], steps: int, threads: int, processes: int) -> dict[str, Any]:
    """Play (slot, game) pairs in this process; times of day in seconds, and a hash a slot."""
    source = (
        ProcessGames(BENCHMARKS["alfworld"].environments, processes, {"data_dir": folder})
        if processes
        else AlfworldGames(folder)
    )
    opened = [(slot, source.open(game)) for slot, game in games]
    # the parent lets all processes begin together
    print(flush=True)
    sys.stdin.readline()

    def episode(slot: int, environment: Any, seen: Feedback) -> tuple[int, str]:
        draw, digest = random.Random(slot), hashlib.sha256()
        for _ in range(steps):
            digest.update(json.dumps([seen.observation, seen.admissible, seen.done, seen.score]).encode())
            seen = environment.step(draw.choice(seen.admissible))
        return slot, digest.hexdigest()

    started, cpu = time.time(), cpu_seconds()
    with ThreadPoolExecutor(threads) as executor:
        digests = list(executor.map(lambda one: episode(*one, one[1].reset()), opened))
    result = {"digests": digests, "from": started, "to": time.time(), "cpu": cpu_seconds() - cpu}
    if processes:
        source.close()
    return result


def cpu_seconds() -> float:
    """CPU time of this process and of those that it started."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    stats = [Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split() for child in children]
    ticks = sum(int(fields[11]) + int(fields[12]) for fields in stats)
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def measure(variant: str, folder: str, games: list[str], steps: int) -> dict[str, Any]:
    """Steps a second of a variant, and the hash of all its transcripts."""
    loops, threads, processes = VARIANTS[variant]
    running = []
    for loop in range(loops):
        share = json.dumps([folder, list(enumerate(games))[loop::loops], steps, threads, processes])
        # -P: the package alfworld, not alfworld.py in this folder
        command = [sys.executable, "-P", __file__, "--play", share]
        running.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    for process in running:
        process.stdout.readline()
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    parts = [json.loads(process.communicate()[0]) for process in running]
    seconds = max(part["to"] for part in parts) - min(part["from"] for part in parts)
    digests = sorted(pair for part in parts for pair in part["digests"])
    transcript = hashlib.sha256(json.dumps(digests).encode()).hexdigest()
    count = len(games) * steps
    cpu = 1e3 * sum(part["cpu"] for part in parts) / count
    return {"variant": variant, "steps_per_second": count / seconds, "cpu_ms": cpu, "transcript": transcript}


def main() -> None:
    """Measure all variants in turn, several times; print the best of each and its ratio to one process's threads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--games", default="results/demo/data/alfworld/games", help="folder of games")
    parser.add_argument("--split", default="train")
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--replicas", type=int, default=4, help="of each game, as in a group of trajectories")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", help="JSON file of all measurements")
    parser.add_argument("--play", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.play:
        print(json.dumps(play(*json.loads(options.play))))
        return
    found = sorted((Path(options.games) / options.split).rglob("game.tw-pddl"))[: options.count]
    games = [str(path.relative_to(options.games)) for path in found] * options.replicas
    rows = [
        measure(variant, options.games, games, options.steps) for _ in range(options.rounds) for variant in VARIANTS
    ]
    [reference, *others] = {row["transcript"] for row in rows}
    print(f"{len(games)} games, {options.steps} steps each, best of {options.rounds}, {os.cpu_count()} CPUs")
    best = {variant: max(row["steps_per_second"] for row in rows if row["variant"] == variant) for variant in VARIANTS}
    for variant, speed in best.items():
        cpu = min(row["cpu_ms"] for row in rows if row["variant"] == variant)
        print(f"{variant:26} {speed:7.0f} steps/s {speed / best['1 x 64 threads']:5.2f} x {cpu:6.2f} ms of CPU a step")
    print("transcripts differ" if others else f"all transcripts equal ({reference[:12]})")
    if options.out:
        Path(options.out).write_text(json.dumps(rows, indent=1))
    sys.exit(bool(others))


if __name__ == "__main__":
    main()
