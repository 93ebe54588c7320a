"""The command of one verl run and the files that it reads: what a recipe is called in verl 0.9.1's config."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prism.core.files import atomic_path
from prism.core.results import Results
from prism.environments.base import Task
from prism.rl.recipe import LORA_ALPHA_PER_RANK, RlRecipe

AGENT_NAME = "prism_episode"
# registered by `prism.rl.in_verl.packed_attention`
PACKED_ATTENTION = "prism_packed"
# tokens whose logits are in float32 at the same time (`prism.rl.in_verl.log_probs`): 0.6 GB at 151,936 entries
CHUNK_TOKENS = 1024


@dataclass(frozen=True)
class RunPaths:
    """Where one verl run reads and writes; all absolute.

    Attributes:
        model: folder of the model to start from.
        work: the run's work folder.
        ray: Ray's own folder, for its sockets.
    """

    model: Path
    work: Path
    ray: Path

    @property
    def tasks(self) -> Path:
        """verl's dataset."""
        return self.work / "tasks.parquet"

    @property
    def agent_loop(self) -> Path:
        """verl's file of agent loops: one entry, ours."""
        return self.work / "agent_loops.yaml"

    @property
    def checkpoints(self) -> Path:
        """verl's checkpoints."""
        return self.work / "checkpoints"

    @property
    def rollouts(self) -> Path:
        """Logs of finished episodes."""
        return self.work / "rollouts"


@dataclass(frozen=True)
class EpisodeSettings:
    """What the agent loop (`prism.rl.in_verl.agent_loop`) is told when verl builds it.

    Attributes:
        benchmark: ``alfworld`` or ``webshop``.
        source: the benchmark's environments, ``module:Class``.
        games_dir: folder that the tasks' game files are relative to.
        rollout_folder: where finished episodes are logged.
        prompt: fields of `PromptFormat`.
        max_steps: environment steps after which an episode ends.
        success_reward: reward of a solved task.
        invalid_action_penalty: what an invalid action costs its row.
        environment_threads: threads a worker process steps its environments with.
        environment_processes: processes that hold them; 0: the worker process itself does.
        seed: the run's seed.
    """

    benchmark: str
    source: str
    games_dir: str
    rollout_folder: str
    prompt: dict[str, Any]
    max_steps: int
    success_reward: float
    invalid_action_penalty: float
    environment_threads: int
    environment_processes: int
    seed: int


def verl_overrides(recipe: RlRecipe, paths: RunPaths, tasks: int, steps: int, seed: int) -> list[str]:
    """All Hydra overrides of ``python -m verl.trainer.main_ppo`` (verl 0.9.1) for one run.

    A misspelt key would be refused by Hydra: only keys with ``+`` are new. ``ppo_mini_batch_size`` counts groups of
    ``rollout.n`` rows and must not exceed the tasks of a step; `prism.rl.in_verl.trainer` sets it anew at each step
    from ``prism.mini_batch_rows``.

    Args:
        tasks: tasks of the subset.
        steps: training steps.
    """
    tasks_per_step = min(recipe.tasks_per_step, tasks)
    actor, rollout, model = "actor_rollout_ref.actor", "actor_rollout_ref.rollout", "actor_rollout_ref.model"
    values: dict[str, Any] = {
        "algorithm.adv_estimator": "grpo",
        "algorithm.norm_adv_by_std_in_grpo": recipe.norm_adv_by_std,
        "algorithm.use_kl_in_reward": False,
        "+prism.algorithm": recipe.algorithm,
        "+prism.group_statistics": recipe.group_statistics,
        "+prism.gigpo.gamma": recipe.gigpo_gamma,
        "+prism.gigpo.weight": recipe.gigpo_weight,
        "+prism.gigpo.mode": recipe.gigpo_mode,
        "+prism.mini_batch_rows": recipe.mini_batch,
        "data.train_files": paths.tasks,
        "data.val_files": paths.tasks,
        "data.val_max_samples": 1,
        "data.train_batch_size": tasks_per_step,
        "data.max_prompt_length": recipe.prompt.context_length,
        "data.max_response_length": recipe.max_response_tokens,
        "data.dataloader_num_workers": 0,
        "data.seed": seed,
        f"{model}.path": paths.model,
        f"{model}.trust_remote_code": False,
        # rows side by side, without padding
        f"{model}.use_remove_padding": True,
        f"+{model}.override_config.attn_implementation": PACKED_ATTENTION,
        f"{actor}.strategy": "fsdp2",
        f"{actor}.optim.lr": recipe.learning_rate,
        f"{actor}.optim.weight_decay": recipe.weight_decay,
        f"{actor}.grad_clip": recipe.max_grad_norm,
        f"{actor}.optim.clip_grad": recipe.max_grad_norm,
        f"{actor}.ppo_epochs": recipe.ppo_epochs,
        f"{actor}.clip_ratio": recipe.clip_ratio,
        f"{actor}.clip_ratio_low": recipe.clip_ratio,
        f"{actor}.clip_ratio_high": recipe.clip_ratio,
        f"{actor}.loss_agg_mode": recipe.loss_aggregation,
        f"{actor}.entropy_coeff": recipe.entropy_coefficient,
        f"{actor}.use_kl_loss": recipe.kl_coefficient > 0,
        f"{actor}.kl_loss_coef": recipe.kl_coefficient,
        f"{actor}.kl_loss_type": "low_var_kl",
        f"{actor}.ppo_mini_batch_size": tasks_per_step,
        f"{actor}.use_dynamic_bsz": True,
        f"{actor}.ppo_max_token_len_per_gpu": max(recipe.micro_batch_tokens, recipe.row_tokens),
        f"{actor}.shuffle": recipe.shuffle_rows,
        # `prism.rl.in_verl.log_probs` takes the place of the chunked entropy; there is nothing left to compile
        f"{actor}.entropy_from_logits_with_chunking": True,
        f"{actor}.entropy_from_logits_chunk_size": CHUNK_TOKENS,
        f"{actor}.use_torch_compile": False,
        f"{actor}.fsdp_config.use_torch_compile": False,
        "actor_rollout_ref.ref.fsdp_config.use_torch_compile": False,
        f"{actor}.data_loader_seed": seed,
        f"{actor}.fsdp_config.seed": seed,
        f"{actor}.checkpoint.save_contents": "[model,optimizer,extra,hf_model]",
        f"{actor}.checkpoint.load_contents": "[model,optimizer,extra]",
        f"{rollout}.name": recipe.rollout_engine,
        f"{rollout}.n": recipe.group_size,
        f"{rollout}.temperature": recipe.temperature,
        f"{rollout}.top_p": recipe.top_p,
        f"{rollout}.seed": seed,
        # all that the sampler needs room for; verl would take the model's 40,960 or 131,072 positions
        f"{rollout}.max_model_len": recipe.row_tokens,
        f"{rollout}.tensor_model_parallel_size": recipe.tensor_parallel,
        f"{rollout}.calculate_log_probs": True,
        f"{rollout}.agent.num_workers": recipe.agent_workers,
        f"{rollout}.agent.agent_loop_config_path": paths.agent_loop,
        f"{rollout}.agent.default_agent_loop": AGENT_NAME,
        # the agent loop brings the reward: no reward worker is asked, so none is started
        "reward.num_workers": 0,
        "trainer.v1.trainer_mode": "prism",
        "trainer.n_gpus_per_node": recipe.gpus,
        "trainer.nnodes": recipe.nodes,
        "trainer.logger": f"[{','.join(recipe.loggers)}]",
        # what services call the run
        "trainer.project_name": "prism",
        "trainer.experiment_name": Results.training_name(paths.work),
        "trainer.val_before_train": False,
        "trainer.test_freq": -1,
        "trainer.save_freq": recipe.save_every or steps,
        "trainer.max_actor_ckpt_to_keep": recipe.keep_checkpoints,
        "trainer.total_epochs": steps + 1,
        "trainer.total_training_steps": steps,
        "trainer.default_local_dir": paths.checkpoints,
        "trainer.resume_mode": "auto",
        "hydra.run.dir": paths.work / "hydra",
        "hydra.output_subdir": None,
        **_OFFLOAD[recipe.offload],
        **(_lora_overrides(recipe.lora_rank) if recipe.lora_rank else {}),
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
    "actor_rollout_ref.model.enable_gradient_checkpointing": False,
    # the reference policy, which a KL to the initial policy needs
    "actor_rollout_ref.ref.fsdp_config.dtype": "float32",
    "+actor_rollout_ref.ref.fsdp_config.mixed_precision": "{param_dtype:fp32,reduce_dtype:fp32,buffer_dtype:fp32}",
    "actor_rollout_ref.rollout.free_cache_engine": False,
    # each storage unit is a process
    "transfer_queue.backend.SimpleStorage.num_data_storage_units": 1,
    # logical resources: verl's placement asks for a few CPUs and a "GPU", whatever the machine has
    "ray_kwargs.ray_init.num_cpus": 16,
    "+ray_kwargs.ray_init.num_gpus": 1,
    "+ray_kwargs.ray_init.object_store_memory": 200_000_000,
}


_OFFLOAD: dict[str, dict[str, Any]] = {
    "none": {},
    "idle": {
        "actor_rollout_ref.actor.fsdp_config.param_offload": True,
        "actor_rollout_ref.actor.fsdp_config.optimizer_offload": True,
    },
    "always": {"actor_rollout_ref.actor.fsdp_config.offload_policy": True},
}


def _lora_overrides(rank: int) -> dict[str, Any]:
    model = "actor_rollout_ref.model"
    return {
        f"{model}.lora_rank": rank,
        f"{model}.lora_alpha": LORA_ALPHA_PER_RANK * rank,
        f"{model}.target_modules": "all-linear",
        # the sampler gets whole weights, as without LoRA, and samples the very model that is exported
        f"{model}.lora.merge": True,
        "+actor_rollout_ref.actor.checkpoint.save_lora_only": True,
    }


def _gpu_overrides(recipe: RlRecipe) -> dict[str, Any]:
    return {
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


def verl_command(recipe: RlRecipe, overrides: Sequence[str]) -> list[str]:
    """The command that runs verl's own ``main_ppo``."""
    warm = recipe.platform == "cpu" and recipe.warm_workers
    return [sys.executable, "-m", "prism.rl.warm_start" if warm else "verl.trainer.main_ppo", *overrides]


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


def agent_loop_entry(settings: EpisodeSettings) -> dict[str, Any]:
    """verl's entry for the agent loop: its class and arguments."""
    return {
        "name": AGENT_NAME,
        "_target_": "prism.rl.in_verl.agent_loop.EpisodeAgentLoop",
        "settings": asdict(settings),
    }
