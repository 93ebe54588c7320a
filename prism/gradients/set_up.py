"""A prober over a loaded or streamed model, in the memory there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from prism.core.errors import BadInput
from prism.core.progress import say
from prism.gradients.families import make_prober
from prism.gradients.memory_plan import (
    MemoryPlan,
    checkpoint_layers,
    free_memory,
    in_words,
    measure_need,
    must_stream,
    plan_memory,
)
from prism.gradients.models import DTYPES, config_folder, load_model
from prism.gradients.packs import Sample, check_samples
from prism.gradients.prober import GradientProber, unless_out_of_memory
from prism.gradients.projections import AUTO, find_projections, parameter_counts, rule_of
from prism.gradients.row_by_row import RowByRowProber
from prism.gradients.streaming import load_streamed, stored_bytes


@dataclass(frozen=True)
class ModelPlace:
    """Where a model lies, where it is probed, and on which matrices."""

    folder: Path
    dtype: str
    device: torch.device
    matrices: str = AUTO


@dataclass(frozen=True)
class Ready:
    """A prober, how it uses memory, the number of weights of each measured matrix, and the rule that chose them."""

    prober: GradientProber | RowByRowProber
    plan: MemoryPlan
    parameter_counts: list[int]
    rule: str


def set_up(place: ModelPlace, samples: Sequence[Sample], memory: MemoryPlan) -> Ready:
    """Load a model, or open it for streaming, and make it ready for probing.

    Args:
        memory: how memory is used; what is not settled of it is planned from what is free and a first small pass takes.

    Raises:
        BadInput: the model cannot be used, or the longest trajectory does not fit; says what it needs.
    """
    dtype, device = DTYPES[place.dtype], place.device
    if not memory.settled and not memory.streaming:
        stored, weights = stored_bytes(config_folder(place.folder), dtype)
        memory = replace(memory, streaming=must_stream(weights, stored, device))
    network = _load(place.folder, dtype, device, streaming=memory.streaming)
    check_samples(network, samples, str(place.folder))
    projections = find_projections(network, place.matrices)
    counts = parameter_counts(projections)
    prober = make_prober(network, projections)
    if memory.streaming and isinstance(prober, RowByRowProber):
        problem = "is probed row by row, by autograd's own gradients: its weights cannot be streamed"
        raise BadInput(place.folder, problem, "probe it without --stream, on a machine that holds it")
    if not memory.settled:
        memory = _planned(prober, samples, memory, sum(counts))
    if memory.gradient_checkpointing or memory.streaming:
        checkpoint_layers(network)
    prober.tokens_per_pass = memory.tokens_per_pass
    return Ready(prober, memory, counts, rule_of(projections))


def _load(folder: Path, dtype: torch.dtype, device: torch.device, *, streaming: bool) -> nn.Module:
    load = load_streamed if streaming else load_model
    model = unless_out_of_memory(lambda: load(folder, dtype, device))
    if model is None:
        problem = (
            "two layers' weights and the embeddings do not fit into memory" if streaming else "does not fit into memory"
        )
        raise BadInput(
            folder, problem, "take a larger machine" if streaming else "give --stream, or take a larger machine"
        )
    return model


def _planned(
    prober: GradientProber | RowByRowProber, samples: Sequence[Sample], wanted: MemoryPlan, measured: int
) -> MemoryPlan:
    need = measure_need(prober, samples, measured)
    if isinstance(prober, RowByRowProber):
        several = any(len(sample.rows) > 1 for sample in samples)
        need = replace(need, fixed=need.fixed + several * need.sums, sums=0)
        samples = [Sample(sample.id, (row,)) for sample in samples for row in sample.rows]
    room = free_memory(prober.device)
    plan = plan_memory(need, samples, wanted, room, "cuda" if prober.device.type == "cuda" else "cpu")
    say(f"probe: {in_words(plan, need, room)}")
    return plan
