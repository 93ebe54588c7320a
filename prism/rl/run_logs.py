"""The logs of a verl run: a record for each finished episode, and the metrics of each training step.

Both may end in the middle of a line when the run is killed; what is whole counts.
"""

from __future__ import annotations

import csv
import json
import math
import os
import socket
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from prism.core.errors import NotFinite, PrismError
from prism.core.files import write_jsonl


class RolloutLog:
    """JSONL of finished episodes, one file a process so that workers on several nodes never share one."""

    def __init__(self, folder: str | Path):
        self.path = Path(folder) / f"{socket.gethostname()}-{os.getpid()}.jsonl"

    def write(self, record: dict[str, Any]) -> None:
        """Append one record in one write."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(record, ensure_ascii=False) + "\n")


def drop_rollouts_after(folder: Path, step: int) -> None:
    """Forget episodes of training steps that are going to be repeated."""
    for path in sorted(folder.glob("*.jsonl")):
        write_jsonl(path, [record for record in whole_records(path) if record["training_step"] <= step])


def whole_records(path: Path) -> Iterator[dict[str, Any]]:
    """Records of a JSONL log; a line that a kill cut short, perhaps within a character, is left out."""
    for line in path.read_bytes().split(b"\n"):
        try:
            yield json.loads(line.decode("utf-8"))
        except ValueError:
            continue


def read_rollouts(folder: Path) -> list[dict[str, Any]]:
    """All workers' finished episodes, ordered by training step, task and trajectory."""
    records = [record for path in sorted(folder.glob("*.jsonl")) for record in whole_records(path)]
    return sorted(records, key=lambda record: (record["training_step"], record["task_id"], record["session"]))


def check_subset(rollouts: Sequence[dict[str, Any]], allowed: set[str]) -> None:
    """Assert that only tasks of the subset were played.

    Raises:
        PrismError: an episode of another task is in the log.
    """
    if strangers := sorted({record["task_id"] for record in rollouts} - allowed):
        raise PrismError(f"RL played {len(strangers)} tasks outside its subset, first {strangers[0]!r}")


# marks the record of a training step that was logged before the step was saved; the one logged after it counts
BEFORE_SAVING = "prism/before_saving"
# mean and largest distance of the sampler's and the trainer's log-probabilities of a step's response tokens
LOG_PROB_GAP, LOG_PROB_GAP_MAX = "prism/log_prob_gap_mean", "prism/log_prob_gap_max"

# column of metrics.csv -> name in verl 0.9.1's log
VERL_METRICS = {
    "response_tokens": "response_length/mean",
    "prompt_tokens": "prompt_length/mean",
    "entropy": "actor/entropy",
    "policy_loss": "actor/pg_loss",
    "grad_norm": "actor/grad_norm",
    "clip_fraction": "actor/pg_clipfrac",
    "kl_to_old_policy": "actor/ppo_kl",
    "kl_to_initial_policy": "actor/kl_loss",
    "sampler_probability_gap": "training/rollout_probs_diff_mean",
    "rows": "prism/rows",
    "mini_batches": "prism/mini_batches",
    "seconds_generation": "timing_s/gen",
    "seconds_old_log_prob": "timing_s/old_log_prob",
    "seconds_reference_log_prob": "timing_s/ref",
    "seconds_update": "timing_s/update_actor",
    "seconds_weights": "timing_s/update_weights",
    "seconds_checkpoint": "timing_s/save_checkpoint",
    "seconds_step": "timing_s/step",
}


# parts of a training step; what they leave of `seconds_step` is `seconds_other`
STEP_PARTS = (
    "seconds_generation",
    "seconds_old_log_prob",
    "seconds_reference_log_prob",
    "seconds_update",
    "seconds_weights",
    "seconds_checkpoint",
)


def read_verl_metrics(folder: Path) -> dict[int, dict[str, float]]:
    """verl's metrics by training step; of several records of a step the last counts, the later run's above all."""
    merged: dict[int, dict[str, float]] = {}
    for path in sorted(folder.glob("from-*.jsonl")):
        for record in whole_records(path):
            merged[int(record["step"])] = record["data"]
    return merged


def metrics_rows(rollouts: Sequence[dict[str, Any]], verl: dict[int, dict[str, float]]) -> list[dict[str, Any]]:
    """One row a training step: means over its episodes, then verl's own numbers.

    Where a kill came between saving a step and verl's log of it, only the time that saving took stays empty.

    Raises:
        NotFinite: a loss or gradient norm is NaN or infinite.
    """
    by_step: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for record in rollouts:
        by_step[record["training_step"]].append(record)
    return [metrics_row(step, by_step[step], verl.get(step, {})) for step in sorted(verl.keys() | by_step.keys())]


def metrics_row(step: int, episodes: Sequence[dict[str, Any]], verl: dict[str, float]) -> dict[str, Any]:
    """One training step's line of metrics.csv; a number that verl did not log is empty.

    Raises:
        NotFinite: a loss or gradient norm is NaN or infinite.
    """
    steps = sum(record["steps"] for record in episodes)
    row: dict[str, Any] = {
        "step": step,
        "episodes": len(episodes),
        "success_rate": _mean(record["success"] for record in episodes),
        "reward_mean": _mean(record["reward"] for record in episodes),
        "groups_with_contrast": contrast_share(episodes),
        "episode_steps": _mean(record["steps"] for record in episodes),
        "invalid_share": sum(record["invalid_actions"] for record in episodes) / steps if steps else 0.0,
        "errors": sum(bool(record["error"]) for record in episodes),
        "seconds_environment": sum(record["environment_seconds"] for record in episodes),
    }
    for column, name in VERL_METRICS.items():
        value = verl.get(name)
        row[column] = "" if value is None else value
        if column in ("policy_loss", "grad_norm") and value is not None and not math.isfinite(value):
            raise NotFinite(f"RL step {step}: {column} is {value}")
    row["seconds_other"] = other_seconds(row)
    return row


def contrast_share(episodes: Sequence[dict[str, Any]]) -> float:
    """Share of the step's tasks that some but not all trajectories solved: without contrast there is no advantage."""
    outcomes: dict[str, set[bool]] = defaultdict(set)
    for record in episodes:
        outcomes[record["task_id"]].add(record["success"])
    return _mean(len(found) > 1 for found in outcomes.values())


def other_seconds(row: dict[str, Any]) -> float | str:
    """Seconds of a training step that are in none of its parts; empty where verl did not log the step."""
    if row["seconds_step"] == "":
        return ""
    return row["seconds_step"] - sum(row[part] or 0.0 for part in STEP_PARTS)


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0


def write_metrics(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write metrics.csv."""
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
