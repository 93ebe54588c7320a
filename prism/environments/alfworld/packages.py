"""The one door to the `alfworld` and `textworld` packages: their data, and the engine's stack of wrappers.

Everything is imported inside the functions: importing the packages takes about a second and a half, and commands
that only read our own files should not wait for it.
"""

from __future__ import annotations

import json
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any


def prepare() -> None:
    """Keep the packages from making a folder in the user's home when they are imported."""
    os.environ.setdefault("ALFWORLD_DATA", tempfile.gettempdir())


def constants() -> ModuleType:
    """ALFRED's object classes and what may be done with them."""
    prepare()
    import alfworld.gen.constants as module

    return module


@lru_cache(maxsize=1)
def goals() -> dict[str, dict[str, Any]]:
    """ALFRED's goal library: by task type, the PDDL goal and sentence templates."""
    prepare()
    from alfworld.gen.goal_library import gdict

    return gdict


NO_TASK = "UNKNOWN GOAL"
"""What stands for the task in the package's grammar; a game that still reads so was never given one."""


@lru_cache(maxsize=1)
def domain() -> str:
    """The PDDL domain."""
    prepare()
    from alfworld.info import ALFRED_PDDL_PATH

    return Path(ALFRED_PDDL_PATH).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def grammar() -> str:
    """The text grammar; `NO_TASK` stands for the task."""
    prepare()
    from alfworld.info import ALFRED_TWL2_PATH

    return Path(ALFRED_TWL2_PATH).read_text(encoding="utf-8")


def layout(floor_plan: int) -> tuple[list[str], list[str]]:
    """Object classes of a floor plan, and the ids (class and pose) of its receptacles, both in the package's order."""
    prepare()
    import alfworld.gen

    folder = Path(alfworld.gen.__path__[0]) / "layouts"
    kinds = json.loads((folder / f"FloorPlan{floor_plan}-objects.json").read_text(encoding="utf-8"))
    posed = json.loads((folder / f"FloorPlan{floor_plan}-openable.json").read_text(encoding="utf-8"))
    return kinds, sorted(posed)


def engine(*, facts: bool = False, plan: bool = False) -> Any:
    """A new engine: the stack that `AlfredTWEnv` builds, without its batching.

    Args:
        facts: list the true facts in every state (the handcoded expert reads them).
        plan: ask the planner for a plan in every state (slow).
    """
    prepare()
    import textworld
    from alfworld.agents.environment.alfred_tw_env import AlfredDemangler, AlfredInfos
    from textworld.envs import PddlEnv

    wanted = textworld.EnvInfos(
        won=True, admissible_commands=True, facts=facts, policy_commands=plan, extras=["gamefile"]
    )
    return AlfredInfos(AlfredDemangler(PddlEnv(wanted)))
