"""The corpus format: what is written is read back, what is broken is refused with its line."""

import json

import pytest

from prism.core.errors import BadInput
from prism.core.trajectories import Step, Trajectory, read_trajectories, write_trajectories

STEP = Step("You see a desk.", ("go to desk 1", "look"), "Check desk 1.", "go to desk 1")


def trajectory(name: str = "a") -> Trajectory:
    return Trajectory(name, "alfworld", "train/a/game.tw-pddl", "find it", "pick", "handcoded", True, (STEP,))


def test_round_trip(tmp_path):
    corpus = [trajectory("a"), trajectory("b")]
    write_trajectories(tmp_path / "t.jsonl", corpus)
    assert read_trajectories(tmp_path / "t.jsonl") == corpus


def mutate(**changes):
    def apply(record):
        record.update(changes)
        return record

    return apply


def broken_step(**changes):
    def apply(record):
        record["steps"][0].update(changes)
        return record

    return apply


@pytest.mark.parametrize(
    "change",
    [
        mutate(id=""), mutate(id=7), mutate(task=None), mutate(steps=[]), mutate(steps="go"), mutate(success="yes"),
        mutate(colour="red"), broken_step(action="  "), broken_step(admissible="look"), broken_step(thought=3),
        broken_step(demonstrated="no"), broken_step(demonstrated=False),
    ],
)  # fmt: skip
def test_a_broken_record_is_refused_with_its_line(tmp_path, change):
    path = tmp_path / "t.jsonl"
    write_trajectories(path, [trajectory("a"), trajectory("b")])
    first, second = path.read_text().splitlines()
    path.write_text(first + "\n" + json.dumps(change(json.loads(second))) + "\n")
    with pytest.raises(BadInput, match=r"t\.jsonl:2") as caught:
        read_trajectories(path)
    assert "\n" not in str(caught.value)


def test_a_repeated_id_is_refused(tmp_path):
    write_trajectories(tmp_path / "t.jsonl", [trajectory("a"), trajectory("a")])
    with pytest.raises(BadInput, match="repeats id 'a' of line 1"):
        read_trajectories(tmp_path / "t.jsonl")


def test_an_empty_corpus_is_refused(tmp_path):
    (tmp_path / "t.jsonl").write_text("\n")
    with pytest.raises(BadInput, match="no trajectory"):
        read_trajectories(tmp_path / "t.jsonl")
