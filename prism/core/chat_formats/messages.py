"""Lists of messages: OpenAI's, ShareGPT's and LLaMA-Factory's, under any of their keys, with Anthropic's parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prism.core.chat_formats.parts import call, list_of, objects, part_kind, text_of, without_nulls
from prism.core.errors import BadInput
from prism.core.messages import calls_of_text, parse_role

KEYS = ("messages", "conversations", "conversation", "trajectory", "history")
CONTENT_KEYS = ("content", "value", "text", "system_prompt")
# roles of all these formats by OpenAI's names
ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "function_response": "tool",
    "tool_response": "tool",
    "ipython": "tool",
    "environment": "tool",
}
# roles whose content is the call itself, as JSON
CALL_ROLES = ("function_call", "tool_call")


# what an answer of a framework's log holds that a model said or saw; the rest is the framework's own
FIELDS = ("role", "content", "reasoning_content", "tool_calls", "function_call", "tool_call_id", "name", "weight")


def detect(record: Mapping[str, Any]) -> bool:
    """Whether a record has a list of messages."""
    return _key(record) is not None


def _key(record: Mapping[str, Any]) -> str | None:
    """The key of the messages; a ``history`` of pairs or a ``trajectory`` of numbers is something else."""
    for key in KEYS[:2]:
        if key in record:
            return key
    for key in KEYS[2:]:
        value = record.get(key)
        if isinstance(value, list) and value and isinstance(value[0], Mapping):
            return key
    return None


def convert(record: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The messages of a record, in OpenAI's form."""
    key = str(_key(record))
    items = objects(list_of(record[key], key, place), "message", place)
    return {"messages": [turn for item, where in items for turn in openai_turns(item, where)]}


def openai_turns(item: Mapping[str, Any], place: str) -> Iterator[dict[str, Any]]:
    """A message in OpenAI's form; what it holds beside role and content is kept.

    Results of tools that stand among Anthropic's content parts become messages of their own.
    """
    role_key = "role" if "role" in item else "from"
    role = parse_role(item.get(role_key), role_key, ROLES, place)
    content_key = next((key for key in CONTENT_KEYS if key in item), "content")
    message = {key: value for key, value in item.items() if key not in (role_key, content_key, "thinking_blocks")}
    message |= {"role": role, **_thoughts_of_blocks(item)}
    content = item.get(content_key)
    if content_key == "text":
        # tables of SWE-agent's runs have the columns of all roles in every message
        message = known_fields(message)
    if item[role_key] in CALL_ROLES and isinstance(content, str) and not item.get("tool_calls"):
        yield message | calls_of_text(content, place)
    elif isinstance(content, list):
        yield from _turns_of_parts(message, content, place)
    else:
        yield message | {"content": text_of(content, place)}


def known_fields(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message of a log without what the framework noted beside it."""
    return {key: value for key, value in message.items() if key in FIELDS}


def _thoughts_of_blocks(item: Mapping[str, Any]) -> dict[str, str]:
    """Thoughts that LiteLLM has in a list of blocks."""
    blocks = item.get("thinking_blocks")
    thoughts = [str(block["thinking"]) for block in blocks if block.get("thinking")] if isinstance(blocks, list) else []
    return {"reasoning_content": "\n".join(thoughts)} if thoughts and not item.get("reasoning_content") else {}


def _turns_of_parts(message: dict[str, Any], parts: list[Any], place: str) -> Iterator[dict[str, Any]]:
    """A message whose content is a list of parts: results of tools first, as Anthropic has them, then the rest."""
    calls, rest = [], []
    for part in parts:
        kind = part_kind(part)
        if kind == "tool_result":
            text = text_of(part.get("content"), place)
            yield without_nulls({"role": "tool", "content": text, "tool_call_id": part.get("tool_use_id")})
        elif kind == "tool_use":
            calls.append(call(part.get("name"), part.get("input"), part.get("id")))
        elif kind == "redacted_thinking":
            raise BadInput(place, "holds a thought that is redacted", "remove the chat: its words are not known")
        elif kind == "thinking":
            rest.append(part)
        else:
            rest.append({"type": "text", "text": text_of([part], place)})
    if rest or calls or len(parts) == 0:
        yield {**message, "content": rest, **({"tool_calls": calls} if calls else {})}
