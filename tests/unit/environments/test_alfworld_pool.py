"""The pool: the same answers as direct stepping, and errors that stay in their slot."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from prism.core.benchmarks import BENCHMARKS
from prism.core.episodes import Feedback
from prism.core.errors import PrismError
from prism.environments.alfworld.engine import AlfworldEnvironment
from prism.environments.alfworld.game_files import write_game
from prism.environments.alfworld.games import GameSize, generate_split
from prism.environments.pool import EnvironmentFailure, EnvironmentPool


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("games")
    for game in generate_split("train", 3, 5, GameSize(), set()):
        write_game(folder, game)
    return folder


@pytest.fixture(scope="module")
def games(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("game.tw-pddl"))


@pytest.fixture(scope="module")
def pool(folder: Path) -> Iterator[EnvironmentPool]:
    with EnvironmentPool(BENCHMARKS["alfworld"].environments, 2, {"data_dir": str(folder)}) as pool:
        yield pool


def test_pool_equals_direct_stepping(pool: EnvironmentPool, folder: Path, games: list[str]) -> None:
    played = [games[0], games[1], games[0], games[2], games[0]]
    direct = [AlfworldEnvironment(folder / game) for game in played]
    started = pool.start(played)
    assert started == [(environment.task, environment.reset()) for environment in direct]
    feedback = [first for _, first in started]
    rng = random.Random(0)
    for _ in range(6):
        # not every slot acts at every step, and not in order
        slots = rng.sample(range(len(played)), 4)
        actions = [(slot, rng.choice([*feedback[slot].admissible, "dance"])) for slot in slots]
        answers = pool.step(actions)
        assert answers == [(slot, direct[slot].step(action)) for slot, action in actions]
        for slot, answer in answers:
            feedback[slot] = answer


def test_slots_can_be_replaced_while_others_go_on(pool: EnvironmentPool, games: list[str]) -> None:
    (_, first), _ = pool.start([games[0], games[1]])
    ((_, moved),) = pool.step([(0, first.admissible[0])])
    ((slot, task, feedback),) = pool.replace([(1, games[2])])
    assert (slot, task, feedback) == (1, *pool.start([games[2]])[0])
    assert isinstance(moved, Feedback)


def test_an_environment_error_ends_its_own_episode_only(pool: EnvironmentPool, games: list[str]) -> None:
    started = pool.start([games[0], "missing/game.tw-pddl", games[1]])
    assert isinstance(started[0][1], Feedback)
    assert started[1][0] == ""
    assert isinstance(started[1][1], EnvironmentFailure)
    assert "missing/game.tw-pddl" in started[1][1].message
    answers = dict(pool.step([(0, "look"), (1, "look"), (2, "look")]))
    assert isinstance(answers[0], Feedback)
    assert isinstance(answers[1], EnvironmentFailure)
    assert isinstance(answers[2], Feedback)


def test_a_dead_worker_is_replaced(folder: Path, games: list[str]) -> None:
    with EnvironmentPool(BENCHMARKS["alfworld"].environments, 1, {"data_dir": str(folder)}) as pool:
        pool.start([games[0]])
        os.kill(pool._workers[0]._process.pid, signal.SIGKILL)
        ((_, answer),) = pool.step([(0, "look")])
        assert isinstance(answer, EnvironmentFailure)
        ((_, feedback),) = pool.start([games[0]])
        assert isinstance(feedback, Feedback)


def test_a_source_that_cannot_be_made_says_so() -> None:
    with (
        EnvironmentPool("prism.environments.alfworld.engine:NoSuchGames", 1) as pool,
        pytest.raises(PrismError, match="NoSuchGames"),
    ):
        pool.start(["any"])


def test_workers_end_with_their_parent(folder: Path, games: list[str]) -> None:
    script = f"""
        import os, signal
        from prism.core.benchmarks import BENCHMARKS
        from prism.environments.pool import EnvironmentPool
        pool = EnvironmentPool(BENCHMARKS["alfworld"].environments, 1, {{"data_dir": {str(folder)!r}}})
        pool.start([{games[0]!r}])
        print(pool._workers[0]._process.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    parent = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    worker = int(parent.stdout)
    for _ in range(100):
        if not _runs(worker):
            return
        time.sleep(0.1)
    raise AssertionError("the worker outlived its parent")


def _runs(process: int) -> bool:
    """Whether a process exists and is not a zombie (a container's init may not reap)."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_importing_the_pool_is_light() -> None:
    script = "import sys, prism.environments.pool; print({'torch', 'textworld', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == "set()"
