"""How much memory this process may still take, on the machine and under the limits it was started with."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
# files of a memory cgroup: limit, use, and what of the use is file cache that goes when memory is short
_VERSION_2 = "memory.max", "memory.current", "inactive_file"
_VERSION_1 = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"


def free_host_memory(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> int:
    """Bytes that can still be allocated: the least of the machine's, the cgroups' (SLURM, containers) and ulimit's.

    Args:
        proc: where the process file system is.
        cgroups: where the cgroups are mounted.
    """
    rooms = [*_machine(proc), *_cgroup_rooms(proc, cgroups), *_resource_limits(proc)]
    return max(0, min(rooms))


def used_host_memory(proc: Path = _PROC) -> int:
    """Bytes of this process that lie in memory; 0 where the system does not tell."""
    return byte_fields(proc / "self" / "status").get("VmRSS", 0)


def readable(size: float) -> str:
    """A number of bytes for people: ``3.4 GB``."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit / 10:
            return f"{size / unit:.1f} {name}"
    return f"{size / 1e3:.1f} kB"


def byte_fields(path: Path) -> dict[str, int]:
    """Numbers by name of a kernel file, in bytes: plain, or in kB where it says so. Empty where there is none."""
    found = {}
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    for line in lines:
        words = line.replace(":", " ").split()
        if len(words) > 1 and words[1].isdigit():
            found[words[0]] = int(words[1]) * (1024 if words[2:] == ["kB"] else 1)
    return found


def _machine(proc: Path) -> Iterator[int]:
    fields = byte_fields(proc / "meminfo")
    if "MemAvailable" in fields:
        yield fields["MemAvailable"]
    else:  # no Linux
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _cgroup_rooms(proc: Path, cgroups: Path) -> Iterator[int]:
    """Room in every memory cgroup of this process, up to the root."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mount, names = cgroups, _VERSION_2
        elif "memory" in controllers.split(","):
            mount, names = cgroups / "memory", _VERSION_1
        else:
            continue
        # in a container the path is that of the host, and what is mounted is the cgroup itself
        inner = mount / path.lstrip("/")
        for folder in {mount, inner, *(parent for parent in inner.parents if mount in parent.parents)}:
            yield from _cgroup_room(folder, *names)


def _cgroup_room(folder: Path, limit: str, usage: str, cache: str) -> Iterator[int]:
    try:
        most, used = (int((folder / name).read_text()) for name in (limit, usage))
    except (OSError, ValueError):  # no such cgroup, or "max"
        return
    yield most - used + byte_fields(folder / "memory.stat").get(cache, 0)


def _resource_limits(proc: Path) -> Iterator[int]:
    fields = byte_fields(proc / "self" / "status")
    for kind, name in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        most, _ = resource.getrlimit(kind)
        if most != resource.RLIM_INFINITY:
            yield most - fields.get(name, 0)
