"""What SLURM leaves in a job's environment does not stop verl."""

import sys

from prism.rl.launch import run_watched


def test_slurms_variable_for_amd_gpus_does_not_reach_verl(monkeypatch, tmp_path):
    """SLURM sets it with every GPU request; verl ends where it stands beside CUDA_VISIBLE_DEVICES."""
    monkeypatch.setenv("ROCR_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    show = "import os; print(sorted(name for name in os.environ if name.endswith('VISIBLE_DEVICES')))"
    run_watched([sys.executable, "-c", show], {}, tmp_path / "log.txt")
    log = (tmp_path / "log.txt").read_text()
    assert "CUDA_VISIBLE_DEVICES" in log
    assert "ROCR_VISIBLE_DEVICES" not in log
