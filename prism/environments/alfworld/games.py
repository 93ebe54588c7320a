"""Games of the six ALFWorld task types, generated from what the `alfworld` package ships.

The package holds the PDDL domain, the text grammar, the goal library and the inventories of 120 floor plans, but no
games. A generated game puts a task and some objects into one of these floor plans and has the layout of the real data
set (`prism.environments.alfworld.game_files`).

Scenes are plausible, not real: furniture that the package lists without a pose gets an invented one, and objects lie
where ALFRED allows them to lie.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from prism.core.errors import BadInput
from prism.environments.alfworld import packages

TASK_TYPES = {
    "pick_and_place_simple": "pick",
    "look_at_obj_in_light": "look",
    "pick_clean_then_place_in_recep": "clean",
    "pick_heat_then_place_in_recep": "heat",
    "pick_cool_then_place_in_recep": "cool",
    "pick_two_obj_and_place": "pick2",
}
"""ALFRED's task types and the short names of the paper's columns."""

SPLITS = ("train", "seen", "unseen")

HELD_OUT_EVERY = 5
"""Floor plans whose number is a multiple of this are held out: 6 of 30 in each kind of room, as 5, 10, ... 30."""

# What a task's object must undergo, and the receptacle where that happens (alfred.pddl).
_TREATMENTS = {
    "pick_clean_then_place_in_recep": ("Cleanable", "SinkBasin"),
    "pick_heat_then_place_in_recep": ("Heatable", "Microwave"),
    "pick_cool_then_place_in_recep": ("Coolable", "Fridge"),
}
LAMPS = ("DeskLamp", "FloorLamp")
_LAMP_STANDS = ("Desk", "SideTable", "Dresser", "Shelf", "DiningTable", "CoffeeTable")
# How many of a class a floor plan gets when the package lists the class but no instance of it.
_INVENTED_COUNTS = {"StoveBurner": 4, "CounterTop": 2, "Shelf": 2}
_ATTEMPTS = 400


@dataclass(frozen=True)
class GameSize:
    """How large a generated scene is.

    Attributes:
        max_receptacles: receptacles of a scene; 0 keeps all of the floor plan.
        max_objects: movable objects of a scene, targets included; 0 places a full inventory.
    """

    max_receptacles: int = 6
    max_objects: int = 6

    def __post_init__(self) -> None:
        if self.max_receptacles and self.max_receptacles < 3:
            raise BadInput("max_receptacles", "a task may need 3 receptacles", "give 0 or at least 3")
        if self.max_objects and self.max_objects < 2:
            raise BadInput("max_objects", "a task may need 2 objects", "give 0 or at least 2")


@dataclass(frozen=True)
class Receptacle:
    """A piece of furniture: simulator-like id (class and pose) and class."""

    id: str
    kind: str


@dataclass(frozen=True)
class FloorPlan:
    """What a room holds: its furniture, the classes of movable objects in it, and its lamps."""

    number: int
    receptacles: tuple[Receptacle, ...]
    objects: tuple[str, ...]
    lamps: tuple[str, ...]


@dataclass(frozen=True)
class Placement:
    """A movable object (or lamp) of class `kind` that lies in or on a receptacle."""

    id: str
    kind: str
    receptacle: str


@dataclass(frozen=True)
class Game:
    """One game before it is written.

    Attributes:
        target: class of the object to be handled.
        parent: class of the receptacle where it must end up; empty for ``look_at_obj_in_light``.
        lamp: class of the lamp to switch on; empty for the other task types.
        task: the task in words.
    """

    task_type: str
    floor_plan: int
    target: str
    parent: str
    lamp: str
    task: str
    receptacles: tuple[Receptacle, ...]
    placements: tuple[Placement, ...]

    @property
    def signature(self) -> str:
        """Hash of everything but the invented poses: two games with one signature are the same game."""
        things = sorted((thing.kind, thing.receptacle) for thing in self.placements)
        rooms = [receptacle.id for receptacle in self.receptacles]
        content = [self.task_type, self.floor_plan, self.target, self.parent, self.lamp, self.task, rooms, things]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    @property
    def trial(self) -> str:
        """Name of the innermost folder, a function of the content."""
        return f"trial_{self.signature[:16]}"

    @property
    def folder(self) -> str:
        """Folder below the split, named as in the real data set."""
        return f"{self.task_type}-{self.target}-None-{self.parent or self.lamp}-{self.floor_plan}/{self.trial}"


def room_kinds() -> dict[str, range]:
    """Kinds of rooms and the numbers of their floor plans."""
    return dict(packages.constants().SCENE_TYPE)


def is_held_out(floor_plan: int) -> bool:
    """Whether a floor plan is kept for the unseen split."""
    return floor_plan % HELD_OUT_EVERY == 0


def generate_split(split: str, count: int, seed: int, size: GameSize, taken: set[str]) -> Iterator[Game]:
    """Yield `count` new games of a split, task types in turn.

    Args:
        split: ``train`` and ``seen`` use the training floor plans, ``unseen`` the held-out ones.
        taken: signatures of games that must not occur again; extended while games are made.

    Raises:
        BadInput: the size leaves too few different games.
    """
    types = list(TASK_TYPES)
    for index in range(count):
        task_type = types[index % len(types)]
        for attempt in range(_ATTEMPTS):
            # a generator of its own for each game: more games of a split never change the earlier ones
            rng = random.Random(f"{seed}/{split}/{index}/{attempt}")
            game = _propose(task_type, split == "unseen", size, rng)
            if game is not None and game.signature not in taken:
                taken.add(game.signature)
                yield game
                break
        else:
            raise BadInput(split, f"no new {task_type} game found", "ask for fewer games or allow larger scenes")


@cache
def floor_plan(number: int) -> FloorPlan:
    """A floor plan of the package, with invented poses for the furniture that has none.

    The same floor plan holds the same furniture in every game.
    """
    constants = packages.constants()
    kinds, posed = packages.layout(number)
    furniture = set(constants.RECEPTACLES) - set(constants.MOVABLE_RECEPTACLES)
    allowed = constants.VAL_RECEPTACLE_OBJECTS
    receptacles = [Receptacle(name, kind) for name in posed if (kind := _kind_of(name)) in furniture & set(allowed)]
    rng = random.Random(f"floor plan {number}")
    known = {receptacle.kind for receptacle in receptacles}
    for kind in kinds:
        if kind in furniture and kind in allowed and kind not in known:
            receptacles += [_invent(kind, rng) for _ in range(_INVENTED_COUNTS.get(kind, 1))]
    present = {receptacle.kind for receptacle in receptacles}
    movable = [
        kind
        for kind in kinds
        if kind in constants.OBJECTS_SET and kind not in furniture and any(kind in allowed[home] for home in present)
    ]
    lamps = [kind for kind in kinds if kind in LAMPS]
    return FloorPlan(number, tuple(receptacles), tuple(movable), tuple(lamps))


def _kind_of(name: str) -> str:
    """Class of a simulator id: ``Cabinet|x|y|z``, or the part after the pose in ``Sink|x|y|z|SinkBasin``."""
    parts = name.split("|")
    return parts[4] if len(parts) > 4 else parts[0]


def _invent(kind: str, rng: random.Random) -> Receptacle:
    base = {"SinkBasin": "Sink", "BathtubBasin": "Bathtub"}.get(kind)
    return Receptacle(f"{_pose(base, rng)}|{kind}" if base else _pose(kind, rng), kind)


def _pose(kind: str, rng: random.Random) -> str:
    """A simulator-like id: class and x, y (height), z in metres."""
    return f"{kind}|{rng.uniform(-3, 3):+06.2f}|{rng.uniform(0, 2.3):+06.2f}|{rng.uniform(-3, 3):+06.2f}"


def _propose(task_type: str, held_out: bool, size: GameSize, rng: random.Random) -> Game | None:
    """One random game, or None where the chosen floor plan does not fit the task."""
    plan = floor_plan(_choose_floor_plan(task_type, held_out, rng))
    if task_type == "look_at_obj_in_light" and not plan.lamps:
        return None
    lamp = rng.choice(plan.lamps) if task_type == "look_at_obj_in_light" else ""
    treatment, station = _TREATMENTS.get(task_type, ("", ""))
    target = _choose_target(plan, treatment, station, rng)
    if target is None:
        return None
    parent = "" if lamp else _choose_parent(plan, target, station, rng)
    homes = [room for room in _homes(plan.receptacles, target) if room.kind != parent]
    if parent is None or not homes:
        return None
    receptacles = _choose_receptacles(plan, homes, parent, station, size, rng)
    homes = [room for room in homes if room in receptacles]
    copies = 2 if task_type == "pick_two_obj_and_place" else rng.choice((1, 1, 2))
    placements = [_place(target, homes, rng) for _ in range(copies)]
    placements += _clutter(plan, target, receptacles, size.max_objects - copies if size.max_objects else None, rng)
    stands = [room for room in receptacles if room.kind in _LAMP_STANDS] or receptacles
    placements += [_place(kind, stands, rng) for kind in plan.lamps]
    words = {"obj": target.lower(), "recep": (parent or "").lower(), "toggle": lamp.lower(), "mrecep": ""}
    task = rng.choice(packages.goals()[task_type]["templates"]).format(**words)
    return Game(task_type, plan.number, target, parent, lamp, task, tuple(receptacles), tuple(placements))


def _choose_floor_plan(task_type: str, held_out: bool, rng: random.Random) -> int:
    kinds = sorted(packages.constants().GOALS_VALID[task_type])
    numbers = room_kinds()[rng.choice(kinds)]
    return rng.choice([number for number in numbers if is_held_out(number) == held_out])


def _choose_target(plan: FloorPlan, treatment: str, station: str, rng: random.Random) -> str | None:
    """An object class that the task can be done with in this floor plan."""
    if station and station not in {room.kind for room in plan.receptacles}:
        return None
    treatable = packages.constants().VAL_ACTION_OBJECTS.get(treatment, plan.objects)
    choices = [kind for kind in plan.objects if kind in treatable]
    return rng.choice(choices) if choices else None


def _choose_parent(plan: FloorPlan, target: str, station: str, rng: random.Random) -> str | None:
    """A receptacle class that the target may be put into, other than the station where it is treated."""
    choices = sorted({room.kind for room in _homes(plan.receptacles, target)} - {station})
    return rng.choice(choices) if choices else None


def _homes(receptacles: Sequence[Receptacle], kind: str) -> list[Receptacle]:
    """Receptacles where ALFRED lets an object class lie."""
    allowed = packages.constants().VAL_RECEPTACLE_OBJECTS
    return [room for room in receptacles if kind in allowed[room.kind]]


def _choose_receptacles(
    plan: FloorPlan, homes: list[Receptacle], parent: str, station: str, size: GameSize, rng: random.Random
) -> list[Receptacle]:
    """The scene's furniture: what the task needs and, up to the limit, a random rest; in the plan's order."""
    if not size.max_receptacles or len(plan.receptacles) <= size.max_receptacles:
        return list(plan.receptacles)
    kept = [rng.choice(homes)]
    for kind in (parent, station):
        if kind:
            kept.append(rng.choice([room for room in plan.receptacles if room.kind == kind]))
    rest = [room for room in plan.receptacles if room not in kept]
    rng.shuffle(rest)
    missing = max(0, size.max_receptacles - len(set(kept)))
    chosen = set(kept) | set(rest[:missing])
    return [room for room in plan.receptacles if room in chosen]


def _place(kind: str, homes: Sequence[Receptacle], rng: random.Random) -> Placement:
    return Placement(_pose(kind, rng), kind, rng.choice(homes).id)


def _clutter(
    plan: FloorPlan, target: str, receptacles: list[Receptacle], room_for: int | None, rng: random.Random
) -> list[Placement]:
    """Objects that have nothing to do with the task."""
    kinds = [kind for kind in plan.objects if kind != target]
    rng.shuffle(kinds)
    placements: list[Placement] = []
    for kind in kinds:
        homes = _homes(receptacles, kind)
        copies = rng.choice((0, 1, 1, 2)) if homes else 0
        placements += [_place(kind, homes, rng) for _ in range(copies)]
    return placements if room_for is None else placements[:room_for]
