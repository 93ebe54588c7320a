"""The files that a verl run reads: its dataset of tasks and the arguments of its agent loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prism.core.files import atomic_path
from prism.environments.base import Task
from prism.rl.overrides import AGENT_NAME
from prism.rl.recipe import RlRecipe


def write_tasks(path: Path, tasks: Sequence[Task], benchmark: str) -> None:
    """Write verl's dataset: one row a task; the agent loop reads ``extra_info`` and builds its own prompts."""
    import pyarrow
    import pyarrow.parquet

    rows = [
        {
            # verl insists on a chat prompt; the real prompts depend on the episode
            "prompt": [{"role": "user", "content": task.id}],
            "data_source": benchmark,
            "ability": "agent",
            "agent_name": AGENT_NAME,
            "reward_model": {"style": "rule", "ground_truth": ""},
            "extra_info": {
                "index": index,
                "task_id": task.id,
                "task_type": task.task_type,
                "game": task.game,
            },
        }
        for index, task in enumerate(tasks)
    ]
    with atomic_path(path) as temporary:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), temporary)


def agent_loop_config(
    recipe: RlRecipe, benchmark: str, source: str, games_dir: Path, rollouts: Path, seed: int
) -> dict[str, Any]:
    """verl's entry for the agent loop: its class and arguments."""
    return {
        "name": AGENT_NAME,
        "_target_": "prism.rl.in_verl.agent_loop.EpisodeAgentLoop",
        "benchmark": benchmark,
        "source": source,
        "games_dir": str(games_dir),
        "environment_threads": recipe.environment_threads,
        "environment_processes": recipe.environment_processes,
        "prompt": asdict(recipe.prompt),
        "max_env_steps": recipe.max_env_steps,
        "success_reward": recipe.success_reward,
        "invalid_action_penalty": recipe.invalid_action_penalty,
        "rollout_folder": str(rollouts),
        "seed": seed,
    }
