"""One job over the two emulated nodes: a Ray cluster, and a command with a rank a node."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slurm


def test_a_job_over_two_nodes(sandbox, clone, environment, tmp_path):
    inside = ["srun", "--nodes=1", "--ntasks=1", sys.executable, "tests/slurm/two_nodes.py", str(tmp_path)]
    result = subprocess.run(
        ["salloc", "--quiet", "--nodes=2", "--ntasks-per-node=1", "--mem=8000", "--time=10", *inside],
        cwd=clone, env={**environment, "PYTHONPATH": str(clone)}, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    lines = sorted(line for line in result.stdout.splitlines() if line.startswith(("ray", "rank")))
    assert lines == [
        "rank 0 of 2 on gpu01 meets at 127.0.0.1",
        "rank 1 of 2 on gpu02 meets at 127.0.0.1",
        "ray 2 nodes 2 GPUs",
    ]
