r"""The format of ETO's expert trajectories (agent-eto/eto-sft-trajectory): chats of Thought and Action.

One JSON list a benchmark. An entry of ALFWorld has ``game_file`` (its last folder names the trial), one of WebShop has
``id`` (the goal's number in the original's list of human goals), ``reward`` and ``source``; both have
``conversations``, turns ``{"from": "human" | "gpt", "value": "..."}``: an instruction, its "OK", then the task and the
expert's replies ``Thought: ...\nAction: ...``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from prism.core.errors import BadInput
from prism.core.files import read_json

# the expert of its trajectories
EXPERT = "eto"
NO_TASK, REPEATED = "its task is not among the training tasks", "repeats a task"
HUMAN, GPT = "human", "gpt"
INSTRUCTION_TURNS = 2
REMEDY = "fetch the file again (prism stage fetch eto)"
_REPLY = re.compile(r"\s*(?:Thought:\s*(?P<thought>.*?)\s*)?Action:\s*(?P<action>.*?)\s*", re.DOTALL)


@dataclass(frozen=True)
class Conversation:
    """One expert episode as ETO wrote it down.

    Attributes:
        place: file and number of the entry, for errors.
        identifier: the entry's id.
        trial: ALFWorld: the trial folder of its game; empty elsewhere.
        opening: what the environment said first, task included.
        steps: the expert's (thought, action) pairs.
    """

    place: str
    identifier: str
    trial: str
    opening: str
    steps: tuple[tuple[str, str], ...]


def read_conversations(path: str | Path) -> list[Conversation]:
    """All entries of a file.

    Raises:
        BadInput: the file is not in ETO's format; names the entry.
    """
    entries = read_json(path)
    if not isinstance(entries, list) or not entries:
        raise BadInput(path, "is not a list of conversations", REMEDY)
    return [_parse(f"{path}[{number}]", entry) for number, entry in enumerate(entries)]


def _parse(place: str, entry: Any) -> Conversation:
    turns = entry.get("conversations") if isinstance(entry, Mapping) else None
    if not isinstance(turns, list) or not all(_is_turn(turn) for turn in turns):
        raise BadInput(place, "holds no conversations of from and value", REMEDY)
    speakers = [turn["from"] for turn in turns]
    if len(turns) <= INSTRUCTION_TURNS + 1 or any(
        speaker != (HUMAN, GPT)[number % 2] for number, speaker in enumerate(speakers)
    ):
        raise BadInput(place, "human and gpt do not take turns", REMEDY)
    told = turns[INSTRUCTION_TURNS:]
    steps = tuple(split_reply(turn["value"], place) for turn in told if turn["from"] == GPT)
    return Conversation(place, str(entry.get("id", "")), _trial(entry), told[0]["value"], steps)


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, Mapping) and turn.get("from") in (HUMAN, GPT) and isinstance(turn.get("value"), str)


def _trial(entry: Mapping[str, Any]) -> str:
    """The trial folder in a game's path, whether or not the file in it is named too."""
    path = PurePosixPath(str(entry.get("game_file", "")))
    return path.parent.name if path.suffix else path.name


def split_reply(text: str, place: str) -> tuple[str, str]:
    """Thought and action of a reply.

    Raises:
        BadInput: the reply has no action.
    """
    found = _REPLY.fullmatch(text)
    if found is None or not found["action"]:
        raise BadInput(place, f"a reply has no 'Action:': {text[:60]!r}", REMEDY)
    return found["thought"] or "", found["action"]
