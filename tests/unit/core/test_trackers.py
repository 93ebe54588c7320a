"""Trackers: off unless wanted, offline unless the user says more."""

import pytest

from prism.core.results import Results
from prism.core.trackers import tracker_environment


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    for name in ("WANDB_MODE", "SWANLAB_MODE", "TENSORBOARD_DIR"):
        monkeypatch.delenv(name, raising=False)


def test_what_is_not_wanted_is_off_whatever_the_shell_says(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    assert tracker_environment([], tmp_path)["WANDB_MODE"] == "disabled"
    assert tracker_environment(["wandb"], tmp_path)["WANDB_MODE"] == "online"


def test_what_is_wanted_sends_nothing_by_itself(tmp_path):
    told = tracker_environment(["wandb", "swanlab", "tensorboard"], tmp_path)
    assert (told["WANDB_MODE"], told["SWANLAB_MODE"]) == ("offline", "offline")
    assert told["TENSORBOARD_DIR"].startswith(str(tmp_path))
    assert not [name for name in told if "KEY" in name]


def test_verl_writes_tensorboards_files_there(tmp_path, monkeypatch):
    tracking = pytest.importorskip("verl.utils.tracking", reason="verl is not installed")
    for name, value in tracker_environment(["tensorboard"], tmp_path).items():
        monkeypatch.setenv(name, value)
    tracking.Tracking("prism", "rl/a", ["tensorboard"], {}).log({"reward": 1.0}, step=1)
    assert list((tmp_path / "tensorboard").rglob("events.out.tfevents.*"))


def test_a_run_is_called_by_its_place():
    work = Results("results/demo").work_of("results/demo/rl/alfworld/tiny/base--grpo--all/seed0")
    assert Results.training_name(work) == "rl/alfworld/tiny/base--grpo--all/seed0"
