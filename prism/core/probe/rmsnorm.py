"""RMS normalisation with a hand-written backward: half the memory traffic of the composed one, same numbers."""

from __future__ import annotations

import torch
from torch import nn

TOLERANCE = 1e-5


class _RMSNormFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, inputs, weight, epsilon):
        mean_square = torch.linalg.vector_norm(inputs, dim=-1, keepdim=True).square_().div_(inputs.shape[-1])
        scale = mean_square.add_(epsilon).rsqrt_()
        ctx.save_for_backward(inputs, scale)
        ctx.weight = weight
        return (inputs * scale).mul_(weight)

    @staticmethod
    def backward(ctx, gradients):
        inputs, scale = ctx.saved_tensors
        weighted = gradients * ctx.weight
        along = (weighted * inputs).sum(dim=-1, keepdim=True)
        return weighted.mul_(scale).addcmul_(inputs, along * scale**3 / inputs.shape[-1], value=-1), None, None


class FrozenRMSNorm(nn.Module):
    """``weight * x / sqrt(mean(x^2) + epsilon)`` with a frozen weight."""

    def __init__(self, weight: torch.Tensor, epsilon: float):
        super().__init__()
        self.weight, self.epsilon = weight, epsilon

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Normalise the last dimension."""
        return _RMSNormFunction.apply(inputs, self.weight, self.epsilon)


def replace_rms_norms(model: nn.Module) -> int:
    """Replace every RMS normalisation of a float32 model; returns how many were.

    A module is replaced only if a trial shows that it computes this very function: some families shift the weight.
    Other precisions keep the model's own, since transformers normalises in float32 whatever the model's dtype is.
    """
    replaced = 0
    for parent in list(model.modules()):
        for name, module in parent.named_children():
            if (candidate := _equivalent(module)) is not None:
                setattr(parent, name, candidate)
                replaced += 1
    return replaced


def _equivalent(module: nn.Module) -> FrozenRMSNorm | None:
    weight = getattr(module, "weight", None)
    epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if "RMSNorm" not in type(module).__name__ or weight is None or not isinstance(epsilon, float):
        return None
    if weight.dtype != torch.float32 or weight.dim() != 1:
        return None
    candidate = FrozenRMSNorm(weight, epsilon)
    # its own generator: the trial must not move the global random state
    generator = torch.Generator(device="cpu").manual_seed(0)
    trial = torch.randn(4, len(weight), generator=generator, dtype=weight.dtype).to(weight.device)
    with torch.no_grad():
        same = torch.allclose(candidate(trial), module(trial), rtol=TOLERANCE, atol=TOLERANCE)
    return candidate if same else None
