"""The GPU stack as far as a CPU carries it; `make gpu-stack` builds the environment that these tests need."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PYTHON = Path(os.environ.get("PRISM_GPU_STACK", ROOT / ".venv-gpu-stack")) / "bin" / "python"


def pytest_collection_modifyitems(items):
    """Everything in this folder belongs to the GPU stack."""
    for item in items:
        if HERE in Path(item.fspath).parents:
            item.add_marker(pytest.mark.gpu_stack)


@pytest.fixture(scope="session")
def in_gpu_stack(tmp_path_factory):
    """Run a script of this folder in the GPU stack's environment: JSON in, JSON out."""
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON} is not there: run `make gpu-stack`")

    def run(script: str, value):
        folder = tmp_path_factory.mktemp("gpu_stack")
        (folder / "in.json").write_text(json.dumps(value))
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "HF_HUB_OFFLINE": "1",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "OMP_NUM_THREADS": "1",
        }
        command = [str(PYTHON), str(HERE / script), str(folder / "in.json"), str(folder / "out.json")]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
        assert result.returncode == 0, result.stderr[-3000:]
        return json.loads((folder / "out.json").read_text())

    return run
