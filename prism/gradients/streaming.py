"""A model whose decoder layers lie in memory only while they run: as large as the disk, not as the memory.

Embeddings, head, norms and biases stay; the matrices of a layer are read from the safetensors files when the layer runs
its forward pass or its recomputation, and dropped when another layer needs the place. While a layer computes, a thread
reads the next one. The prober's checkpointing does the rest: between layers only the hidden states are kept. A pack
reads every layer twice but for the last one, so large packs make the reading a small share.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from prism.core.errors import BadInput, first_line
from prism.core.model_folder import model_files
from prism.gradients.adapters import is_adapter
from prism.gradients.projections import decoder_layers

_M_MMAP_THRESHOLD = -3  # of malloc.h
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
        kind: its type in the words of safetensors.
        start: its first byte in the file.
        nbytes: how many they are.
    """

    name: str
    path: Path
    kind: str
    shape: tuple[int, ...]
    start: int
    nbytes: int

    @property
    def dtype(self) -> torch.dtype:
        """Its floating-point type."""
        return DTYPES_ON_DISK[self.kind]

    def read(self, into: torch.Tensor) -> torch.Tensor:
        """The weight, read into the beginning of a buffer of bytes.

        It is not mapped: mapped pages would count as memory in use.
        """
        view, done = memoryview(into[: self.nbytes].numpy()), 0
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.start)
            # one call reads 2 GiB at most
            while done < self.nbytes:
                if not (count := file.readinto(view[done:])):
                    raise BadInput(self.path, "ends early", "use an intact checkpoint")
                done += count
        return into[: self.nbytes].view(self.dtype).view(self.shape)


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """All weights of a model folder by name, from the heads of its safetensors files.

    Raises:
        BadInput: a file's head is damaged.
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
            begin, end = entry["data_offsets"]
            found[name] = StoredTensor(name, path, entry["dtype"], tuple(entry["shape"]), 8 + size + begin, end - begin)
    return found


def stored_bytes(folder: Path, dtype: torch.dtype) -> tuple[int, int]:
    """Bytes of all weights of a model folder: on disk, and as they are held when the model is loaded as `dtype`."""
    stored = stored_tensors(folder).values()
    return sum(one.nbytes for one in stored), sum(prod(one.shape) for one in stored) * dtype.itemsize


class LayerStream:
    """Keeps the matrices of one decoder layer in memory, and reads those of the next.

    All memory is taken once: two buffers that files are read into by turns, and where the type or the device differs
    from the file's, a third one for the layer that runs. Otherwise the allocator keeps more than it should.

    Args:
        weights: of each layer, its parameters and where they are stored.
    """

    def __init__(self, weights: Sequence[Mapping[nn.Parameter, StoredTensor]]):
        self._weights = weights
        self._checked: set[int] = set()
        self._resident: int | None = None
        self._ahead: tuple[int, Future[list[torch.Tensor]]] | None = None
        self._step, self._turn = 1, 0
        self._reader = ThreadPoolExecutor(1, "weights")
        some = next(iter(weights[0]))
        size = max(sum(_padded(stored.nbytes) for stored in layer.values()) for layer in weights)
        self._buffers = [torch.empty(size, dtype=torch.uint8, pin_memory=some.is_cuda) for _ in range(2)]
        converted = some.is_cuda or any(
            stored.dtype != parameter.dtype for layer in weights for parameter, stored in layer.items()
        )
        size = max(sum(parameter.numel() for parameter in layer) for layer in weights) if converted else 0
        self._converted = torch.empty(size, dtype=some.dtype, device=some.device)
        self.bytes_read = 0

    @property
    def held(self) -> int:
        """Bytes of memory that it takes."""
        return sum(buffer.nbytes for buffer in (*self._buffers, self._converted))

    def running(self, index: int, forward: Callable) -> Callable:
        """A layer's forward that has the layer's weights in memory."""

        def run(*arguments: Any, **options: Any) -> Any:
            self.load(index)
            return forward(*arguments, **options)

        return run

    def load(self, index: int) -> None:
        """Bring a layer's weights into memory, in the place of those of the layer before.

        Raises:
            BadInput: a weight is NaN or infinite.
        """
        if index == self._resident:
            return
        self._drop()
        ahead, self._ahead = self._ahead, None
        tensors = ahead[1].result() if ahead is not None else []
        if ahead is None or ahead[0] != index:
            tensors = self._read(index, self._turn)
        # what is read next must not touch these
        self._turn = 1 - self._turn
        first = 0
        for (parameter, stored), tensor in zip(self._weights[index].items(), tensors, strict=True):
            if len(self._converted):
                weight = self._converted[first : first + tensor.numel()].view(tensor.shape)
                tensor = weight.copy_(tensor)
                first += tensor.numel()
            if index not in self._checked and not _is_finite(tensor):
                raise BadInput(stored.path, f"{stored.name} holds NaN or infinite weights", "use an intact checkpoint")
            parameter.data = tensor
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
            self._ahead = following, self._reader.submit(self._read, following, self._turn)

    def _read(self, index: int, turn: int) -> list[torch.Tensor]:
        tensors, first = [], 0
        for stored in self._weights[index].values():
            tensors.append(stored.read(self._buffers[turn][first:]))
            first += _padded(stored.nbytes)
            self.bytes_read += stored.nbytes
        return tensors

    def _drop(self) -> None:
        if self._resident is not None:
            for parameter in self._weights[self._resident]:
                parameter.data = hollow(parameter)
        self._resident = None


def _padded(nbytes: int) -> int:
    """Bytes up to where the next weight may begin in a buffer."""
    return -(-nbytes // 64) * 64


def _is_finite(weight: torch.Tensor) -> bool:
    """Whether no entry is NaN or infinite: their sum shows it, and takes no memory; it may overflow by itself."""
    return bool(torch.isfinite(weight.sum())) or bool(torch.isfinite(weight).all())


def _return_memory_at_once() -> None:
    """Keep glibc from holding freed tensors on its heap, where fragments add up to more than the model.

    By default it does so with ever larger ones. The price is that their pages are cleared again each time.
    """
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 16 * 1024)


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
    if is_adapter(folder):
        raise _not_streamable(folder, "it is an adapter, which is merged into its whole base")
    _return_memory_at_once()
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
        if stored[name].kind not in DTYPES_ON_DISK:
            raise _not_streamable(folder, f"{name} is stored as {stored[name].kind}")
        in_layer = name.startswith(f"{prefix}.") and parameter.dim() > 1
        weight = hollow(parameter, device) if in_layer else _whole(stored[name]).to(device, dtype)
        if not in_layer and not _is_finite(weight):
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


def _whole(stored: StoredTensor) -> torch.Tensor:
    return stored.read(torch.empty(stored.nbytes, dtype=torch.uint8))


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
    return BadInput(folder, f"cannot be streamed: {problem}", "probe it without --stream, on a machine that holds it")
