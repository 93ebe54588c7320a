"""Layers that stand in for a model's own during a probe, and turn each backward pass into gradient norms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn
from transformers.pytorch_utils import Conv1D

from prism.gradients.fused import linear_inputs
from prism.gradients.norms import direct_norm, gram_block, gram_blocks, gram_is_cheaper, gram_norm, weight_gradient
from prism.gradients.packs import Pack
from prism.gradients.projections import Part


class Collector:
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
        for column, _ in layer.columns:
            self.visits[column] += 1
        for number, (start, end) in enumerate(
            self.pack.predictor_spans if layer.sees_predictors_only else self.pack.spans
        ):
            ours, theirs = inputs[start:end], gradients[start:end]
            for column, outputs in layer.columns:
                chosen = theirs if outputs is None else theirs[:, outputs]
                if self.gradient_sums is not None:
                    self._add_gradient(column, weight_gradient(ours, chosen))
                else:
                    self.norms[number, column] = self._norm(layer, number, ours, chosen)
        if all(self.visits[column] for column in layer.group):
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
        return F.linear(inputs, layer.weight, layer.linear.bias)

    @staticmethod
    def backward(ctx, gradients):
        (inputs,) = ctx.saved_tensors
        layer = ctx.layer
        flat = gradients.reshape(-1, gradients.shape[-1])
        layer.collector.collect(layer, inputs.reshape(-1, inputs.shape[-1]), flat)
        # the first layer's q, k and v read the embeddings: nothing below them needs a gradient
        return gradients @ layer.weight if ctx.needs_input_grad[0] else None, None, None


class ProbedLinear(nn.Module):
    """Stands in for a linear layer: same outputs, and its backward collects gradient norms.

    Attributes:
        columns: (column in the gradient vector, outputs of this layer that it covers; all where None).
        group: columns of the layers that read the same input.
        group_outputs: output widths of that group.
        sees_predictors_only: its inputs are those of the positions that predict a response token.
    """

    def __init__(self, linear: nn.Linear | Conv1D, collector: Collector, columns: Sequence[tuple[int, Part]]):
        super().__init__()
        self.linear, self.collector = linear, collector
        self.columns = tuple((column, part.outputs) for column, part in columns)
        self.output_widths = tuple(part.size // linear_inputs(linear) for _, part in columns)
        self.group = tuple(column for column, _ in columns)
        self.group_outputs = self.output_widths
        self.sees_predictors_only = False
        # a leaf that wants a gradient makes autograd visit every projection although all weights are frozen
        self.anchor = torch.zeros((), requires_grad=True)

    @property
    def weight(self) -> torch.Tensor:
        """(outputs, inputs)."""
        return self.linear.weight if isinstance(self.linear, nn.Linear) else self.linear.weight.t()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """``inputs W^T + b``."""
        return _CollectingLinear.apply(inputs, self.anchor, self)


class AtPredictors(nn.Module):
    """Runs a position-wise module at the predictors only; its output is zero elsewhere.

    In the last decoder layer nothing else reaches the loss: queries, attention outputs and the MLP at all other
    positions are computed for nothing, and their gradients are zero.
    """

    def __init__(self, module: nn.Module, collector: Collector):
        super().__init__()
        self.module, self.collector = module, collector

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Same as the module's at the predictors, zero elsewhere."""
        predictors = self.collector.pack.predictors
        outputs = self.module(inputs[:, predictors])
        return outputs.new_zeros(*inputs.shape[:2], outputs.shape[-1]).index_copy_(1, predictors, outputs)


def share_inputs(members: list[ProbedLinear]) -> None:
    """Let these projections, which read the same tensor, share the Gram matrices of their inputs."""
    for member in members:
        member.group = tuple(column for other in members for column, _ in other.columns)
        member.group_outputs = tuple(width for other in members for width in other.output_widths)
