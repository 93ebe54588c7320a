"""The workflow inside the CPU image: a real table, equal byte for byte to the one built without a container."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet
import pytest
import yaml

from prism.core.errors import BadInput
from prism.tools.containers import check_image

pytestmark = pytest.mark.container

OVERLAY = {
    "benchmarks": {
        "alfworld": {"games": {"train": 12, "seen": 6, "unseen": 6}, "panels": {"seen": 6, "unseen": 6}, "max_steps": 6}
    },
    "sft": {"num_train_epochs": 1},
    "tables": {"table1": {"methods": ["base", "sft"]}},
}
TARGETS = ["tables/table1.csv", "splits/alfworld/tiny-qwen3/gini-50.csv"]
# Debian's Python in the image is not the user's
EXPECTED_TO_DIFFER = {"version_python"}
# the same name on both sides, since files name what they were made from
RESULTS = "results/third-party"
# everything that holds no time of its own
COMPARED = ("data/**/*.json*", "gradnorms/**/*.parquet", "scores/**/*.csv", "splits/**/*.csv", "sft/**/*.safetensors",
            "eval/**/*.json", "tables/*.csv")  # fmt: skip


@pytest.fixture
def clone(copy_repository, tmp_path) -> Callable[[str], Path]:
    """Makes the repository as a third party gets it, by the name of its folder."""
    return lambda name: copy_repository(tmp_path / name)


def build(clone: Path, image: Path | None) -> Path:
    """Build the targets in a clone, inside `image` if there is one."""
    overlay = {**OVERLAY, "results": RESULTS}
    options = []
    if image is not None:
        overlay["containers"] = {"cpu": str(image), "sft": str(image), "rl": str(image)}
        options = ["--sdm", "apptainer", "--apptainer-args=--userns"]
    path = clone / "third-party.yaml"
    path.write_text(yaml.safe_dump(overlay))
    targets = [f"{RESULTS}/{target}" for target in TARGETS]
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *options, *targets, "--configfile", str(path)]
    result = subprocess.run(command, cwd=clone, text=True, capture_output=True, timeout=1500, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return clone / RESULTS


def content(path: Path) -> bytes:
    """What has to be equal: all bytes; of a parquet file all values, and its metadata but for the Python."""
    if path.suffix != ".parquet":
        return path.read_bytes()
    table = pyarrow.parquet.read_table(path)
    metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    kept = {key: value for key, value in metadata.items() if key not in EXPECTED_TO_DIFFER}
    return json.dumps([table.to_pydict(), kept], sort_keys=True).encode()


def hashes(results: Path) -> dict[str, str]:
    """sha256 of every compared file by its name below the results."""
    files = {path for pattern in COMPARED for path in results.glob(pattern) if path.is_file()}
    return {str(path.relative_to(results)): hashlib.sha256(content(path)).hexdigest() for path in sorted(files)}


def test_a_table_built_in_the_container_equals_one_built_outside(clone, cpu_image):
    inside = hashes(build(clone("inside"), cpu_image))
    outside = hashes(build(clone("outside"), None))
    assert {"tables/table1.csv", "splits/alfworld/tiny-qwen3/gini-50.csv"} <= set(inside)
    assert any(name.endswith(".safetensors") for name in inside)
    assert any(name.endswith(".parquet") for name in inside)
    assert inside == outside


def test_an_image_of_another_lock_is_refused(clone, cpu_image):
    checkout = clone("changed")
    lock = checkout / "envs/cpu.lock"
    lock.write_text(lock.read_text() + "# changed\n")
    with pytest.raises(BadInput, match="made from another lock"):
        check_image(checkout, "cpu", cpu_image)


def test_any_user_can_run_the_image(cpu_image):
    """Packages are readable for others than root, and nothing is read from the host's Python."""
    program = "import os, torch, llamafactory; print(torch.__file__)"
    command = ["apptainer", "exec", "--userns", str(cpu_image), "python", "-c", program]
    result = subprocess.run(command, text=True, capture_output=True, check=True, env={**os.environ, "HOME": "/nowhere"})
    assert result.stdout.startswith("/usr/local/lib/python3.11/dist-packages/torch")
