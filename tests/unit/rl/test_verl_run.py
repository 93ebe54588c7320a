"""The real verl for real steps on a tiny model and a few games: outputs, subset, resume, no process left."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from prism.core.files import read_json, read_jsonl, write_jsonl
from prism.core.model_folder import sha256_model
from prism.environments.base import Panel, Task, write_panel
from prism.rl.launch import MARKER
from prism.rl.run_logs import BEFORE_SAVING, whole_records

pytestmark = pytest.mark.slow
GAMES = {"train": 6, "seen": 1, "unseen": 1, "seed": 0}
RECIPE = {
    "prompt": {"style": "compact", "history": "actions:14", "context_length": 512},
    "max_steps": 3,
    "learning_rate": 3e-4,
    "tasks_per_step": 2,
    "group_size": 4,
    "mini_batch": 24,
    "micro_batch_tokens": 8192,
    "max_response_tokens": 16,
    "steps_rule": "constant",
    "steps": 1,
    "save_every": 1,
}


@pytest.fixture(scope="module")
def games(tmp_path_factory):
    """A folder with a few games and a panel of them."""
    pytest.importorskip("alfworld")
    from prism.core.recipes import build_recipe
    from prism.environments.alfworld.dataset import GamesRecipe, generate_games, read_games

    folder = tmp_path_factory.mktemp("rl") / "games"
    generate_games(folder, build_recipe(GamesRecipe, GAMES, "test"))
    games = read_games(folder, "train")
    tasks = tuple(Task(f"t{index}", task.task_type, task.game) for index, task in enumerate(games))
    write_panel(folder / "panel.json", Panel("alfworld", "train", tasks))
    return folder


def command(root: Path, games: Path, folder: Path, **changes) -> list[str]:
    split = folder / "split.csv"
    split.write_text("# a comment\nid,score,regime\nt0,0.1,sft\nt1,0.2,rl\nt2,0.3,rl\n")
    return [
        *(sys.executable, "-m", "prism", "stage", "rl", "--init", str(root / "resources" / "backbones" / "tiny-qwen3")),
        *("--games", str(games), "--panel", str(games / "panel.json"), "--split", str(split)),
        *("--out", str(folder / "out"), "--work", str(folder / "work")),
        *("--recipe", json.dumps({**RECIPE, **changes}), "--seed", "3"),
    ]


def marked() -> list[str]:
    """Living processes of any RL run of this test."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environ = (process / "environ").read_bytes()
        except OSError:
            continue
        if MARKER.encode() in environ and b"PRISM_TEST_RUN=1" in environ:
            found.append(process.name)
    return found


ENVIRONMENT = {**os.environ, "PRISM_TEST_RUN": "1"}


def test_one_step_gives_a_model_a_rollout_log_and_metrics(root, games, tmp_path):
    subprocess.run(command(root, games, tmp_path), check=True, env=ENVIRONMENT, timeout=600)
    out = tmp_path / "out"
    assert sha256_model(out) != sha256_model(root / "resources" / "backbones" / "tiny-qwen3")
    rollouts = [record for _, record in read_jsonl(out / "rollouts.jsonl")]
    assert len(rollouts) == 8
    assert {record["task_id"] for record in rollouts} == {"t1", "t2"}
    assert not any(record["error"] for record in rollouts)
    run = read_json(out / "run.json")
    assert (run["tasks"], run["corpus_tasks"]) == (["t1", "t2"], GAMES["train"])
    assert run["coverage"] == {"passes": 1.0, "tasks_never_rolled_out": []}
    [row] = csv.DictReader((out / "metrics.csv").open())
    assert int(row["episodes"]) == 8
    assert float(row["grad_norm"]) >= 0
    assert float(row["sampler_probability_gap"]) < 1e-3
    assert marked() == []


def test_a_killed_run_continues_and_ends_with_the_same_number_of_steps(root, games, tmp_path):
    # GiGPO with a reference policy: the other algorithm and the other models that a run may hold; and environments in
    # processes, which have to end with it
    changes = {"algorithm": "gigpo", "kl_coefficient": 0.01, "steps": 3, "environment_processes": 2}
    run = subprocess.Popen(command(root, games, tmp_path, **changes), env=ENVIRONMENT)
    tracker = tmp_path / "work" / "checkpoints" / "latest_checkpointed_iteration.txt"
    while not tracker.exists():
        assert run.poll() is None
        time.sleep(0.1)
    run.send_signal(signal.SIGTERM)
    run.wait(timeout=30)
    assert marked() == []
    assert not (tmp_path / "out").exists()
    done = int(tracker.read_text())
    # as a kill in the middle of a line leaves it
    [log] = (tmp_path / "work" / "rollouts").glob("*.jsonl")
    with log.open("ab") as out:
        out.write('{"task_id": "é'.encode()[:-1])
    # as a kill between saving a step and verl's log of it leaves it
    metrics_log = tmp_path / "work" / "metrics" / "from-000000.jsonl"
    before_saving = [record for record in whole_records(metrics_log) if BEFORE_SAVING in record["data"]]
    assert done in {record["step"] for record in before_saving}
    write_jsonl(metrics_log, before_saving)
    subprocess.run(command(root, games, tmp_path, **changes), check=True, env=ENVIRONMENT, timeout=600)
    rows = list(csv.DictReader((tmp_path / "out" / "metrics.csv").open()))
    assert [int(row["step"]) for row in rows] == [1, 2, 3]
    assert all(int(row["episodes"]) == 8 for row in rows)
    # the reference is the initial policy: the KL to it starts at 0
    assert all(abs(float(row["kl_to_initial_policy"])) < 1 for row in rows)
    assert all(float(row["seconds_reference_log_prob"]) > 0 for row in rows)
    assert f"from-{done:06d}.jsonl" in {path.name for path in (tmp_path / "work" / "metrics").iterdir()}


def test_adapters_go_on_after_a_kill_and_end_as_a_plain_model(root, games, tmp_path):
    """verl's own export of such a run is no model that anything could load: what is written is base + 2 B A."""
    changes = {"lora_rank": 4, "steps": 2, "offload": "idle"}
    run = subprocess.Popen(command(root, games, tmp_path, **changes), env=ENVIRONMENT)
    checkpoints = tmp_path / "work" / "checkpoints"
    tracker = checkpoints / "latest_checkpointed_iteration.txt"
    while not tracker.exists():
        assert run.poll() is None
        time.sleep(0.1)
    run.send_signal(signal.SIGTERM)
    run.wait(timeout=30)
    subprocess.run(command(root, games, tmp_path, **changes), check=True, env=ENVIRONMENT, timeout=600)
    out, base = tmp_path / "out", root / "resources" / "backbones" / "tiny-qwen3"
    exported = load_file(checkpoints / "global_step_2" / "actor" / "huggingface" / "model.safetensors")
    trained, before = load_file(out / "model.safetensors"), load_file(base / "model.safetensors")
    assert trained.keys() == before.keys()
    adapted = 0
    for name, weight in before.items():
        place = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{place}.lora_A.default.weight" in exported:
            a, b = (exported[f"{place}.lora_{half}.default.weight"] for half in "AB")
            torch.testing.assert_close(trained[name], weight + 2 * b @ a)
            adapted += not torch.equal(trained[name], weight)
        else:
            assert torch.equal(trained[name], weight)
    # seven linear maps a layer
    assert adapted == 7 * read_json(base / "config.json")["num_hidden_layers"]
    rows = list(csv.DictReader((out / "metrics.csv").open()))
    assert [int(row["step"]) for row in rows] == [1, 2]
    # verl hands the sampler merged weights in bfloat16
    assert all(float(row["sampler_probability_gap"]) < 1e-2 for row in rows)
