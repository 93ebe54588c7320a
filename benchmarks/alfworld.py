"""ALFWorld's engine with and without memoisation, in one run.

Each variant plays the same games with the same random actions in a process of its own; a hash over every feedback,
every list of admissible actions and every won flag shows that the transcripts are equal.

    python benchmarks/alfworld.py --games results/demo/data/alfworld/games --out alfworld.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

VARIANTS = ("plain", "memoised")
MIB = 1024
"""``ru_maxrss`` counts KiB."""


def measure(variant: str, games: list[str], steps: int) -> dict[str, Any]:
    """Load, reset and step every game on this process's only core; times in seconds, memory in MiB."""
    from prism.environments.alfworld import memo, packages

    if variant == "memoised":
        memo.install()
    packages.engine()  # imports are not part of any figure below
    digest = hashlib.sha256()
    seconds = {"first load": 0.0, "second load": 0.0, "reset": 0.0, "steps": 0.0}
    for game in games:
        engine, seconds["first load"] = _timed_load(game, seconds["first load"])
        _, seconds["second load"] = _timed_load(game, seconds["second load"])
        started = time.perf_counter()
        state = engine.reset()
        seconds["reset"] += time.perf_counter() - started
        rng = random.Random(0)
        for _ in range(steps):
            seen = [state["feedback"], state["admissible_commands"], bool(state["won"])]
            digest.update(json.dumps(seen).encode())
            action = rng.choice(state["admissible_commands"])
            started = time.perf_counter()
            state, _, _ = engine.step(action)
            seconds["steps"] += time.perf_counter() - started
    return {
        "variant": variant,
        "steps_per_second": len(games) * steps / seconds["steps"],
        "first_load_ms": 1e3 * seconds["first load"] / len(games),
        "second_load_ms": 1e3 * seconds["second load"] / len(games),
        "reset_ms": 1e3 * seconds["reset"] / len(games),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB,
        "transcript": digest.hexdigest(),
    }


def _timed_load(game: str, before: float) -> tuple[Any, float]:
    from prism.environments.alfworld import packages

    started = time.perf_counter()
    engine = packages.engine()
    engine.load(game)
    return engine, before + time.perf_counter() - started


def compare(games: list[str], steps: int) -> dict[str, Any]:
    """Both variants, one after the other, each in a process of its own."""
    rows = []
    for variant in VARIANTS:
        # -P keeps this folder off the path, where this file would hide the package of the same name
        command = [sys.executable, "-P", __file__, "--variant", variant, "--steps", str(steps), *games]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        rows.append(json.loads(answer.splitlines()[-1]))
    plain, memoised = rows
    for row in rows:
        row["ratio"] = row["steps_per_second"] / plain["steps_per_second"]
    return {
        "games": len(games),
        "steps_per_game": steps,
        "rows": rows,
        "transcripts_equal": plain["transcript"] == memoised["transcript"],
    }


def table(result: dict[str, Any]) -> str:
    """The comparison as text."""
    columns = {
        "steps/s": "steps_per_second",
        "ratio": "ratio",
        "first load ms": "first_load_ms",
        "second load ms": "second_load_ms",
        "reset ms": "reset_ms",
        "peak RSS MiB": "peak_rss_mib",
    }
    lines = [f"{'':10}" + "".join(f"{name:>16}" for name in columns)]
    lines += [
        f"{row['variant']:10}" + "".join(f"{row[key]:16.1f}" for key in columns.values()) for row in result["rows"]
    ]
    lines.append(f"transcripts equal: {'yes' if result['transcripts_equal'] else 'NO'}")
    return "\n".join(lines)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", type=Path, help="folder made by `prism stage games`")
    parser.add_argument("--count", type=int, default=12, help="games to play")
    parser.add_argument("--steps", type=int, default=40, help="random steps in each game")
    parser.add_argument("--out", type=Path, help="result as JSON")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("files", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        print(json.dumps(measure(options.variant, options.files, options.steps)))
        return
    from prism.core.files import write_json
    from prism.environments.alfworld.data import spread
    from prism.environments.alfworld.dataset import read_games

    tasks = spread(read_games(options.games, "train"), options.count)
    result = compare([str(options.games / task.game) for task in tasks], options.steps)
    print(table(result))
    if options.out:
        write_json(options.out, result)
    if not result["transcripts_equal"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
