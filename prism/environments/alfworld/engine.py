"""ALFWorld as a `prism` environment: the unmodified text engine with cleaned observations."""

from __future__ import annotations

import json
import os
import re
import resource
from pathlib import Path
from typing import Any, NoReturn

from prism.core.episodes import Feedback
from prism.core.errors import BadInput
from prism.core.files import read_json
from prism.environments.alfworld import memo, packages

_BANNER = "-= Welcome to TextWorld, ALFRED! =-"
_TASK = re.compile(r"Your task is to: (.*)")
_GAME_KEYS = ("pddl_domain", "grammar", "pddl_problem")


class AlfworldEnvironment:
    """One engine, playing one game at a time.

    The planner library under the engine keeps its state in C globals: every concurrent replica of a game needs an
    object of its own. `load` switches to another game and is much cheaper than a new object.

    Args:
        game_file: path of a ``game.tw-pddl``.
        facts: list the true facts in `state` (the handcoded expert reads them).
        memoise: use the memoised functions of `memo` (process-wide; never undone).

    Raises:
        BadInput: the file is missing, is not a game, or the engine cannot load it.
    """

    def __init__(self, game_file: str | Path, *, facts: bool = False, memoise: bool = True):
        if memoise:
            memo.install()
        self._engine = packages.engine(facts=facts)
        self.load(game_file)

    def load(self, game_file: str | Path) -> None:
        """Switch to another game; `reset` starts it."""
        self.game_file = Path(game_file)
        check_game_file(self.game_file)
        self.state: Any = None
        self._untouched = False
        try:
            self._engine.load(str(self.game_file))
            self.reset()
        except (Exception, SystemExit) as error:  # KeyErrors, parser errors; the translator calls sys.exit
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise BadInput(
                self.game_file, f"does not load in the engine ({reason})", "rebuild or download it again"
            ) from error
        self.task = task_of(self.state["feedback"])
        if self.task.rstrip(".") == packages.NO_TASK:
            raise BadInput(self.game_file, f"has no task: it reads {self.task!r}", "rebuild or download it again")

    def reset(self) -> Feedback:
        """Start the episode again from the same first state."""
        if not self._untouched:
            self.state = self._engine.reset()
            self._untouched = True
        return self._feedback()

    def step(self, action: str) -> Feedback:
        """Send one action; what the engine does not know is answered with "Nothing happens."."""
        self._untouched = False
        self.state, _, _ = self._engine.step(action)
        return self._feedback()

    def plan(self, cpu_seconds: int) -> list[str]:
        """Actions from the present state to the goal, by the package's planner; empty where it finds none in time.

        The planner cannot be interrupted, and in large scenes its search may take hours and all memory: it runs in a
        forked copy of this process, which the system ends after `cpu_seconds` of CPU time.
        """
        receiver, sender = os.pipe()
        child = os.fork()
        if child == 0:
            _plan_and_exit(self._engine.unwrapped, sender, cpu_seconds)
        os.close(sender)
        with os.fdopen(receiver, encoding="utf-8") as answer:
            text = answer.read()
        os.waitpid(child, 0)
        return json.loads(text) if text else []

    def _feedback(self) -> Feedback:
        won = bool(self.state["won"])
        return Feedback(
            observation=clean_observation(self.state["feedback"]),
            admissible=tuple(self.state["admissible_commands"]),
            done=won,
            success=won,
            score=float(won),
        )


class AlfworldGames:
    """Where an `EnvironmentPool` gets its environments: opens the games of a data folder.

    Args:
        data_dir: folder that the tasks' game files are relative to.
    """

    def __init__(self, data_dir: str = ""):
        self._folder = Path(data_dir)
        # now, not at the first game: a pool's workers start while their parent still loads its model
        memo.warm_up()

    def open(self, game: str, spare: AlfworldEnvironment | None = None) -> AlfworldEnvironment:
        """An environment that has `game` loaded; `spare`, one no longer needed, is used again if given."""
        game_file = self._folder / game
        if spare is None:
            return AlfworldEnvironment(game_file)
        spare.load(game_file)
        return spare


def _plan_and_exit(core: Any, sender: int, cpu_seconds: int) -> NoReturn:
    """Body of the forked planner: write the plan as JSON to `sender`, or nothing."""
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
        plan = core._pddl_state.replan(core._entity_infos)
        with os.fdopen(sender, "w", encoding="utf-8") as answer:
            json.dump(plan, answer)
    finally:
        os._exit(0)


def task_of(feedback: str) -> str:
    """The task in words, from the engine's first feedback."""
    found = _TASK.search(feedback)
    return found.group(1).strip() if found else ""


def clean_observation(feedback: str) -> str:
    """The engine's words without the welcome banner and the task, on one line."""
    return " ".join(_TASK.sub("", feedback.replace(_BANNER, "")).split())


def check_game_file(path: Path) -> None:
    """Raise `BadInput` unless a file looks like a game: JSON with the engine's three texts."""
    game = read_json(path)
    for key in _GAME_KEYS:
        if not isinstance(game, dict) or not isinstance(game.get(key), str):
            raise BadInput(path, f"is not an ALFWorld game ({key!r} is missing)", "rebuild or download it again")
