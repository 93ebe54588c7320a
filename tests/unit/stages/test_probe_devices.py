"""`prism probe --devices`: several processes give the file of one, and what ends one of them ends all, resumably."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import psutil
import pyarrow.parquet as pq
import pytest
import torch
from chat_files import write
from norm_files import fake_norms
from toy_corpus import save_toy_model

from prism.core.errors import BadInput, PrismError
from prism.core.prompts import Row
from prism.core.shards import Journal, gather_journals
from prism.gradients import set_up as in_set_up
from prism.gradients.memory_plan import MemoryPlan
from prism.gradients.norm_files import merge_norms
from prism.gradients.packs import Sample
from prism.stages.probe_team import Team, left_by_teams, parse_devices

# enough of them that an interruption comes before the end, also on a machine with other work
CHATS = 700
WORDS = ("go", "to", "desk", "mug", "look")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, and chats of random lengths mostly in packs of their own."""
    folder = tmp_path_factory.mktemp("devices")
    save_toy_model(folder / "tiny")
    draw = random.Random(0)
    write(
        folder / "c.jsonl",
        *(
            {
                "id": f"{number:03d}",
                "messages": [
                    {"role": role, "content": " ".join(draw.choices(WORDS, k=draw.randrange(10, 80)))}
                    for role in ("user", "assistant")
                ],
            }
            for number in range(CHATS)
        ),
    )
    return folder


def start(root, folder, out, *options):
    command = [sys.executable, "-m", "prism", "probe", "--model", "tiny", "--data", "c.jsonl", "--out", out]
    return subprocess.Popen(
        [*command, "--tokens-per-pack", "80", *options],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE, text=True,
        # a shell lets what it runs in the background ignore interruptions, and so would what the tests start
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def said_by(run):
    return run.communicate()[1].splitlines()


def wait_for(condition, run):
    deadline = time.monotonic() + 600
    while not condition():
        assert run.poll() is None, run.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture(scope="module")
def whole(root, folder):
    """What one process writes; what a team left of another run does not concern it."""
    (folder / "whole.parquet.device7.journal").write_text('{"model": "other"}\n{"id": "000"}\n')
    run = start(root, folder, "whole.parquet")
    said = said_by(run)
    assert run.returncode == 0, said
    return folder / "whole.parquet"


def test_two_processes_write_the_file_of_one(root, folder, whole):
    run = start(root, folder, "two.parquet", "--devices", "cpu,cpu")
    said = said_by(run)
    assert run.returncode == 0, said
    assert (folder / "two.parquet").read_bytes() == whole.read_bytes()
    assert pq.read_table(whole).num_rows == CHATS
    assert list(folder.glob("whole.parquet*")) == [whole]
    assert sum(f"{CHATS} trajectories -> {CHATS} rows" in line for line in said) == 1
    assert any(line.endswith("of memory for each of 2 processes") for line in said)
    assert f"probe: {CHATS}/{CHATS} samples on 2 devices, " in said[-1]
    assert said[-1].endswith("/s, 0 s left")
    assert list(folder.glob("two.parquet*")) == [folder / "two.parquet"]


def test_a_killed_process_and_an_interruption_end_all_and_can_be_resumed(root, folder, whole):
    out = folder / "n.parquet"
    second = Team(out, ("cpu", "cpu"), 1)

    def running(run):
        return [child for child in psutil.Process(run.pid).children() if "--worker" in child.cmdline()]

    def new_records():
        lines = second.journal.read_text().splitlines() if second.journal.exists() else []
        return sum('"share"' in line and '"share": 0.0}' not in line for line in lines)

    # the first process may have done its share before the second one does anything
    run = start(root, folder, out.name, "--devices", "cpu,cpu")
    wait_for(lambda: new_records() > 3, run)
    workers = running(run)
    next(worker for worker in workers if worker.cmdline()[-1] == "1").kill()
    said = said_by(run)
    assert run.returncode == 1
    assert said[-1] == (
        "prism: the process on cpu was killed (SIGKILL); its log is n.parquet.device1.log; "
        "the same command with --resume goes on from what is finished"
    )
    assert not out.exists()
    assert not any(worker.is_running() for worker in workers)
    assert not second.journal.exists()
    kept = len((folder / "n.parquet.journal").read_text().splitlines()) - 1
    assert 3 < kept < CHATS

    run = start(root, folder, out.name, "--devices", "cpu,cpu", "--resume")
    wait_for(lambda: new_records() > 0, run)
    workers = running(run)
    run.send_signal(signal.SIGINT)
    said = said_by(run)
    assert run.returncode != 0
    assert any(line.endswith("the same command with --resume goes on from n.parquet.journal") for line in said)
    assert not any(worker.is_running() for worker in workers)
    assert any("finished before: " in line for line in said)

    # on one device, as it may be
    run = start(root, folder, out.name, "--resume")
    said = said_by(run)
    assert run.returncode == 0, said
    assert any("finished before: " in line for line in said)
    assert out.read_bytes() == whole.read_bytes()
    assert list(folder.glob("n.parquet*")) == [out]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--devices", "cpu,cpu", "--device", "cpu"), "--devices: names devices, and so does --device cpu"),
        (("--devices", "cpu,cpu", "--loop-time", "t.json"), "--loop-time: is the time of one device"),
        (("--devices", "cpu,cpu", "--data", "no.jsonl"), "no.jsonl: "),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_starts(root, folder, options, problem):
    run = start(root, folder, "x.parquet", *options)
    said = said_by(run)
    assert run.returncode == 2
    assert said[-1].startswith(f"prism: {problem}")
    assert not list(folder.glob("x.parquet*"))


def test_what_a_process_refuses_is_said_with_its_code(root, folder):
    run = start(root, folder, "y.parquet", "--devices", "cpu,cpu", "--context-length", "64", "--strict")
    said = said_by(run)
    assert run.returncode == 2
    assert "is longer than the context of 64 tokens; " in said[-1]
    assert said[-1].endswith("(on cpu; log: y.parquet.device0.log)")
    assert not (folder / "y.parquet").exists()


def test_devices_that_are_not_there_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for text in ("quantum,cpu", "cuda:0,cuda:1", "cpu,", "meta,meta"):
        with pytest.raises(BadInput, match="cannot be used here"):
            parse_devices(text, "auto")
    with pytest.raises(BadInput, match="finds no GPU"):
        parse_devices("all", "auto")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert parse_devices("all", "auto") == ("cuda:0", "cuda:1", "cuda:2")
    assert parse_devices("cuda, cuda:2", "auto") == ("cuda:0", "cuda:2")
    with pytest.raises(BadInput, match="several kinds"):
        parse_devices("cuda:0,cpu", "auto")
    with pytest.raises(BadInput, match="'cuda:3' cannot be used here"):
        parse_devices("cuda:0,cuda:3", "auto")


def test_processes_on_one_device_share_its_memory(folder, monkeypatch):
    rooms = []

    def plan(need, samples, wanted, room, device):
        rooms.append(room)
        return MemoryPlan(100)

    monkeypatch.setattr(in_set_up, "plan_memory", plan)
    monkeypatch.setattr(in_set_up, "free_memory", lambda device: 10**9)
    samples = [Sample("a", (Row([1, 2, 3], [0, 1, 1]),))]
    for processes in (1, 4):
        place = in_set_up.ModelPlace(folder / "tiny", "float32", torch.device("cpu"), processes=processes)
        ready = in_set_up.set_up(place, samples, MemoryPlan(0, settled=False))
    held = sum(one.nbytes for one in ready.prober.model.parameters())
    assert rooms == [10**9, (10**9 - 3 * held) // 4]


def test_journals_are_gathered_but_for_what_a_kill_cut_short(tmp_path):
    parts = [Journal(tmp_path / f"n.device{number}.journal", {"run": 1}) for number in range(3)]
    for number, part in enumerate(parts):
        part.start([{"id": f"{number}", "loss": 0.5}])
    parts[1].path.open("a").write('{"id": "9", "lo')
    Journal(parts[2].path, {"run": 2}).start([{"id": "other"}])
    whole = Journal(tmp_path / "n.journal", {"run": 1})
    whole.start([{"id": "before"}])
    gather_journals(whole.path, left_by_teams(tmp_path / "n", "journal"))
    assert set(whole.read()) == {"before", "0", "1"}
    assert [path.name for path in tmp_path.iterdir()] == ["n.journal"]


def test_norms_of_two_probes_are_not_merged(tmp_path):
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for path, model in zip(paths, ("one", "two"), strict=True):
        fake_norms(path, [1], model=model)
    with pytest.raises(PrismError, match=r"b\.parquet: model, data or settings are not those of .*a\.parquet"):
        merge_norms(tmp_path / "c.parquet", paths)
    assert not (tmp_path / "c.parquet").exists()
