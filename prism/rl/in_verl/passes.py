"""What verl's forward and backward passes need not compute, because it ends in nothing; for the CPU platform.

Four savings of `prism.core.savings`. None changes what an optimizer step does, beyond rounding:

- ``response_logits``: logits are computed where a token of a response is predicted, not over the prompt, where verl
  computes them and throws them away;
- ``rows_without_advantage``: a row whose advantage is 0 has no gradient. It is left out of the passes and still counts
  in the loss's denominators, which verl takes from the whole mini-batch. Entropy and KL terms have a gradient on every
  row: the trainer asks for this only where the loss has neither;
- ``equal_rows``: the trajectories of a group begin alike, and a policy that is sure of itself goes on alike. At the
  policy that sampled them, verl's clipped loss is linear in a row's advantage: equal rows have the gradient of one with
  the sum of their advantages, and none where that is 0. Only the first of several optimizer steps is at that policy;
  the trainer asks for this where a training step has one;
- ``old_log_probs``: where no pass before the update computed the old policy's log-probabilities, because old and
  current policy are the same, they are those of the update's own pass, without gradient. The ratio is 1.

verl loads this module through ``VERL_USE_EXTERNAL_MODULES``; four of its names are replaced.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import verl.workers.engine.fsdp.transformer_impl as fsdp
import verl.workers.engine_workers as engine_workers
from tensordict import TensorDict
from verl.utils import tensordict_utils
from verl.utils.metric import AggregationType, Metric
from verl.workers.utils.padding import no_padding_2_padding

from prism.core.savings import active
from prism.rl.in_verl import replace
from prism.rl.in_verl.micro_batches import select_rows
from prism.rl.in_verl.trainer import AT_THE_SAMPLING_POLICY, NO_GRADIENT_WITHOUT_ADVANTAGE, PROBABILITY_GAP

_Engine = fsdp.FSDPEngineWithLMHead
_model_inputs, _model_outputs = _Engine.prepare_model_inputs, _Engine.prepare_model_outputs
_micro_batches, _ppo_loss = fsdp.prepare_micro_batches, engine_workers.ppo_loss
# of float32 sums of a few advantages, relative
_ROUNDING = 1e-6


def predicting_positions(ends: torch.Tensor, responses: torch.Tensor) -> torch.Tensor:
    """Positions in packed rows whose logits predict a token of a response: one before each.

    Args:
        ends: where each row ends, (B,).
        responses: tokens of each row's response, at its end, (B,).
    """
    before = responses.cumsum(0) - responses
    first = torch.repeat_interleave(ends - 1 - responses - before, responses)
    return first + torch.arange(len(first), device=first.device)


def model_inputs(engine: Any, micro_batch: TensorDict) -> tuple[dict[str, Any], dict[str, Any]]:
    """verl's inputs of the model for packed rows, asking for the logits that matter alone."""
    inputs, arguments = _model_inputs(engine, micro_batch)
    if active("response_logits"):
        kept = predicting_positions(micro_batch["input_ids"].offsets()[1:], micro_batch["responses"].offsets().diff())
        inputs["logits_to_keep"] = arguments["kept"] = kept
        for name in ("input_ids_rmpad_rolled", "temperature_rmpad"):
            arguments[name] = arguments[name][kept]
    return inputs, arguments


def model_outputs(
    engine: Any, output: Any, output_args: dict[str, Any], micro_batch: TensorDict, logits_processor_func: Any
) -> dict[str, torch.Tensor]:
    """verl's log-probabilities and entropies, ragged over whole rows; 0 where no logits were computed."""
    kept = output_args.get("kept")
    if kept is None:
        return _model_outputs(engine, output, output_args, micro_batch, logits_processor_func)
    rows = micro_batch["input_ids"]
    # to verl, rows that consist of their responses
    short = micro_batch.copy()
    short["input_ids"] = micro_batch["responses"]
    found = _model_outputs(engine, output, output_args, short, logits_processor_func)
    return {
        name: torch.nested.nested_tensor_from_jagged(
            value.values().new_zeros(len(rows.values())).index_copy(0, kept, value.values()), rows.offsets()
        )
        for name, value in found.items()
    }


def rows_with_gradient(advantages: torch.Tensor) -> torch.Tensor:
    """Numbers of the rows with an advantage other than 0; the first row where there is none, for a gradient of zeros.

    Args:
        advantages: ragged, (B, response).
    """
    counts = torch.cat([advantages.offsets().new_zeros(1), (advantages.values() != 0).cumsum(0)])
    rows = counts[advantages.offsets()].diff().nonzero()[:, 0]
    return rows if len(rows) else rows.new_zeros(1)


def first_of_equals(data: TensorDict) -> torch.Tensor:
    """For each row the number of the first one with the same prompt, response and mask, (B,)."""
    rows, masks = data["input_ids"], data["response_mask"]
    found: dict[tuple[bytes, bytes], int] = {}
    first = [found.setdefault(row, number) for number, row in enumerate(zip(_bytes(rows), _bytes(masks), strict=True))]
    return torch.tensor(first)


def _bytes(rows: torch.Tensor) -> list[bytes]:
    """Content of each ragged row, to be compared."""
    values, ends = rows.values().cpu().numpy(), rows.offsets().tolist()
    return [values[start:end].tobytes() for start, end in pairwise(ends)]


def summed_advantages(advantages: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
    """Advantages whose sum over equal rows stands at the first of them, and 0 at the others.

    Args:
        advantages: ragged, (B, response).
        first: as of `first_of_equals`; equal rows have responses of one length.
    """
    values, offsets = advantages.values(), advantages.offsets()
    lengths, first = offsets.diff(), first.to(values.device)
    shift = torch.repeat_interleave(offsets[:-1][first] - offsets[:-1], lengths)
    place = torch.arange(len(values), device=values.device) + shift
    wide = values.double()
    sums, sizes = (torch.zeros_like(wide).index_add_(0, place, each) for each in (wide, wide.abs()))
    # a group's advantages sum to 0 but for rounding
    sums[sums.abs() <= _ROUNDING * sizes] = 0
    return torch.nested.nested_tensor_from_jagged(sums.to(values.dtype), offsets)


def micro_batches(data: TensorDict, **options: Any) -> tuple[list[TensorDict], Any]:
    """verl's micro-batches of a mini-batch, of the rows that have a gradient."""

    def asked(name: str) -> bool:
        return tensordict_utils.get_non_tensor_data(data, name, default=False)

    if asked(NO_GRADIENT_WITHOUT_ADVANTAGE):
        if asked(AT_THE_SAMPLING_POLICY) and active("equal_rows"):
            data = data.copy()
            data["advantages"] = summed_advantages(data["advantages"], first_of_equals(data))
        data = select_rows(data, rows_with_gradient(data["advantages"]))
    return _micro_batches(data=data, **options)


def ppo_loss(
    config: Any, model_output: dict[str, torch.Tensor], data: TensorDict, dp_group: Any = None
) -> tuple[torch.Tensor, dict[str, Any]]:
    """verl's loss; old log-probabilities that nobody computed are the current ones."""
    if "old_log_probs" in data:
        return _ppo_loss(config, model_output, data, dp_group)
    current = no_padding_2_padding(model_output["log_probs"].detach(), data)
    sampled, mask = (data[name].to_padded_tensor(0) for name in ("rollout_log_probs", "response_mask"))
    data["old_log_probs"] = current
    loss, metrics = _ppo_loss(config, model_output, data, dp_group)
    gap = (current.exp() - sampled.exp()).abs()[mask.bool()]
    if len(gap):
        metrics[PROBABILITY_GAP] = Metric(value=gap.mean(), aggregation=AggregationType.MEAN)
    return loss, metrics


replace(_Engine, "prepare_model_inputs", model_inputs)
replace(_Engine, "prepare_model_outputs", model_outputs)
replace(fsdp, "prepare_micro_batches", micro_batches)
replace(engine_workers, "ppo_loss", ppo_loss)
