"""The instructions that torch's sums are made with: one set for all processors gives the same last bits on each."""

from __future__ import annotations

import os
import platform
from pathlib import Path

# instruction set -> what ATen's and MKL's kernels are chosen by; both are read when torch first computes
VARIABLES = {"avx2": {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2"}}
CPU_INFO = Path("/proc/cpuinfo")


def fix_instruction_set(name: str, cpu_info: Path = CPU_INFO) -> bool:
    """Let every process that is started from here compute with one instruction set; what the caller has set stays.

    Args:
        name: ``avx2``, or empty: each processor takes its best.
        cpu_info: what the system says of its processor.

    Returns:
        Whether it was done: a processor that lacks these instructions is left alone.
    """
    if not name or not has_instructions(name, cpu_info):
        return False
    for variable, value in VARIABLES[name].items():
        os.environ.setdefault(variable, value)
    return True


def has_instructions(name: str, cpu_info: Path = CPU_INFO) -> bool:
    """Whether this is an x86-64 processor with an instruction set, as Linux names it."""
    if platform.machine() not in ("x86_64", "AMD64") or not cpu_info.exists():
        return False
    flags = (line for line in cpu_info.read_text(encoding="utf-8").splitlines() if line.startswith("flags"))
    return name in next(flags, "").split()
