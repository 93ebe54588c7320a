"""The SLURM profile against a real SLURM: requests, GPUs, every kind of failure, a killed Snakemake, a whole table."""

from __future__ import annotations

import csv
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slurm
# the profile waits longer before its first look, as a real cluster's administrators would ask
FAST_LOOKS = ["--slurm-init-seconds-before-status-checks", "2"]
PATIENCE = 1800


def snakemake(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "snakemake", "--profile", "slurm", *arguments]


def faults(folder: Path, *targets: str) -> list[str]:
    overlay = ["--configfile", "config/config.yaml", "--config", f"folder={folder}"]
    return snakemake(*targets, "--snakefile", "tests/slurm/faults.smk", *FAST_LOOKS, *overlay)


def starts(folder: Path, name: str) -> list[list[str]]:
    """One line a start of a job: SLURM's number, attempt, node, GPUs."""
    path = folder / f"{name}.starts"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(happened: Callable[[], bool], what: str, process: subprocess.Popen | None = None) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert process is None or process.poll() is None, f"Snakemake ended before: {what}"
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.5)


def hurry_requeued() -> None:
    """Let requeued jobs start at once, on any node; SLURM would wait two minutes, and for the node that they asked for.

    SLURM refuses while it is still ending a job.
    """
    command = ["squeue", "--noheader", "--states=pending", "--format=%i|%r"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)
    for number, reason in (line.split("|") for line in listed.stdout.splitlines()):
        if reason == "BeginTime":
            command = ["scontrol", "update", f"jobid={number}", "reqnodelist=", "starttime=now"]
            subprocess.run(command, capture_output=True, check=False)


def slurm_jobs() -> dict[str, dict[str, str]]:
    """Every job that SLURM still knows: state, requested GPUs per node, MB, minutes, rule and wildcards."""
    # the field widths must hold the longest values: squeue cuts without a word
    command = ["squeue", "--states=all", "--noheader", "--format=%i|%T|%b|%m|%l|%k"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = ("state", "gres", "memory", "limit", "comment")
    return {
        line.split("|")[0]: dict(zip(names, line.split("|")[1:], strict=True)) for line in text.splitlines() if line
    }


@pytest.fixture(scope="module")
def table_run(sandbox, clone, environment):
    """The README's command with a tiny config in place of the paper's; runs while the other tests do."""
    command = snakemake("results/tables/table1.csv", *FAST_LOOKS, "--configfile", "tests/slurm/tiny.yaml")
    with (clone / "table.log").open("w") as log:
        process = subprocess.Popen(command, cwd=clone, env=environment, stdout=log, stderr=log)
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.wait(60)


@pytest.fixture(scope="module")
def faulty(sandbox, clone, environment, table_run, tmp_path_factory) -> Path:
    """The faults under one Snakemake: a job is cancelled and a node dies on the way."""
    folder = tmp_path_factory.mktemp("faults")
    # a lock of its own: the table is being built in the same clone
    command = [*faults(folder, "all"), "--nolock"]
    log = folder / "snakemake.log"
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=clone, env=environment, stdout=out, stderr=out)
    wait_for(lambda: starts(folder, "cancelled"), "the job to cancel starts", process)
    subprocess.run(["scancel", starts(folder, "cancelled")[0][0]], check=True)
    wait_for(lambda: starts(folder, "orphaned"), "the job whose node dies starts", process)
    node = starts(folder, "orphaned")[0][2]
    sandbox.kill_node(node)
    # what the controller would find out by itself after SlurmdTimeout
    subprocess.run(["scontrol", "update", f"nodename={node}", "state=down", "reason=test"], check=True)

    def started_again() -> bool:
        hurry_requeued()
        return len(starts(folder, "orphaned")) == 2

    wait_for(started_again, "the orphan starts again", process)
    # not sooner: a node that is back before its dead job is forgotten would kill the job that was requeued
    sandbox.start_node(node)
    sandbox.wait_for_node(node)
    assert process.wait(PATIENCE) == 0, log.read_text()[-3000:]
    return folder


def test_gpus_are_requested_and_distinct(faulty):
    taken = [(node, gpu) for index in range(2) for _, _, node, gpus in starts(faulty, f"gpu-{index}")[:1]
             for gpu in gpus.split(",")]  # fmt: skip
    assert len(taken) == 8
    assert len(set(taken)) == 8
    requests = {job["gres"] for job in slurm_jobs().values() if job["comment"].startswith("rule_gpu_")}
    assert requests == {"gres:gpu:a100:4"}


def test_a_job_that_fails_is_submitted_again(faulty):
    runs = starts(faulty, "exits")
    assert [attempt for _, attempt, _, _ in runs] == ["1", "2"]
    assert runs[0][0] != runs[1][0], "repeated inside the same SLURM job"


def test_a_job_over_its_memory_comes_back_with_more(faulty):
    runs = starts(faulty, "outgrows")
    assert [attempt for _, attempt, _, _ in runs] == ["1", "2"]
    jobs = slurm_jobs()
    assert [jobs[number]["memory"] for number, *_ in runs] == ["1000M", "2000M"]
    assert jobs[runs[0][0]]["state"] in ("OUT_OF_MEMORY", "CANCELLED", "FAILED")


def test_a_job_over_its_time_comes_back_with_more(faulty):
    runs = starts(faulty, "overstays")
    jobs = slurm_jobs()
    assert [jobs[number]["limit"] for number, *_ in runs] == ["1:00", "2:00"]
    assert jobs[runs[0][0]]["state"] == "TIMEOUT"


def test_a_cancelled_job_is_submitted_again(faulty):
    runs = starts(faulty, "cancelled")
    assert [attempt for _, attempt, _, _ in runs] == ["1", "2"]
    assert slurm_jobs()[runs[0][0]]["state"] == "CANCELLED"


def test_a_job_whose_node_died_goes_back_into_the_queue(faulty):
    runs = starts(faulty, "orphaned")
    assert len(runs) == 2
    assert runs[0][2] != runs[1][2], "on the node that died"
    # SLURM requeues: the same job and, for Snakemake, the same attempt
    assert runs[0][:2] == runs[1][:2]


def test_a_killed_snakemake_goes_on(sandbox, clone, environment, tmp_path):
    """Jobs outlive a kill -9; `prism recover` waits for them; nothing finished is lost and nothing runs twice."""
    here = tmp_path / "run"
    here.mkdir()
    for name in ("slurm", "profiles", "config", "tests", "Snakefile", "rules", "prism", "resources"):
        (here / name).symlink_to(clone / name)
    process = subprocess.Popen(
        faults(tmp_path, f"{tmp_path}/after.txt"), cwd=here, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(lambda: starts(tmp_path, "survivor-0") and starts(tmp_path, "survivor-1"), "both jobs start", process)
    process.kill()
    process.wait()
    assert not (tmp_path / "survivor-1.txt").exists()
    recover = [sys.executable, "-m", "prism", "recover"]
    result = subprocess.run(recover, cwd=here, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "survivor-1.txt").exists(), "recover did not wait"
    again = subprocess.run(
        faults(tmp_path, f"{tmp_path}/after.txt"), cwd=here, env=environment, capture_output=True, text=True,
        timeout=PATIENCE,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr[-3000:]
    assert [len(starts(tmp_path, name)) for name in ("survivor-0", "survivor-1", "after")] == [1, 1, 1]


@pytest.mark.parametrize(
    ("options", "goes_on"),
    [([], True), (["--latency-wait", "1", "--retries", "0"], False)],
    ids=["profile", "a second"],
)
def test_an_output_that_a_shared_disk_shows_late_is_waited_for(sandbox, clone, environment, tmp_path, options, goes_on):
    """Snakemake sees another folder in the place of the one that its job writes to, until it has begun to wait.

    As on a login node whose NFS client still holds an old listing: the job's node sees its file at once.
    """
    written, seen, log = tmp_path / "written", tmp_path / "seen", tmp_path / "snakemake.log"
    written.mkdir()
    seen.mkdir()
    in_its_place = 'mount --bind "$0" "$1" && shift && exec "$@"'
    command = [*faults(written, f"{written}/late.txt"), "--nolock", *options]
    with log.open("w") as out:
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", in_its_place, seen, written, *command],
            cwd=clone, env=environment, stdout=out, stderr=out,
        )  # fmt: skip
    wait_for(lambda: "for missing files" in log.read_text(), "Snakemake misses the output", process)
    assert (written / "late.txt").exists()
    time.sleep(4)
    shutil.copytree(written, seen, dirs_exist_ok=True)
    assert (process.wait(PATIENCE) == 0) == goes_on, log.read_text()[-3000:]
    assert len(starts(written, "late")) == 1
    assert ("Missing files after 1 seconds. This might be due to filesystem latency" in log.read_text()) != goes_on


def test_the_verbatim_command_builds_a_table(table_run, clone):
    """Probe, scores, splits, SFT, RL, evaluation and the table, each through sbatch with the A100s of its rule."""
    assert table_run.wait(PATIENCE) == 0, (clone / "table.log").read_text()[-3000:]
    with (clone / "results/tables/table1.csv").open() as source:
        rows = list(csv.DictReader(line for line in source if not line.startswith("#")))
    assert {(row["split"], row["method"]) for row in rows} == {
        (split, method) for split in ("seen", "unseen") for method in ("base", "prism-gini")
    }
    requests: dict[str, set[str]] = {}
    for job in slurm_jobs().values():
        rule = re.match(r"rule_([a-z0-9_]+?)(?:_wildcards_|_scores|$)", job["comment"])
        if rule:
            requests.setdefault(rule[1], set()).add(job["gres"])
    assert requests["probe"] == requests["evaluate"] == {"gres:gpu:a100:1"}
    assert requests["sft"] == requests["rl"] == {"gres:gpu:a100:8"}
    # cells and tables run where Snakemake runs
    assert not {"table1", "table1_row"} & set(requests)
