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

OPENAI_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
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
FORMATS = "write OpenAI 'messages' (role, content) or ShareGPT 'conversations' (from, value)"


@dataclass(frozen=True)
class Chat:
    """One trajectory as a chat.

    Attributes:
        messages: ``{"role": system|user|assistant|tool, "content": str}``, with ``tool_calls`` and ``weight`` where the
            file has them.
        tools: tool schemas, or None.
        place: file, and line or record.
    """

    id: str
    messages: tuple[dict[str, Any], ...]
    tools: list[dict] | None
    place: str


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
        turns, role_key, content_key, roles = record["messages"], "role", "content", OPENAI_ROLES
    elif "conversations" in record:
        turns, role_key, content_key, roles = record["conversations"], "from", "value", SHAREGPT_ROLES
    else:
        raise BadInput(place, "has neither 'messages' nor 'conversations'", FORMATS)
    if not isinstance(turns, list) or not turns:
        raise BadInput(place, "has no messages", FORMATS)
    messages = [
        _parse_message(turn, role_key, content_key, roles, f"{place} message {index}")
        for index, turn in enumerate(turns, 1)
    ]
    if isinstance(system := record.get("system"), str) and system and messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": system})
    if not any(message["role"] == "assistant" and message.get("weight", 1) for message in messages):
        raise BadInput(place, "has no assistant message with loss: no response token", "add one or remove the line")
    return Chat(str(identifier), tuple(messages), _parse_tools(record.get("tools"), place), place)


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


def _parse_message(turn: Any, role_key: str, content_key: str, roles: Mapping[str, str], place: str) -> dict[str, Any]:
    if not isinstance(turn, dict):
        raise BadInput(place, "is not an object", FORMATS)
    role = turn.get(role_key)
    if not isinstance(role, str) or not role:
        raise BadInput(place, f"{role_key!r} is missing or empty", f"use one of {', '.join(roles)}")
    if role not in roles:
        raise BadInput(place, f"unknown role {role!r}", f"use one of {', '.join(roles)}")
    message: dict[str, Any] = {"role": roles[role], "content": _parse_content(turn.get(content_key), place)}
    if turn.get("tool_calls"):
        message["tool_calls"] = turn["tool_calls"]
    if turn.get("weight", 1) not in (0, 1):
        raise BadInput(place, "'weight' is neither 0 nor 1", "write 0 for an answer without loss")
    if turn.get("weight", 1) == 0:
        message["weight"] = 0
    if message["role"] == "assistant" and not message["content"].strip() and "tool_calls" not in message:
        raise BadInput(place, "an assistant message is empty: no response token", "fill it or remove it")
    return message


def _parse_content(content: Any, place: str) -> str:
    """Text of a message: a string, nothing (beside tool calls), or a list of text parts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        return "".join(str(part.get("text", "")) for part in content)
    raise BadInput(place, "its content is not text", "only text can be probed; remove images and audio")
