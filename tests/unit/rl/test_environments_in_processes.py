"""RL's environments in threads and in processes: the same transcripts, and errors that stay in their episode."""

from __future__ import annotations

import os
import random
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("verl")

from prism.core.benchmarks import BENCHMARKS
from prism.environments.alfworld.engine import AlfworldEnvironment
from prism.environments.alfworld.game_files import write_game
from prism.environments.alfworld.games import GameSize, generate_split
from prism.rl.in_verl.agent_loop import RemoteGames, ThreadGames, timed_step

STEPS, REPLICAS, THREADS = 12, 4, 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("games")
    for game in generate_split("train", 4, 5, GameSize(), set()):
        write_game(folder, game)
    return folder


@pytest.fixture(scope="module")
def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("game.tw-pddl"))


@pytest.fixture(scope="module", params=[0, 2, 3], ids=["threads", "2 processes", "3 processes"])
def games(folder, request):
    if not request.param:
        yield ThreadGames(BENCHMARKS["alfworld"].environments, str(folder))
        return
    games = RemoteGames(BENCHMARKS["alfworld"].environments, str(folder), request.param)
    yield games
    games.source.close()


def walk(environment, first, seed: int) -> list:
    """All that a game answers to random admissible actions."""
    draw, seen = random.Random(seed), [first]
    while len(seen) <= STEPS:
        seen.append(environment.step(draw.choice(seen[-1].admissible)))
    return seen


def test_many_threads_get_the_transcripts_of_one_game_after_the_other(games, folder, names):
    played = [(game, seed) for seed in range(REPLICAS) for game in names]
    expected = []
    for game, seed in played:
        environment = AlfworldEnvironment(folder / game)
        expected.append((environment.task, walk(environment, environment.reset(), seed)))

    def episode(game: str, seed: int):
        environment, first, error = games.start(game)
        assert error == ""
        found = environment.task, walk(environment, first, seed)
        games.finish(environment, broken=False)
        return found

    # twice: the second time environments are used again
    for _ in range(2):
        with ThreadPoolExecutor(THREADS) as threads:
            assert list(threads.map(lambda pair: episode(*pair), played)) == expected


def test_a_game_that_does_not_open_is_an_error_text_and_leaves_the_others_alone(games, names):
    good, first, _ = games.start(names[0])
    environment, _, error = games.start("train/no-such-game/game.tw-pddl")
    assert environment is None
    assert "no-such-game" in error
    feedback, error, seconds = timed_step(good, first.admissible[0], games.clock)
    assert feedback.observation
    assert error == ""
    assert seconds > 0
    games.finish(good, broken=False)


def test_replicas_of_a_game_share_a_process_and_different_games_do_not(folder, names):
    games = RemoteGames(BENCHMARKS["alfworld"].environments, str(folder), 4)
    try:
        opened = [games.start(game)[0] for game in names for _ in range(3)]
        by_game = {game: {id(one.process) for one in opened if one.game == game} for game in names}
        assert [len(processes) for processes in by_game.values()] == [1] * len(names)
        assert len(set.union(*by_game.values())) == len(names)
    finally:
        games.source.close()


def test_a_process_that_dies_costs_its_own_episodes_and_is_replaced(folder, names):
    games = RemoteGames(BENCHMARKS["alfworld"].environments, str(folder), 2)
    try:
        lost, first, _ = games.start(names[0])
        kept, second, _ = games.start(names[1])
        assert lost.process is not kept.process
        os.kill(lost.process.pool._workers[0]._process.pid, signal.SIGKILL)
        feedback, error, _ = timed_step(lost, first.admissible[0], games.clock)
        assert feedback is None
        assert "ended unexpectedly" in error
        games.finish(lost, broken=True)
        assert timed_step(kept, second.admissible[0], games.clock)[1] == ""
        again, feedback, error = games.start(names[0])
        assert (again.process, feedback, error) == (lost.process, first, "")
    finally:
        games.source.close()
