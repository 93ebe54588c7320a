"""Who plays ALFWorld games: the package's handcoded expert, its planner where that fails, and chance."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from prism.core.episodes import Feedback
from prism.environments.alfworld import packages
from prism.environments.alfworld.detours import wander
from prism.environments.alfworld.engine import AlfworldEnvironment

PLANNER_CPU_SECONDS = 20
"""The planner's limit: a hundred times what small scenes take, so that a slow machine gives the same trajectories."""


class HandcodedExpert:
    """The handcoded expert of the `alfworld` package, with its one defect mended.

    The package's expert tracks what it holds by the word "put", while the grammar says "move X to Y": it then loses
    count of what it has placed, and tasks with two objects fail. Here it is told "put" for its own bookkeeping.

    Args:
        environment: opened with ``facts=True`` and just reset.
    """

    name = "handcoded"

    def __init__(self, environment: AlfworldEnvironment):
        packages.prepare()
        from alfworld.agents.expert import HandCodedTWAgent

        self._environment = environment
        self._agent = HandCodedTWAgent(max_steps=200)
        self._agent.reset(str(environment.game_file))
        self._agent.observe(environment.state["feedback"])
        track = self._agent.policy.update_state_tracking
        self._agent.policy.update_state_tracking = lambda state, action: track(state, _say_put(action))
        # as after a look around, which changes nothing: the first feedback describes the room already
        self._last_action = "look"

    def act(self) -> str:
        """The next action, given the environment's present state."""
        state = self._environment.state
        action = self._agent.act(state, 0, bool(state["won"]), self._last_action)
        # as the package's own wrapper does: an impossible action is replaced by a look around
        self._last_action = action if action in state["admissible_commands"] else "look"
        return self._last_action


def _say_put(action: str) -> str:
    return "put" + action.removeprefix("move") if action.startswith("move ") else action


class PlannerExpert:
    """Replays one plan, made by the package's planner from the first state; knows where everything is."""

    name = "planner"

    def __init__(self, environment: AlfworldEnvironment):
        self._plan = iter(environment.plan(PLANNER_CPU_SECONDS))

    def act(self) -> str:
        """The next action of the plan."""
        action = next(self._plan, None)
        if action is None:
            raise RuntimeError("the planner knows no further action")
        return action


@dataclass(frozen=True)
class Executed:
    """One executed step: what was seen before it, the action, and whether the expert meant it."""

    before: Feedback
    action: str
    demonstrated: bool


@dataclass(frozen=True)
class Play:
    """One finished episode of an expert."""

    expert: str
    task: str
    steps: tuple[Executed, ...]
    success: bool
    error: str = ""


@dataclass(frozen=True)
class Noise:
    """What an expert does besides its own actions.

    Attributes:
        failed: share of steps before which an inadmissible action is executed; it changes nothing in the game, the
            expert repeats its intention after it, and nobody imitates it.
        aimless: share of steps before which an admissible action is executed that brings the task no further; it is
            demonstrated as the others are.
    """

    failed: float
    aimless: float = 0.0


def play(
    environment: AlfworldEnvironment, expert_type: type[Any], max_steps: int, noise: Noise, rng: random.Random
) -> Play:
    """Play the loaded game with an expert.

    Args:
        rng: decides about noise; also seeds the expert's own choices.
    """
    feedback = environment.reset()
    steps: list[Executed] = []
    error = ""
    with _seeded(rng.random()):
        try:
            expert = expert_type(environment)
            while not feedback.done and len(steps) < max_steps:
                action = expert.act()
                for extra, demonstrated in _extra_actions(action, feedback.admissible, noise, rng):
                    if len(steps) + 1 < max_steps:
                        steps.append(Executed(feedback, extra, demonstrated))
                        feedback = environment.step(extra)
                steps.append(Executed(feedback, action, demonstrated=True))
                feedback = environment.step(action)
        except Exception as failure:  # the package's expert raises NameErrors and IndexErrors when it is lost
            error = f"{type(failure).__name__}: {failure}"
    return Play(expert_type.name, environment.task, tuple(steps), feedback.success, error)


def _extra_actions(
    action: str, admissible: tuple[str, ...], noise: Noise, rng: random.Random
) -> list[tuple[str, bool]]:
    """What is done before an action, and whether it is demonstrated; nothing is drawn for a kind that is off."""
    wrong = corrupt(action, admissible, rng) if rng.random() < noise.failed else None
    aimless = wander(action, admissible, rng) if noise.aimless and rng.random() < noise.aimless else None
    return [(extra, extra is aimless) for extra in (wrong, aimless) if extra is not None]


def corrupt(action: str, admissible: tuple[str, ...], rng: random.Random) -> str | None:
    """A plausible action that the game does not accept now, or None where none was found.

    Either an admissible action with another number, or a wrong verb for things that are there.
    """
    known = [choice for choice in admissible if choice not in (action, "help", "look", "inventory")]
    for _ in range(8):
        if not known:
            return None
        words = rng.choice(known).split()
        if rng.random() < 0.5:
            words = [str(rng.randint(1, 9)) if word.isdigit() and rng.random() < 0.5 else word for word in words]
        else:
            words = [rng.choice(("take", "open", "close", "go to", "use")), *words[-2:]]
        wrong = " ".join(words)
        if wrong not in admissible:
            return wrong
    return None


def draw_action(admissible: Sequence[str], rng: random.Random) -> str:
    """A random admissible action: first a verb, then one of its actions, each with equal chances.

    Without this, "go to" would crowd out everything else. ``help`` is never drawn.
    """
    by_verb: dict[str, list[str]] = {}
    for action in admissible:
        if action != "help":
            by_verb.setdefault(action.split()[0], []).append(action)
    return rng.choice(by_verb[rng.choice(sorted(by_verb))])


@contextmanager
def _seeded(seed: float) -> Iterator[None]:
    """Seed Python's global generator, which the package's expert uses, and put it back afterwards."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
