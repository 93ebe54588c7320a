"""The messages of a chat in one form, OpenAI's: every field that could carry loss is read, named or refused.

A message is a dictionary, since chat templates take dictionaries, with

* ``role``: system, user, assistant or tool;
* ``content``: text, empty where an answer is a tool call alone;
* ``reasoning_content``: the thoughts of an answer, where it has some;
* ``tool_calls``: ``{"type": "function", "id", "function": {"name", "arguments"}}`` each; the arguments are an object,
  also where the file has the API's text of JSON, and a text only where that is no JSON object;
* ``tool_call_id`` and ``name`` of a tool's result;
* ``weight``: 0 for an answer without loss.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from prism.core.errors import BadInput

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
REASONING = ("reasoning_content", "reasoning", "thinking")
LOSS_FLAGS = ("weight", "loss", "train")
_READ = {"role", "content", "tool_calls", "function_call", "tool_call_id", "name", "id", *REASONING, *LOSS_FLAGS}
FORMATS = "write OpenAI 'messages' (role, content) or ShareGPT 'conversations' (from, value)"
_THOUGHT = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)
_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)


def parse_messages(turns: Any, place: str, system: str = "") -> list[dict[str, Any]]:
    """Messages as a chat template takes them.

    Args:
        turns: OpenAI's messages, as a file has them; a field that is None is as good as absent.
        place: where the chat stands, for errors.
        system: the system message, where the messages do not start with one.

    Raises:
        BadInput: names the message that cannot be used.
    """
    if not isinstance(turns, list) or not turns:
        raise BadInput(place, "has no messages", FORMATS)
    messages = [_parse_message(turn, f"{place} message {index}") for index, turn in enumerate(turns, 1)]
    if not any(message["role"] == "assistant" and message.get("weight", 1) for message in messages):
        raise BadInput(place, "has no assistant message with loss: no response token", "add one or remove the line")
    if system and messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": system})
    return messages


def unread_fields(turns: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the answers' fields that hold something and that nobody reads, each as often as it comes."""
    answers = [turn for turn in turns if turn.get("role") == "assistant"]
    return [
        key
        for turn in answers
        for key, value in turn.items()
        if key not in _READ and value and isinstance(value, str | list | dict)
    ]


def _parse_message(turn: Any, place: str) -> dict[str, Any]:
    if not isinstance(turn, Mapping):
        raise BadInput(place, "is not an object", FORMATS)
    role = parse_role(turn.get("role"), "role", ROLES, place)
    content, thought = _parse_content(turn.get("content"), place)
    message: dict[str, Any] = {"role": role, "content": content}
    if role == "assistant":
        message |= _parse_answer(turn, thought, place)
        if not (content.strip() or message.keys() & {"tool_calls", "reasoning_content"}):
            raise BadInput(place, "an assistant message is empty: no response token", "fill it or remove it")
    elif turn.get("tool_calls") or turn.get("function_call"):
        raise BadInput(place, f"a message of role {role!r} has tool calls", "only assistant messages may call tools")
    elif role == "tool":
        message |= {key: str(turn[key]) for key in ("tool_call_id", "name") if turn.get(key)}
    if not _carries_loss(turn, role, place):
        message["weight"] = 0
    return message


def parse_role(role: Any, key: str, roles: Mapping[str, str], place: str) -> str:
    """A role by our name.

    Args:
        key: what the file calls it, for errors.
        roles: our name of each role of the file's format.
    """
    if not isinstance(role, str) or not role:
        raise BadInput(place, f"{key!r} is missing or empty", f"use one of {', '.join(roles)}")
    if role not in roles:
        raise BadInput(place, f"unknown role {role!r}", f"use one of {', '.join(roles)}")
    return roles[role]


def _parse_answer(turn: Mapping[str, Any], thought: str, place: str) -> dict[str, Any]:
    """What only an answer has: thoughts and tool calls."""
    found: dict[str, Any] = {}
    if reasoning := _parse_reasoning(turn, thought, place):
        found["reasoning_content"] = reasoning
    calls = turn.get("tool_calls") or []
    if turn.get("function_call"):
        calls = [*calls, turn["function_call"]] if isinstance(calls, list) else calls
    if calls:
        found["tool_calls"] = parse_calls(calls, place)
    return found


def _parse_reasoning(turn: Mapping[str, Any], thought: str, place: str) -> str:
    stated = {key: turn[key] for key in REASONING if turn.get(key)} | ({"content": thought} if thought else {})
    for key, value in stated.items():
        if not isinstance(value, str):
            raise BadInput(place, f"{key!r} is not text", "write the thoughts as text")
    if len({value.strip() for value in stated.values()}) > 1:
        raise BadInput(place, f"{' and '.join(map(repr, stated))} hold different thoughts", "keep one of them")
    return next((value for value in stated.values() if value.strip()), "")


def parse_calls(calls: Any, place: str) -> list[dict[str, Any]]:
    """Tool calls in the message model's form, from OpenAI's or from bare objects with name and arguments.

    Raises:
        BadInput: a call has no name, or its arguments are neither an object nor a text.
    """
    remedy = "write a list of calls, each with function.name and function.arguments"
    if not isinstance(calls, list):
        raise BadInput(place, "its tool calls are not a list", remedy)
    parsed = []
    for number, call in enumerate(calls, 1):
        function = (call.get("function") or call) if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
            raise BadInput(place, f"its tool call {number} has no name", remedy)
        identifier = {"id": str(call["id"])} if call.get("id") else {}
        arguments = _parse_arguments(function.get("arguments"), f"{place} tool call {number}")
        called = {"name": function["name"], "arguments": arguments}
        parsed.append({"type": "function", **identifier, "function": called})
    return parsed


def _parse_arguments(arguments: Any, place: str) -> dict[str, Any] | str:
    """Arguments as an object, so that no chat template encodes them twice."""
    if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
        return {}
    if isinstance(arguments, Mapping):
        return dict(arguments)
    if not isinstance(arguments, str):
        raise BadInput(place, "its arguments are neither an object nor a text", "write them as a JSON object")
    try:
        found = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    return found if isinstance(found, dict) else arguments


def calls_of_text(text: str, place: str) -> dict[str, Any]:
    """The answer that a message of LLaMA-Factory's role ``function_call`` is: calls as JSON, thoughts and text around.

    Returns:
        ``content``, ``tool_calls`` and, where there are some, ``reasoning_content`` of an OpenAI message.

    Raises:
        BadInput: there is no call.
    """
    thought = _THOUGHT.match(text)
    rest = text[thought.end() :] if thought else text
    marked = _CALL.findall(rest)
    try:
        found = [json.loads(part) for part in marked or [rest]]
    except (ValueError, RecursionError) as error:
        remedy = 'write {"name": ..., "arguments": {...}} or a list of them'
        raise BadInput(place, "its function call is not JSON", remedy) from error
    calls = [call for part in found for call in (part if isinstance(part, list) else [part])]
    answer = {"content": _CALL.sub("", rest).strip() if marked else "", "tool_calls": parse_calls(calls, place)}
    return answer | ({"reasoning_content": thought[1].strip()} if thought and thought[1].strip() else {})


def _carries_loss(turn: Mapping[str, Any], role: str, place: str) -> bool:
    """Whether the loss falls on a message, by OpenAI's ``weight``, AgentInstruct's ``loss`` or axolotl's ``train``."""
    stated = {key: turn[key] for key in LOSS_FLAGS if turn.get(key) is not None}
    for key, value in stated.items():
        if value not in (0, 1):
            raise BadInput(place, f"{key!r} is neither 0 nor 1", "write 0 or false for an answer without loss")
        if value and role != "assistant" and key != "weight":
            raise BadInput(place, f"{key!r} asks for loss on a message of role {role!r}", "only answers can carry it")
    if len({bool(value) for value in stated.values()}) > 1:
        raise BadInput(place, f"{' and '.join(map(repr, stated))} disagree", "keep one of them")
    return all(stated.values()) or role != "assistant"


def _parse_content(content: Any, place: str) -> tuple[str, str]:
    """Text and thoughts of a message: a string, nothing (beside tool calls), or a list of parts."""
    if content is None:
        return "", ""
    if isinstance(content, str):
        return content, ""
    texts, thoughts = [], []
    for part in content if isinstance(content, list) else [None]:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text":
            texts.append(str(part.get("text") or ""))
        elif kind == "thinking":
            thoughts.append(_parse_content(part.get("thinking"), place)[0])
        else:
            raise BadInput(place, "its content is not text", "only text can be probed; remove images and audio")
    return "".join(texts), "".join(thoughts)
