"""Plans the memory of a probe before it needs it: packs, checkpointing and streaming from what is free and measured.

A CPU gives no error when memory runs out: the kernel kills the process. So a first small pass counts the bytes that
autograd keeps for each token, and the plan is the fastest one whose largest pass fits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.checkpoint import checkpoint

from prism.core.errors import BadInput
from prism.core.memory import free_host_memory, readable, used_host_memory
from prism.gradients.packs import Sample, plan_packs, useful_length
from prism.gradients.projections import decoder_layers
from prism.gradients.work import beginning

# tokens of one forward pass, and what it may take on a CPU, if that is less: more is no faster
TOKENS_PER_PACK = {"cpu": 4096, "cuda": 8192}
PASS_ON_CPU = 1.5e9
# share of the free memory that is planned with: allocators, libraries and other processes take some
PLANNED_SHARE = 0.8
# of the free memory that weights may take before they are streamed: the passes need room too
WEIGHTS_SHARE = 0.7
# checkpointing, and parts of trajectories, in the order of speed. On a CPU parts cost next to nothing; on a GPU the
# sums of their gradients take more than whole trajectories
WAYS = {
    "cpu": ((False, True), (False, False), (True, True), (True, False)),
    "cuda": ((False, False), (True, False), (True, True)),
}
# logits, their float32 copy, their softmax, their gradient
COPIES_OF_LOGITS = 4
# of what a layer keeps: its gradients, and what it computes on the way
WORK_IN_LAYER = 3


@dataclass(frozen=True)
class MemoryPlan:
    """How the passes of a probe use memory; the norms do not depend on it beyond rounding.

    Attributes:
        tokens_per_pack: tokens of one forward pass; a longer trajectory is a pass of its own.
        gradient_checkpointing: recompute each decoder layer in the backward pass.
        streaming: layers lie in memory only while they run.
        tokens_per_pass: a longer trajectory of several rows is probed in parts of its rows whose weight gradients are
            summed; 0 for whole trajectories.
        tokens_kept: with gradient checkpointing, tokens whose activations are kept all the same (`checkpoint_layers`).
        settled: nothing is left to plan. Otherwise checkpointing and streaming are wanted where they are true, and the
            tokens of a pack unless 0.
    """

    tokens_per_pack: int
    gradient_checkpointing: bool = False
    streaming: bool = False
    tokens_per_pass: int = 0
    tokens_kept: int = 0
    settled: bool = True

    @classmethod
    def recorded(cls, facts: Mapping[str, str]) -> MemoryPlan:
        """The plan that a probe's metadata holds."""
        flags = (facts.get(name) == "true" for name in ("gradient_checkpointing", "streaming"))
        numbers = (int(facts.get(name, 0)) for name in ("tokens_per_pass", "tokens_kept"))
        return cls(int(facts["tokens_per_pack"]), *flags, *numbers)

    def if_it_is(self, wanted: MemoryPlan) -> MemoryPlan:
        """This plan where it is one that `wanted` could have led to, else `wanted`."""
        fits = (
            wanted.tokens_per_pack in (0, self.tokens_per_pack)
            and self.gradient_checkpointing >= wanted.gradient_checkpointing
            and self.streaming >= wanted.streaming
        )
        return self if fits else wanted

    def facts(self) -> dict[str, str]:
        """For the metadata; what is as usual is not named."""
        facts = {
            "tokens_per_pack": str(self.tokens_per_pack),
            "gradient_checkpointing": str(self.gradient_checkpointing).lower(),
        }
        if self.streaming:
            facts["streaming"] = "true"
        if self.tokens_per_pass:
            facts["tokens_per_pass"] = str(self.tokens_per_pass)
        if self.tokens_kept:
            facts["tokens_kept"] = str(self.tokens_kept)
        return facts


@dataclass(frozen=True)
class Need:
    """What a pass takes besides the weights.

    Attributes:
        kept: bytes a token that all layers keep for the backward pass.
        hidden: bytes of a token's hidden state.
        layers: number of decoder layers.
        fixed: bytes that do not grow with the tokens.
        sums: bytes of the gradients of all measured weights, for trajectories that are probed in parts.
    """

    kept: float
    hidden: int
    layers: int
    fixed: int
    sums: int = 0

    def a_token(self, checkpointing: bool) -> float:
        """Bytes a token of a pass takes at its peak."""
        layer = self.kept / self.layers
        held = self.layers * self.hidden + layer if checkpointing else self.kept
        return held + WORK_IN_LAYER * layer

    def of(self, tokens: int, checkpointing: bool) -> float:
        """Bytes a pass takes at its peak."""
        return self.fixed + tokens * self.a_token(checkpointing)


def free_memory(device: torch.device) -> int:
    """Bytes that can still be allocated where the model is."""
    if device.type != "cuda":
        return free_host_memory()
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def memory_in_use(device: torch.device) -> int:
    """Bytes that this process holds where the model is."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else used_host_memory()


def must_stream(weights: int, stored: int, device: torch.device) -> bool:
    """Whether a model's weights leave too little memory for passes, or cannot even be loaded.

    Args:
        weights: bytes of all weights in the probe's type.
        stored: bytes of them on disk, which pass through the host's memory.
    """
    too_large = weights > WEIGHTS_SHARE * free_memory(device)
    return too_large or (device.type == "cuda" and stored > PLANNED_SHARE * free_host_memory())


class _Measured(Exception):
    """The forward pass is over."""


def measure_need(prober: Any, samples: Sequence[Sample], measured: int) -> Need:
    """Count the bytes that autograd keeps in a pass over the beginning of a sample; its backward pass is not run.

    Args:
        prober: without checkpointing as yet.
        samples: what will be probed; some row of theirs is taken.
        measured: number of weights whose gradients are measured.
    """
    model: nn.Module = prober.model
    head = model.get_output_embeddings()
    vocabulary = len(head.weight) if head is not None else 0
    small = beginning(samples)
    known: dict[int, StorageWeakRef] = {}
    kept = 0

    def count(tensor: torch.Tensor) -> None:
        """Nothing is really kept: measuring takes little, and one tensor may lie where another did."""
        nonlocal kept
        storage = tensor.untyped_storage()
        place = storage.data_ptr()
        if place in known and not known[place].expired():
            return
        known[place] = StorageWeakRef(storage)
        if tensor.shape[-1:] != (vocabulary,) and place not in weights():
            kept += storage.nbytes()

    def weights() -> set[int]:
        return {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def stop(_: None) -> torch.Tensor:
        raise _Measured

    try:
        with torch.autograd.graph.saved_tensors_hooks(count, stop):
            list(prober.probe([[small]]))
    except _Measured:
        pass
    layers = decoder_layers(model)
    largest = max((parameter.numel() for parameter in layers.parameters()), default=0)
    width = model.get_input_embeddings().weight.shape[-1]
    itemsize = next(model.parameters()).element_size()
    logits = COPIES_OF_LOGITS * 4 * prober.logits_at_once(samples, vocabulary)
    # weight gradients, in float32 or better, are formed one at a time
    return Need(
        kept / useful_length(small.rows[0]),
        width * itemsize,
        len(layers),
        logits + 8 * largest,
        max(4, itemsize) * measured,
    )


def plan_memory(need: Need, samples: Sequence[Sample], wanted: MemoryPlan, room: int, device: str) -> MemoryPlan:
    """The fastest plan whose largest pass fits.

    Args:
        wanted: what is settled of the plan.
        room: free bytes.
        device: ``cpu`` or ``cuda``.

    Raises:
        BadInput: the longest row does not fit; says what it needs.
    """
    trajectory, identifier = max((sample.tokens, sample.id) for sample in samples)
    row = max(useful_length(row) for sample in samples for row in sample.rows)
    for checkpointing, parts in WAYS[device]:
        if (wanted.gradient_checkpointing or wanted.streaming) and not checkpointing:
            continue
        a_token = need.a_token(checkpointing)
        largest = TOKENS_PER_PACK[device] if device != "cpu" else min(TOKENS_PER_PACK[device], PASS_ON_CPU / a_token)
        fitting = int((PLANNED_SHARE * room - need.fixed - parts * need.sums) / a_token)
        tokens = min(wanted.tokens_per_pack or int(largest), fitting)
        if fitting >= (row if parts else trajectory):
            in_parts = parts and trajectory > max(tokens, row)
            return MemoryPlan(tokens, checkpointing, wanted.streaming, max(tokens, row) if in_parts else 0)
    least = min(need.of(trajectory, True), need.of(row, True) + need.sums) / PLANNED_SHARE
    raise BadInput(
        f"trajectory {identifier!r}",
        f"its {trajectory:,} tokens in rows of up to {row:,} need about {readable(least)}, {readable(room)} are free",
        "lower --context-length" + ("" if wanted.streaming else ", give --stream") + " or take a larger machine",
    )


def largest_pass(need: Need, plan: MemoryPlan, samples: Sequence[Sample]) -> float:
    """Bytes that the largest pass of a plan takes."""
    largest = max(sum(sample.tokens for sample in pack) for pack in plan_packs(samples, plan.tokens_per_pack))
    if 0 < plan.tokens_per_pass < largest:
        return need.sums + need.of(plan.tokens_per_pass, plan.gradient_checkpointing)
    return need.of(largest, plan.gradient_checkpointing)


def in_words(plan: MemoryPlan, need: Need, room: int) -> str:
    """One line: what is free, what is needed, what was chosen."""
    how = "with" if plan.gradient_checkpointing else "without"
    streaming = ", weights streamed layer by layer" if plan.streaming else ""
    parts = f", longer trajectories in parts of {plan.tokens_per_pass}" if plan.tokens_per_pass else ""
    return (
        f"{readable(room)} are free, a token takes {readable(need.a_token(plan.gradient_checkpointing))}: packs of "
        f"{plan.tokens_per_pack} tokens {how} gradient checkpointing{parts}{streaming}"
    )


def checkpoint_layers(model: nn.Module, tokens_kept: int = 0) -> None:
    """Recompute decoder layers in the backward pass: less memory, a third more time.

    Args:
        tokens_kept: the last layers of a pass are not recomputed, as many as keep no more than all layers do of so
            many tokens.
    """
    layers = decoder_layers(model)
    for number, layer in enumerate(layers):
        # this layer and all behind it, in tokens
        room = tokens_kept * len(layers) // (len(layers) - number)
        layer.forward = partial(_recomputed_beyond, room, layer.forward)


def _recomputed_beyond(room: int, forward: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """A layer's forward pass, which keeps what it computes of no more than so many tokens."""
    hidden: torch.Tensor = arguments[0] if arguments else options["hidden_states"]
    if hidden.shape[:-1].numel() <= room:
        return forward(*arguments, **options)
    return checkpoint(forward, *arguments, use_reentrant=False, preserve_rng_state=False, **options)
