"""Generated games: determinism, layout, splits; and the games folder of the real data set."""

import json
import re
from pathlib import Path

import pytest

from prism.core.errors import BadInput
from prism.core.files import read_json
from prism.environments.alfworld.dataset import GamesRecipe, generate_games, index_dataset, read_games
from prism.environments.alfworld.engine import AlfworldEnvironment
from prism.environments.alfworld.games import (
    TASK_TYPES,
    Game,
    GameSize,
    floor_plan,
    generate_split,
    is_held_out,
    room_kinds,
)

RECIPE = GamesRecipe(train=12, seen=6, unseen=6, seed=3)


@pytest.fixture(scope="module")
def games_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "games"
    generate_games(folder, RECIPE)
    return folder


def all_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def many_games(count: int = 120) -> dict[str, list[Game]]:
    taken: set[str] = set()
    return {split: list(generate_split(split, count, 0, GameSize(), taken)) for split in ("train", "seen", "unseen")}


def test_the_same_seed_gives_the_same_bytes(games_dir: Path, tmp_path: Path) -> None:
    generate_games(tmp_path / "again", RECIPE)
    assert all_bytes(tmp_path / "again") == all_bytes(games_dir)
    generate_games(tmp_path / "other", GamesRecipe(train=12, seen=6, unseen=6, seed=4))
    assert read_json(tmp_path / "other/manifest.json")["sha256"] != read_json(games_dir / "manifest.json")["sha256"]


def test_more_games_keep_the_earlier_ones() -> None:
    few = list(generate_split("train", 6, 0, GameSize(), set()))
    assert list(generate_split("train", 12, 0, GameSize(), set()))[:6] == few


def test_layout_is_the_real_one(games_dir: Path) -> None:
    game_files = sorted(games_dir.glob("*/*/*/game.tw-pddl"))
    assert len(game_files) == 24
    for game_file in game_files:
        assert sorted(path.name for path in game_file.parent.iterdir()) == [
            "game.tw-pddl",
            "initial_state.pddl",
            "traj_data.json",
        ]
        game, traj_data = read_json(game_file), read_json(game_file.parent / "traj_data.json")
        assert set(game) == {"pddl_domain", "grammar", "pddl_problem", "solvable", "walkthrough"}
        assert game["pddl_problem"] == (game_file.parent / "initial_state.pddl").read_text()
        assert "UNKNOWN GOAL" not in game["grammar"]
        parameters = traj_data["pddl_params"]
        place = parameters["parent_target"] or parameters["toggle_target"]
        number = traj_data["scene"]["scene_num"]
        folder = f"{traj_data['task_type']}-{parameters['object_target']}-None-{place}-{number}"
        assert game_file.parent.parent.name == folder
        assert game_file.parent.name.startswith("trial_")


def test_manifest_counts_every_game_and_type(games_dir: Path) -> None:
    manifest = read_json(games_dir / "manifest.json")
    assert manifest["counts"]["train"] == {"all": 12, **dict.fromkeys(TASK_TYPES.values(), 2)}
    assert manifest["counts"]["unseen"] == {"all": 6, **dict.fromkeys(TASK_TYPES.values(), 1)}
    for split in ("train", "seen", "unseen"):
        tasks = read_games(games_dir, split)
        assert [task.id for task in tasks] == sorted(task.id for task in tasks)
        assert all((games_dir / task.game).is_file() for task in tasks)
        assert {task.id for task in tasks} == {
            str(path.parent.relative_to(games_dir)) for path in games_dir.glob(f"{split}/*/*/game.tw-pddl")
        }


def test_unseen_uses_held_out_floor_plans_alone() -> None:
    games = many_games()
    assert all(is_held_out(game.floor_plan) for game in games["unseen"])
    assert not any(is_held_out(game.floor_plan) for game in games["train"] + games["seen"])
    for numbers in room_kinds().values():
        assert sum(map(is_held_out, numbers)) == 6
        assert len(numbers) == 30


def test_no_game_occurs_twice() -> None:
    games = [game for split in many_games().values() for game in split]
    assert len({game.signature for game in games}) == len(games)
    assert len({game.folder for game in games}) == len(games)


def test_games_are_no_larger_than_asked_and_unsolved_at_the_start() -> None:
    for game in many_games(60)["train"]:
        assert len(game.receptacles) <= 6
        movable = [thing for thing in game.placements if thing.kind not in ("DeskLamp", "FloorLamp")]
        assert len(movable) <= 6
        kinds = {room.id: room.kind for room in game.receptacles}
        targets = [kinds[thing.receptacle] for thing in game.placements if thing.kind == game.target]
        assert len(targets) >= (2 if game.task_type == "pick_two_obj_and_place" else 1)
        assert game.parent not in targets


def test_no_limit_keeps_the_whole_floor_plan() -> None:
    for game in generate_split("train", 12, 0, GameSize(max_receptacles=0, max_objects=0), set()):
        assert game.receptacles == floor_plan(game.floor_plan).receptacles


def test_impossible_sizes_end_in_one_line() -> None:
    with pytest.raises(BadInput, match="max_receptacles"):
        GameSize(max_receptacles=2)

    class EveryGameIsTaken(set):
        def __contains__(self, _: object) -> bool:
            return True

    with pytest.raises(BadInput, match="no new pick_and_place_simple game"):
        list(generate_split("train", 1, 0, GameSize(), EveryGameIsTaken()))


def test_the_package_finds_the_games(games_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from alfworld.agents.environment.alfred_tw_env import AlfredTWEnv

    config = {
        "env": {"goal_desc_human_anns_prob": 0.0, "task_types": [1, 2, 3, 4, 5, 6]},
        "dataset": {"data_path": str(games_dir / "train"), "num_train_games": -1},
    }
    environment = AlfredTWEnv(config, train_eval="train")
    assert sorted(environment.game_files) == sorted(
        str(games_dir / task.game) for task in read_games(games_dir, "train")
    )


@pytest.fixture
def dataset(games_dir: Path, tmp_path: Path) -> Path:
    """The generated games under the names of the real data set, with five trials that cannot be played."""
    root = tmp_path / "alfworld" / "json_2.1.1"
    for name, split in (("train", "train"), ("valid_seen", "seen"), ("valid_unseen", "unseen")):
        for path in (games_dir / split).rglob("*"):
            if path.is_file():
                copy = root / name / path.relative_to(games_dir / split)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(path.read_bytes())
    trials = sorted((root / "train").glob("*/*"))
    (trials[0] / "game.tw-pddl").unlink()
    for trial, change in ((trials[1], {"solvable": False}), (trials[2], None)):
        game = read_json(trial / "game.tw-pddl")
        if change is None:
            del game["solvable"]
        else:
            game |= change
        (trial / "game.tw-pddl").write_text(json.dumps(game))
    game = read_json(trials[4] / "game.tw-pddl")
    game["grammar"] = re.sub(r'Your task is to: [^"]*', "Your task is to: UNKNOWN GOAL.", game["grammar"])
    (trials[4] / "game.tw-pddl").write_text(json.dumps(game))
    sliced = trials[3].parent
    sliced.rename(sliced.with_name(sliced.name.replace("-None-", "Sliced-None-")))
    return root.parent


def test_dataset_is_indexed_and_unplayable_trials_skipped(dataset: Path, tmp_path: Path) -> None:
    index_dataset(dataset, tmp_path / "games")
    manifest = read_json(tmp_path / "games/manifest.json")
    assert manifest["source"] == "dataset"
    assert manifest["counts"]["seen"]["all"] == 6
    assert manifest["counts"]["unseen"]["all"] == 6
    skipped = manifest["skipped"]
    assert {"no game file", "not solvable", "not checked to be solvable", "no task in words"} <= set(skipped)
    games = (dataset / "json_2.1.1").rglob("game.tw-pddl")
    with pytest.raises(BadInput, match=r"has no task: it reads 'UNKNOWN GOAL\.'"):
        AlfworldEnvironment(next(path for path in games if "Your task is to: UNKNOWN GOAL." in path.read_text()))
    assert skipped["movable receptacle or sliced object"] >= 1
    assert manifest["counts"]["train"]["all"] == 12 - sum(skipped.values())
    assert all((tmp_path / "games" / task.game).is_file() for task in read_games(tmp_path / "games", "unseen"))


def test_dataset_folder_without_splits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="ALFWORLD_DATA"):
        index_dataset(tmp_path, tmp_path / "games")
    assert not (tmp_path / "games").exists()
