"""The instructions that torch's sums are made with: one set for all processors gives the same last bits on each."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

# instruction set -> what ATen's and MKL's kernels are chosen by; both are read when torch first computes
VARIABLES = {"avx2": {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2"}}
CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Processor:
    """What the system says of its processor.

    Attributes:
        instructions: the instruction sets that it has, as Linux names them; none on another system.
    """

    model: str
    instructions: frozenset[str]


def read_processor(cpu_info: Path = CPU_INFO) -> Processor:
    """The first processor of this machine; all are alike."""
    model, instructions = platform.processor() or platform.machine(), ""
    try:
        lines = cpu_info.read_text(encoding="utf-8").splitlines()
    except OSError:  # not a Linux
        lines = []
    for line in takewhile(str.strip, lines):
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            model = value.strip()
        elif key.strip() in ("flags", "Features"):
            instructions = value
    return Processor(model, frozenset(instructions.split()))


def fix_instruction_set(name: str, cpu_info: Path = CPU_INFO) -> bool:
    """Let every process that is started from here compute with one instruction set; what the caller has set stays.

    Args:
        name: ``avx2``, or empty: each processor takes its best.
        cpu_info: what the system says of its processor.

    Returns:
        Whether it was done: a processor that lacks these instructions is left alone.
    """
    x86 = platform.machine() in ("x86_64", "AMD64")
    if not name or not x86 or name not in read_processor(cpu_info).instructions:
        return False
    for variable, value in VARIABLES[name].items():
        os.environ.setdefault(variable, value)
    return True
