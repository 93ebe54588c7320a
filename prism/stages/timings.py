"""Cells of Table 3: wall-clock times from Snakemake's benchmark files, and the speed-up against GRPO."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import sem, t

from prism.core.errors import BadInput
from prism.core.files import read_json, sha256_file
from prism.core.paper_tables import TABLE3_COLUMNS
from prism.core.progress import say
from prism.core.run_times import read_seconds
from prism.core.statistics import CONFIDENCE
from prism.stages.cells import CellRecipe, PaperRow, cell_head, config_slice, write_cells

PHASES = ("probe", "rollouts", "sft", "rl")


@dataclass(frozen=True)
class RunFiles:
    """Where the times of one seed lie; an empty name is a phase that the method skips.

    Attributes:
        sft, rl: benchmark files of the two trainings.
        initial: folder of the SFT run, with the run's own time of its loop.
        checkpoint: folder of the RL run, with the run's own times of its steps.
        baseline, baseline_checkpoint: the same of the seed's GRPO on the whole corpus; empty where there is none.
    """

    sft: str = ""
    rl: str = ""
    initial: str = ""
    checkpoint: str = ""
    baseline: str = ""
    baseline_checkpoint: str = ""


@dataclass(frozen=True)
class TimingFiles:
    """Where the times of a method lie.

    Attributes:
        probe: benchmark files of the gradient norms that its split is made from, one a shard.
        rollouts: those of the pass rates that its split is made from (HPT), one a shard.
        seeds: the trainings of every seed.
    """

    probe: tuple[str, ...]
    rollouts: tuple[str, ...]
    seeds: dict[str, RunFiles]


def write_timing_cells(recipe: CellRecipe, files: TimingFiles, paper_table: Path, out_dir: Path) -> None:
    """Write ``{out_dir}/{column}.json`` for one row of Table 3, in seconds; the speed-up has no unit.

    A cell's value is the time of whole jobs; its ``loop`` is that of probing, playing or training alone, without the
    interpreter's start, hashing and loading of the model, and writing the result.

    Shards run side by side: the longest counts. An SFT that was interrupted and went on is timed from where it went
    on, because Snakemake times the job that finished; RL has its own record (`rl_seconds`).

    Raises:
        BadInput: a benchmark file is missing or not one.
    """
    runs = [files.seeds[seed] for seed in sorted(files.seeds, key=int)]
    jobs, loops = ([_phases(files, run, clock) for run in runs] for clock in (JOBS, LOOPS))
    shared = {
        "evaluations": [],
        "timings": [{"path": path, "sha256": sha256_file(path)} for path in _all_files(files)],
        "panel_sha256": None,
        "episodes": 0,
        "config": config_slice(recipe),
    }
    steps = [read_json(Path(run.checkpoint) / "run.json")["steps"] for run in runs if run.checkpoint]
    cells = {}
    for column in TABLE3_COLUMNS:
        by_seed = dict(zip(sorted(files.seeds, key=int), (times[column] for times in jobs), strict=True))
        cells[column] = {
            **cell_head(recipe, column, "ratio to GRPO's total" if column == "speedup" else "seconds"),
            **_estimate(list(by_seed.values())),
            "loop": _estimate([times[column] for times in loops])["value"],
            "seeds": {seed: {"value": value, "interval": None, "episodes": 0} for seed, value in by_seed.items()},
            **shared,
        }
    if steps:
        cells["rl"]["training_steps"] = sum(steps) / len(steps)
    write_cells(cells, PaperRow.read(recipe, paper_table), out_dir)
    say(f"{recipe.name}: {cells['total']['value'] or 0:.0f} s in all")


def _all_files(files: TimingFiles) -> list[str]:
    """All benchmark files, without those that are used twice."""
    named = [*files.probe, *files.rollouts]
    for run in files.seeds.values():
        named += [run.sft, run.rl, run.baseline]
    return list(dict.fromkeys(filter(None, named)))


def _phases(files: TimingFiles, run: RunFiles, clock: Clock) -> dict[str, float | None]:
    """Seconds of every phase of one seed, their total and the speed-up; None where there is none or it is not known."""
    times: dict[str, float | None] = {}
    for name, shards in (("probe", files.probe), ("rollouts", files.rollouts)):
        if shards:
            seconds = [clock.shard(path) for path in shards]
            times[name] = None if None in seconds else max(seconds)
    if run.sft:
        times["sft"] = clock.sft(run)
    if run.rl:
        times["rl"] = clock.rl(run.rl, run.checkpoint)
    total = sum(times.values()) if times and None not in times.values() else None
    speedup = clock.rl(run.baseline, run.baseline_checkpoint) / total if run.baseline and total else None
    return {**dict.fromkeys(PHASES), **times, "total": total, "speedup": speedup}


def rl_seconds(benchmark_file: str | Path, checkpoint: str | Path) -> float:
    """Seconds of an RL run: its job's, or its steps' where they are more, as in a run that was interrupted and went on.

    Raises:
        BadInput: a file is missing, or is not what it should be.
    """
    return max(read_seconds(benchmark_file), step_seconds(checkpoint))


def step_seconds(checkpoint: str | Path) -> float:
    """Seconds of all training steps of an RL run.

    Raises:
        BadInput: the run's metrics are missing, or not what they should be.
    """
    path = Path(checkpoint) / "metrics.csv"
    try:
        return float(pd.read_csv(path)["seconds_step"].sum())
    except (OSError, KeyError, ValueError) as error:
        raise BadInput(path, "holds no times of the training steps", "run the training again") from error


def shard_loop_seconds(benchmark_file: str | Path) -> float | None:
    """Seconds of a shard's loop, from what its job left beside the benchmark file; None for a job before that was kept.

    Raises:
        BadInput: the file is not one of these.
    """
    path = Path(benchmark_file).with_suffix(".loop.json")
    return float(read_json(path)["loop_seconds"]) if path.is_file() else None


def sft_loop_seconds(run: RunFiles) -> float | None:
    """Seconds of an SFT's training loop; None for a run before that was kept.

    Raises:
        BadInput: the run's record is missing.
    """
    return read_json(Path(run.initial) / "sft.json").get("loop_seconds")


@dataclass(frozen=True)
class Clock:
    """A way to time the phases of a method; each gives seconds, or None where they are not known."""

    shard: Callable[[str], float | None]
    sft: Callable[[RunFiles], float | None]
    rl: Callable[[str, str], float]


JOBS = Clock(read_seconds, lambda run: read_seconds(run.sft), rl_seconds)
LOOPS = Clock(shard_loop_seconds, sft_loop_seconds, lambda _, checkpoint: step_seconds(checkpoint))


def _estimate(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean over the seeds with Student's interval; one seed, or equal values, have none."""
    known = np.array([value for value in values if value is not None], dtype=float)
    if not known.size:
        return {"value": None, "interval": None}
    mean = float(known.mean())
    if known.size == 1 or np.ptp(known) == 0:
        return {"value": mean, "interval": None}
    low, high = t.interval(CONFIDENCE, known.size - 1, loc=mean, scale=sem(known))
    interval = {"low": float(low), "high": float(high), "level": CONFIDENCE, "method": "Student's t over seeds"}
    return {"value": mean, "interval": interval}
