"""A model whose decoder layers lie in memory only while they run: as large as the disk, not as the memory.

Embeddings, head, norms and biases stay; the matrices of a layer are read from the safetensors files when the layer runs
its forward pass or its recomputation, and dropped when another layer needs the place. While a layer computes, a thread
reads the next one. The prober's checkpointing does the rest: between layers only the hidden states are kept. A pack
reads every layer twice but for the last one, so large packs make the reading a small share.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from prism.core.errors import BadInput, first_line
from prism.core.model_folder import model_files
from prism.gradients.projections import decoder_layers

DTYPES_ON_DISK = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


@dataclass(frozen=True)
class StoredTensor:
    """Where a weight lies on disk.

    Attributes:
        start: its first byte in the file.
    """

    name: str
    path: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int

    def read(self, pinned: bool = False) -> torch.Tensor:
        """The weight in the host's memory. Read, not mapped: mapped pages would count as memory in use."""
        buffer = torch.empty(prod(self.shape) * self.dtype.itemsize, dtype=torch.uint8, pin_memory=pinned)
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.start)
            view, done = memoryview(buffer.numpy()), 0
            # one call reads 2 GiB at most
            while done < len(view):
                if not (count := file.readinto(view[done:])):
                    raise BadInput(self.path, "ends early", "use an intact checkpoint")
                done += count
        return buffer.view(self.dtype).reshape(self.shape)


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """All weights of a model folder by name, from the heads of its safetensors files.

    Raises:
        BadInput: a file's head is damaged, or a weight is not stored as floating-point numbers.
    """
    found = {}
    for path in model_files(folder, ("*.safetensors",)):
        try:
            with path.open("rb") as file:
                size = int.from_bytes(file.read(8), "little")
                head = json.loads(file.read(min(size, path.stat().st_size)))
        except ValueError as error:
            raise BadInput(
                path, f"has no safetensors head ({first_line(error)})", "use an intact checkpoint"
            ) from error
        for name, entry in head.items():
            if name == "__metadata__":
                continue
            if entry["dtype"] not in DTYPES_ON_DISK:
                raise BadInput(path, f"{name} is stored as {entry['dtype']}", "use weights of 16 bits or more")
            begin = 8 + size + entry["data_offsets"][0]
            found[name] = StoredTensor(name, path, DTYPES_ON_DISK[entry["dtype"]], tuple(entry["shape"]), begin)
    return found


class LayerStream:
    """Keeps the matrices of one decoder layer in memory, and reads those of the next.

    Args:
        weights: of each layer, its parameters and where they are stored.
    """

    def __init__(self, weights: Sequence[Mapping[nn.Parameter, StoredTensor]]):
        self._weights = weights
        self._checked: set[int] = set()
        self._resident: int | None = None
        self._ahead: tuple[int, Future[list[torch.Tensor]]] | None = None
        self._step = 1
        self._reader = ThreadPoolExecutor(1, "weights")
        self.bytes_read = 0

    def running(self, index: int, forward: Callable) -> Callable:
        """A layer's forward that has the layer's weights in memory."""

        def run(*arguments: Any, **options: Any) -> Any:
            self.load(index)
            return forward(*arguments, **options)

        return run

    def load(self, index: int) -> None:
        """Bring a layer's weights into memory; those of the last one are dropped first.

        Raises:
            BadInput: a weight is NaN or infinite.
        """
        if index == self._resident:
            return
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] != index:
            ahead[1].result()
            ahead = None
        self._drop()
        tensors = ahead[1].result() if ahead is not None else self._read(index)
        for (parameter, stored), tensor in zip(self._weights[index].items(), tensors, strict=True):
            parameter.data = tensor.to(parameter.device, parameter.dtype)
            if index not in self._checked and not torch.isfinite(parameter).all():
                raise BadInput(stored.path, f"{stored.name} holds NaN or infinite weights", "use an intact checkpoint")
        self._checked.add(index)
        self._resident = index
        self._read_ahead(index)

    def close(self) -> None:
        """Wait for the layer that is being read, and forget it."""
        self._reader.shutdown()
        self._ahead = None

    def _read_ahead(self, index: int) -> None:
        """Layers run upwards, then downwards: at either end the turn begins with the layer that is there already."""
        if index == 0:
            self._step = 1
        if index == len(self._weights) - 1:
            self._step = -1
        if 0 <= (following := index + self._step) < len(self._weights):
            self._ahead = following, self._reader.submit(self._read, following)

    def _read(self, index: int) -> list[torch.Tensor]:
        tensors = [stored.read(parameter.is_cuda) for parameter, stored in self._weights[index].items()]
        self.bytes_read += sum(tensor.nbytes for tensor in tensors)
        return tensors

    def _drop(self) -> None:
        if self._resident is not None:
            for parameter in self._weights[self._resident]:
                parameter.data = hollow(parameter)
        self._resident = None


def hollow(tensor: torch.Tensor, device: torch.device | None = None) -> torch.Tensor:
    """A tensor of the same shape and type that takes no memory; its values must not be read."""
    empty = torch.empty_strided((1,), (1,), dtype=tensor.dtype, device=device or tensor.device)
    return empty.expand(tensor.shape)


def load_streamed(folder: Path, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """A model like that of `load_model` whose layers bring their weights themselves; to be probed with checkpointing.

    Raises:
        BadInput: the folder holds no causal language model, its weights are not stored under the model's own names,
            or one is NaN or infinite.
    """
    model = _skeleton(folder, dtype, device)
    stored = stored_tensors(folder)
    layers = decoder_layers(model)
    prefix = next(name for name, module in model.named_modules() if module is layers)
    streamed: list[dict[nn.Parameter, StoredTensor]] = [{} for _ in layers]
    for name, parameter in list(model.named_parameters()):
        if name not in stored:
            continue
        if stored[name].shape != tuple(parameter.shape):
            raise _not_streamable(folder, f"{name} has the shape {stored[name].shape}")
        in_layer = name.startswith(f"{prefix}.") and parameter.dim() > 1
        weight = hollow(parameter, device) if in_layer else stored[name].read().to(device, dtype)
        if not in_layer and not torch.isfinite(weight).all():
            raise BadInput(folder, f"{name} holds NaN or infinite weights", "use an intact checkpoint")
        path, _, leaf = name.rpartition(".")
        owner = model.get_submodule(path)
        owner.register_parameter(leaf, nn.Parameter(weight, requires_grad=False))
        if in_layer:
            streamed[int(name[len(prefix) + 1 :].partition(".")[0])][getattr(owner, leaf)] = stored[name]
    model.tie_weights()
    missing = [name for name, parameter in model.named_parameters() if parameter.is_meta]
    if missing:
        raise _not_streamable(folder, f"{missing[0]} is not stored under this name")
    stream = LayerStream(streamed)
    for index, layer in enumerate(layers):
        layer.forward = stream.running(index, layer.forward)
    model.weight_stream = stream
    return model


def _skeleton(folder: Path, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """The model without weights, its buffers (rotary frequencies) as transformers fills them."""
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(
            folder, f"cannot be loaded as a causal language model ({first_line(error)})", "check its files"
        ) from error
    if buffers := set(model.state_dict()) - {name for name, _ in model.named_parameters(remove_duplicate=False)}:
        raise _not_streamable(folder, f"{min(buffers)} is no weight")
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            module.register_buffer(name, torch.empty_like(buffer, device=device), persistent=False)
        if module._buffers:
            with torch.no_grad():
                model._init_weights(module)
    return model


def _not_streamable(folder: Path, problem: str) -> BadInput:
    return BadInput(folder, f"cannot be streamed: {problem}", "probe it without --stream")
