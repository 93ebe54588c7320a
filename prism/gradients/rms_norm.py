"""RMS normalisation with a hand-written backward: half the memory traffic of the composed one, same numbers."""

from __future__ import annotations

import torch
from torch import nn

# of the trial: a few units in the last place
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


class _RMSNormFunction(torch.autograd.Function):
    """In float32 or better, as transformers does it; keeps the inputs as they are and one number a row."""

    @staticmethod
    def forward(ctx, inputs, weight, epsilon):
        wide = _wide(inputs)
        mean_square = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_().div_(inputs.shape[-1])
        scale = mean_square.add_(epsilon).rsqrt_()
        ctx.save_for_backward(inputs, scale)
        ctx.weight = weight
        return (wide * scale).to(inputs.dtype).mul_(weight)

    @staticmethod
    def backward(ctx, gradients):
        inputs, scale = ctx.saved_tensors
        wide, weighted = _wide(inputs), _wide(gradients * ctx.weight)
        along = (weighted * wide).sum(dim=-1, keepdim=True)
        slope = weighted.mul_(scale).addcmul_(wide, along * scale**3 / inputs.shape[-1], value=-1)
        return slope.to(inputs.dtype), None, None


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


class FrozenRMSNorm(nn.Module):
    """``weight * x / sqrt(mean(x^2) + epsilon)`` with a frozen weight."""

    def __init__(self, weight: torch.Tensor, epsilon: float):
        super().__init__()
        self.weight, self.epsilon = weight, epsilon

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Normalise the last dimension."""
        return _RMSNormFunction.apply(inputs, self.weight, self.epsilon)


def replace_rms_norms(model: nn.Module) -> int:
    """Replace every RMS normalisation of a float32 or bfloat16 model; returns how many were.

    A module is replaced only if a trial shows that it computes this very function: some families shift the weight.
    A float64 model keeps its own, since transformers normalises it in float32.
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
    if weight.dtype not in TOLERANCES or weight.dim() != 1:
        return None
    tolerance = TOLERANCES[weight.dtype]
    candidate = FrozenRMSNorm(weight, epsilon)
    # its own generator: the trial must not move the global random state
    generator = torch.Generator(device="cpu").manual_seed(0)
    trial = torch.randn(4, len(weight), generator=generator).to(weight)
    with torch.no_grad():
        same = torch.allclose(candidate(trial), module(trial), rtol=tolerance, atol=tolerance)
    return candidate if same else None
