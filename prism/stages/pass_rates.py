"""Pass rates (HPT): how often the untrained backbone solves each training task, one shard of the tasks at a time.

Hybrid post-training gates on the success of a few rollouts. As a router it sends the tasks that the model solves
least to SFT and the others to RL.

The tasks, sorted by id, are cut into waves that are played together, and a shard plays every n-th wave. What a reply
draws follows from its task, rollout and step, and who is in a batch with whom from the wave alone: the counts are the
same however many shards there are, and whether or not one was interrupted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prism.core.csv_files import write_table
from prism.core.episodes import Episode
from prism.core.errors import BadInput
from prism.core.files import write_json
from prism.core.model_folder import sha256_model
from prism.core.progress import say, track
from prism.core.recipes import result_settings, setting
from prism.core.seeds import seed_of
from prism.core.shards import Journal, Shard
from prism.core.versions import STAGE_VERSIONS
from prism.environments.base import Panel, Task, read_panel
from prism.environments.pool import EnvironmentPool
from prism.generation.base import Generator
from prism.stages.evaluate import EvaluationRecipe, PanelRun, libraries, load_generator, open_pool, play_panel

# episodes that are open at the same time: an open environment takes some megabytes. It decides who shares a batch
EPISODES_AT_ONCE = 256
SHARD_COLUMNS = ("id", "solved", "errors")
WHOLE = Shard()


@dataclass(frozen=True)
class PassRatesRecipe(EvaluationRecipe):
    """Settings of the pass rates: those of an evaluation, and these."""

    rollouts: int = setting(
        "episodes of the untrained backbone on each training task (HPT: 8); HPT sends the tasks it solves least to SFT",
        8,
        at_least=1,
    )
    seed: int = setting("of the sampling and of the order of equal pass rates", 0, at_least=0)


def measure_pass_rates(
    run: PanelRun,
    out_csv: str | Path,
    recipe: PassRatesRecipe,
    shard: Shard = WHOLE,
    loop_path: str | Path | None = None,
) -> None:
    """Play the tasks of a panel's shard `recipe.rollouts` times each and write how often each was solved.

    A wave that has ended is kept in a journal beside `out_csv`: an interrupted run of the same shard goes on behind it.

    Args:
        run: the untrained backbone on the training panel, where a task's id is its trajectory's id.
        out_csv: written with the columns id, solved (rollouts that solved the task), errors (rollouts whose
            environment broke); `prism.stages.pass_rate_table` makes pass rates of it.
        shard: which part of the waves.
        loop_path: gets the seconds of the episodes alone, without imports, hashing and loading (JSON).

    Raises:
        BadInput: the panel, model or recipe cannot be used.
    """
    panel = read_panel(run.panel)
    if not panel.tasks:
        raise BadInput(run.panel, "lists no task", "rebuild it")
    waves = shard.of(task_waves(panel.tasks, recipe.rollouts))
    with open_pool(panel, run, recipe) as pool:
        facts = _facts(run.model, panel, recipe, shard)
        versions = {name: version(name) for name in libraries(recipe)}
        journal = Journal(
            Path(f"{out_csv}.journal"), {**facts, **versions, "stage version": STAGE_VERSIONS["pass_rates"]}
        )
        known = journal.read()
        counts = {task.id: known[task.id] for wave in waves if all(task.id in known for task in wave) for task in wave}
        journal.start(counts.values())
        left = [wave for wave in waves if wave[0].id not in counts]
        say(
            f"pass rates: {sum(map(len, waves))} of {len(panel.tasks)} tasks, {recipe.rollouts} rollouts each, in "
            f"{len(waves)} waves, {len(waves) - len(left)} of them finished before"
        )
        if left:
            generator = load_generator(run.model, recipe, recipe.seed)
        for wave in track(left, len(left), "pass rates", "waves"):
            started = time.perf_counter()
            played = play_wave(pool, generator, panel.benchmark, wave, recipe)
            seconds = (time.perf_counter() - started) / len(wave)
            journal.append({**record, "seconds": seconds} for record in played)
            counts |= {record["id"]: record for record in played}
    solved, errors = (sum(record[name] for record in counts.values()) for name in ("solved", "errors"))
    say(f"pass rates: {solved} of {len(counts) * recipe.rollouts} episodes solved, {errors} broke")
    rows = [[counts[task.id][name] for name in SHARD_COLUMNS] for wave in waves for task in wave]
    write_table(out_csv, [f"{key}: {value}" for key, value in facts.items()], SHARD_COLUMNS, rows)
    if loop_path is not None:
        write_json(loop_path, {"loop_seconds": journal.loop_seconds()})
    journal.remove()


def _facts(model_dir: str | Path, panel: Panel, recipe: PassRatesRecipe, shard: Shard) -> dict[str, str]:
    """What a shard's counts rest on, for its head and its journal."""
    return {
        "model sha256": sha256_model(model_dir),
        "panel sha256": panel.sha256,
        "prompt format": recipe.prompt.sha256(),
        "recipe": json.dumps(result_settings(recipe), sort_keys=True),
        "tasks": str(len(panel.tasks)),
        "shard": str(shard.number),
        "shards": str(shard.count),
    }


def task_waves(tasks: Sequence[Task], rollouts: int) -> list[list[Task]]:
    """Cut the tasks, sorted by id, into runs that are played together, at most `EPISODES_AT_ONCE` episodes each."""
    size = max(1, EPISODES_AT_ONCE // rollouts)
    ordered = sorted(tasks, key=lambda task: task.id)
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def play_wave(
    pool: EnvironmentPool,
    generator: Generator,
    benchmark: str,
    wave: Sequence[Task],
    recipe: PassRatesRecipe,
) -> list[dict[str, Any]]:
    """Play every task of a wave `recipe.rollouts` times; one record a task with its id, solved and errors."""
    rollouts = recipe.rollouts
    repeated = Panel(benchmark, "train", tuple(task for task in wave for _ in range(rollouts)))

    def seed_in_wave(slot: int, step: int) -> int:
        return reply_seed(recipe.seed, wave[slot // rollouts].id, slot % rollouts, step)

    episodes = play_panel(pool, generator, repeated, recipe, report=_silent, reply_seed=seed_in_wave)
    return [_count(task, episodes[number * rollouts : (number + 1) * rollouts]) for number, task in enumerate(wave)]


def reply_seed(seed: int, task_id: str, rollout: int, step: int) -> int:
    """Seed of one reply: what it draws depends on nothing else."""
    return seed_of(f"{seed}/{rollout}/{step}/{task_id}")


def _count(task: Task, episodes: Sequence[Episode]) -> dict[str, Any]:
    """How many episodes of a task solved it, and how many broke."""
    solved, errors = sum(episode.success for episode in episodes), sum(bool(episode.error) for episode in episodes)
    return {"id": task.id, "solved": solved, "errors": errors}


def _silent(_: str) -> None:
    """The waves report progress themselves."""
