"""Stage: a folder of ALFWorld games, generated or indexed from the real data set.

Either way the folder holds ``{train,seen,unseen}/.../game.tw-pddl`` in the real layout and a ``manifest.json`` that
lists every game of every split; later stages read nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prism.core.errors import BadInput
from prism.core.files import atomic_folder, read_json, sha256_file, sha256_json, write_json
from prism.core.progress import say, track
from prism.environments.alfworld.game_files import GAME_FILE, write_game
from prism.environments.alfworld.games import SPLITS, TASK_TYPES, GameSize, generate_split
from prism.environments.alfworld.packages import NO_TASK
from prism.environments.base import Task

MANIFEST = "manifest.json"
DATASET_VERSIONS = ("json_2.1.1", "json_2.1.3", "json_2.1.2")
DATASET_SPLITS = {"train": "train", "seen": "valid_seen", "unseen": "valid_unseen"}


@dataclass(frozen=True)
class GamesRecipe:
    """How many games to generate, how large, from which seed.

    Attributes:
        train: games for expert trajectories and RL, in the training floor plans.
        seen: new games in the training floor plans, for evaluation.
        unseen: games in the held-out floor plans, for evaluation.
    """

    train: int
    seen: int
    unseen: int
    seed: int
    size: GameSize = field(default_factory=GameSize)


def generate_games(out_dir: Path, recipe: GamesRecipe) -> None:
    """Generate the games of all splits; equal recipes give equal bytes.

    Raises:
        BadInput: the sizes leave too few different games.
    """
    taken: set[str] = set()
    index: dict[str, list[dict[str, str]]] = {}
    files: dict[str, str] = {}
    with atomic_folder(out_dir) as folder:
        for split in SPLITS:
            count = getattr(recipe, split)
            games = generate_split(split, count, recipe.seed, recipe.size, taken)
            (folder / split).mkdir()
            index[split] = []
            for game in track(games, count, f"games {split}", "games"):
                path = write_game(folder / split, game)
                index[split].append(_entry(folder, path, game.task_type))
                files[_identifier(folder, path)] = sha256_file(path)
        _write_manifest(folder, "generated", index, files, {})


def index_dataset(data_dir: Path, out_dir: Path) -> None:
    """Link the real data set's splits into `out_dir` and list their playable games.

    Games are skipped as `AlfredTWEnv` skips them: movable receptacles, sliced objects, no game file, not
    solvable. So is a game whose task was never put into words.

    Args:
        data_dir: what ``ALFWORLD_DATA`` points to, or the ``json_2.1.1`` folder in it.

    Raises:
        BadInput: the folder holds no data set.
    """
    root = _dataset_root(data_dir)
    index: dict[str, list[dict[str, str]]] = {}
    files: dict[str, str] = {}
    skipped: Counter[str] = Counter()
    with atomic_folder(out_dir) as folder:
        for split, name in DATASET_SPLITS.items():
            (folder / split).symlink_to((root / name).resolve(), target_is_directory=True)
            index[split] = []
            trials = sorted((root / name).glob("*/*/traj_data.json"))
            for traj_data in track(trials, len(trials), f"games {split}", "trials"):
                trial = folder / split / traj_data.parent.relative_to(root / name)
                task_type, reason = _playable(trial)
                if reason:
                    skipped[reason] += 1
                    continue
                index[split].append(_entry(folder, trial / GAME_FILE, task_type))
                files[_identifier(folder, trial / GAME_FILE)] = sha256_file(trial / GAME_FILE)
            if not index[split]:
                raise BadInput(root / name, "holds no playable game", "download it with alfworld-download")
        _write_manifest(folder, "dataset", index, files, dict(skipped))


def read_games(games_dir: Path, split: str) -> list[Task]:
    """The games of a split, in the manifest's order (sorted by id).

    Raises:
        BadInput: the manifest is missing or holds no such split.
    """
    place = games_dir / MANIFEST
    manifest = read_json(place)
    try:
        return [
            Task(id=entry["id"], task_type=entry["task_type"], game=f"{entry['id']}/{GAME_FILE}")
            for entry in manifest["games"][split]
        ]
    except (KeyError, TypeError) as error:
        raise BadInput(place, f"holds no games of split {split!r}", f"use one of {', '.join(SPLITS)}") from error


def _entry(folder: Path, path: Path, task_type: str) -> dict[str, str]:
    return {"id": _identifier(folder, path), "task_type": TASK_TYPES[task_type]}


def _identifier(folder: Path, path: Path) -> str:
    """A game's id: its folder, relative to the games folder."""
    return path.parent.relative_to(folder).as_posix()


def _write_manifest(
    folder: Path,
    source: str,
    index: dict[str, list[dict[str, str]]],
    files: dict[str, str],
    skipped: dict[str, int],
) -> None:
    for entries in index.values():
        entries.sort(key=lambda entry: entry["id"])
    counts = {split: _counts(entries) for split, entries in index.items()}
    manifest = {
        "benchmark": "alfworld",
        "source": source,
        "counts": counts,
        "skipped": skipped,
        "sha256": sha256_json(files),
        "games": index,
    }
    write_json(folder / MANIFEST, manifest)
    for split, types in counts.items():
        say(f"{split}: " + ", ".join(f"{number} {name}" for name, number in types.items()))


def _counts(entries: list[dict[str, str]]) -> dict[str, int]:
    found = Counter(entry["task_type"] for entry in entries)
    return {"all": len(entries), **{name: found[name] for name in TASK_TYPES.values()}}


def _dataset_root(data_dir: Path) -> Path:
    for root in _candidates(data_dir):
        if all((root / name).is_dir() for name in DATASET_SPLITS.values()):
            return root
    raise BadInput(
        data_dir, f"holds no {', '.join(DATASET_SPLITS.values())} folders", "point it to what ALFWORLD_DATA names"
    )


def _candidates(data_dir: Path) -> Iterator[Path]:
    yield data_dir
    yield from (data_dir / version for version in DATASET_VERSIONS)


def _playable(trial: Path) -> tuple[str, str]:
    """Task type of a trial and, where it cannot be played, the reason."""
    if "movable" in trial.parent.name or "Sliced" in trial.parent.name:
        return "", "movable receptacle or sliced object"
    traj_data: dict[str, Any] = read_json(trial / "traj_data.json")
    if not isinstance(traj_data, dict):
        raise BadInput(trial / "traj_data.json", "is not an object", "download the data set again")
    task_type = traj_data.get("task_type", "")
    if task_type not in TASK_TYPES:
        return "", "another task type"
    if not (trial / GAME_FILE).exists():
        return "", "no game file"
    game = read_json(trial / GAME_FILE)
    if not isinstance(game, dict):
        raise BadInput(trial / GAME_FILE, "is not an object", "download the data set again")
    if f"Your task is to: {NO_TASK}" in str(game.get("grammar")):
        return "", "no task in words"
    if "solvable" not in game:
        return "", "not checked to be solvable"
    return task_type, "" if game["solvable"] else "not solvable"
