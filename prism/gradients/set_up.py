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
from prism.gradients.forecast import Estimate
from prism.gradients.memory_plan import (
    MemoryPlan,
    Need,
    checkpoint_layers,
    free_memory,
    in_words,
    largest_pass,
    measure_need,
    memory_in_use,
    must_stream,
    plan_memory,
)
from prism.gradients.models import DTYPES, config_folder, load_model
from prism.gradients.packs import Sample, check_samples
from prism.gradients.prober import GradientProber, unless_out_of_memory
from prism.gradients.projections import AUTO, find_projections, parameter_counts, rule_of
from prism.gradients.row_by_row import RowByRowProber
from prism.gradients.streaming import load_streamed, stored_bytes
from prism.gradients.work import Work, measure_pace


@dataclass(frozen=True)
class ModelPlace:
    """Where a model lies, where it is probed, and on which matrices.

    Attributes:
        processes: that hold it and probe it on this device, this one included; they share its memory.
    """

    folder: Path
    dtype: str
    device: torch.device
    matrices: str = AUTO
    processes: int = 1


@dataclass(frozen=True)
class Ready:
    """A prober and what is known of it.

    Attributes:
        plan: how it uses memory.
        parameter_counts: number of weights of each measured matrix.
        rule: that chose them.
        work: what a trajectory costs.
        pace: seconds a FLOP of it, from a first small pass; None where there was none, and where layers are streamed:
            how long they are read does not follow from it.
        memory: bytes that the process will hold at its peak, where the model is; None where nothing was measured.
    """

    prober: GradientProber | RowByRowProber
    plan: MemoryPlan
    parameter_counts: list[int]
    rule: str
    work: Work
    pace: float | None = None
    memory: float | None = None

    def estimate(self, left: Sequence[Sample], processes: int = 1) -> Estimate | None:
        """What probing these samples will take, with so many processes; None where nothing was measured."""
        if self.memory is None:
            return None
        seconds = None if self.pace is None else self.work.seconds(left, self.pace)
        return Estimate(seconds, self.memory, processes)


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
        memory = replace(memory, streaming=must_stream(weights * place.processes, stored, device))
    network = _load(place.folder, dtype, device, streaming=memory.streaming)
    check_samples(network, samples, str(place.folder))
    projections = find_projections(network, place.matrices)
    counts = parameter_counts(projections)
    prober = make_prober(network, projections)
    if memory.streaming and isinstance(prober, RowByRowProber):
        problem = "is probed row by row, by autograd's own gradients: its weights cannot be streamed"
        raise BadInput(place.folder, problem, "probe it without --stream, on a machine that holds it")
    need = None
    if not memory.settled:
        need, memory = _planned(prober, samples, memory, sum(counts), place.processes)
    if memory.gradient_checkpointing or memory.streaming:
        checkpoint_layers(network, memory.tokens_kept)
    prober.tokens_per_pass = memory.tokens_per_pass
    work = Work.of(network, counts, gram=isinstance(prober, GradientProber))
    ready = Ready(prober, memory, counts, rule_of(projections), work)
    if need is None:
        return ready
    # before the timed pass, whose memory the process keeps
    peak = memory_in_use(prober.device) + _largest(prober, samples, need, memory)
    pace = None if memory.streaming else measure_pace(prober, work, samples, memory.tokens_per_pack)
    return replace(ready, pace=pace, memory=peak)


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
    prober: GradientProber | RowByRowProber,
    samples: Sequence[Sample],
    wanted: MemoryPlan,
    measured: int,
    processes: int,
) -> tuple[Need, MemoryPlan]:
    need = measure_need(prober, samples, measured)
    if isinstance(prober, RowByRowProber):
        several = any(len(sample.rows) > 1 for sample in samples)
        need = replace(need, fixed=need.fixed + several * need.sums, sums=0)
        samples = _single_rows(samples)
    # the others hold the weights too, once they have loaded them
    held = sum(parameter.untyped_storage().nbytes() for parameter in prober.model.parameters())
    room = max(0, free_memory(prober.device) - (processes - 1) * held) // processes
    plan = plan_memory(need, samples, wanted, room, "cuda" if prober.device.type == "cuda" else "cpu")
    say(f"probe: {in_words(plan, need, room)}")
    return need, plan


def _largest(prober: GradientProber | RowByRowProber, samples: Sequence[Sample], need: Need, plan: MemoryPlan) -> float:
    if isinstance(prober, RowByRowProber):
        longest = max(_single_rows(samples), key=lambda sample: sample.tokens)
        return largest_pass(need, plan, [longest])
    return largest_pass(need, plan, samples)


def _single_rows(samples: Sequence[Sample]) -> list[Sample]:
    return [Sample(sample.id, (row,)) for sample in samples for row in sample.rows]
