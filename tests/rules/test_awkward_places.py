"""A small real run where paths and permissions are not what one expects."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TINY = """
scale: smoke
results: results
benchmarks:
  alfworld:
    games: {train: 12, seen: 6, unseen: 6}
    panels: {seen: 6, unseen: 6}
    max_steps: 10
tables: {table1: {methods: [base, prism-gini]}}
"""
SCORES = "results/scores/alfworld/tiny-qwen3.csv"
ELSEWHERE = Path("/dev/shm")


@pytest.mark.slow
def test_a_run_up_to_the_scores(copy_repository, tmp_path):
    """Repository and environment below a folder whose name needs quoting, reached through a symlink; the results on
    another file system; a home that cannot be written; files that nobody else may read."""
    place = tmp_path / "o'neil and co"
    checkout = copy_repository(place / "prism")
    (place / "environment").symlink_to(sys.prefix)
    (tmp_path / "linked").symlink_to(checkout)
    (checkout / "tiny.yaml").write_text(TINY)
    results = ELSEWHERE / f"prism results {os.getpid()}" if ELSEWHERE.is_dir() else tmp_path / "the results"
    results.mkdir()
    (checkout / "results").symlink_to(results)
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    # a file can be no folder, not even root's
    environment |= {"HOME": "/dev/null", "XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": "/usr/bin:/bin"}
    python = place / "environment/bin" / Path(sys.executable).name
    command = [str(python), "-m", "snakemake", "--cores", "2", "--configfile", "tiny.yaml", "--", SCORES]
    options = {"cwd": tmp_path / "linked", "env": environment, "umask": 0o077, "text": True, "capture_output": True}
    try:
        run = subprocess.run(command, **options)
        assert run.returncode == 0, run.stderr
        header = (results / "scores/alfworld/tiny-qwen3.csv").read_text().splitlines()
        assert len([line for line in header if not line.startswith("#")]) == 13
        again = subprocess.run([*command[:3], "-n", *command[3:]], **options)
        assert "Nothing to be done" in again.stdout + again.stderr
    finally:
        shutil.rmtree(results)
