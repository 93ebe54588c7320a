"""Locks, conda files and what the project asks for agree."""

import re
import sys

import pytest


@pytest.fixture
def lock_script(root):
    sys.path.insert(0, str(root / "scripts"))
    try:
        import lock
    finally:
        sys.path.pop(0)
    return lock


@pytest.mark.parametrize("role", ["cpu", "sft", "rl"])
def test_the_conda_file_is_made_from_the_lock(root, lock_script, role):
    lock = (root / f"envs/{role}.lock").read_text()
    assert (root / f"envs/{role}.yaml").read_text() == lock_script.conda_file(role, lock)


@pytest.mark.parametrize("role", ["cpu", "sft", "rl"])
def test_every_pin_has_a_hash_and_every_request_a_pin(root, lock_script, role):
    lock = (root / f"envs/{role}.lock").read_text()
    pinned = {re.sub(r"[-_.]+", "-", pin.split("==")[0]).lower() for pin in lock_script.pins(lock)}
    assert len(re.findall(r"^[A-Za-z0-9._-]+==\S+ \\\n    --hash=sha256:", lock, re.MULTILINE)) == len(pinned)
    for line in (root / f"envs/{role}.in").read_text().splitlines():
        name = re.match(r"[A-Za-z0-9._-]+", line)
        if name:
            assert re.sub(r"[-_.]+", "-", name[0]).lower() in pinned, line


def test_the_cpu_lock_brings_no_cuda(root, lock_script):
    names = [pin.split("==")[0] for pin in lock_script.pins((root / "envs/cpu.lock").read_text())]
    assert not [name for name in names if name.startswith(("nvidia-", "triton", "torchvision", "torchaudio"))]
