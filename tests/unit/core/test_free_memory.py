"""Free memory is the least of what machine, cgroups and ulimit leave."""

from __future__ import annotations

import subprocess
import sys

import pytest

from prism.core.memory import free_host_memory, readable

GB = 10**9


@pytest.fixture
def machine(tmp_path):
    """A machine with 8 GB free, no limits; returns a function that writes one of its files."""

    def write(name, text):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    write("proc/meminfo", f"MemTotal: 16000000 kB\nMemAvailable: {8 * GB // 1024} kB\n")
    write("proc/self/status", "Name:\tpython\nVmSize:\t 1000 kB\nVmData:\t 500 kB\n")
    write("proc/self/cgroup", "0::/job/step\n")
    write("cgroup/job/step/memory.max", "max\n")
    write("cgroup/job/step/memory.current", f"{GB}\n")
    return write


def free(tmp_path):
    return free_host_memory(tmp_path / "proc", tmp_path / "cgroup")


def test_without_limits_it_is_the_machines(machine, tmp_path):
    assert free(tmp_path) == pytest.approx(8 * GB, abs=1024)


def test_a_limit_of_an_outer_cgroup_counts_and_file_cache_does_not(machine, tmp_path):
    machine("cgroup/job/memory.max", f"{4 * GB}\n")
    machine("cgroup/job/memory.current", f"{3 * GB}\n")
    machine("cgroup/job/memory.stat", f"anon {GB}\ninactive_file {2 * GB}\n")
    assert free(tmp_path) == 3 * GB


def test_a_container_sees_its_own_cgroup_at_the_mount(machine, tmp_path):
    machine("proc/self/cgroup", "0::/docker/abc\n")
    machine("cgroup/memory.max", f"{2 * GB}\n")
    machine("cgroup/memory.current", f"{GB}\n")
    assert free(tmp_path) == GB


def test_cgroups_of_the_first_version(machine, tmp_path):
    machine("proc/self/cgroup", "9:cpu:/x\n4:memory:/slurm/job_1\n0::/\n")
    machine("cgroup/memory/slurm/job_1/memory.limit_in_bytes", f"{5 * GB}\n")
    machine("cgroup/memory/slurm/job_1/memory.usage_in_bytes", f"{GB}\n")
    machine("cgroup/memory/slurm/job_1/memory.stat", f"total_inactive_file {GB // 2}\n")
    assert free(tmp_path) == 4.5 * GB


def test_a_full_cgroup_leaves_nothing(machine, tmp_path):
    machine("cgroup/job/memory.max", f"{GB}\n")
    machine("cgroup/job/memory.current", f"{2 * GB}\n")
    assert free(tmp_path) == 0


@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_ulimit_counts(root, limit):
    script = f"""
import resource
resource.setrlimit(resource.{limit}, (500_000_000, 500_000_000))
from prism.core.memory import free_host_memory
print(free_host_memory())
"""
    printed = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    assert 300_000_000 < int(printed) < 500_000_000


def test_sizes_are_readable():
    assert [readable(size) for size in (3.44e9, 52e6, 2300)] == ["3.4 GB", "52.0 MB", "2.3 kB"]
