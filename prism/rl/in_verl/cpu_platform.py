"""A ``cpu`` platform for verl 0.9.1, so that the stock trainer runs on a machine without a GPU.

Used with ``VERL_PLATFORM=cpu`` and ``VERL_USE_EXTERNAL_MODULES=prism.rl.in_verl.cpu_platform,...``. Never loaded on
GPUs. Two names of verl are replaced, each with its reason; the replacement fails loudly where a later version no longer
has what is replaced.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from verl.plugin.platform import PlatformBase, PlatformRegistry

from prism.rl.in_verl import replace


class _CpuDevice:
    """`torch.cpu` with the memory and random-state calls that verl makes on ``torch.<device>``; all are no-ops."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch.cpu, name)

    def _nothing(self, *_: Any, **__: Any) -> None:
        return None

    def _zero(self, *_: Any, **__: Any) -> int:
        return 0

    empty_cache = ipc_collect = reset_peak_memory_stats = set_device = _nothing
    memory_allocated = memory_reserved = max_memory_allocated = max_memory_reserved = _zero

    def mem_get_info(self, *_: Any) -> tuple[int, int]:
        return 0, 1

    def get_device_name(self, *_: Any) -> str:
        return "cpu"

    def get_device_properties(self, *_: Any) -> SimpleNamespace:
        return SimpleNamespace(total_memory=1, name="cpu")

    def get_rng_state(self, *_: Any) -> torch.Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: torch.Tensor, *_: Any) -> None:
        torch.set_rng_state(state)

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    manual_seed_all = manual_seed


_CPU_DEVICE = _CpuDevice()


@PlatformRegistry.register(platform="cpu")
class CpuPlatform(PlatformBase):
    """One logical device that is the CPU; collectives go through gloo."""

    @property
    def device_name(self) -> str:
        """Name of the torch device."""
        return "cpu"

    @property
    def vendor_name(self) -> str:
        """Name of the vendor."""
        return "cpu"

    @property
    def device_module(self) -> ModuleType:
        """Stands for ``torch.<device>``."""
        return _CPU_DEVICE

    def is_available(self) -> bool:
        """Always."""
        return True

    def is_platform_available(self, use_smi_check: bool = False) -> bool:
        """Never found by probing: ``VERL_PLATFORM=cpu`` asks for it."""
        return False

    def current_device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    def device_count(self) -> int:
        """One logical device."""
        return 1

    def set_device(self, device_index: int) -> None:
        """Nothing to choose."""

    def synchronize(self, device_index: int | None = None) -> None:
        """CPU work is synchronous."""

    def manual_seed(self, seed: int) -> None:
        """Seed torch."""
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        """Seed torch."""
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None:
        """No device allocator."""

    def empty_cache(self) -> None:
        """No device cache."""

    def get_device_capability(self, device_index: int = 0) -> tuple[int | None, int | None]:
        """No compute capability."""
        return None, None

    def communication_backend_name(self) -> str:
        """Collectives through gloo."""
        return "gloo"

    def visible_devices_envvar(self) -> str:
        """verl reads a variable of this name; it is not set on CPU machines."""
        return "CUDA_VISIBLE_DEVICES"

    @contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        """No profiler ranges."""
        yield

    def profiler_start(self) -> None:
        """No device profiler."""

    def profiler_stop(self) -> None:
        """No device profiler."""

    def ray_resource_name(self) -> str:
        """A logical Ray "GPU" slot: ``ray.init(num_gpus=1)`` grants it, and verl's placement code stays as it is."""
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        """No visibility variables to leave alone."""
        return []

    def is_ipc_supported(self) -> bool:
        """Weights travel through Ray."""
        return False

    def cudart(self) -> None:
        """No CUDA runtime."""


def _use_one_gloo_group() -> None:
    # verl composes "cpu:gloo,<device>:<backend>", which is "cpu:gloo,cpu:gloo" here: torch refuses the repetition.
    import verl.utils.distributed as distributed

    original = distributed.initialize_global_process_group_ray
    replace(distributed, "initialize_global_process_group_ray", functools.partial(original, backend="cpu:gloo"))


def _keep_reference_where_it_is() -> None:
    # verl offloads a reference policy to pinned CPU memory; it is on the CPU, and pinning needs an accelerator.
    # None is what verl gives the trained policy. The FSDP engine takes the name from here when it is imported.
    import verl.utils.fsdp_utils as fsdp_utils

    replace(fsdp_utils, "CPUOffloadPolicy", lambda **_: None)


def _register_hf_rollout() -> None:
    from verl.workers.rollout import base
    from verl.workers.rollout.replica import RolloutReplicaRegistry

    def load() -> type:
        from prism.rl.in_verl.hf_rollout import HFReplica

        return HFReplica

    RolloutReplicaRegistry.register("hf", load)
    # verl has no function to register a rollout adapter; this table is what it reads
    base._ROLLOUT_REGISTRY[("hf", "async")] = "prism.rl.in_verl.hf_rollout.HFAdapter"


_use_one_gloo_group()
_keep_reference_where_it_is()
_register_hf_rollout()
