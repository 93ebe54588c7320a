"""Faults other than kills: no space, no permission, no memory, a worker lost, two runs at once."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.faults


def prism(*arguments: object, cwd: Path, **options) -> subprocess.CompletedProcess:
    """Run a command to its end."""
    command = [sys.executable, "-m", "prism", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, text=True, capture_output=True, timeout=600, check=False, **options)


def refusals(result: subprocess.CompletedProcess) -> list[str]:
    """The lines in which a command says why it ended."""
    return [line for line in result.stderr.splitlines() if line.startswith("prism: ")]


@pytest.fixture
def mounted(tmp_path):
    """Mount a small file system; skipped loudly where that is not permitted."""
    folders = []

    def mount(size: str, *flags: str) -> Path:
        folder = tmp_path / f"mount{len(folders)}"
        folder.mkdir()
        options = ",".join([f"size={size}", *flags])
        result = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False)
        if result.returncode:
            pytest.skip("FAULT TEST NOT RUN: mounting a small file system is not permitted here (root is needed)")
        folders.append(folder)
        return folder

    yield mount
    for folder in folders:
        subprocess.run(["umount", "-l", folder], check=False)


def shard(undisturbed) -> Path:
    """A file of gradient norms."""
    return next(undisturbed.results.glob("gradnorms/**/*.parquet"))


def test_a_full_disk_is_one_line_and_leaves_nothing(undisturbed, mounted):
    disk = mounted("8k")
    result = prism("score", shard(undisturbed), "--out", disk / "scores.csv", cwd=undisturbed.folder)
    assert result.returncode == 1
    assert len(refusals(result)) == 1
    assert "No space left" in refusals(result)[0]
    assert list(disk.iterdir()) == []


def test_a_read_only_folder_is_one_line(undisturbed, mounted):
    disk = mounted("1m", "ro")
    result = prism("score", shard(undisturbed), "--out", disk / "scores.csv", cwd=undisturbed.folder)
    assert result.returncode == 1
    assert len(refusals(result)) == 1
    assert "Read-only" in refusals(result)[0]


def test_a_shard_without_memory_fails_alone_and_runs_again(undisturbed, tmp_path):
    """The probe halves its packs when memory runs out; where even one sample does not fit, nothing is left behind."""
    out = tmp_path / "shard.parquet"
    arguments = [
        "probe", "--model", undisturbed.results / "backbones/tiny-qwen3",
        "--data", undisturbed.results / "data/alfworld/trajectories.jsonl", "--out", out,
    ]  # fmt: skip
    limit = 2 << 30

    def starve() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    starved = prism(*arguments, cwd=undisturbed.folder, preexec_fn=starve)
    assert starved.returncode != 0
    assert not out.exists()
    assert prism(*arguments, cwd=undisturbed.folder).returncode == 0
    assert out.is_file()


def test_two_workflows_at_once(checkout, tmp_path):
    """The second ends at once with Snakemake's own message; the first goes on undisturbed."""
    first = checkout.start(tmp_path / "first.log", "--until", "alfworld_games")
    deadline = time.monotonic() + 60
    while not list((checkout.folder / ".snakemake/locks").glob("*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    second = checkout.run(tmp_path / "second.log")
    assert second != 0
    assert "lock" in (tmp_path / "second.log").read_text().lower()
    assert first.wait(timeout=300) == 0, (tmp_path / "first.log").read_text()[-2000:]
    assert (checkout.results / "data/alfworld/games").is_dir()


def test_a_worker_of_verl_that_is_killed_fails_the_run_and_the_next_one_recovers(undisturbed, tmp_path):
    rl = next(path for path in undisturbed.results.glob("rl/alfworld/tiny-qwen3/*/seed0"))
    before = (rl / "model.safetensors").read_bytes()
    target = str(rl.relative_to(undisturbed.folder))
    process = undisturbed.start(tmp_path / "first.log", "--forcerun", "rl", "--until", "rl")
    worker = wait_for_worker(undisturbed, process)
    worker.kill()
    assert process.wait(timeout=300) != 0
    assert undisturbed.orphans() == []
    undisturbed.unlock()
    assert undisturbed.run(tmp_path / "second.log", target) == 0, (tmp_path / "second.log").read_text()[-2000:]
    assert (rl / "model.safetensors").read_bytes() == before


def wait_for_worker(checkout, process) -> psutil.Process:
    """The process of Ray that trains."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        for candidate in psutil.process_iter():
            try:
                if "WorkerDict" in " ".join(candidate.cmdline()) and candidate.environ().get("PWD") is not None:
                    return candidate
            except psutil.Error:
                continue
        time.sleep(0.2)
    raise AssertionError("no worker of verl appeared")


def test_a_temporary_folder_that_cannot_be_used_is_one_line(undisturbed, tmp_path):
    """Ray needs a folder for its sockets."""
    taken = tmp_path / "taken"
    taken.write_text("a file, not a folder")
    result = prism(
        "probe", "--model", undisturbed.results / "backbones/tiny-qwen3",
        "--data", undisturbed.results / "data/alfworld/trajectories.jsonl", "--out", taken / "shard.parquet",
        cwd=undisturbed.folder, env={**os.environ, "TMPDIR": str(taken)},
    )  # fmt: skip
    assert result.returncode != 0
    assert len(refusals(result)) == 1
