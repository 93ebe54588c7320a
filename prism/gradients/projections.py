"""Which weight matrices of a decoder layer the gradient is measured on, for any architecture of transformers.

The paper's seven (q, k, v, o, gate, up, down) where a layer has exactly these, be they modules of their own or parts of
a fused one; else every linear weight of the layer, under the name that the model gives it. The matrices of a layer's
experts are one column a kind: the root of the sum of squares over all experts. Routers are left out: they choose
experts, and no token passes through their weights. So are filters of convolutions, biases, and vectors of any kind.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES
from transformers.pytorch_utils import Conv1D

from prism.core.errors import BadInput
from prism.gradients.fused import Outputs, split_outputs
from prism.gradients.norm_files import MODULES

AUTO, SEVEN, ALL_LINEAR, PER_EXPERT = "auto", "seven", "all-linear", "per-expert"
CHOICES = (AUTO, SEVEN, ALL_LINEAR, PER_EXPERT)

# Projections that read the same input share the Gram matrix of that input.
INPUT_GROUPS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))

_EXPERT = re.compile(r"\bexperts\.\d+\.")
_ROUTER = re.compile(r"(^|\.)(router|shared_expert_gate|gate)(\.|$)")
_OTHER_SENSES = re.compile(r"(^|\.)(vision\w*|visual\w*|image\w*|audio\w*|speech\w*|vqmodel)(\.|$)")
_SUPPORTED = "probe a causal decoder with linear layers of its own"


@dataclass(frozen=True, eq=False)
class Part:
    """A weight, or some of its outputs, or one expert's matrix of a stack of them.

    Attributes:
        module: the module that holds the weight.
        weight: its name there; it is looked up at each use, so that weights may come and go.
        outputs: which outputs of the module; all where None.
        outputs_last: the weight lies as (inputs, outputs), not as (outputs, inputs).
        expert: which matrix of a stack (experts, ., .); all where None.
    """

    module: nn.Module
    weight: str = "weight"
    outputs: Outputs | None = None
    outputs_last: bool = False
    expert: int | None = None

    @property
    def parameter(self) -> nn.Parameter:
        """The weight, as it is held now."""
        return getattr(self.module, self.weight)

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        """The part of the weight, or of its gradient, as one matrix."""
        if self.expert is not None:
            tensor = tensor[self.expert]
        if self.outputs is not None:
            outputs = self.outputs if isinstance(self.outputs, slice) else self.outputs.to(tensor.device)
            tensor = tensor[..., outputs] if self.outputs_last else tensor[..., outputs, :]
        return tensor.reshape(-1, tensor.shape[-1])

    @property
    def size(self) -> int:
        """Number of weights."""
        shape = list(self.parameter.shape[0 if self.expert is None else 1 :])
        if self.outputs is not None:
            place = -1 if self.outputs_last else -2
            shape[place] = (
                len(range(shape[place])[self.outputs]) if isinstance(self.outputs, slice) else len(self.outputs)
            )
        return math.prod(shape)


@dataclass(frozen=True, eq=False)
class Projection:
    """One column of the gradient vector: the norm over all its parts together.

    Attributes:
        layer: 0-based.
        module: one of the seven, or the model's own name within the layer.
    """

    layer: int
    module: str
    parts: tuple[Part, ...]

    @property
    def name(self) -> str:
        """Column name: ``layers.{l}.{module}``."""
        return f"layers.{self.layer}.{self.module}"

    @property
    def size(self) -> int:
        """Number of weights."""
        return sum(part.size for part in self.parts)

    @property
    def linear(self) -> nn.Module:
        """The module of a projection of one part."""
        (part,) = self.parts
        return part.module


def decoder_layers(model: nn.Module) -> nn.ModuleList:
    """The stack of decoder layers of the language model; towers for images or sound are passed over.

    Raises:
        BadInput: there is no such stack.
    """
    stacks: dict[str, nn.ModuleList] = {}
    for path, module in model.named_modules():
        outermost = not any(path.startswith(f"{other}.") for other in stacks)
        if isinstance(module, nn.ModuleList) and len(module) and outermost and not _OTHER_SENSES.search(path):
            stacks[path] = module
    with_weights = [stack for stack in stacks.values() if any(map(_is_linear, stack[0].modules()))]
    if not with_weights:
        raise BadInput(type(model).__name__, "has no stack of decoder layers", _SUPPORTED)
    return max(with_weights, key=len)


def find_projections(model: nn.Module, choice: str = AUTO) -> list[Projection]:
    """The measured matrices of every decoder layer, in the order of the layers; the seven in the order of `MODULES`.

    Nothing is read but names and shapes: the weights may lie on the meta device.

    Args:
        choice: ``seven``; ``all-linear``; ``per-expert``, all linear with a column an expert; or ``auto``: the seven
            where every layer has exactly these, else all linear.

    Raises:
        BadInput: the model has no decoder layers, or a layer has none of the matrices asked for; names the module.
    """
    config = model.config.get_text_config()
    masked = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if config.is_encoder_decoder or (masked and getattr(config, "is_decoder", None) is False):
        raise BadInput(type(model).__name__, "is no causal language model: tokens see later ones", _SUPPORTED)
    layers = decoder_layers(model)
    prefix = next(name for name, module in model.named_modules() if module is layers)
    finder = _LayerReader(config, per_expert=choice == PER_EXPERT)
    found = [finder.read(f"{prefix}.{index}", layer) for index, layer in enumerate(layers)]
    exactly_seven = all(sorted(map(_leaf, parts)) == sorted(MODULES) for parts in found)
    if choice == SEVEN or (choice == AUTO and exactly_seven):
        found = [_seven(f"{prefix}.{index}", parts) for index, parts in enumerate(found)]
    projections = [
        Projection(index, label, tuple(parts)) for index, layer in enumerate(found) for label, parts in layer.items()
    ]
    if not projections:
        raise BadInput(prefix, "has no linear weight", _SUPPORTED)
    _require_own_weights(prefix, projections)
    return projections


def parameter_counts(projections: Sequence[Projection]) -> list[int]:
    """Number of weights of each projection, in the same order."""
    return [projection.size for projection in projections]


def rule_of(projections: Sequence[Projection]) -> str:
    """In words, how weights became columns; empty for the seven as weights of their own."""
    parts = [part for projection in projections for part in projection.parts]
    rules = []
    if any("." in projection.module or projection.module not in MODULES for projection in projections):
        rules.append("every linear weight of each decoder layer but routers")
    if any(part.outputs is not None for part in parts):
        rules.append("fused weights in parts")
    if any(part.expert is not None for part in parts):
        rules.append("each expert a column")
    elif any(part.parameter.dim() > 2 for part in parts) or any(len(one.parts) > 1 for one in projections):
        rules.append("the experts of a kind one column, the root of the sum of their squares")
    return "; ".join(rules)


def _leaf(path: str) -> str:
    return path.rpartition(".")[2]


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | Conv1D)


def _seven(place: str, parts: dict[str, list[Part]]) -> dict[str, list[Part]]:
    """The seven projections of a layer by their usual names; whatever else it has is left out."""
    chosen = {}
    for name in MODULES:
        paths = [path for path in parts if _leaf(path) == name]
        if len(paths) != 1:
            problem = f"has no {name}" if not paths else f"has {len(paths)} modules named {name}"
            raise BadInput(place, f"{problem} (but {', '.join(parts)})", "use --matrices all-linear")
        chosen[name] = parts[paths[0]]
    return chosen


def _require_own_weights(place: str, projections: Sequence[Projection]) -> None:
    owners: dict[int, int] = {}
    for projection in projections:
        for part in projection.parts:
            if owners.setdefault(id(part.parameter), projection.layer) != projection.layer:
                raise BadInput(place, f"layers share the weights of {projection.module}", _SUPPORTED)


@dataclass(frozen=True)
class _LayerReader:
    """Finds the linear weights of decoder layers.

    Attributes:
        config: of the language model.
        per_expert: every expert has columns of its own.
    """

    config: PretrainedConfig
    per_expert: bool

    def read(self, place: str, layer: nn.Module) -> dict[str, list[Part]]:
        """Parts of everything linear in a layer but its routers, by path; fused weights are taken apart."""
        found: dict[str, list[Part]] = {}
        for path, module, name in self._weights(place, layer):
            for label, part in self._parts(layer, path, module, name):
                found.setdefault(label if self.per_expert else _EXPERT.sub("experts.", label), []).append(part)
        return found

    def _weights(self, place: str, layer: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
        """Path, module and name of every linear weight, be it a module's or a stack of experts' matrices."""
        modules = dict(layer.named_modules())
        routed = any("expert" in f"{path} {type(module).__name__}".lower() for path, module in modules.items())
        for path, module in modules.items():
            if _leaf(path) == "base_layer":
                raise BadInput(f"{place}.{path}", "is below an adapter", "merge the adapter into the model first")
            if routed and _ROUTER.search(path):
                continue
            for name, parameter in module.named_parameters(recurse=False):
                stacked = parameter.dim() == 3 and not isinstance(module, nn.modules.conv._ConvNd)
                if not stacked and not (_is_linear(module) and name == "weight"):
                    continue
                if not parameter.is_floating_point():
                    raise BadInput(f"{place}.{path}", "has no floating-point weights", "load the model unquantised")
                yield path if name == "weight" else f"{path}.{name}", module, name

    def _parts(self, layer: nn.Module, path: str, module: nn.Module, name: str) -> Iterator[tuple[str, Part]]:
        weight = getattr(module, name)
        # a Conv1D and some families' experts lie as (inputs, outputs)
        last = isinstance(module, Conv1D) or (
            weight.dim() == 3 and getattr(module, "is_transposed", self.config.model_type == "llama4_text")
        )
        above, _, leaf = path.rpartition(".")
        split = split_outputs(leaf, weight.shape[-1 if last else -2], layer.get_submodule(above), self.config)
        for kind, outputs in (split or {leaf: None}).items():
            label = f"{above}.{kind}" if above else kind
            if weight.dim() == 3 and self.per_expert:
                for expert in range(len(weight)):
                    place = f"{above}.{expert}.{kind}" if _leaf(above) == "experts" else f"{label}.{expert}"
                    yield place, Part(module, name, outputs, last, expert)
            else:
                yield label, Part(module, name, outputs, last)
