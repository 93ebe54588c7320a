"""Gradient norms of every projection for every trajectory, from one backward pass per pack (eq. 1 and 4).

All weights are frozen, so that autograd computes activation gradients only. Each projection is replaced by a layer that
computes the same outputs and, inside its backward, turns its input and output gradient into the weight gradient's norm
for every trajectory of the pack. No weight gradient outlives the moment in which its norm is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from prism.core.errors import NotFinite, PrismError
from prism.core.progress import say
from prism.gradients.attention import IMPLEMENTATION
from prism.gradients.collecting import AtPredictors, Collector, ProbedLinear, share_inputs
from prism.gradients.loss import LOGITS_AT_ONCE, backward_of_losses
from prism.gradients.memory_plan import checkpoint_layers
from prism.gradients.norm_files import MODULES
from prism.gradients.norms import frobenius
from prism.gradients.packs import Pack, Sample, build_pack, plan_packs, useful_length
from prism.gradients.projections import (
    INPUT_GROUPS,
    Part,
    Projection,
    decoder_layers,
    find_projections,
)
from prism.gradients.rms_norm import replace_rms_norms

T = TypeVar("T")


@dataclass(frozen=True)
class ProbedSample:
    """What the prober found out about one trajectory.

    Attributes:
        loss: mean negative log-likelihood of its response tokens, in nats.
        norms: 7L gradient norms, float64, layer by layer in the order of `MODULES`.
    """

    sample: Sample
    loss: float
    norms: Sequence[float]


@dataclass(frozen=True)
class _Place:
    """Where a `ProbedLinear` stands."""

    parent: nn.Module
    name: str
    probed: ProbedLinear

    def put(self, module: nn.Module) -> None:
        setattr(self.parent, self.name, module)


class GradientProber:
    """Computes gradient norms of trajectories with respect to the projections of a causal language model.

    The prober takes the model over: it freezes its weights, replaces its projections and its attention function.
    `prism.gradients.families.make_prober` gives it only models that it is exact for.

    Args:
        model: a causal language model of transformers.
        gradient_checkpointing: recompute each decoder layer in the backward pass; less memory, a third more time.
        projections: what is measured, each a linear layer or some outputs of one; by default the seven of every layer.

    Raises:
        BadInput: the architecture is not supported; names the module.

    Attributes:
        tokens_per_pass: a longer trajectory of several rows is probed in parts; 0 for whole trajectories.
    """

    tokens_per_pass = 0

    def __init__(
        self,
        model: nn.Module,
        gradient_checkpointing: bool = False,
        projections: Sequence[Projection] | None = None,
    ):
        self.model = model.eval().requires_grad_(False)
        self.model.set_attn_implementation(IMPLEMENTATION)
        self.device = next(model.parameters()).device
        projections = find_projections(model) if projections is None else projections
        self.names = [projection.name for projection in projections]
        self._collector = Collector(len(projections))
        places = self._install(projections)
        replace_rms_norms(model)
        self._restrict_last_layer(decoder_layers(model)[-1], places)
        if gradient_checkpointing:
            checkpoint_layers(model)

    def probe(self, packs: Sequence[Sequence[Sample]]) -> Iterator[list[ProbedSample]]:
        """Probe samples pack by pack (see `plan_packs`); norms do not depend on the packing beyond rounding.

        When memory runs out the pack is halved and tried again, and later packs stay within the smaller budget. A
        single trajectory is halved by rows, its weight gradients summed over the parts.

        Raises:
            NotFinite: names the trajectory with a NaN or infinite loss or norm.
            PrismError: a single row does not fit into memory.
        """
        waiting = list(packs)[::-1]
        budget: int | None = None
        while waiting:
            pack = waiting.pop()
            tokens = sum(sample.tokens for sample in pack)
            if budget is not None and len(pack) > 1 and tokens > budget:
                waiting += plan_packs(pack, budget)[::-1]
                continue
            if len(pack) == 1 and len(pack[0].rows) > 1 and 0 < self.tokens_per_pass < tokens:
                yield [self._sum_over_parts(pack[0], self.tokens_per_pass)]
                continue
            probed = unless_out_of_memory(lambda pack=pack: self.probe_pack(pack))
            if probed is None and len(pack) > 1:
                budget = max(1, tokens // 2)
                say(f"out of memory at {tokens} tokens a pack: going on with {budget}")
                waiting.append(pack)
                continue
            yield probed if probed is not None else [self._probe_in_parts(pack[0])]

    def logits_at_once(self, samples: Sequence[Sample], vocabulary: int) -> int:
        """How many logits exist at once at the most: they are formed a part at a time."""
        return min(LOGITS_AT_ONCE, max(sample.response_tokens for sample in samples) * vocabulary)

    def probe_pack(self, samples: Sequence[Sample]) -> list[ProbedSample]:
        """Probe some trajectories in one forward and one backward pass."""
        losses = self._backward(self._pack(samples))
        return [
            checked(ProbedSample(sample, loss, norms))
            for sample, loss, norms in zip(samples, losses, self._collector.norms.tolist(), strict=True)
        ]

    def _pack(self, samples: Sequence[Sample], denominators: Sequence[int] | None = None) -> Pack:
        # on a GPU one launch of attention takes all rows, each as a whole
        return build_pack(samples, self.device, denominators, share_beginnings=self.device.type == "cpu")

    def _probe_in_parts(self, sample: Sample) -> ProbedSample:
        """Probe one trajectory that does not fit at once, in ever smaller parts of its rows."""
        say(f"out of memory on trajectory {sample.id} ({sample.tokens} tokens): going on in parts")
        longest = max(map(useful_length, sample.rows))
        tokens = sample.tokens
        while tokens > longest:
            tokens = max(longest, tokens // 2)
            probed = unless_out_of_memory(lambda tokens=tokens: self._sum_over_parts(sample, tokens))
            if probed is not None:
                return probed
        raise PrismError(
            f"trajectory {sample.id}: a row of {longest} tokens does not fit into memory; "
            "turn gradient checkpointing on, shorten the context length, or take a larger device"
        )

    def _sum_over_parts(self, sample: Sample, tokens: int) -> ProbedSample:
        """Sum the weight gradients of parts of a trajectory, then take their norms: exact, but L x 7 matrices large.

        Args:
            tokens: of a part; a longer row is a part of its own.
        """
        self._collector.gradient_sums = {}
        try:
            loss = 0.0
            rows = [Sample(sample.id, (row,)) for row in sample.rows if useful_length(row)]
            for group in plan_packs(rows, tokens):
                part = Sample(sample.id, tuple(one.rows[0] for one in group))
                loss += self._backward(self._pack([part], [sample.response_tokens]))[0]
            sums = self._collector.gradient_sums
            return checked(ProbedSample(sample, loss, [float(frobenius(sums[index])) for index in range(len(sums))]))
        finally:
            self._collector.gradient_sums = None

    def _backward(self, pack: Pack) -> list[float]:
        """One forward and one backward pass; the collector ends up with the norms. Returns the losses."""
        self._collector.begin(pack)
        token_losses = backward_of_losses(
            self.model,
            pack,
            {
                "input_ids": pack.input_ids,
                "position_ids": pack.position_ids,
                "use_cache": False,
                "row_ends": pack.row_ends,
                "row_queries": pack.row_predictors,
                "row_beginnings": pack.row_beginnings,
            },
        )
        if any(visits != 1 for visits in self._collector.visits):
            name = next(name for name, visits in zip(self.names, self._collector.visits, strict=True) if visits != 1)
            raise PrismError(f"{name}: its backward did not run exactly once; the architecture is not supported")
        exact = token_losses.double() * pack.weights
        return [float(exact[start:end].sum()) for start, end in pack.predictor_spans]

    def _install(self, projections: Sequence[Projection]) -> list[_Place]:
        """Put a `ProbedLinear` in the place of every linear layer that holds projections."""
        columns: dict[nn.Module, list[tuple[int, Part]]] = {}
        for column, projection in enumerate(projections):
            for part in projection.parts:
                columns.setdefault(part.module, []).append((column, part))
        places = [
            _Place(parent, name, ProbedLinear(child, self._collector, columns[child]))
            for parent in list(self.model.modules())
            for name, child in parent.named_children()
            if child in columns
        ]
        readers: dict[tuple[nn.Module, object], list[ProbedLinear]] = {}
        for place in places:
            place.put(place.probed)
            group = next((names for names in INPUT_GROUPS if place.name in names), place.name)
            readers.setdefault((place.parent, group), []).append(place.probed)
        for members in readers.values():
            share_inputs(members)
        return places

    def _restrict_last_layer(self, layer: nn.Module, places: Sequence[_Place]) -> None:
        """Keep the last layer to the predictors, but for its keys and values, which every later position reads."""
        inside = set(layer.modules())
        by_name = {place.name: place for place in places if place.probed in inside}
        if sum(place.probed in inside for place in places) != len(MODULES) or by_name.keys() != set(MODULES):
            return
        attention, mlp = by_name["q_proj"].parent, by_name["gate_proj"].parent
        # a separate module for the MLP alone is what makes it safe to run it at some positions only
        if not by_name["up_proj"].parent is by_name["down_proj"].parent is mlp or mlp is layer or mlp is attention:
            return
        for name in ("q_proj", "o_proj", "gate_proj", "up_proj", "down_proj"):
            by_name[name].probed.sees_predictors_only = True
        share_inputs([by_name["q_proj"].probed])
        share_inputs([by_name["k_proj"].probed, by_name["v_proj"].probed])
        for name in ("q_proj", "o_proj"):
            by_name[name].put(AtPredictors(by_name[name].probed, self._collector))
        attention.only_row_queries = True
        holder, name = next(
            (module, name) for module in layer.modules() for name, child in module.named_children() if child is mlp
        )
        setattr(holder, name, AtPredictors(mlp, self._collector))


def unless_out_of_memory(work: Callable[[], T]) -> T | None:
    """Result of `work`, or None when memory ran out."""
    try:
        return work()
    except (torch.OutOfMemoryError, MemoryError):
        pass
    except RuntimeError as error:
        # the CPU allocator has no exception type of its own
        if "can't allocate memory" not in str(error) and "not enough memory" not in str(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def checked(probed: ProbedSample) -> ProbedSample:
    """The same, unless a number of it is NaN or infinite.

    Raises:
        NotFinite: names the trajectory.
    """
    if not all(value == value and abs(value) != float("inf") for value in (probed.loss, *probed.norms)):
        raise NotFinite(f"trajectory {probed.sample.id}: its loss or a gradient norm is NaN or infinite")
    return probed
