"""Renew envs/*.lock from envs/*.in with uv, and the conda files from the locks. Run it as `make lock`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from prism.tools.containers import renew_lock_hash

ENVS = Path(__file__).resolve().parent.parent / "envs"
ROLES = {
    "cpu": ["--config-file", str(ENVS / "uv.toml"), "--override", str(ENVS / "overrides.txt")],
    "sft": ["--python-platform", "x86_64-manylinux_2_28", "--override", str(ENVS / "gpu-overrides.txt")],
    "rl": ["--python-platform", "x86_64-manylinux_2_28", "--override", str(ENVS / "gpu-overrides.txt")],
}
# an environment of tests alone: no conda file, no image
TEST_ROLES = {
    "gpu-stack": ["--config-file", str(ENVS / "uv.toml"), "--override", str(ENVS / "gpu-stack-overrides.txt")],
}
PIN = re.compile(r"^([A-Za-z0-9._-]+==[^ \\]+)", re.MULTILINE)


def pins(lock: str) -> list[str]:
    """``name==version`` of every package in a lock."""
    return PIN.findall(lock)


def conda_file(role: str, lock: str) -> str:
    """A conda environment with the packages of a lock; conda brings Python and the compilers."""
    head = f"# Made by `make lock` from envs/{role}.lock; do not edit.\nname: prism-{role}\nchannels: [conda-forge]\n"
    system = "dependencies:\n  - python=3.11\n  - gxx\n  - make\n  - pip\n  - pip:\n"
    return head + system + "".join(f"      - {pin}\n" for pin in pins(lock))


def compile_lock(role: str, upgrade: bool) -> None:
    """Resolve one role; pins of the present lock are kept unless `upgrade`."""
    target = ENVS / f"{role}.lock"
    options = ["--quiet", "--python-version", "3.11", "--generate-hashes", "--no-annotate", "--no-header"]
    extra = ["--upgrade"] if upgrade else []
    subprocess.run(
        ["uv", "pip", "compile", *options, *(ROLES | TEST_ROLES)[role], *extra, ENVS / f"{role}.in", "-o", target],
        check=True,
    )
    head = f"# Locked by `make lock` from envs/{role}.in; do not edit.\n"
    target.write_text(head + target.read_text().removeprefix(head))


def main() -> None:
    """Renew every role; ``--upgrade`` takes newer versions, ``--conda`` only renews the conda files."""
    for role in ROLES:
        if "--conda" not in sys.argv:
            compile_lock(role, "--upgrade" in sys.argv)
        (ENVS / f"{role}.yaml").write_text(conda_file(role, (ENVS / f"{role}.lock").read_text()))
        renew_lock_hash(ENVS.parent, role)
    for role in TEST_ROLES:
        if "--conda" not in sys.argv:
            compile_lock(role, "--upgrade" in sys.argv)


if __name__ == "__main__":
    main()
