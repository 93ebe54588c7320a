"""Faults other than kills: no space, no permission, no memory, a worker lost, two runs at once."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from fault_checkout import Checkout, differences

pytestmark = pytest.mark.faults

# what a probe may still take from the address space once its libraries are loaded
MEBIBYTES_LEFT = 48
STARVED_PROBE = f"""
import resource, sys
import prism.stages.probe, transformers.models.qwen3.modeling_qwen3
from prism.cli import main
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + ({MEBIBYTES_LEFT} << 20),) * 2)
sys.argv[0] = "prism"
main()
"""
# where Ray, its dashboard, its client and its agents would like to listen
PORTS_OF_RAY = (6379, 8265, 10001, 44217, 44227, 52365)
# until scores: the stages before any training
LIGHT = "results/faults/scores/alfworld/tiny-qwen3.csv"


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


def shard(checkout: Checkout) -> Path:
    """A file of gradient norms, the whole of a probe."""
    return next(checkout.results.glob("gradnorms/**/shard-0-of-1.parquet"))


def test_a_full_disk_is_one_line_and_leaves_nothing(undisturbed, mounted):
    disk = mounted("64k")
    (disk / "others").write_bytes(bytes(64 * 1024))
    result = prism("score", shard(undisturbed), "--out", disk / "scores.csv", cwd=undisturbed.folder)
    assert result.returncode == 1
    assert len(refusals(result)) == 1
    assert "No space left" in refusals(result)[0]
    assert [path.name for path in disk.iterdir()] == ["others"]


def test_a_read_only_folder_is_one_line(undisturbed, mounted):
    disk = mounted("1m", "ro")
    result = prism("score", shard(undisturbed), "--out", disk / "scores.csv", cwd=undisturbed.folder)
    assert result.returncode == 1
    assert len(refusals(result)) == 1
    assert "Read-only" in refusals(result)[0]


def test_a_file_where_a_folder_should_be_is_one_line(undisturbed, tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("a file, not a folder")
    result = prism("score", shard(undisturbed), "--out", taken / "scores.csv", cwd=undisturbed.folder)
    assert result.returncode == 1
    assert len(refusals(result)) == 1
    assert taken.read_text() == "a file, not a folder"


def test_a_run_goes_on_once_there_is_space_again_and_may_be_written(checkout, expected, mounted, tmp_path, tell):
    """The results lie on a disk that cannot be written, then is too small, then is neither."""
    disk = mounted("300k")
    remount(disk, "ro")
    checkout.results.parent.mkdir(parents=True, exist_ok=True)
    checkout.results.symlink_to(disk)
    tell("results that cannot be written, then a disk that is full")
    assert checkout.run(tmp_path / "read-only.log", LIGHT) != 0
    remount(disk, "rw")
    assert checkout.run(tmp_path / "full.log", LIGHT) != 0
    assert "No space left" in (tmp_path / "full.log").read_text()
    assert not (checkout.results / "data/alfworld/games").exists()
    remount(disk, "size=64m")
    assert checkout.run(tmp_path / "whole.log", LIGHT) == 0, (tmp_path / "whole.log").read_text()[-2000:]
    found = checkout.hashes()
    assert Path(LIGHT).name in {Path(name).name for name in found}
    assert differences({name: expected[name] for name in found}, found) == differences({}, {})


def remount(folder: Path, options: str) -> None:
    """Change a mounted file system."""
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def test_a_probe_without_memory_leaves_nothing_and_runs_again(undisturbed, tmp_path):
    """Packs are halved when memory runs out (tests/unit); here not even one sample fits."""
    out = tmp_path / "shard.parquet"
    arguments = [
        "probe", "--model", undisturbed.results / "backbones/tiny-qwen3",
        "--data", undisturbed.results / "data/alfworld/trajectories.jsonl", "--out", out,
    ]  # fmt: skip
    starved = subprocess.run(
        [sys.executable, "-c", STARVED_PROBE, *map(str, arguments)],
        cwd=undisturbed.folder, text=True, capture_output=True, timeout=600, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert starved.returncode != 0
    assert "does not fit into memory" in refusals(starved)[0], starved.stderr[-2000:]
    assert not out.exists()
    assert prism(*arguments, cwd=undisturbed.folder).returncode == 0
    assert out.is_file()


def test_a_shard_that_the_kernel_kills_fails_alone(undisturbed, tmp_path, tell):
    """Out of memory in one shard of two, as the kernel ends it: the other shard stays, and it alone runs again."""
    halves = Checkout(undisturbed.folder, {**undisturbed.overlay, "probe": {"shards": 2}}, undisturbed.temporary)
    folder = halves.results / "gradnorms/alfworld/tiny-qwen3"
    shards = [folder / f"shard-{number}-of-2.parquet" for number in range(2)]
    targets = [str(path.relative_to(halves.folder)) for path in shards]
    tell("a shard of two is killed")
    run = halves.start(tmp_path / "first.log", *targets)
    wait_for(lambda: command_with(run, "--shard 1"), run, "shard 1").kill()
    assert run.wait(timeout=300) != 0
    assert [path.is_file() for path in shards] == [True, False]
    survived = shards[0].stat().st_mtime_ns
    assert halves.run(tmp_path / "second.log", *targets) == 0, (tmp_path / "second.log").read_text()[-2000:]
    assert shards[1].is_file()
    assert shards[0].stat().st_mtime_ns == survived


def test_two_workflows_at_once(checkout, tmp_path):
    """The second ends at once with Snakemake's own message; the first goes on undisturbed."""
    first = checkout.start(tmp_path / "first.log", "--until", "games")
    wait_for(lambda: list((checkout.folder / ".snakemake/locks").glob("*")), first, "lock")
    # held where it is: it would else be done before the second one has planned
    first.send_signal(signal.SIGSTOP)
    second = checkout.run(tmp_path / "second.log")
    first.send_signal(signal.SIGCONT)
    assert second != 0
    assert "lock" in (tmp_path / "second.log").read_text().lower()
    assert first.wait(timeout=300) == 0, (tmp_path / "first.log").read_text()[-2000:]
    assert (checkout.results / "data/alfworld/games").is_dir()


def rl_folder(checkout: Checkout) -> Path:
    """What the experiment's RL run made."""
    return next(checkout.results.glob("rl/alfworld/tiny-qwen3/*/seed0"))


def test_a_work_folder_that_another_run_holds_is_one_line(undisturbed, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    recipe = json.loads((rl_folder(undisturbed) / "run.json").read_text())["recipe"]
    with (work / "lock").open("w") as lock:
        lock.write("1 on elsewhere")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = prism(
            "stage", "rl", "--init", undisturbed.results / "backbones/tiny-qwen3",
            "--games", undisturbed.results / "data/alfworld/games",
            "--panel", undisturbed.results / "data/alfworld/panels/train.json",
            "--recipe", json.dumps(recipe), "--seed", 0, "--work", work, "--out", tmp_path / "out",
            cwd=undisturbed.folder,
        )  # fmt: skip
    assert result.returncode != 0
    assert len(refusals(result)) == 1
    assert "another run works in it" in refusals(result)[0]
    assert not (tmp_path / "out").exists()


def test_a_killed_worker_of_verl_fails_the_run_and_the_next_one_recovers(undisturbed, expected, tmp_path, tell):
    """The next run also finds Ray's usual ports taken and a TMPDIR that is no folder."""
    rl = rl_folder(undisturbed)
    target = str(rl.relative_to(undisturbed.folder))
    # a run whose last checkpoint is there already would not start verl
    shutil.rmtree(undisturbed.results / "work/rl")
    tell("a worker of verl is killed")
    run = undisturbed.start(tmp_path / "first.log", "--forcerun", "rl", "--until", "rl")
    wait_for(lambda: command_with(run, "WorkerDict"), run, "worker of verl").kill()
    assert run.wait(timeout=300) != 0
    assert undisturbed.orphans() == []
    assert not (rl / "model.safetensors").exists()
    tell("and RL runs again, its ports taken")
    no_folder = tmp_path / "taken"
    no_folder.write_text("a file, not a folder")
    with ports_taken(PORTS_OF_RAY):
        code = undisturbed.run(tmp_path / "second.log", target, variables={"TMPDIR": str(no_folder)})
    assert code == 0, (tmp_path / "second.log").read_text()[-2000:]
    found = undisturbed.hashes()
    assert {name for name in expected if name.startswith("rl/")} == {name for name in found if name.startswith("rl/")}
    changed = differences(expected, {**expected, **found}).changed_after_rl
    tell(f"RL's weights are {'not ' if changed else ''}the undisturbed run's")


@contextmanager
def ports_taken(ports: tuple[int, ...]) -> Iterator[None]:
    """Listen on ports; those that somebody listens on already are taken as well."""
    with ExitStack() as stack:
        for port in ports:
            listener = stack.enter_context(socket.socket())
            with suppress(OSError):
                listener.bind(("", port))
                listener.listen()
        yield


def command_with(run: subprocess.Popen, text: str) -> psutil.Process | None:
    """A process that a run started, Python and not the shell around it, whose command holds a text."""
    for candidate in psutil.Process(run.pid).children(recursive=True):
        with suppress(psutil.Error):
            command = candidate.cmdline()
            if text in " ".join(command) and command[1:2] != ["-c"]:
                return candidate
    return None


def wait_for(found, run: subprocess.Popen, what: str, seconds: float = 240):
    """The first thing that is found while a run goes on."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and run.poll() is None:
        if result := found():
            return result
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGKILL)
    raise AssertionError(f"no {what} appeared")
