"""Chats of people who bring their own trajectories, of every format of `prism.core.chat_formats`.

Chats stand in a file, a folder or a data set of the Hub (`prism.core.data_source`); formats may be mixed. Without
``id`` the number of the line or record is the id. Tools are a list, or a text that holds one (LLaMA-Factory).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prism.core.chat_formats import to_openai, tokens
from prism.core.data_source import DataSource
from prism.core.errors import BadInput
from prism.core.messages import FORMATS, parse_messages, unread_fields


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


# kinds of records
TRAJECTORIES, TOKENS, CHATS = "trajectories", "tokens", "chats"


def kind_of_data(data: str | Path | DataSource) -> str:
    """What a data set holds: the workflow's expert trajectories, tokens, or chats; its first record tells.

    Raises:
        BadInput: it cannot be read or holds no record.
    """
    source = DataSource.of(data)
    first = next((record for _, _, record in source.records()), None)
    if first is None:
        raise BadInput(source.path, "is empty", FORMATS)
    if tokens.detect(first):
        return TOKENS
    expert = "steps" in first and not first.keys() & {"schema_version", "agent"}
    return TRAJECTORIES if expert else CHATS


def read_chats(data: str | Path | DataSource) -> list[Chat]:
    """All chats of a data set, checked."""
    return list(stream_chats(data))


def stream_chats(data: str | Path | DataSource) -> Iterator[Chat]:
    """The chats of a data set, one at a time; of those before no more than the id is held.

    Raises:
        BadInput: names the place of what cannot be read, of a repeated id, an unknown role, a chat without an answer.
    """
    source = DataSource.of(data)
    places: dict[str, str] = {}
    for number, place, record in source.records():
        chat = parse_chat(record, number, place)
        named = record.get("id") is not None or chat.id != str(number)
        check_new(chat.id, place, places, named)
        yield chat
    if not places:
        raise BadInput(source.path, "holds no chat", FORMATS)


def stream_tokens(data: str | Path | DataSource) -> Iterator[tuple[str, str, list[tokens.TokenRow]]]:
    """Id, place and token rows of every record of a data set that is tokens already.

    Raises:
        BadInput: names the place of a repeated id, or of a record that holds no tokens or none with loss.
    """
    places: dict[str, str] = {}
    for number, place, record in DataSource.of(data).records():
        if not tokens.detect(record):
            raise BadInput(
                place, "holds no 'input_ids', as the records before do", "put chats into a file of their own"
            )
        identifier = parse_id(record, number, place)
        check_new(identifier, place, places, record.get("id") is not None)
        yield identifier, place, tokens.token_rows(record, place)


def check_new(identifier: str, place: str, places: dict[str, str], named: bool) -> None:
    """Note where a record stands, and refuse an id that comes twice; it may be the number of a record that has none.

    Args:
        places: where the records before stand, by id; gets this one.
        named: the record names its id itself.
    """
    if identifier not in places:
        places[identifier] = place
        return
    _, array, number = places[identifier].rpartition(" record ")
    where = f"record {number}" if array else f"line {places[identifier].rpartition(':')[2]}"
    if named:
        raise BadInput(
            place, f"repeats id {identifier!r} of {where}", "make ids unique, or name another: --columns id=..."
        )
    problem = f"has no id, and its number {identifier} is the id of {where}"
    raise BadInput(place, problem, "give every trajectory a unique id, or none")


def parse_id(record: Mapping[str, Any], number: int | str, place: str) -> str:
    """The id of a record, or its number.

    Raises:
        BadInput: the id is neither a text nor a whole number.
    """
    identifier = number if record.get("id") is None else record["id"]
    if isinstance(identifier, bool) or not isinstance(identifier, (str, int)) or identifier == "":
        raise BadInput(place, "'id' is not a text or a whole number", "give every trajectory a unique id, or none")
    return str(identifier)


def parse_chat(record: Mapping[str, Any], number: int | str, place: str) -> Chat:
    """A record of any format as a chat, checked.

    Args:
        number: of the line or record, the id of a chat without one.
        place: file and line, for errors.

    Raises:
        BadInput: names the message that cannot be used.
    """
    record = to_openai(record, place)
    identifier, turns, system = parse_id(record, number, place), record["messages"], record.get("system")
    messages = parse_messages(turns, place, system if isinstance(system, str) else "")
    tools = _parse_tools(record.get("tools"), place)
    return Chat(identifier, tuple(messages), tools, place, tuple(unread_fields(turns)))


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
    return [_wrapped(tool) for tool in tools]


def _wrapped(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool schema as OpenAI has it; LLaMA-Factory's files hold the function alone, and its templates wrap it so."""
    return tool if "type" in tool or "function" in tool else {"type": "function", "function": tool}
