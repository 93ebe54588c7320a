"""Chats of people who bring their own trajectories: JSON in OpenAI's or ShareGPT's format.

OpenAI::

    {"id": "a", "messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}

ShareGPT::

    {"id": "a", "conversations": [{"from": "human", "value": "..."}, {"from": "gpt", "value": "..."}]}

One trajectory a line, or all in one JSON array; gzipped or not. The two formats may be mixed. Without ``id`` the number
of the line, or of the record in an array, is the id. Tools are a list, or a text that holds one (LLaMA-Factory).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prism.core.errors import BadInput
from prism.core.files import read_records
from prism.core.messages import FORMATS, calls_of_text, parse_messages, parse_role, unread_fields

# ShareGPT's and LLaMA-Factory's roles by OpenAI's names
SHAREGPT_ROLES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "function_call": "assistant",
    "observation": "tool",
    "tool": "tool",
}


@dataclass(frozen=True)
class Chat:
    """One trajectory as a chat.

    Attributes:
        messages: in the form of `prism.core.messages`.
        tools: tool schemas, or None.
        place: file, and line or record.
        unread: names of fields of its answers that nobody reads.
    """

    id: str
    messages: tuple[dict[str, Any], ...]
    tools: list[dict] | None
    place: str
    unread: tuple[str, ...] = ()


def holds_trajectories(path: str | Path) -> bool:
    """Whether a file holds expert trajectories, not chats; its first record tells.

    Raises:
        BadInput: the file cannot be read or holds no record.
    """
    first = next((record for _, _, record in read_records(path)), None)
    if first is None:
        raise BadInput(path, "is empty", FORMATS)
    return "steps" in first


def read_chats(path: str | Path) -> list[Chat]:
    """Read and check a file of chats.

    Raises:
        BadInput: names file and line of invalid JSON, a repeated id, an unknown role, or a chat without an answer.
    """
    chats: dict[str, Chat] = {}
    for number, place, record in read_records(path):
        chat = parse_chat(record, number, place)
        if chat.id in chats:
            raise _repeated(chat, chats[chat.id], record)
        chats[chat.id] = chat
    if not chats:
        raise BadInput(path, "holds no chat", FORMATS)
    return list(chats.values())


def _repeated(chat: Chat, first: Chat, record: Mapping[str, Any]) -> BadInput:
    """The error for an id that comes twice; it may be the number of a record that has none."""
    _, array, number = first.place.rpartition(" record ")
    where = f"record {number}" if array else f"line {first.place.rpartition(':')[2]}"
    if "id" in record:
        return BadInput(chat.place, f"repeats id {chat.id!r} of {where}", "make ids unique")
    problem = f"has no id, and its number {chat.id} is the id of {where}"
    return BadInput(chat.place, problem, "give every trajectory a unique id, or none")


def parse_chat(record: Mapping[str, Any], number: int, place: str) -> Chat:
    """One line of a file of chats.

    Args:
        number: line number, the id of a chat without one.
        place: file and line, for errors.
    """
    identifier = record.get("id", number)
    if isinstance(identifier, bool) or not isinstance(identifier, (str, int)) or identifier == "":
        raise BadInput(place, "'id' is not a text or a whole number", "give every trajectory a unique id, or none")
    if "messages" in record:
        turns = record["messages"]
    elif "conversations" in record:
        turns = _openai_turns(record["conversations"], place)
    else:
        raise BadInput(place, "has neither 'messages' nor 'conversations'", FORMATS)
    system = record.get("system")
    return make_chat(str(identifier), turns, record.get("tools"), place, system if isinstance(system, str) else "")


def make_chat(identifier: str, turns: Any, tools: Any, place: str, system: str = "") -> Chat:
    """A chat of OpenAI messages, checked; what readers of any format end in.

    Args:
        turns: messages with role, content and whatever else `prism.core.messages` knows, as a file has them.
        tools: a list of tool schemas, a text that holds one, or None.
        system: the system message, where the messages do not start with one.

    Raises:
        BadInput: names the message that cannot be used.
    """
    messages = parse_messages(turns, place, system)
    return Chat(identifier, tuple(messages), _parse_tools(tools, place), place, tuple(unread_fields(turns)))


def _openai_turns(turns: Any, place: str) -> Any:
    """ShareGPT's turns as OpenAI's messages; what a turn has beside role and text stays beside them."""
    if not isinstance(turns, list):
        return turns
    return [_openai_turn(turn, f"{place} message {number}") for number, turn in enumerate(turns, 1)]


def _openai_turn(turn: Any, place: str) -> dict[str, Any]:
    if not isinstance(turn, dict):
        raise BadInput(place, "is not an object", FORMATS)
    role = parse_role(turn.get("from"), "from", SHAREGPT_ROLES, place)
    message = {key: value for key, value in turn.items() if key not in ("from", "value")}
    if turn["from"] == "function_call" and isinstance(turn.get("value"), str) and not turn.get("tool_calls"):
        return {"role": role, **message, **calls_of_text(turn["value"], place)}
    return {"role": role, **message, "content": turn.get("value")}


def _parse_tools(tools: Any, place: str) -> list[dict] | None:
    """Tool schemas: a list of objects, or a text that holds one as JSON."""
    if isinstance(tools, str) and tools.strip():
        try:
            tools = json.loads(tools)
        except (ValueError, RecursionError) as error:
            raise BadInput(place, "'tools' is a text that is not JSON", "write the tool schemas as JSON") from error
    if not tools:
        return None
    if not (isinstance(tools, list) and all(isinstance(tool, dict) for tool in tools)):
        raise BadInput(place, "'tools' is not a list of objects", "write the tool schemas as JSON objects")
    return tools
