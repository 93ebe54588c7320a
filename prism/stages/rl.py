"""RL: verl's PPO-clip trainer on the tasks of one subset, from the weights of any checkpoint.

verl runs as its own program (``python -m verl.trainer.main_ppo`` with Hydra overrides). This module writes its task
file and agent-loop config, starts it, watches it, leaves no process behind, and turns what it wrote into
the stage's outputs: a Hugging Face model folder with ``rollouts.jsonl`` and ``metrics.csv`` in it.
"""

from __future__ import annotations

import csv
import json
import math
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from prism.core.errors import BadInput, NotFinite, PrismError
from prism.core.files import (
    atomic_path,
    read_json,
    sha256_json,
    sha256_model,
    write_json,
    write_jsonl,
)
from prism.core.progress import following, say
from prism.core.prompts import PromptFormat
from prism.core.splits import read_split
from prism.environments.base import Panel, Task, read_panel
from prism.verl_plugin.launch import run_watched, short_folder, verl_environment
from prism.verl_plugin.warm_start import FOLDER_VARIABLE

AGENT_NAME = "prism_episode"
GAMES = {"alfworld": "prism.environments.alfworld.engine.AlfworldGames"}
ALGORITHMS = ("grpo",)
UNTRAINED_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)
PLATFORM_ENGINES = {"cpu": "hf", "gpu": "vllm"}


@dataclass(frozen=True)
class RlRecipe:
    """Settings of the RL stage.

    Attributes:
        prompt: how a step becomes text; the same value as in SFT and evaluation. RL acts step by step in either layout.
        algorithm: ``grpo``.
        tasks_per_step: tasks (groups) of one training step; at most the size of the subset.
        group_size: trajectories a task.
        steps_rule: ``epochs`` keeps the passes over the subset constant, so that half the subset is half the
            steps; ``constant`` keeps the steps.
        epochs: passes over the subset (rule ``epochs``).
        steps: training steps (rule ``constant``).
        max_env_steps: environment steps after which an episode ends (paper: 50 ALFWorld, 15 WebShop).
        learning_rate: AdamW, constant.
        clip_ratio: PPO's clip range on both sides.
        temperature: of the rollouts.
        top_p: of the rollouts.
        max_response_tokens: tokens a response may have.
        mini_batch: rows an optimizer step should rest on; a row is an environment step. See `prism.verl_plugin.trainer`
            for what verl makes of it.
        micro_batch_tokens: tokens of one forward and backward pass on one device.
        kl_coefficient: weight of the KL to the initial policy in the loss; 0 leaves the reference policy out.
        entropy_coefficient: weight of the entropy bonus.
        weight_decay: of AdamW.
        max_grad_norm: gradients are clipped to this norm.
        success_reward: reward of a solved task.
        invalid_action_penalty: what an invalid action costs its row.
        norm_adv_by_std: divide group-relative scores by their deviation.
        group_statistics: ``rows`` or ``trajectories``, see `prism.core.advantages.grpo_advantages`.
        loss_aggregation: verl's `loss_agg_mode`.
        shuffle_rows: shuffle rows before they are cut into mini-batches.
        save_every: training steps between checkpoints; the last step is always saved. 0 saves the last one only.
        platform: ``cpu`` or ``gpu``.
        rollout_engine: ``hf`` on CPU, ``vllm`` on GPU.
        gpus: GPUs a node (1 on CPU: one logical device).
        nodes: nodes of the Ray cluster; more than one needs ``RAY_ADDRESS``.
        tensor_parallel: of the rollout engine.
        threads: torch threads of the training process and of the sampler, which take turns.
        environment_threads: threads that step environments, in each agent-loop worker.
        agent_workers: processes that run agent loops.
        gpu_memory_utilization: share of GPU memory for vLLM.
        warm_workers: start Ray's worker processes by forking one warmed-up process (CPU platform only).
    """

    prompt: PromptFormat
    max_env_steps: int
    learning_rate: float
    tasks_per_step: int
    mini_batch: int
    micro_batch_tokens: int
    max_response_tokens: int
    steps_rule: str
    algorithm: str = "grpo"
    group_size: int = 8
    epochs: float = 0.0
    steps: int = 0
    clip_ratio: float = 0.2
    temperature: float = 1.0
    top_p: float = 1.0
    kl_coefficient: float = 0.0
    entropy_coefficient: float = 0.001
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    success_reward: float = 10.0
    invalid_action_penalty: float = 0.1
    norm_adv_by_std: bool = True
    group_statistics: str = "rows"
    loss_aggregation: str = "token-mean"
    shuffle_rows: bool = False
    save_every: int = 0
    platform: str = "cpu"
    rollout_engine: str = "hf"
    gpus: int = 1
    nodes: int = 1
    tensor_parallel: int = 1
    threads: int = 2
    environment_threads: int = 4
    agent_workers: int = 1
    gpu_memory_utilization: float = 0.6
    warm_workers: bool = True

    def __post_init__(self) -> None:
        _one_of("algorithm", self.algorithm, ALGORITHMS)
        _one_of("steps_rule", self.steps_rule, ("epochs", "constant"))
        _one_of("group_statistics", self.group_statistics, ("rows", "trajectories"))
        _one_of("platform", self.platform, tuple(PLATFORM_ENGINES))
        _one_of("rollout_engine", self.rollout_engine, (PLATFORM_ENGINES[self.platform],))
        needed = self.epochs if self.steps_rule == "epochs" else self.steps
        if needed <= 0:
            key = "epochs" if self.steps_rule == "epochs" else "steps"
            raise BadInput(f"rl.{key}", f"{needed} is not positive", f"steps_rule {self.steps_rule} needs it")
        for name in ("tasks_per_step", "group_size", "max_env_steps", "mini_batch", "max_response_tokens"):
            if getattr(self, name) < 1:
                raise BadInput(f"rl.{name}", f"{getattr(self, name)} is not positive", "give a whole number above 0")
        if self.prompt.context_length <= self.max_response_tokens:
            raise BadInput(
                "rl.max_response_tokens", "leaves no room for a prompt", "raise prompt.context_length or lower it"
            )

    @property
    def prompt_tokens(self) -> int:
        """Tokens a prompt may have."""
        return self.prompt.context_length - self.max_response_tokens

    def training_steps(self, tasks: int) -> int:
        """Training steps on a subset of `tasks` tasks."""
        if self.steps_rule == "constant":
            return self.steps
        return math.ceil(self.epochs * tasks / min(self.tasks_per_step, tasks))


def _one_of(key: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise BadInput(f"rl.{key}", f"unknown value {value!r}", f"use one of {', '.join(known)}")


@dataclass(frozen=True)
class RunPaths:
    """Where one verl run reads and writes; all absolute."""

    model: Path
    tasks: Path
    agent_loops: Path
    checkpoints: Path
    rollouts: Path
    ray: Path


def read_subset(split_path: str | Path, regime: str) -> list[str]:
    """Ids of a split file's rows of one regime.

    Args:
        split_path: CSV with columns id, score, regime; lines that start with ``#`` are comments.

    Raises:
        BadInput: the file is not a split, or the regime is empty.
    """
    ids = [identifier for identifier, routed in read_split(split_path).items() if routed == regime]
    if not ids:
        raise BadInput(split_path, f"routes nothing to {regime!r}", "check the quantile and the regime")
    return ids


def subset_tasks(panel: Panel, split_path: str | Path | None, regime: str = "rl") -> tuple[Task, ...]:
    """The panel's tasks that a split routes to `regime`, in panel order; all of them without a split.

    Raises:
        BadInput: a routed id is not a task of the panel.
    """
    if split_path is None:
        return panel.tasks
    routed = read_subset(split_path, regime)
    known = {task.id for task in panel.tasks}
    for identifier in routed:
        if identifier not in known:
            raise BadInput(split_path, f"routes {identifier!r}, which is no task of {panel.name}", "rebuild the split")
    chosen = set(routed)
    return tuple(task for task in panel.tasks if task.id in chosen)


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
    recipe: RlRecipe, benchmark: str, games: str, games_dir: Path, rollouts: Path, seed: int
) -> dict[str, Any]:
    """verl's entry for the agent loop: its class and arguments."""
    return {
        "name": AGENT_NAME,
        "_target_": "prism.verl_plugin.agent_loop.EpisodeAgentLoop",
        "benchmark": benchmark,
        "games": games,
        "games_dir": str(games_dir),
        "environment_threads": recipe.environment_threads,
        "prompt": asdict(recipe.prompt),
        "max_env_steps": recipe.max_env_steps,
        "success_reward": recipe.success_reward,
        "invalid_action_penalty": recipe.invalid_action_penalty,
        "rollout_folder": str(rollouts),
        "seed": seed,
    }


def verl_overrides(recipe: RlRecipe, paths: RunPaths, tasks: int, seed: int) -> list[str]:
    """All Hydra overrides of ``python -m verl.trainer.main_ppo`` (verl 0.9.1) for one run.

    A misspelt key would be refused by Hydra: only keys with ``+`` are new. ``ppo_mini_batch_size`` counts groups of
    ``rollout.n`` rows and must not exceed the tasks of a step; `prism.verl_plugin.trainer` sets it anew at each step
    from ``prism.mini_batch_rows``.

    Args:
        tasks: tasks of the subset.
    """
    tasks_per_step = min(recipe.tasks_per_step, tasks)
    steps = recipe.training_steps(tasks)
    actor, rollout, model = "actor_rollout_ref.actor", "actor_rollout_ref.rollout", "actor_rollout_ref.model"
    values: dict[str, Any] = {
        "algorithm.adv_estimator": "grpo",
        "algorithm.norm_adv_by_std_in_grpo": recipe.norm_adv_by_std,
        "algorithm.use_kl_in_reward": False,
        "+prism.algorithm": recipe.algorithm,
        "+prism.group_statistics": recipe.group_statistics,
        "+prism.mini_batch_rows": recipe.mini_batch,
        "data.train_files": paths.tasks,
        "data.val_files": paths.tasks,
        "data.val_max_samples": 1,
        "data.train_batch_size": tasks_per_step,
        "data.max_prompt_length": recipe.prompt_tokens,
        "data.max_response_length": recipe.max_response_tokens,
        "data.dataloader_num_workers": 0,
        "data.seed": seed,
        f"{model}.path": paths.model,
        f"{model}.trust_remote_code": False,
        f"{actor}.strategy": "fsdp2",
        f"{actor}.optim.lr": recipe.learning_rate,
        f"{actor}.optim.weight_decay": recipe.weight_decay,
        f"{actor}.grad_clip": recipe.max_grad_norm,
        f"{actor}.optim.clip_grad": recipe.max_grad_norm,
        f"{actor}.clip_ratio": recipe.clip_ratio,
        f"{actor}.clip_ratio_low": recipe.clip_ratio,
        f"{actor}.clip_ratio_high": recipe.clip_ratio,
        f"{actor}.loss_agg_mode": recipe.loss_aggregation,
        f"{actor}.entropy_coeff": recipe.entropy_coefficient,
        f"{actor}.use_kl_loss": recipe.kl_coefficient > 0,
        f"{actor}.kl_loss_coef": recipe.kl_coefficient,
        f"{actor}.ppo_mini_batch_size": tasks_per_step,
        f"{actor}.use_dynamic_bsz": True,
        f"{actor}.ppo_max_token_len_per_gpu": max(recipe.micro_batch_tokens, recipe.prompt.context_length),
        f"{actor}.shuffle": recipe.shuffle_rows,
        f"{actor}.data_loader_seed": seed,
        f"{actor}.fsdp_config.seed": seed,
        f"{actor}.checkpoint.save_contents": "[model,optimizer,extra,hf_model]",
        f"{actor}.checkpoint.load_contents": "[model,optimizer,extra]",
        f"{rollout}.name": recipe.rollout_engine,
        f"{rollout}.n": recipe.group_size,
        f"{rollout}.temperature": recipe.temperature,
        f"{rollout}.top_p": recipe.top_p,
        f"{rollout}.seed": seed,
        f"{rollout}.tensor_model_parallel_size": recipe.tensor_parallel,
        f"{rollout}.calculate_log_probs": True,
        f"{rollout}.agent.num_workers": recipe.agent_workers,
        f"{rollout}.agent.agent_loop_config_path": paths.agent_loops,
        f"{rollout}.agent.default_agent_loop": AGENT_NAME,
        # the agent loop brings the reward: no reward worker is asked, so none is started
        "reward.num_workers": 0,
        "trainer.v1.trainer_mode": "prism",
        "trainer.n_gpus_per_node": recipe.gpus,
        "trainer.nnodes": recipe.nodes,
        "trainer.logger": "[console,file]",
        "trainer.val_before_train": False,
        "trainer.test_freq": -1,
        "trainer.save_freq": recipe.save_every or steps,
        "trainer.max_actor_ckpt_to_keep": 2,
        "trainer.total_epochs": steps + 1,
        "trainer.total_training_steps": steps,
        "trainer.default_local_dir": paths.checkpoints,
        "trainer.resume_mode": "auto",
        "hydra.run.dir": paths.checkpoints.parent / "hydra",
        "hydra.output_subdir": None,
        **(_CPU_OVERRIDES if recipe.platform == "cpu" else _gpu_overrides(recipe)),
    }
    if recipe.nodes == 1:
        values["+ray_kwargs.ray_init.address"] = "local"
        values["+ray_kwargs.ray_init._temp_dir"] = paths.ray
        values["+ray_kwargs.ray_init.include_dashboard"] = False
    return [f"{key}={_hydra_value(value)}" for key, value in values.items()]


_CPU_OVERRIDES: dict[str, Any] = {
    "trainer.device": "cpu",
    # half precision is slow or missing on CPUs
    "actor_rollout_ref.rollout.dtype": "float32",
    "actor_rollout_ref.actor.fsdp_config.dtype": "float32",
    "+actor_rollout_ref.actor.fsdp_config.mixed_precision": "{param_dtype:fp32,reduce_dtype:fp32,buffer_dtype:fp32}",
    "+actor_rollout_ref.model.override_config.attn_implementation": "sdpa",
    # packed sequences need flash-attn
    "actor_rollout_ref.model.use_remove_padding": False,
    "actor_rollout_ref.model.enable_gradient_checkpointing": False,
    # compiling costs more than a whole run of a tiny model
    "actor_rollout_ref.actor.use_torch_compile": False,
    "actor_rollout_ref.actor.fsdp_config.use_torch_compile": False,
    "actor_rollout_ref.rollout.free_cache_engine": False,
    # each storage unit is a process
    "transfer_queue.backend.SimpleStorage.num_data_storage_units": 1,
    # logical resources: verl's placement asks for a few CPUs and a "GPU", whatever the machine has
    "ray_kwargs.ray_init.num_cpus": 16,
    "+ray_kwargs.ray_init.num_gpus": 1,
    "+ray_kwargs.ray_init.object_store_memory": 200_000_000,
}


def _gpu_overrides(recipe: RlRecipe) -> dict[str, Any]:
    return {
        "actor_rollout_ref.model.use_remove_padding": True,
        "actor_rollout_ref.model.enable_gradient_checkpointing": True,
        "actor_rollout_ref.rollout.gpu_memory_utilization": recipe.gpu_memory_utilization,
    }


def _hydra_value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Path):
        return json.dumps(str(value))
    return str(value)


def train_rl(
    init_model_dir: str | Path,
    games_dir: str | Path,
    panel_path: str | Path,
    split_path: str | Path | None,
    out_dir: str | Path,
    work_dir: str | Path,
    recipe: RlRecipe,
    seed: int,
    regime: str = "rl",
) -> None:
    """Train a checkpoint with RL on the tasks that a split routes to it.

    `out_dir` becomes a Hugging Face model folder (safetensors, config, tokenizer) with ``rollouts.jsonl`` (one
    finished episode a line), ``metrics.csv`` (one training step a line) and ``run.json`` (settings, hashes, seed).
    Checkpoints stay in `work_dir`; a run that was killed continues from the last one, and a `work_dir` of other
    settings is emptied first.

    Args:
        init_model_dir: weights and tokenizer to start from: an SFT checkpoint or the base model.
        games_dir: folder that the panel's games are relative to.
        panel_path: panel of training tasks; a task's id is its trajectory's id.
        split_path: split file, or None for all tasks.
        regime: which rows of the split to train on.

    Raises:
        BadInput: a file cannot be used.
        PrismError: verl failed, or played a task outside the subset.
    """
    model, work = Path(init_model_dir).resolve(), Path(work_dir).resolve()
    panel = read_panel(panel_path)
    if panel.benchmark not in GAMES:
        raise BadInput(panel_path, f"RL knows no benchmark {panel.benchmark!r}", f"use one of {', '.join(GAMES)}")
    tasks = subset_tasks(panel, split_path, regime)
    settings = {
        "recipe": asdict(recipe),
        "seed": seed,
        "tasks": [task.id for task in tasks],
        "panel": panel.sha256,
        "model": sha256_model(model),
    }
    resumed = _claim_work_dir(work, settings)
    steps = recipe.training_steps(len(tasks))
    say(f"RL: {recipe.algorithm}, {len(tasks)} tasks, {steps} steps, from step {resumed}")
    with short_folder() as ray_folder:
        paths = RunPaths(
            model,
            work / "tasks.parquet",
            work / "agent_loops.yaml",
            work / "checkpoints",
            work / "rollouts",
            ray_folder,
        )
        write_tasks(paths.tasks, tasks, panel.benchmark)
        loop = agent_loop_config(
            recipe, panel.benchmark, GAMES[panel.benchmark], Path(games_dir).resolve(), paths.rollouts, seed
        )
        # YAML is a superset of JSON
        write_json(paths.agent_loops, [loop])
        if resumed < steps:
            _drop_rollouts_after(paths.rollouts, resumed)
            metrics_log = work / "metrics" / f"from-{resumed:06d}.jsonl"
            metrics_log.parent.mkdir(exist_ok=True)
            with following(metrics_log, partial(_describe_step, steps)):
                run_watched(
                    verl_command(recipe, verl_overrides(recipe, paths, len(tasks), seed)),
                    verl_environment(recipe.platform, recipe.threads, work, metrics_log)
                    | {FOLDER_VARIABLE: str(ray_folder)},
                    work / "verl.log",
                )
    _export(work, Path(out_dir), model, steps, {task.id for task in tasks}, settings)


def _describe_step(steps: int, record: dict[str, Any]) -> str | None:
    """A line of verl's log in words."""
    if not record:
        return None
    done, data = record["step"], record["data"]
    seconds, reward = data["timing_s/step"], data["critic/rewards/mean"]
    left = (steps - done) * seconds
    return f"RL: step {done}/{steps}, reward of a row {reward:.2f}, {seconds:.0f} s a step, {left:.0f} s left"


def verl_command(recipe: RlRecipe, overrides: Sequence[str]) -> list[str]:
    """The command that runs verl's own ``main_ppo``."""
    warm = recipe.platform == "cpu" and recipe.warm_workers
    return [sys.executable, "-m", "prism.verl_plugin.warm_start" if warm else "verl.trainer.main_ppo", *overrides]


def _claim_work_dir(work: Path, settings: dict[str, Any]) -> int:
    """Make `work` this run's: keep it where its settings are the same, else empty it.

    Returns:
        Training steps that the last complete checkpoint has behind it.
    """
    record = work / "settings.json"
    digest = sha256_json(settings)
    if record.exists() and read_json(record).get("sha256") == digest:
        return last_checkpoint(work / "checkpoints")
    if work.exists():
        if any(work.iterdir()) and not record.exists():
            raise BadInput(work, "is not a work folder of RL and not empty", "name another folder")
        say(f"{work}: checkpoints of other settings are discarded")
        shutil.rmtree(work)
    work.mkdir(parents=True)
    write_json(record, {**settings, "sha256": digest})
    return 0


def last_checkpoint(folder: Path) -> int:
    """Training step of the last complete checkpoint; 0 where there is none."""
    tracker = folder / "latest_checkpointed_iteration.txt"
    return int(tracker.read_text()) if tracker.exists() else 0


def _drop_rollouts_after(folder: Path, step: int) -> None:
    """Forget episodes of training steps that are going to be repeated."""
    for path in sorted(folder.glob("*.jsonl")):
        write_jsonl(path, [record for record in _whole_records(path) if record["training_step"] <= step])


def _whole_records(path: Path) -> Iterator[dict[str, Any]]:
    """Records of a log whose last line may have been cut by a kill."""
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            return


def read_rollouts(folder: Path) -> list[dict[str, Any]]:
    """All workers' finished episodes, ordered by training step, task and trajectory."""
    records = [record for path in sorted(folder.glob("*.jsonl")) for record in _whole_records(path)]
    return sorted(records, key=lambda record: (record["training_step"], record["task_id"], record["session"]))


def check_subset(rollouts: Sequence[dict[str, Any]], allowed: set[str]) -> None:
    """Assert that only tasks of the subset were played.

    Raises:
        PrismError: an episode of another task is in the log.
    """
    if strangers := sorted({record["task_id"] for record in rollouts} - allowed):
        raise PrismError(f"RL played {len(strangers)} tasks outside its subset, first {strangers[0]!r}")


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
    "seconds_generation": "timing_s/gen",
    "seconds_old_log_prob": "timing_s/old_log_prob",
    "seconds_update": "timing_s/update_actor",
    "seconds_weights": "timing_s/update_weights",
    "seconds_checkpoint": "timing_s/save_checkpoint",
    "seconds_step": "timing_s/step",
}


def read_verl_metrics(folder: Path) -> dict[int, dict[str, float]]:
    """verl's metrics by training step; where a step was repeated after a kill, the later run counts."""
    merged: dict[int, dict[str, float]] = {}
    for path in sorted(folder.glob("from-*.jsonl")):
        for record in _whole_records(path):
            merged[int(record["step"])] = record["data"]
    return merged


def metrics_rows(rollouts: Sequence[dict[str, Any]], verl: dict[int, dict[str, float]]) -> list[dict[str, Any]]:
    """One row a training step: means over its episodes, then verl's own numbers.

    verl logs a step after it has saved it: where a kill came between the two, verl's columns stay empty.

    Raises:
        NotFinite: a loss or gradient norm is NaN or infinite.
    """
    by_step: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for record in rollouts:
        by_step[record["training_step"]].append(record)
    rows = []
    for step in sorted(verl.keys() | by_step.keys()):
        episodes = by_step[step]
        count, steps = len(episodes), sum(record["steps"] for record in episodes)
        row: dict[str, Any] = {
            "step": step,
            "episodes": count,
            "success_rate": _mean(record["success"] for record in episodes),
            "reward_mean": _mean(record["reward"] for record in episodes),
            "episode_steps": _mean(record["steps"] for record in episodes),
            "invalid_share": sum(record["invalid_actions"] for record in episodes) / steps if steps else 0.0,
            "errors": sum(bool(record["error"]) for record in episodes),
            "seconds_environment": sum(record["environment_seconds"] for record in episodes),
        }
        for column, name in VERL_METRICS.items():
            value = verl.get(step, {}).get(name)
            row[column] = "" if value is None else value
            if column in ("policy_loss", "grad_norm") and value is not None and not math.isfinite(value):
                raise NotFinite(f"RL step {step}: {column} is {value}")
        rows.append(row)
    return rows


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0


def write_metrics(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write metrics.csv."""
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _export(
    work: Path, out_dir: Path, init_model: Path, steps: int, allowed: set[str], settings: dict[str, Any]
) -> None:
    """Gather the stage's outputs from `work`; they appear together."""
    if last_checkpoint(work / "checkpoints") != steps:
        raise PrismError(f"{work}: verl ended before step {steps}; see {work / 'verl.log'}")
    rollouts = read_rollouts(work / "rollouts")
    check_subset(rollouts, allowed)
    rows = metrics_rows(rollouts, read_verl_metrics(work / "metrics"))
    exported = work / "checkpoints" / f"global_step_{steps}" / "actor" / "huggingface"
    with atomic_path(out_dir) as folder:
        folder.mkdir()
        for path in sorted(exported.glob("model*.safetensors*")):
            shutil.copyfile(path, folder / path.name)
        for name in UNTRAINED_FILES:
            # byte for byte those of the initial model: verl's export rewrites them, and the dtype with them
            if (init_model / name).exists():
                shutil.copyfile(init_model / name, folder / name)
        sha256_model(folder)
        write_jsonl(folder / "rollouts.jsonl", rollouts)
        write_metrics(folder / "metrics.csv", rows)
        write_json(folder / "run.json", {**settings, "steps": steps})
