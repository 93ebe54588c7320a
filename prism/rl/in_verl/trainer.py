"""verl's synchronous trainer with this project's advantages.

Registered as trainer mode ``prism`` (`register_trainer`). Seven things differ from verl's ``sync`` trainer:

- advantages come from `prism.core.advantages`, row by row (verl's own multi-row GRPO knows one score a trajectory and
  cannot charge an invalid action to its row);
- rows are put in the order (task, trajectory, step), which verl leaves to the order in which episodes finish, so
  that a run repeats;
- a training step's rows are cut into mini-batches of equally many real rows. verl 0.9.1 multiplies
  ``ppo_mini_batch_size`` by ``rollout.n``, counts the product in rows and fills the last mini-batch up with empty rows:
  with one row an environment step the number of rows changes at every training step, and the last optimizer step could
  rest on a single real row;
- a training step's metrics are logged before it is saved as well as after: verl logs after saving alone, so that a kill
  between the two would lose the numbers of a step that is never repeated;
- sampler and trainer are compared by log-probabilities as well: verl compares probabilities alone, which are all near
  zero where a vocabulary is large and the model undecided;
- the trainer looks for finished episodes ten times a second, not every two seconds;
- on a CPU it leaves out what changes nothing (`prism.rl.in_verl.passes`). Where a training step is one optimizer step,
  that is the pass for the old policy's log-probabilities and all but one of equal rows; where the loss has neither an
  entropy nor a KL term, rows without advantage. On GPUs none is left out: the first pass also tells how far vLLM's
  probabilities are off, and each rank needs as many micro-batches as the others.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import transfer_queue as tq
from omegaconf import open_dict
from tensordict import TensorDict
from verl.trainer.ppo.core_algos import agg_loss
from verl.trainer.ppo.v1 import trainer_base
from verl.trainer.ppo.v1.replay_buffer import DAPO_FILTERED_REWARD_COUNTS_KEY
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils import tensordict_utils
from verl.utils.debug.metrics import calculate_debug_metrics
from verl.workers.utils.padding import response_to_nested

from prism.core.advantages import Rows, gigpo_advantages, grpo_advantages
from prism.core.savings import active
from prism.rl.in_verl import replace
from prism.rl.run_logs import BEFORE_SAVING, LOG_PROB_GAP, LOG_PROB_GAP_MAX

POLL_SECONDS = 0.1
# set on an update's batch for `prism.rl.in_verl.passes`: a row without advantage has no gradient
NO_GRADIENT_WITHOUT_ADVANTAGE = "prism_no_gradient_without_advantage"
# set likewise: old and current policy are the same in this update
AT_THE_SAMPLING_POLICY = "prism_at_the_sampling_policy"
# metric of an update that `prism.rl.in_verl.passes` measures where the pass before it is left out
PROBABILITY_GAP = "sampler_probability_gap"
# what the passes read of a row; the queue holds three times as many fields
PASS_FIELDS = ("input_ids", "position_ids", "prompts", "responses", "response_mask", "loss_mask")


def compare_log_probs(data: Any) -> dict[str, float]:
    """verl's comparison of sampler and trainer, and the mean and largest distance of their log-probabilities in nats.

    Args:
        data: a batch with ``old_log_probs``, ``rollout_log_probs`` and ``response_mask`` of shape (rows, tokens).
    """
    metrics = calculate_debug_metrics(data)
    gaps = (data.batch["old_log_probs"] - data.batch["rollout_log_probs"]).abs()[data.batch["response_mask"].bool()]
    if len(gaps):
        metrics |= {LOG_PROB_GAP: gaps.mean().item(), LOG_PROB_GAP_MAX: gaps.max().item()}
    return metrics


replace(trainer_base, "calculate_debug_metrics", compare_log_probs)


def mini_batch_rows(rows: int, wanted: int, multiple: int) -> int:
    """Rows of a mini-batch, empty ones included, so that a step's mini-batches are equally large and nearly `wanted`.

    Args:
        rows: real rows of the training step.
        wanted: rows a mini-batch should have.
        multiple: verl counts mini-batches in groups of ``rollout.n`` rows and deals them out to all ranks: the least
            common multiple of the two.
    """
    batches = max(1, round(rows / wanted))
    return math.ceil(rows / batches / multiple) * multiple


def spread_padding(padding: Sequence[bool], ranks: int, batches: int) -> list[int]:
    """A new order of a training step's rows, by index, in which all mini-batches have equally many empty rows.

    verl deals out the rows in `ranks` equal blocks, and each rank cuts its block into `batches` mini-batches, in order.
    No row changes its rank. Over all ranks mini-batches differ by one empty row at most, and so they do on each rank.

    Args:
        padding: which rows are empty, in verl's order: rank after rank.
    """
    share = len(padding) // ranks
    size = share // batches
    order: list[int] = []
    placed = 0
    for start in range(0, len(padding), share):
        block = range(start, start + share)
        real, empty = ([index for index in block if padding[index] == wanted] for wanted in (False, True))
        counts = [0] * batches
        for _ in empty:
            counts[placed % batches] += 1
            placed += 1
        for count in counts:
            order += [*real[: size - count], *empty[:count]]
            real, empty = real[size - count :], empty[count:]
    return order


def _plain(stack: Any) -> list[Any]:
    """Values of a non-tensor field of TransferQueue, which wraps them or not, depending on its backend."""
    return [getattr(value, "data", value) for value in stack]


def _padding(batch: Any) -> list[bool]:
    """Which rows verl put in to fill a batch up."""
    return [bool(tag.get("is_padding", False)) for tag in batch.tags]


@register_trainer("prism")
class PrismTrainer(PPOTrainerSync):
    """Synchronous PPO-clip training on rows of environment steps."""

    def __init__(self, config: Any):
        # verl chooses trainer class, replay buffer and checkpoint contents by this name; all but the class are "sync"
        with open_dict(config):
            config.trainer.v1.trainer_mode = "sync"
        super().__init__(config)
        self.settings = config.prism

    def _build_replay_buffer(self) -> Any:
        buffer = super()._build_replay_buffer()
        buffer.poll_interval = POLL_SECONDS
        return buffer

    def step(self, metrics: dict, timing_raw: dict) -> Any:
        """One training step; what it found out is kept for the record written before saving."""
        started = time.perf_counter()
        batch = super().step(metrics, timing_raw)
        self._unsaved = (batch, metrics, {**timing_raw, "step": time.perf_counter() - started})
        return batch

    def _save_checkpoint(self) -> None:
        batch, metrics, timing = self._unsaved
        known = {**metrics, BEFORE_SAVING: 1}
        epoch = (self.global_steps - 1) // self.steps_per_epoch
        self._compute_metrics(batch, known, timing, global_steps=self.global_steps, epoch=epoch)
        known.pop(DAPO_FILTERED_REWARD_COUNTS_KEY, None)
        self.logger.log(data=known, step=self.global_steps)
        super()._save_checkpoint()

    def _fetch_one_gen_batch(self) -> TensorDict:
        # verl's random uids would put the groups of a step in another order at every run
        batch = super()._fetch_one_gen_batch()
        uids = [f"{self.global_steps:06d}-{position:05d}" for position in range(len(batch))]
        tensordict_utils.assign_non_tensor_stack(batch, "uid", uids)
        return batch

    def _balance_batch(self, batch: Any, metrics: dict, **options: Any) -> Any:
        def place(index: int) -> tuple[str, int, int]:
            uid, session, step = batch.keys[index].rsplit("_", 2)
            return uid, int(session), int(step)

        batch.reorder(sorted(range(len(batch.keys)), key=place))
        actor, rollout = self.config.actor_rollout_ref.actor, self.config.actor_rollout_ref.rollout
        ranks = self.resource_pool_manager.get_n_gpus()
        rows = mini_batch_rows(len(batch.keys), self.settings.mini_batch_rows, math.lcm(rollout.n, ranks))
        actor.ppo_mini_batch_size = rows // rollout.n
        metrics["prism/rows"] = len(batch.keys)
        batch = super()._balance_batch(batch, metrics, **options)
        batches = len(batch.keys) // rows
        metrics["prism/mini_batches"] = batches
        batch.reorder(spread_padding(_padding(batch), ranks, batches))
        return batch

    @property
    def _on_a_cpu(self) -> bool:
        return self.config.trainer.device == "cpu"

    def _compute_old_log_prob(self, batch: Any, metrics: dict) -> Any:
        once = metrics["prism/mini_batches"] == 1 and self.config.actor_rollout_ref.actor.ppo_epochs == 1
        self._old_is_current = once and self._on_a_cpu and active("old_log_probs")
        if not self._old_is_current:
            with self._fields(batch):
                return super()._compute_old_log_prob(batch, metrics)
        # the pass also gives the entropy; the mean of -log p over sampled tokens has it as its expectation
        fields = ["rollout_log_probs", "response_mask"]
        data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=fields)
        surprise, mask = (data[name].to_padded_tensor(0) for name in fields)
        mode = self.config.actor_rollout_ref.actor.loss_agg_mode
        metrics["actor/entropy"] = agg_loss(-surprise, mask, mode).item()
        return batch

    @contextmanager
    def _fields(self, batch: Any, *more: str) -> Iterator[None]:
        """The trainer's processes fetch the fields that they read; on GPUs whatever verl lets them."""
        if self._on_a_cpu and active("needed_fields"):
            batch.fields = [*PASS_FIELDS, *more]
        yield
        batch.fields = None

    def _update_actor(self, batch: Any, metrics: dict) -> Any:
        actor = self.config.actor_rollout_ref.actor
        on_every_row = actor.entropy_coeff or actor.calculate_entropy or actor.use_kl_loss
        skip = self._on_a_cpu and not on_every_row and active("rows_without_advantage")
        batch.extra_info[NO_GRADIENT_WITHOUT_ADVANTAGE] = skip
        batch.extra_info[AT_THE_SAMPLING_POLICY] = self._old_is_current
        old = "rollout_log_probs" if self._old_is_current else "old_log_probs"
        with self._fields(batch, "advantages", old, *(["ref_log_prob"] if actor.use_kl_loss else [])):
            batch = super()._update_actor(batch, metrics)
        if (gap := metrics.pop(f"actor/{PROBABILITY_GAP}", None)) is not None:
            metrics["training/rollout_probs_diff_mean"] = gap
        return batch

    def _compute_advantage(self, batch: Any, metrics: dict) -> Any:
        fields = ["uid", "response_mask", "extra_fields"]
        data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=fields)
        response_mask = data["response_mask"]
        groups = np.array(_plain(data["uid"]))
        rows = [extra["prism"] for extra in _plain(data["extra_fields"])]
        real = ~np.array(_padding(batch))
        advantages = np.zeros(len(rows))
        advantages[real] = self._advantages(groups[real], [row for row, kept in zip(rows, real, strict=True) if kept])
        mask = response_mask.to_padded_tensor(0).float()
        spread = torch.as_tensor(advantages, dtype=torch.float32).unsqueeze(-1) * mask
        nested = response_to_nested(spread, response_mask)
        output = TensorDict({"advantages": nested, "returns": nested}, batch_size=len(batch.keys))
        return tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=output)

    def _advantages(self, groups: np.ndarray, rows: list[dict[str, Any]]) -> np.ndarray:
        """Advantage of each real row; `rows` hold what the agent loop wrote."""

        def column(name: str) -> np.ndarray:
            return np.array([row[name] for row in rows])

        step = Rows(
            groups=groups,
            trajectories=column("trajectory"),
            steps=column("step"),
            rewards=column("step_reward"),
            penalties=column("penalty"),
            anchors=column("anchor"),
        )
        if self.settings.algorithm == "gigpo":
            return gigpo_advantages(
                step,
                gamma=self.settings.gigpo.gamma,
                weight=self.settings.gigpo.weight,
                mode=self.settings.gigpo.mode,
                statistics=self.settings.group_statistics,
            )
        by_deviation = self.config.algorithm.norm_adv_by_std_in_grpo
        return grpo_advantages(step, statistics=self.settings.group_statistics, norm_by_std=by_deviation)
