"""The engine: observations, bad files, and transcripts that memoisation leaves as they are."""

import hashlib
import json
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from prism.core.benchmarks import BENCHMARKS
from prism.core.errors import BadInput
from prism.environments.alfworld.engine import AlfworldEnvironment, clean_observation, task_of
from prism.environments.alfworld.game_files import write_game
from prism.environments.alfworld.games import GameSize, generate_split

NONSENSE = ("", "help", "dance", "go to nowhere 9", "take mug 99 from desk 1", "open", "LOOK", "  look  ", "look\n")

# Plays random walks with nonsense in them and prints a hash of every answer, and of plans in the middle of episodes.
WALK = """
import hashlib, json, random, sys
from prism.environments.alfworld import memo, packages

games, nonsense, memoised = json.loads(sys.argv[1])
if memoised:
    memo.install()
digest = hashlib.sha256()
for game in games:
    engine = packages.engine(facts=True)
    engine.load(game)
    for episode in range(2):
        rng = random.Random(episode)
        state = engine.reset()
        for number in range(16):
            facts = sorted(map(str, state["facts"]))
            seen = [state["feedback"], state["admissible_commands"], state["won"], facts, state["command_templates"]]
            digest.update(json.dumps(seen).encode())
            if (episode, number) == (1, 5):
                digest.update(json.dumps(engine.unwrapped._pddl_state.replan(engine.unwrapped._entity_infos)).encode())
            wild = rng.random() < 0.25
            state, _, _ = engine.step(rng.choice(nonsense if wild else state["admissible_commands"]))
print(digest.hexdigest())
"""


@pytest.fixture(scope="module")
def games(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """One game of each task type."""
    folder = tmp_path_factory.mktemp("games")
    return [str(write_game(folder, game)) for game in generate_split("train", 6, 11, GameSize(), set())]


def walk(game: str, seed: int = 0, steps: int = 12) -> str:
    environment = AlfworldEnvironment(game)
    feedback, rng, digest = environment.reset(), random.Random(seed), hashlib.sha256()
    for _ in range(steps):
        digest.update(repr(feedback).encode())
        feedback = environment.step(rng.choice(feedback.admissible))
    return digest.hexdigest()


def test_memoised_transcripts_equal_plain_ones(games: list[str]) -> None:
    # three task types: the grammars differ in the task alone, the domain is shared
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WALK, json.dumps([games[1::2], NONSENSE, memoised])],
            stdout=subprocess.PIPE,
            text=True,
        )
        for memoised in (False, True)
    ]
    plain, memoised = (process.communicate(timeout=300)[0].split()[-1] for process in processes)
    assert len(plain) == 64
    assert memoised == plain


def test_observations_hold_the_engines_words_without_banner_and_task(games: list[str]) -> None:
    environment = AlfworldEnvironment(games[0])
    feedback = environment.reset()
    assert feedback.observation.startswith("You are in the middle of a room.")
    assert "Welcome" not in feedback.observation
    assert "task" not in feedback.observation
    assert environment.task
    assert f"Your task is to: {environment.task}" in environment.state["feedback"]
    assert not feedback.done
    assert list(feedback.admissible) == sorted(feedback.admissible)


def test_text_helpers() -> None:
    first = "-= Welcome to TextWorld, ALFRED! =-\n\nYou see\na  bed 1.\n\nYour task is to: put some mug on desk."
    assert clean_observation(first) == "You see a bed 1."
    assert task_of(first) == "put some mug on desk."
    assert task_of("On the desk 1, you see nothing.") == ""


@pytest.mark.parametrize("action", ["", "dance", "go to nowhere 9", "LOOK", "<action>", "ü" * 3000])
def test_unknown_actions_change_nothing(games: list[str], action: str) -> None:
    environment = AlfworldEnvironment(games[0])
    before = environment.reset()
    after = environment.step(action)
    assert after.observation == BENCHMARKS["alfworld"].refusal
    assert after.admissible == before.admissible
    assert not after.done


def test_reset_starts_the_same_episode_again(games: list[str]) -> None:
    environment = AlfworldEnvironment(games[0])
    first = environment.reset()
    environment.step(first.admissible[0])
    assert environment.reset() == first
    assert environment.reset() == first


def test_replicas_of_a_game_do_not_disturb_each_other(games: list[str]) -> None:
    one, other = AlfworldEnvironment(games[0]), AlfworldEnvironment(games[0])
    start, target = other.reset(), one.reset().admissible[0]
    one.step(target)
    assert other.step("look") == AlfworldEnvironment(games[0]).step("look")
    assert other.reset() == start


def test_an_environment_can_be_loaded_with_another_game(games: list[str]) -> None:
    environment = AlfworldEnvironment(games[0])
    environment.step("look")
    environment.load(games[1])
    fresh = AlfworldEnvironment(games[1])
    assert environment.task == fresh.task
    assert environment.reset() == fresh.reset()


def test_threads_get_the_same_transcripts(games: list[str]) -> None:
    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(walk, games)) == [walk(game) for game in games]


def test_plans_win_and_leave_the_episode_alone(games: list[str]) -> None:
    environment = AlfworldEnvironment(games[3])
    feedback = environment.reset()
    plan = environment.plan(cpu_seconds=20)
    assert environment.plan(cpu_seconds=20) == plan
    assert environment.reset() == feedback
    for action in plan:
        assert not feedback.success
        feedback = environment.step(action)
    assert feedback.success


def test_an_endless_search_is_cut_off(games: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    environment = AlfworldEnvironment(games[0])

    def search_forever(_: object) -> None:
        while True:
            pass

    monkeypatch.setattr(environment._engine.unwrapped._pddl_state, "replan", search_forever)
    assert environment.plan(cpu_seconds=1) == []
    assert environment.step("dance").observation == BENCHMARKS["alfworld"].refusal


def test_loading_leaves_the_command_line_arguments_alone(games: list[str], tmp_path: Path) -> None:
    fresh = tmp_path / "game.tw-pddl"
    content = json.loads(Path(games[0]).read_text())
    content["pddl_problem"] += "\n"
    fresh.write_text(json.dumps(content))
    arguments = list(sys.argv)
    AlfworldEnvironment(fresh)
    assert sys.argv == arguments


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "is not valid JSON"),
        ("[]", "is not an ALFWorld game"),
        ('{"pddl_domain": "x", "grammar": "y"}', "'pddl_problem' is missing"),
        ('{"pddl_domain": "x", "grammar": "y", "pddl_problem": "z"}', "does not load in the engine"),
    ],
)
def test_a_broken_game_file_ends_in_one_line(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "game.tw-pddl"
    path.write_text(content)
    with pytest.raises(BadInput, match=problem) as caught:
        AlfworldEnvironment(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_problem_ends_in_one_line(games: list[str], tmp_path: Path) -> None:
    content = json.loads(Path(games[0]).read_text())
    content["pddl_problem"] = content["pddl_problem"][: len(content["pddl_problem"]) // 2]
    path = tmp_path / "game.tw-pddl"
    path.write_text(json.dumps(content))
    with pytest.raises(BadInput, match="does not load in the engine"):
        AlfworldEnvironment(path)


def test_a_missing_game_file_ends_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        AlfworldEnvironment(tmp_path / "game.tw-pddl")
