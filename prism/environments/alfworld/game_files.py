"""A generated game as files in the layout of the real data set, so that the unmodified `AlfredTWEnv` loads it.

::

    {split}/{task type}-{Object}-None-{Receptacle}-{floor plan}/trial_{hash}/game.tw-pddl       what the engine plays
                                                                             traj_data.json     what the expert reads
                                                                             initial_state.pddl the problem alone
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prism.environments.alfworld import packages
from prism.environments.alfworld.games import LAMPS, Game, Placement

GAME_FILE = "game.tw-pddl"
_PROPERTIES = ("Cleanable", "Heatable", "Coolable", "Toggleable", "Sliceable")
# PDDL names may not hold these characters; "#" stands for the type dash in the package's own texts.
_MANGLED = {"-": "_minus_", "#": "-", "|": "_bar_", "+": "_plus_", ".": "_dot_", ",": "_comma_"}
# where the agent stands at first
_START = "loc|-9|0|0|30"


def write_game(split_folder: Path, game: Game) -> Path:
    """Write one game below the folder of its split; returns the game file."""
    folder = split_folder / game.folder
    folder.mkdir(parents=True)
    problem = _problem(game)
    _write(folder / "initial_state.pddl", problem)
    _write(folder / "traj_data.json", json.dumps(_traj_data(game), indent=1, sort_keys=True))
    content = {
        "grammar": packages.grammar().replace(packages.NO_TASK, game.task),
        "pddl_domain": packages.domain(),
        "pddl_problem": problem,
        "solvable": True,
        "walkthrough": None,
    }
    _write(folder / GAME_FILE, json.dumps(content, sort_keys=True))
    return folder / GAME_FILE


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _problem(game: Game) -> str:
    """The PDDL problem: objects, initial state, goal."""
    goal = packages.goals()[game.task_type]["pddl"].format(obj=game.target, recep=game.parent, toggle=game.lamp)
    head = [f"(define (problem plan_{game.trial})", "(:domain alfred)"]
    return "\n" + _mangle("\n".join([*head, *_declarations(game), *_initial_state(game)])) + "\n" + _mangle(goal)


def _mangle(text: str) -> str:
    return "".join(_MANGLED.get(character, character) for character in text)


def _locations(game: Game) -> dict[str, str]:
    """A standing place for every receptacle: ``loc|x|z|rotation|horizon``."""
    return {room.id: f"loc|{index}|{index % 5}|{index % 4}|60" for index, room in enumerate(game.receptacles)}


def _declarations(game: Game) -> list[str]:
    furniture, things = _type_names()
    lines = ["(:objects", "agent1 # agent"]
    lines += [f"{kind}Type # otype" for kind in things]
    lines += [f"{kind}Type # rtype" for kind in furniture]
    lines += [f"{thing.id} # object" for thing in game.placements]
    lines += [f"{room.id} # receptacle" for room in game.receptacles]
    lines += [f"{place} # location" for place in sorted({*_locations(game).values(), _START})]
    return [*lines, ")"]


def _type_names() -> tuple[list[str], list[str]]:
    """Sorted class names of furniture and of things."""
    constants = packages.constants()
    furniture = set(constants.RECEPTACLES) - set(constants.MOVABLE_RECEPTACLES)
    return sorted(furniture), sorted(constants.OBJECTS_SET - furniture)


def _initial_state(game: Game) -> list[str]:
    constants, locations = packages.constants(), _locations(game)
    present = {thing.kind for thing in game.placements}
    lines = ["(:init"]
    lines += [f"(receptacleType {room.id} {room.kind}Type)" for room in game.receptacles]
    lines += [f"(objectType {thing.id} {thing.kind}Type)" for thing in game.placements]
    lines += sorted(
        {
            f"(canContain {room.kind}Type {kind}Type)"
            for room in game.receptacles
            for kind in present & set(constants.VAL_RECEPTACLE_OBJECTS[room.kind])
        }
    )
    for thing in game.placements:
        lines += _object_facts(thing, locations[thing.receptacle])
    lines += [f"(openable {room.id})" for room in game.receptacles if room.kind in constants.OPENABLE_CLASS_SET]
    lines += [f"(receptacleAtLocation {room.id} {locations[room.id]})" for room in game.receptacles]
    return [*lines, f"(atLocation agent1 {_START})", ")"]


def _object_facts(thing: Placement, location: str) -> list[str]:
    constants = packages.constants()
    facts = [] if thing.kind in LAMPS else [f"(pickupable {thing.id})"]
    if thing.kind in constants.MOVABLE_RECEPTACLES_SET:
        facts.append(f"(isReceptacleObject {thing.id})")
    facts += [
        f"({name.lower()} {thing.id})" for name in _PROPERTIES if thing.kind in constants.VAL_ACTION_OBJECTS[name]
    ]
    return [*facts, f"(inReceptacle {thing.id} {thing.receptacle})", f"(objectAtLocation {thing.id} {location})"]


def _traj_data(game: Game) -> dict[str, Any]:
    """The keys of ALFRED's ``traj_data.json`` that the text environment and the expert read."""
    return {
        "task_id": game.trial,
        "task_type": game.task_type,
        "pddl_params": {
            "object_target": game.target,
            "parent_target": game.parent,
            "toggle_target": game.lamp,
            "mrecep_target": "",
            "object_sliced": False,
        },
        "scene": {"floor_plan": f"FloorPlan{game.floor_plan}", "scene_num": game.floor_plan},
        "turk_annotations": {"anns": [{"task_desc": game.task}]},
        "plan": {"high_pddl": []},
    }
