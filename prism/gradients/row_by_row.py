"""Gradient norms from autograd's own weight gradients, a row at a time: for architectures that cannot be packed.

The model keeps its attention, experts and state-space layers; nothing is replaced. Each weight gradient is dropped as
soon as it is complete. Only where a trajectory has several rows are the gradients of all measured weights kept, since
its norm is that of their sum (eq. 1 and 4).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from prism.core.errors import PrismError
from prism.core.prompts import Row
from prism.gradients.memory_plan import checkpoint_layers
from prism.gradients.norms import frobenius
from prism.gradients.packs import Sample, useful_length
from prism.gradients.prober import ProbedSample, checked, unless_out_of_memory
from prism.gradients.projections import Part, Projection


class RowByRowProber:
    """Computes gradient norms of trajectories for any causal language model of transformers.

    Args:
        model: a causal language model; its weights are frozen but for the measured ones.
        gradient_checkpointing: recompute each decoder layer in the backward pass.
        projections: what is measured.
    """

    def __init__(self, model: nn.Module, gradient_checkpointing: bool, projections: Sequence[Projection]):
        self.model = model.eval().requires_grad_(False)
        self.names = [projection.name for projection in projections]
        self._columns: dict[nn.Parameter, list[tuple[int, Part]]] = {}
        for column, projection in enumerate(projections):
            for part in projection.parts:
                self._columns.setdefault(part.parameter, []).append((column, part))
        for parameter in self._columns:
            parameter.requires_grad_(True)
        self.device = next(model.parameters()).device
        _use_exact_kernels(model)
        self._keeps_logits = "logits_to_keep" in inspect.signature(model.forward).parameters
        if gradient_checkpointing:
            checkpoint_layers(model)
        self._sums: dict[nn.Parameter, torch.Tensor] = {}
        self._squares = torch.zeros(0)
        self._is_last_row = True

    def probe(self, packs: Sequence[Sequence[Sample]]) -> Iterator[list[ProbedSample]]:
        """Probe samples one by one; a pack is only what is handed on together.

        Raises:
            NotFinite: names the trajectory with a NaN or infinite loss or norm.
            PrismError: a single row does not fit into memory.
        """
        hooks = [parameter.register_post_accumulate_grad_hook(self._take) for parameter in self._columns]
        try:
            for pack in packs:
                yield [self._probe_sample(sample) for sample in pack]
        finally:
            for hook in hooks:
                hook.remove()

    def logits_at_once(self, samples: Sequence[Sample], vocabulary: int) -> int:
        """How many logits exist at once at the most: all of a row that the model forms."""
        rows = [row for sample in samples for row in sample.rows]
        formed = (sum(row.response_mask[1:]) if self._keeps_logits else len(row.input_ids) for row in rows)
        return max(formed) * vocabulary

    def _probe_sample(self, sample: Sample) -> ProbedSample:
        rows = [row for row in sample.rows if useful_length(row)]
        self._sums = {}
        self._squares = torch.zeros(len(self.names), dtype=torch.float64, device=self.device)
        loss = 0.0
        for number, row in enumerate(rows, 1):
            self._is_last_row = number == len(rows)
            part = unless_out_of_memory(lambda row=row: self._backward(row, sample.response_tokens))
            if part is None:
                raise PrismError(
                    f"trajectory {sample.id}: a row of {len(row.input_ids)} tokens does not fit into memory; turn "
                    "gradient checkpointing on, shorten the context length, or take a larger device"
                )
            loss += part
        # weights that the last row did not reach, as experts that got none of its tokens
        for parameter in list(self._sums):
            self._add_norms(parameter, self._sums.pop(parameter))
        return checked(ProbedSample(sample, loss, self._squares.sqrt().tolist()))

    def _backward(self, row: Row, response_tokens: int) -> float:
        """Add one row's share of the loss and of the gradients."""
        # the whole row: not every family is causal to the last digit (chunks of scans, masks by length)
        ids = torch.tensor([row.input_ids], device=self.device)
        predictors = torch.tensor([i for i, loss in enumerate(row.response_mask[1:]) if loss], device=self.device)
        kept = {"logits_to_keep": predictors} if self._keeps_logits else {}
        logits = self.model(input_ids=ids, use_cache=False, **kept).logits[0]
        chosen = logits if self._keeps_logits else logits[predictors]
        wide = chosen if chosen.dtype == torch.float64 else chosen.float()
        loss = F.cross_entropy(wide, ids[0, predictors + 1], reduction="sum") / response_tokens
        loss.backward()
        return float(loss.detach())

    def _take(self, parameter: nn.Parameter) -> None:
        """Called by autograd as soon as a weight's gradient is complete."""
        gradient, parameter.grad = parameter.grad, None
        if parameter in self._sums:
            gradient = self._sums.pop(parameter).add_(gradient)
        if self._is_last_row:
            self._add_norms(parameter, gradient)
        else:
            # rows add up in float32 or better
            self._sums[parameter] = gradient if gradient.dtype == torch.float64 else gradient.float()

    def _add_norms(self, parameter: nn.Parameter, gradient: torch.Tensor) -> None:
        for column, part in self._columns[parameter]:
            self._squares[column] += frobenius(part.of(gradient)).square()


def _use_exact_kernels(model: nn.Module) -> None:
    """Kernels that compute the model as it was trained, in every floating-point type.

    torch's fused attention knows no soft caps and leaves them out without a word; its grouped products of experts know
    no float64, and on CPUs no bfloat16.
    """
    if getattr(model.config.get_text_config(), "attn_logit_softcapping", None) is not None:
        model.set_attn_implementation("eager")
    if hasattr(model, "set_experts_implementation") and not next(model.parameters()).is_cuda:
        model.set_experts_implementation("eager")
