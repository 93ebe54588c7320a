"""Jobs over the two emulated nodes: a Ray cluster as RL starts it, and a whole training with SFT."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slurm
BATCH, EPOCHS = 8, 4
RECIPE = {
    "nodes": 2,
    "per_device_train_batch_size": BATCH,
    "gradient_accumulation_steps": 1,
    "num_train_epochs": EPOCHS,
    "learning_rate": 2.0e-3,
    "logging_steps": 1,
    "template": "qwen3",
    "layout": "steps",
    "threads": 1,
    "prompt": {"style": "compact", "history": "actions:14", "context_length": 512},
}


def on_two_nodes(folder: Path, environment: dict[str, str], *command: str) -> str:
    """Output of a command that runs on the first of two nodes, as a job of the workflow does."""
    allocation = ["salloc", "--quiet", "--nodes=2", "--ntasks-per-node=1", "--mem=8000", "--time=10"]
    result = subprocess.run(
        [*allocation, "srun", "--nodes=1", "--ntasks=1", sys.executable, *command],
        cwd=folder, env={**environment, "PYTHONPATH": str(folder)}, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def test_a_ray_cluster_over_two_nodes(sandbox, clone, environment, tmp_path):
    printed = on_two_nodes(clone, environment, "tests/slurm/two_nodes.py", str(tmp_path))
    assert [line for line in printed.splitlines() if line.startswith("ray")] == ["ray 2 nodes 2 GPUs"]


def test_sft_over_two_nodes(sandbox, clone, environment, tmp_path):
    """Each node takes half of the rows: the optimizer makes half as many steps as one process would."""
    corpus = clone / "resources/records/demo/records/data/alfworld/trajectories.jsonl"
    lines = corpus.read_text().splitlines()[:8]
    (tmp_path / "few.jsonl").write_text("\n".join(lines) + "\n")
    model = "resources/backbones/tiny-qwen3"
    places = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "model")]
    command = [
        "-m",
        "prism",
        "stage",
        "sft",
        "--model",
        model,
        "--trajectories",
        str(tmp_path / "few.jsonl"),
        "--seed",
        "0",
    ]
    on_two_nodes(clone, environment, *command, *places, "--recipe", json.dumps(RECIPE))
    rows = json.loads((tmp_path / "model/sft.json").read_text())["rows"]
    with (tmp_path / "model/loss.csv").open() as source:
        losses = [float(row["loss"]) for row in csv.DictReader(source)]
    assert len(losses) == EPOCHS * -(-rows // (2 * BATCH))
    assert losses[-1] < losses[0]
    assert (tmp_path / "model/model.safetensors").is_file()
