"""Many environments in worker processes, stepped in batches.

A worker is a plain Python process that reads one JSON request a line from its standard input and answers with one line
on its standard output. That needs nothing of the parent: no fork (safe beside torch and Ray), no re-import of its main
module, and a worker ends by itself when the parent is gone, however it went.

Replicas of a game go to the same worker, so that what loading it costs is paid once. Environments that are no longer
needed are kept and used again for other games.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TextIO

from prism.core.episodes import Feedback
from prism.core.errors import PrismError
from prism.environments import load
from prism.environments.base import Environment

MAX_SPARE = 64
"""Environments without an episode that a worker keeps for later use."""


@dataclass(frozen=True)
class EnvironmentFailure:
    """Stands where a `Feedback` would: this environment broke, and with it this episode alone."""

    message: str


class EnvironmentSource(Protocol):
    """What a worker builds once and gets its environments from."""

    def open(self, game: str, spare: Any = None) -> Environment:
        """An environment for `game`; `spare` is one that this source made earlier and that may be used again."""


class EnvironmentPool:
    """Environments in `workers` processes; slots are numbered from 0 in the order of `start`.

    Use it as a context manager, or call `close`.

    Args:
        source: ``module:callable`` that makes the `EnvironmentSource` in each worker.
        workers: number of processes.
        options: keyword arguments of the callable; JSON values.
    """

    def __init__(self, source: str, workers: int, options: Mapping[str, Any] | None = None):
        self._source, self._options = source, dict(options or {})
        self._workers = [_Worker(source, self._options) for _ in range(max(1, workers))]
        self._worker_of: dict[int, int] = {}
        self._worker_of_game: dict[str, int] = {}

    def __enter__(self) -> EnvironmentPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, games: Sequence[str]) -> list[tuple[str, Feedback | EnvironmentFailure]]:
        """Begin one episode a game in slots 0 to ``len(games) - 1``; all earlier slots are given up.

        Returns:
            ``(task, first feedback)`` for each slot; the task is empty where the game could not be opened.
        """
        self._request_all({index: ["release"] for index in range(len(self._workers))})
        self._worker_of.clear()
        self._worker_of_game.clear()
        answers = self.replace(list(enumerate(games)))
        return [(task, feedback) for _, task, feedback in answers]

    def replace(self, games: Sequence[tuple[int, str]]) -> list[tuple[int, str, Feedback | EnvironmentFailure]]:
        """Begin new episodes in some slots, new or used; the other slots go on undisturbed."""
        for slot, game in games:
            if slot not in self._worker_of:
                self._worker_of[slot] = self._choose_worker(game)
        answers = self._send("open", games)
        return [(slot, answer[0], answer[1]) for slot, answer in zip(_slots(games), answers, strict=True)]

    def step(self, actions: Sequence[tuple[int, str]]) -> list[tuple[int, Feedback | EnvironmentFailure]]:
        """Send one action to each of some slots; answers come in the same order."""
        answers = self._send("step", actions)
        return [(slot, answer[1]) for slot, answer in zip(_slots(actions), answers, strict=True)]

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.close()

    def _choose_worker(self, game: str) -> int:
        """The worker that has the game already, else the one with the fewest slots."""
        if game not in self._worker_of_game:
            load = Counter(self._worker_of.values())
            self._worker_of_game[game] = min(range(len(self._workers)), key=lambda index: load[index])
        return self._worker_of_game[game]

    def _send(self, verb: str, pairs: Sequence[tuple[int, str]]) -> list[tuple[str, Feedback | EnvironmentFailure]]:
        """Group (slot, text) pairs by worker, ask all workers at once, and return the answers in order."""
        grouped: dict[int, list[tuple[int, str]]] = {}
        for slot, text in pairs:
            grouped.setdefault(self._worker_of[slot], []).append((slot, text))
        answers = self._request_all({index: [verb, group] for index, group in grouped.items()})
        found: dict[int, tuple[str, Feedback | EnvironmentFailure]] = {}
        for index, group in grouped.items():
            for (slot, _), answer in zip(group, answers[index] or [None] * len(group), strict=True):
                found[slot] = _read_answer(answer)
        return [found[slot] for slot in _slots(pairs)]

    def _request_all(self, requests: dict[int, list[Any]]) -> dict[int, list[Any] | None]:
        """Write all requests before reading any answer, so that the workers run at the same time.

        A worker that died answers None and is replaced; its episodes are lost, the others go on.
        """
        alive = {index: self._workers[index].write(request) for index, request in requests.items()}
        answers: dict[int, list[Any] | None] = {}
        for index in requests:
            answers[index] = self._workers[index].read() if alive[index] else None
            if answers[index] is None:
                self._workers[index].close()
                self._workers[index] = _Worker(self._source, self._options)
        return answers


@dataclass
class _Process:
    """One process of a `ProcessGames`: one request at a time, in the order in which threads get the lock."""

    pool: EnvironmentPool
    lock: threading.Lock = field(default_factory=threading.Lock)
    playing: Counter[str] = field(default_factory=Counter)
    spare: list[ProcessEnvironment] = field(default_factory=list)


class ProcessEnvironment:
    """One environment of a `ProcessGames`, in a slot of its process; any thread may step it."""

    def __init__(self, process: _Process, slot: int):
        self.process, self._slot = process, slot
        self.game = self.task = ""

    def load(self, game: str) -> None:
        """Begin an episode of a game; `reset` gives its first feedback."""
        with self.process.lock:
            [(_, self.task, self._first)] = self.process.pool.replace([(self._slot, game)])

    def reset(self) -> Feedback:
        """The first feedback of the episode that `load` began.

        Raises:
            PrismError: the game did not open, or the process is gone.
        """
        return _raise_failure(self._first)

    def step(self, action: str) -> Feedback:
        """Send one action.

        Raises:
            PrismError: the environment broke, or its process is gone.
        """
        with self.process.lock:
            [(_, feedback)] = self.process.pool.step([(self._slot, action)])
        return _raise_failure(feedback)


class ProcessGames:
    """Environments in processes that are opened, stepped and given back one by one, from many threads.

    Replicas of a game go to the same process, where it is loaded once.

    Args:
        source: as `EnvironmentPool` takes it.
        processes: number of processes.
        options: as `EnvironmentPool` takes them.
    """

    def __init__(self, source: str, processes: int, options: Mapping[str, Any] | None = None):
        self._processes = [_Process(EnvironmentPool(source, 1, options)) for _ in range(processes)]
        self._lock = threading.Lock()
        self._slots = itertools.count()

    def open(self, game: str) -> ProcessEnvironment:
        """An environment at the beginning of an episode of `game`; whether it opened is told by its `reset`."""
        with self._lock:
            process = min(self._processes, key=lambda one: (not one.playing[game], one.playing.total()))
            process.playing[game] += 1
            environment = process.spare.pop() if process.spare else ProcessEnvironment(process, next(self._slots))
            environment.game = game
        environment.load(game)
        return environment

    def give_back(self, environment: ProcessEnvironment) -> None:
        """Keep an environment whose episode is over, or that broke, for a later episode of its process."""
        process = environment.process
        with self._lock:
            process.playing[environment.game] -= 1
            process.spare.append(environment)

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.pool.close()


def _raise_failure(feedback: Feedback | EnvironmentFailure) -> Feedback:
    if isinstance(feedback, EnvironmentFailure):
        raise PrismError(feedback.message)
    return feedback


def _slots(pairs: Sequence[tuple[int, str]]) -> list[int]:
    return [slot for slot, _ in pairs]


def _read_answer(answer: list[Any] | None) -> tuple[str, Feedback | EnvironmentFailure]:
    """Decode one worker answer: ``[task, observation, admissible, done, success, score]`` or ``[message]``."""
    if answer is None:
        return "", EnvironmentFailure("the environment's process ended unexpectedly")
    if len(answer) == 1:
        return "", EnvironmentFailure(answer[0])
    task, observation, admissible, done, success, score = answer
    return task, Feedback(observation, tuple(admissible), done, success, score)


class _Worker:
    """The parent's end of one worker process."""

    def __init__(self, source: str, options: dict[str, Any]):
        command = [sys.executable, "-m", "prism.environments.pool", source, json.dumps(options)]
        # one thread: engines are serial, and the cores belong to the other workers and the model
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=environment
        )

    def write(self, request: list[Any]) -> bool:
        """Send a request; False if the process is gone."""
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            return False
        return True

    def read(self) -> list[Any] | None:
        """The answer; None if the process is gone."""
        line = self._process.stdout.readline()
        if not line:
            return None
        answer = json.loads(line)
        if isinstance(answer, str):
            raise PrismError(f"environment worker: {answer}")
        return answer

    def close(self) -> None:
        """End the process: it leaves at the end of its input."""
        for pipe in (self._process.stdin, self._process.stdout):
            try:
                pipe.close()
            except BrokenPipeError:
                continue
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass
class _Slots:
    """A worker's environments, by slot, and the spare ones by game."""

    source: EnvironmentSource
    taken: dict[int, tuple[str, Environment]] = field(default_factory=dict)
    spare: OrderedDict[int, tuple[str, Environment]] = field(default_factory=OrderedDict)

    def release(self) -> list[Any]:
        """Give all slots up."""
        for slot in list(self.taken):
            self._retire(slot)
        return []

    def open(self, pairs: list[tuple[int, str]]) -> list[list[Any]]:
        """Begin an episode in each slot."""
        for slot, _ in pairs:
            self._retire(slot)
        return [self._guarded(self._open_one, slot, game) for slot, game in pairs]

    def step(self, pairs: list[tuple[int, str]]) -> list[list[Any]]:
        """One action in each slot."""
        return [self._guarded(self._step_one, slot, action) for slot, action in pairs]

    def _open_one(self, slot: int, game: str) -> list[Any]:
        loaded, spare = self._take_spare(game)
        environment = spare if loaded == game else self.source.open(game, spare)
        feedback = environment.reset()
        self.taken[slot] = (game, environment)
        return _encode(environment.task, feedback)

    def _step_one(self, slot: int, action: str) -> list[Any]:
        if slot not in self.taken:
            return ["this slot has no running episode"]
        _, environment = self.taken[slot]
        return _encode(environment.task, environment.step(action))

    def _retire(self, slot: int) -> None:
        """Keep a slot's environment for later, up to the limit."""
        if slot in self.taken:
            game, environment = self.taken.pop(slot)
            self.spare[id(environment)] = (game, environment)
            if len(self.spare) > MAX_SPARE:
                self.spare.popitem(last=False)

    def _take_spare(self, game: str) -> tuple[str, Environment | None]:
        """A spare environment: one that has the game loaded, else the one that was not used for longest."""
        if not self.spare:
            return "", None
        same = [key for key, (loaded, _) in self.spare.items() if loaded == game]
        return self.spare.pop(same[0] if same else next(iter(self.spare)))

    def _guarded(self, work: Callable[[int, str], list[Any]], slot: int, text: str) -> list[Any]:
        """Run `work`; an error drops this environment and is reported for this slot alone."""
        try:
            return work(slot, text)
        except Exception as error:
            self.taken.pop(slot, None)
            reason = str(error) if isinstance(error, PrismError) else f"{type(error).__name__}: {error}"
            return [" ".join(reason.split())]


def _encode(task: str, feedback: Feedback) -> list[Any]:
    return [
        task,
        feedback.observation,
        feedback.admissible,
        feedback.done,
        feedback.success,
        float(feedback.score),
    ]


def _serve(source: str, options: str, requests: TextIO, answers: TextIO) -> None:
    """Answer requests until the input ends."""
    try:
        slots = _Slots(load(source)(**json.loads(options)))
    except Exception as error:
        # the first request is answered with the reason instead of silence
        requests.readline()
        print(json.dumps(f"{source}: {type(error).__name__}: {error}"), file=answers, flush=True)
        return
    verbs = {"open": slots.open, "step": slots.step}
    for line in requests:
        verb, *arguments = json.loads(line)
        answer = slots.release() if verb == "release" else verbs[verb](*arguments)
        print(json.dumps(answer), file=answers, flush=True)


def main() -> None:
    """Entry of a worker process."""
    # an interrupt at the terminal reaches the whole group; the parent decides and closes its workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # the protocol keeps the real standard output for itself; whatever an engine prints goes to the log
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    _serve(sys.argv[1], sys.argv[2], sys.stdin, answers)


if __name__ == "__main__":
    main()
