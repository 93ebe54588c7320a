"""Finds the seven projections of every decoder layer by structure, never by model name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from prism.core.errors import BadInput
from prism.gradients.norm_files import MODULES

# Projections that read the same input share the Gram matrix of that input.
INPUT_GROUPS = (("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",))

_FUSED = {"qkv_proj", "gate_up_proj", "c_attn", "query_key_value", "Wqkv", "wqkv", "in_proj", "kv_proj"}
_EXPERTS = {"experts", "router", "shared_expert", "shared_experts", "block_sparse_moe"}
_SUPPORTED = "use a dense decoder with separate q, k, v, o, gate, up and down projections (Qwen2/3, Llama, Mistral)"


@dataclass(frozen=True)
class Projection:
    """One of the 7L matrices: where it sits and the linear layer itself."""

    layer: int
    module: str
    parent: nn.Module
    linear: nn.Linear

    @property
    def name(self) -> str:
        """Column name: ``layers.{l}.{module}``."""
        return f"layers.{self.layer}.{self.module}"


def decoder_layers(model: nn.Module) -> nn.ModuleList:
    """The stack of decoder layers: the longest `ModuleList` whose first item holds attention.

    Raises:
        BadInput: there is no such stack.
    """
    stacks = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module) > 0]
    stacks = [stack for stack in stacks if any("attn" in name or "attention" in name for name, _ in _children(stack))]
    if not stacks:
        raise BadInput(type(model).__name__, "has no stack of decoder layers", _SUPPORTED)
    return max(stacks, key=len)


def find_projections(model: nn.Module) -> list[Projection]:
    """The 7L projections, layer by layer in the order of `MODULES`.

    Raises:
        BadInput: names the module that is fused, doubled (experts), missing or not a plain linear layer.
    """
    layers = decoder_layers(model)
    prefix = next(name for name, module in model.named_modules() if module is layers)
    found = [
        projection
        for index, layer in enumerate(layers)
        for projection in _layer_projections(f"{prefix}.{index}", index, layer)
    ]
    if len({id(projection.linear.weight) for projection in found}) != len(found):
        raise BadInput(prefix, "layers share projection weights", _SUPPORTED)
    return found


def parameter_counts(projections: list[Projection]) -> list[int]:
    """Number of weights of each projection, in the same order."""
    return [projection.linear.weight.numel() for projection in projections]


def _children(stack: nn.ModuleList) -> Iterator[tuple[str, nn.Module]]:
    return stack[0].named_modules()


def _layer_projections(place: str, index: int, layer: nn.Module) -> list[Projection]:
    candidates: dict[str, list[tuple[nn.Module, nn.Module]]] = {name: [] for name in MODULES}
    for path, module in layer.named_modules():
        for leaf, child in module.named_children():
            _refuse_fused(f"{place}.{path}.{leaf}" if path else f"{place}.{leaf}", leaf)
            if leaf in candidates:
                candidates[leaf].append((module, child))
    chosen = []
    for name in MODULES:
        places = candidates[name]
        if len(places) != 1:
            problem = f"has no {name}" if not places else f"has {len(places)} modules named {name}"
            raise BadInput(place, problem, _SUPPORTED)
        parent, linear = places[0]
        _require_linear(f"{place} {name}", linear)
        chosen.append(Projection(index, name, parent, linear))
    return chosen


def _refuse_fused(path: str, leaf: str) -> None:
    if leaf in _FUSED:
        raise BadInput(path, "is a fused projection: its parts have no gradient norm of their own", _SUPPORTED)
    if leaf in _EXPERTS:
        raise BadInput(path, "is a mixture of experts: a layer has more than seven projections", _SUPPORTED)


def _require_linear(path: str, module: nn.Module) -> None:
    if type(module) is not nn.Linear:
        raise BadInput(
            path, f"is a {type(module).__name__}, not a plain linear layer", "load it unquantised, merge adapters"
        )
    if not isinstance(module.weight, torch.Tensor) or not module.weight.is_floating_point():
        raise BadInput(path, "has no floating-point weights", "load the model unquantised")
