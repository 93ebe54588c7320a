"""Gradient norms of every projection for every trajectory, from one backward pass per pack (eq. 1 and 4).

All weights are frozen, so that autograd computes activation gradients only. Each projection is replaced by a layer that
computes the same outputs and, inside its backward, turns its input and output gradient into the weight gradient's norm
for every trajectory of the pack. No weight gradient outlives the moment in which its norm is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from prism.core.errors import NotFinite, PrismError
from prism.core.progress import say
from prism.gradients.attention import IMPLEMENTATION
from prism.gradients.loss import backward_of_losses
from prism.gradients.norm_files import MODULES
from prism.gradients.norms import (
    direct_norm,
    frobenius,
    gram_block,
    gram_blocks,
    gram_is_cheaper,
    gram_norm,
    weight_gradient,
)
from prism.gradients.packs import Pack, Sample, build_pack, plan_packs, useful_length
from prism.gradients.projections import INPUT_GROUPS, Projection, decoder_layers, find_projections
from prism.gradients.rms_norm import replace_rms_norms


@dataclass(frozen=True)
class ProbedSample:
    """What the prober found out about one trajectory.

    Attributes:
        loss: mean negative log-likelihood of its response tokens, in nats.
        norms: 7L gradient norms, float64, layer by layer in the order of `MODULES`.
    """

    sample: Sample
    loss: float
    norms: list[float]


class _Collector:
    """What the projections share during one pass: where each trajectory lies, and the norms found so far."""

    def __init__(self, projections: int):
        self.projections = projections
        self.pack: Pack | None = None
        self.norms: torch.Tensor | None = None
        self.visits = [0] * projections
        self.gradient_sums: dict[int, torch.Tensor] | None = None
        self._grams: dict[tuple[tuple[int, ...], int], list[torch.Tensor]] = {}

    def begin(self, pack: Pack) -> None:
        """Forget the last pack."""
        self.pack = pack
        device = pack.input_ids.device
        self.norms = torch.zeros(len(pack.spans), self.projections, dtype=torch.float64, device=device)
        self.visits = [0] * self.projections
        self._grams = {}

    def collect(self, layer: ProbedLinear, inputs: torch.Tensor, gradients: torch.Tensor) -> None:
        """Take the norm of every trajectory's weight gradient for one projection.

        Args:
            inputs: (tokens, d_in).
            gradients: (tokens, d_out) gradient of the summed loss with respect to the outputs.
        """
        self.visits[layer.index] += 1
        for number, (start, end) in enumerate(
            self.pack.predictor_spans if layer.sees_predictors_only else self.pack.spans
        ):
            ours, theirs = inputs[start:end], gradients[start:end]
            if self.gradient_sums is not None:
                self._add_gradient(layer.index, weight_gradient(ours, theirs))
            else:
                self.norms[number, layer.index] = self._norm(layer, number, ours, theirs)
        if all(self.visits[index] for index in layer.group):
            self._grams = {}

    def _norm(self, layer: ProbedLinear, number: int, inputs: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
        if gram_is_cheaper(len(inputs), inputs.shape[1], layer.group_outputs, gram_block(inputs)):
            key = (layer.group, number)
            if key not in self._grams:
                self._grams[key] = gram_blocks(inputs)
            norm = gram_norm(self._grams[key], gradients)
            if norm is not None:
                return norm
        return direct_norm(inputs, gradients)

    def _add_gradient(self, index: int, gradient: torch.Tensor) -> None:
        if index in self.gradient_sums:
            self.gradient_sums[index] += gradient
        else:
            self.gradient_sums[index] = gradient


class _CollectingLinear(torch.autograd.Function):
    """A linear map whose backward hands input and output gradient to the collector instead of forming dL/dW."""

    @staticmethod
    def forward(ctx, inputs, anchor, layer):
        ctx.save_for_backward(inputs)
        ctx.layer = layer
        return F.linear(inputs, layer.weight, layer.bias)

    @staticmethod
    def backward(ctx, gradients):
        (inputs,) = ctx.saved_tensors
        layer = ctx.layer
        flat = gradients.reshape(-1, gradients.shape[-1])
        layer.collector.collect(layer, inputs.reshape(-1, inputs.shape[-1]), flat)
        # the first layer's q, k and v read the embeddings: nothing below them needs a gradient
        return gradients @ layer.weight if ctx.needs_input_grad[0] else None, None, None


class ProbedLinear(nn.Module):
    """Stands in for a projection: same outputs, and its backward collects gradient norms.

    Attributes:
        index: column in the gradient vector.
        group: columns of the projections that read the same input.
        group_outputs: output widths of that group.
        sees_predictors_only: its inputs are those of the positions that predict a response token.
    """

    def __init__(self, linear: nn.Linear, collector: _Collector, index: int):
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.collector, self.index = collector, index
        self.group: tuple[int, ...] = (index,)
        self.group_outputs: tuple[int, ...] = (linear.out_features,)
        self.sees_predictors_only = False
        # a leaf that wants a gradient makes autograd visit every projection although all weights are frozen
        self.anchor = torch.zeros((), requires_grad=True)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """``inputs W^T + b``."""
        return _CollectingLinear.apply(inputs, self.anchor, self)


class _AtPredictors(nn.Module):
    """Runs a position-wise module at the predictors only; its output is zero elsewhere.

    In the last decoder layer nothing else reaches the loss: queries, attention outputs and the MLP at all other
    positions are computed for nothing, and their gradients are zero.
    """

    def __init__(self, module: nn.Module, collector: _Collector):
        super().__init__()
        self.module, self.collector = module, collector

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Same as the module's at the predictors, zero elsewhere."""
        predictors = self.collector.pack.predictors
        outputs = self.module(inputs[:, predictors])
        return outputs.new_zeros(*inputs.shape[:2], outputs.shape[-1]).index_copy_(1, predictors, outputs)


class GradientProber:
    """Computes gradient norms of trajectories with respect to the 7L projections of a causal language model.

    The prober takes the model over: it freezes its weights, replaces its projections and its attention function.

    Args:
        model: a causal language model of transformers with the seven projections in every decoder layer.
        gradient_checkpointing: recompute each decoder layer in the backward pass; less memory, a third more time.

    Raises:
        BadInput: the architecture is not supported; names the module.
    """

    def __init__(self, model: nn.Module, gradient_checkpointing: bool = False):
        self.model = model.eval().requires_grad_(False)
        self.model.set_attn_implementation(IMPLEMENTATION)
        self.device = next(model.parameters()).device
        projections = find_projections(model)
        self.names = [projection.name for projection in projections]
        self._collector = _Collector(len(projections))
        self._install(projections)
        replace_rms_norms(model)
        layers = decoder_layers(model)
        self._restrict_last_layer(layers[-1], projections[-len(MODULES) :])
        if gradient_checkpointing:
            for layer in layers:
                layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)

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
            probed = _unless_out_of_memory(lambda pack=pack: self.probe_pack(pack))
            if probed is None and len(pack) > 1:
                budget = max(1, tokens // 2)
                say(f"out of memory at {tokens} tokens a pack: going on with {budget}")
                waiting.append(pack)
                continue
            yield probed if probed is not None else [self._probe_in_parts(pack[0])]

    def probe_pack(self, samples: Sequence[Sample]) -> list[ProbedSample]:
        """Probe some trajectories in one forward and one backward pass."""
        pack = build_pack(samples, self.device)
        losses = self._backward(pack)
        return [
            _checked(ProbedSample(sample, loss, norms))
            for sample, loss, norms in zip(samples, losses, self._collector.norms.tolist(), strict=True)
        ]

    def _probe_in_parts(self, sample: Sample) -> ProbedSample:
        """Probe one trajectory that does not fit at once, in ever smaller parts of its rows."""
        say(f"out of memory on trajectory {sample.id} ({sample.tokens} tokens): going on in parts")
        rows_per_part = len(sample.rows)
        while rows_per_part > 1:
            rows_per_part = -(-rows_per_part // 2)
            probed = _unless_out_of_memory(lambda rows=rows_per_part: self._sum_over_parts(sample, rows))
            if probed is not None:
                return probed
        raise PrismError(
            f"trajectory {sample.id}: a row of {max(map(useful_length, sample.rows))} tokens does not fit into memory; "
            "turn gradient checkpointing on, shorten the context length, or take a larger device"
        )

    def _sum_over_parts(self, sample: Sample, rows_per_part: int) -> ProbedSample:
        """Sum the weight gradients of parts of a trajectory, then take their norms: exact, but L x 7 matrices large."""
        self._collector.gradient_sums = {}
        try:
            loss = 0.0
            for start in range(0, len(sample.rows), rows_per_part):
                part = Sample(sample.id, sample.rows[start : start + rows_per_part])
                if part.response_tokens:
                    loss += self._backward(build_pack([part], self.device, [sample.response_tokens]))[0]
            sums = self._collector.gradient_sums
            return _checked(ProbedSample(sample, loss, [float(frobenius(sums[index])) for index in range(len(sums))]))
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
            },
        )
        if any(visits != 1 for visits in self._collector.visits):
            name = next(name for name, visits in zip(self.names, self._collector.visits, strict=True) if visits != 1)
            raise PrismError(f"{name}: its backward did not run exactly once; the architecture is not supported")
        exact = token_losses.double() * pack.weights
        return [float(exact[start:end].sum()) for start, end in pack.predictor_spans]

    def _install(self, projections: list[Projection]) -> None:
        """Put a `ProbedLinear` in the place of every projection."""
        probed = [ProbedLinear(one.linear, self._collector, index) for index, one in enumerate(projections)]
        for projection, stand_in in zip(projections, probed, strict=True):
            setattr(projection.parent, projection.module, stand_in)
        for first in range(0, len(projections), len(MODULES)):
            layer = dict(zip(MODULES, probed[first : first + len(MODULES)], strict=True))
            for group in INPUT_GROUPS:
                _share_inputs([layer[name] for name in group])

    def _restrict_last_layer(self, layer: nn.Module, projections: list[Projection]) -> None:
        """Keep the last layer to the predictors, but for its keys and values, which every later position reads."""
        parents = {one.module: one.parent for one in projections}
        attention, mlp = parents["q_proj"], parents["gate_proj"]
        # a separate module for the MLP alone is what makes it safe to run it at some positions only
        if not parents["up_proj"] is parents["down_proj"] is mlp or mlp is layer or mlp is attention:
            return
        layer_projections = {name: getattr(parents[name], name) for name in MODULES}
        for name in ("q_proj", "o_proj", "gate_proj", "up_proj", "down_proj"):
            layer_projections[name].sees_predictors_only = True
        _share_inputs([layer_projections["q_proj"]])
        _share_inputs([layer_projections["k_proj"], layer_projections["v_proj"]])
        for name in ("q_proj", "o_proj"):
            setattr(parents[name], name, _AtPredictors(layer_projections[name], self._collector))
        attention.only_row_queries = True
        holder, name = next(
            (module, name) for module in layer.modules() for name, child in module.named_children() if child is mlp
        )
        setattr(holder, name, _AtPredictors(mlp, self._collector))


def _share_inputs(members: list[ProbedLinear]) -> None:
    """Let these projections, which read the same tensor, share the Gram matrices of their inputs."""
    for member in members:
        member.group = tuple(other.index for other in members)
        member.group_outputs = tuple(other.out_features for other in members)


def _unless_out_of_memory(work):
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


def _checked(probed: ProbedSample) -> ProbedSample:
    if not all(value == value and abs(value) != float("inf") for value in (probed.loss, *probed.norms)):
        raise NotFinite(f"trajectory {probed.sample.id}: its loss or a gradient norm is NaN or infinite")
    return probed
