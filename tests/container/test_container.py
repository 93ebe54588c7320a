"""The workflow inside the CPU image: a real table, equal byte for byte to the one built without a container."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from prism.core.errors import BadInput
from prism.stages.containers import check_image

pytestmark = pytest.mark.container

OVERLAY = {
    "benchmarks": {
        "alfworld": {"games": {"train": 12, "seen": 6, "unseen": 6}, "panels": {"seen": 6, "unseen": 6}, "max_steps": 6}
    },
    "sft": {"num_train_epochs": 1},
    "tables": {"table1": {"methods": ["base", "sft"]}},
}
TARGETS = ["tables/table1.csv", "splits/alfworld/tiny-qwen3/gini-50.csv"]
# everything that holds no time and no place of its own
COMPARED = ("data/**/*.json*", "gradnorms/**/*.parquet", "scores/**/*.csv", "splits/**/*.csv", "sft/**/*.safetensors",
            "eval/**/*.json", "tables/*.csv")  # fmt: skip


@pytest.fixture(scope="module")
def clone(copy_repository, tmp_path_factory) -> Path:
    """The repository as a third party gets it."""
    return copy_repository(tmp_path_factory.mktemp("third-party") / "prism")


def build(clone: Path, results: str, image: Path | None) -> Path:
    """Build the targets below `results`, inside `image` if there is one."""
    overlay = {**OVERLAY, "results": results}
    options = []
    if image is not None:
        overlay["containers"] = {"cpu": str(image), "sft": str(image), "rl": str(image)}
        options = ["--sdm", "apptainer", "--apptainer-args=--userns"]
    path = clone / f"{Path(results).name}.yaml"
    path.write_text(yaml.safe_dump(overlay))
    targets = [f"{results}/{target}" for target in TARGETS]
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *options, *targets, "--configfile", str(path)]
    result = subprocess.run(command, cwd=clone, text=True, capture_output=True, timeout=1500, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return clone / results


def hashes(results: Path) -> dict[str, str]:
    """sha256 of every compared file by its name below the results."""
    files = {path for pattern in COMPARED for path in results.glob(pattern) if path.is_file()}
    return {str(path.relative_to(results)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def test_a_table_built_in_the_container_equals_one_built_outside(clone, cpu_image):
    inside = hashes(build(clone, "results/inside", cpu_image))
    outside = hashes(build(clone, "results/outside", None))
    assert {"tables/table1.csv", "splits/alfworld/tiny-qwen3/gini-50.csv"} <= set(inside)
    assert any(name.endswith(".safetensors") for name in inside)
    assert inside == outside


def test_an_image_of_another_lock_is_refused(clone, cpu_image):
    lock = clone / "envs/cpu.lock"
    lock.write_text(lock.read_text() + "# changed\n")
    with pytest.raises(BadInput, match="made from another lock"):
        check_image(clone, "cpu", cpu_image)


def test_any_user_can_run_the_image(cpu_image):
    """Packages are readable for others than root, and nothing is read from the host's Python."""
    program = "import os, torch, llamafactory; print(torch.__file__)"
    command = ["apptainer", "exec", "--userns", str(cpu_image), "python", "-c", program]
    result = subprocess.run(command, text=True, capture_output=True, check=True, env={**os.environ, "HOME": "/nowhere"})
    assert result.stdout.startswith("/usr/local/lib/python3.11/dist-packages/torch")
