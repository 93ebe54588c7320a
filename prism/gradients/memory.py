"""Peak memory of a block of work on a device, above what was in use before it."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from prism.core.errors import BadInput
from prism.core.memory import byte_fields

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
# what resets the kernel's record of the peak (man 5 proc)
_RESET_PEAK = "5"


@dataclass
class Peak:
    """Bytes above what was in use when the block began; known when it has ended."""

    size: int = 0


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Measure a block: allocated memory on a GPU, resident memory of this process on a CPU.

    Raises:
        BadInput: the kernel does not let a process reset its peak, as some containers do not.
    """
    measured = Peak()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield measured
        torch.cuda.synchronize(device)
        measured.size = torch.cuda.max_memory_allocated(device) - before
        return
    # what was freed before goes back to the kernel, or the block would use it unseen
    ctypes.CDLL(None).malloc_trim(0)
    try:
        _CLEAR.write_text(_RESET_PEAK)
    except OSError as error:
        raise BadInput(_CLEAR, f"cannot be written ({error.strerror})", "measure on Linux outside a sandbox") from error
    before = byte_fields(_STATUS)["VmRSS"]
    yield measured
    measured.size = max(byte_fields(_STATUS)["VmHWM"] - before, 0)
