"""RL: verl's PPO-clip trainer on the tasks of one subset, from the weights of any checkpoint.

verl runs as its own program (``python -m verl.trainer.main_ppo`` with Hydra overrides). This module writes what it
reads, starts it, watches it, leaves no process behind, and turns what it wrote into the stage's outputs: a Hugging Face
model folder with ``rollouts.jsonl``, ``metrics.csv`` and ``run.json`` in it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from prism.core.benchmarks import BENCHMARKS, find_benchmark
from prism.core.errors import BadInput, PrismError
from prism.core.files import atomic_folder, write_json, write_jsonl
from prism.core.model_folder import assemble_model, sha256_model
from prism.core.progress import following, say
from prism.core.recipes import result_settings
from prism.core.slurm import read_allocation
from prism.core.splits import read_split
from prism.environments.base import Panel, Task, read_panel
from prism.rl.adapters import write_adapter
from prism.rl.command import (
    EpisodeSettings,
    RunPaths,
    agent_loop_entry,
    verl_command,
    verl_overrides,
    write_tasks,
)
from prism.rl.launch import run_watched, short_folder, verl_environment
from prism.rl.multinode import ray_cluster
from prism.rl.recipe import RlRecipe
from prism.rl.run_logs import (
    BEFORE_SAVING,
    check_subset,
    drop_rollouts_after,
    metrics_rows,
    read_rollouts,
    read_verl_metrics,
    write_metrics,
)
from prism.rl.warm_start import FOLDER_VARIABLE
from prism.rl.work_folder import claim, last_checkpoint, locked
from prism.stages.training import Training

# what the one seed decides; run.json repeats it
SEEDED = {
    "data_order": "the seed",
    "training": "the seed (torch, data loader of the update)",
    "sampling": "sha256 of seed, training step, task, trajectory and environment step, for each response",
    "environment": "none: a task starts and answers the same way every time",
}


def train_rl(
    training: Training, recipe: RlRecipe, games_dir: str | Path, excluded_panels: Sequence[str | Path] = ()
) -> None:
    """Train a checkpoint with RL on the tasks that a split routes to it.

    `training.out` becomes a Hugging Face model folder (safetensors, config, tokenizer) with ``rollouts.jsonl`` (one
    finished episode a line), ``metrics.csv`` (one training step a line) and ``run.json`` (settings, hashes, seed).
    A work folder of other settings is emptied first. Two runs cannot share one.

    Args:
        training: what is trained, on what, and where to.
        games_dir: folder that the panel's games are relative to.
        excluded_panels: evaluation panels; none of their tasks may be trained on.

    Raises:
        BadInput: a file cannot be used, a task is also evaluated on, or another run has the work folder.
        PrismError: verl failed, or played a task outside the subset.
    """
    panel = read_panel(training.data)
    find_benchmark(panel.benchmark, training.data)
    tasks = subset_tasks(panel, training.split, training.regime)
    for path in excluded_panels:
        check_disjoint(panel.benchmark, tasks, path)
    training = replace(training, model=training.model.resolve(), work=training.work.resolve())
    with locked(training.work):
        settings = {
            "recipe": asdict(recipe),
            "seed": training.seed,
            "tasks": [task.id for task in tasks],
            "corpus_tasks": len(panel.tasks),
            "panel": panel.sha256,
            "model": sha256_model(training.model),
        }
        # a killed run goes on also with other threads or less memory
        resumed = claim(training.work, {**settings, "recipe": result_settings(recipe)})
        steps = recipe.training_steps(len(tasks), len(panel.tasks))
        say(f"RL: {recipe.algorithm}, {len(tasks)} tasks, {steps} steps, from step {resumed}")
        if resumed < steps:
            drop_rollouts_after(training.work / "rollouts", resumed)
            with short_folder() as ray_folder:
                paths = RunPaths(training.model, training.work, ray_folder)
                write_tasks(paths.tasks, tasks, panel.benchmark)
                # YAML is a superset of JSON
                write_json(paths.agent_loop, [agent_loop_entry(_episodes(training, recipe, panel, games_dir, paths))])
                overrides = verl_overrides(recipe, paths, len(tasks), steps, training.seed)
                _run_verl(verl_command(recipe, overrides), recipe, paths, resumed, steps)
        _export(training, steps, settings, recipe.lora_rank)


def subset_tasks(panel: Panel, split_path: str | Path | None, regime: str = "rl") -> tuple[Task, ...]:
    """The panel's tasks that a split routes to `regime`, in panel order; all of them without a split.

    Raises:
        BadInput: the file is no split, routes nothing to the regime or something that is no task of the panel; or the
            panel lists no task.
    """
    if not panel.tasks:
        raise BadInput(panel.name, "the training panel lists no task", "rebuild it")
    if split_path is None:
        return panel.tasks
    routed = [identifier for identifier, where in read_split(split_path).items() if where == regime]
    if not routed:
        raise BadInput(split_path, f"routes nothing to {regime!r}", "check the quantile and the regime")
    known = {task.id for task in panel.tasks}
    if strangers := [identifier for identifier in routed if identifier not in known]:
        raise BadInput(split_path, f"routes {strangers[0]!r}, which is no task of {panel.name}", "rebuild the split")
    chosen = set(routed)
    return tuple(task for task in panel.tasks if task.id in chosen)


def check_disjoint(benchmark: str, tasks: Sequence[Task], panel_path: str | Path) -> None:
    """Assert that no training task is in an evaluation panel, neither by its id nor by its game.

    Raises:
        BadInput: one is, or the panel is of another benchmark.
    """
    panel = read_panel(panel_path)
    if panel.benchmark != benchmark:
        raise BadInput(panel_path, f"is a panel of {panel.benchmark}, not of {benchmark}", "name one of its own panels")
    ids, games = {task.id for task in panel.tasks}, {task.game for task in panel.tasks}
    for task in tasks:
        if task.id in ids or task.game in games:
            raise BadInput(panel_path, f"evaluates {task.id!r}, which RL is to train on", "keep the two apart")


def _episodes(
    training: Training, recipe: RlRecipe, panel: Panel, games_dir: str | Path, paths: RunPaths
) -> EpisodeSettings:
    return EpisodeSettings(
        benchmark=panel.benchmark,
        source=BENCHMARKS[panel.benchmark].environments,
        games_dir=str(Path(games_dir).resolve()),
        rollout_folder=str(paths.rollouts),
        prompt=asdict(recipe.prompt),
        max_steps=recipe.max_steps,
        success_reward=recipe.success_reward,
        invalid_action_penalty=recipe.invalid_action_penalty,
        environment_threads=recipe.environment_threads,
        environment_processes=recipe.environment_processes,
        seed=training.seed,
    )


def _run_verl(command: Sequence[str], recipe: RlRecipe, paths: RunPaths, resumed: int, steps: int) -> None:
    """Run verl from a step to the last one."""
    metrics_log = paths.work / "metrics" / f"from-{resumed:06d}.jsonl"
    metrics_log.parent.mkdir(exist_ok=True)
    variables = verl_environment(recipe.platform, recipe.threads, paths.work, metrics_log, recipe.loggers)
    with (
        _more_nodes(recipe, variables, paths.work) as ray_address,
        following(metrics_log, partial(_describe_step, steps)),
    ):
        run_watched(command, variables | {FOLDER_VARIABLE: str(paths.ray)} | ray_address, paths.work / "verl.log")


@contextmanager
def _more_nodes(recipe: RlRecipe, variables: Mapping[str, str], work: Path) -> Iterator[dict[str, str]]:
    """Where verl finds Ray: nowhere on one node, where it starts its own; else a cluster over the SLURM job's nodes."""
    if recipe.nodes == 1:
        yield {}
        return
    with ray_cluster(read_allocation(recipe.nodes, "rl.nodes"), recipe.gpus, variables, work) as address:
        yield {"RAY_ADDRESS": address}


def _describe_step(steps: int, record: dict[str, Any]) -> str | None:
    """A line of verl's log in words."""
    if not record or BEFORE_SAVING in record["data"]:
        return None
    done, data = record["step"], record["data"]
    seconds, reward = data["timing_s/step"], data["critic/rewards/mean"]
    left = (steps - done) * seconds
    return f"RL: step {done}/{steps}, reward of a row {reward:.2f}, {seconds:.0f} s a step, {left:.0f} s left"


def _export(training: Training, steps: int, settings: Mapping[str, Any], lora_rank: int) -> None:
    """Gather the stage's outputs from the work folder; they appear together."""
    work = training.work
    if last_checkpoint(work / "checkpoints") != steps:
        raise PrismError(f"{work}: verl ended before step {steps}; see {work / 'verl.log'}")
    rollouts = read_rollouts(work / "rollouts")
    check_subset(rollouts, set(settings["tasks"]))
    rows = metrics_rows(rollouts, read_verl_metrics(work / "metrics"))
    exported = work / "checkpoints" / f"global_step_{steps}" / "actor" / "huggingface"
    with atomic_folder(training.out) as folder:
        _export_model(exported, training.model, lora_rank, folder)
        # refuses a model without weights
        sha256_model(folder)
        write_jsonl(folder / "rollouts.jsonl", rollouts)
        write_metrics(folder / "metrics.csv", rows)
        seen = coverage(settings["tasks"], rollouts)
        write_json(folder / "run.json", {**settings, "steps": steps, "coverage": seen, "seeded": SEEDED})


def _export_model(exported: Path, base: Path, lora_rank: int, folder: Path) -> None:
    """Write a plain model folder, whatever was trained."""
    if not lora_rank:
        assemble_model(exported, base, folder)
        return
    from prism.gradients.adapters import write_merged

    with tempfile.TemporaryDirectory() as adapter:
        write_adapter(exported, lora_rank, Path(adapter))
        write_merged(base, Path(adapter), folder)


def coverage(tasks: Sequence[str], rollouts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How often training came to the tasks: passes over them on average, and those that were never rolled out.

    Training ends after its steps, in the middle of a pass or before the end of the first.
    """
    visits = {(rollout["training_step"], rollout["task_id"]) for rollout in rollouts}
    played = {task for _, task in visits}
    left_out = [task for task in tasks if task not in played]
    return {"passes": round(len(visits) / len(tasks), 4), "tasks_never_rolled_out": left_out}
