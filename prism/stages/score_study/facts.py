"""What is counted in a corpus, a trajectory a row: task type, length, and the behaviour of appendix B."""

from __future__ import annotations

import re
from pathlib import Path

from prism.core.benchmarks import find_benchmark
from prism.core.csv_files import write_table
from prism.core.trajectories import Step, Trajectory, read_trajectories

COLUMNS = ("id", "task_type", "steps", "recoveries", "repeated", "searches")


def count_facts(trajectories: str | Path, out_csv: str | Path) -> None:
    """Write one line a trajectory, sorted by id.

    Args:
        trajectories: the corpus.
        out_csv: ``steps``: actions played; of these ``recoveries`` are demonstrated answers to an observation that the
            last action had no effect, ``repeated`` were taken before in the same trajectory, ``searches`` look for
            something (`Benchmark.search_actions`).

    Raises:
        BadInput: the corpus cannot be read, or is of an unknown benchmark.
    """
    corpus = sorted(read_trajectories(trajectories), key=lambda trajectory: trajectory.id)
    head = [f"counts of the trajectories of {trajectories}"]
    write_table(out_csv, head, COLUMNS, [_facts(trajectory) for trajectory in corpus])


def _facts(trajectory: Trajectory) -> list:
    benchmark = find_benchmark(trajectory.benchmark, trajectory.id)
    actions = [step.action for step in trajectory.steps]
    searches = re.compile(benchmark.search_actions) if benchmark.search_actions else None
    return [
        trajectory.id,
        trajectory.task_type,
        len(actions),
        sum(_is_recovery(step, benchmark.refusal) for step in trajectory.steps),
        len(actions) - len(set(actions)),
        sum(bool(searches and searches.match(action)) for action in actions),
    ]


def _is_recovery(step: Step, refusal: str) -> bool:
    return bool(refusal) and step.demonstrated and step.observation.strip() == refusal
