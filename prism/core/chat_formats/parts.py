"""What the formats have in common: texts and their parts, tool calls, lists of objects."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from prism.core.errors import BadInput

MEDIA_COLUMNS = {
    "images": "images",
    "image": "an image",
    "audios": "audio",
    "audio": "audio",
    "videos": "video",
    "video": "video",
}
# columns that are never a text, but may be stored as one
STRUCTURED = ("messages", "conversations", "conversation", "trajectory", "history", "events", "steps", "agent", "tools")
TEXT_KINDS = ("text", "input_text", "output_text")
MEDIA = {"image": "an image", "audio": "audio", "video": "video", "file": "a file"}
ONLY_TEXT = "remove it, or the chat"


def without_nulls(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without the keys that are null: a table has every column in every row."""
    return {key: value for key, value in record.items() if value is not None}


def parsed_column(key: str, value: Any) -> Any:
    """A column of a table that holds a list or an object as a text of JSON; any other value as it is."""
    if key not in STRUCTURED or not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def keys_of(record: Mapping[str, Any]) -> str:
    """The first keys of a record, for an error of one line."""
    return ", ".join(repr(str(key)[:40]) for key in sorted(record)[:8]) or "nothing"


def call(name: Any, arguments: Any, identifier: Any = None) -> dict[str, Any]:
    """A tool call as OpenAI writes it; `prism.core.messages` checks it."""
    return without_nulls({"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}})


def refuse_media(record: Mapping[str, Any], place: str) -> None:
    """Refuse a record with columns of images, audio or video that hold something.

    Raises:
        BadInput: names the column.
    """
    for column, what in MEDIA_COLUMNS.items():
        if record.get(column):
            raise BadInput(place, f"holds {what} ({column!r}); only text can be probed", ONLY_TEXT)


def text_of(content: Any, place: str) -> str:
    """The text of a content: a text, nothing, a part, or a list of parts that are texts.

    Raises:
        BadInput: it is something else; images, audio and video are named.
    """
    if content is None or isinstance(content, str):
        return content or ""
    parts = [content] if isinstance(content, Mapping) else content
    if not isinstance(parts, list):
        raise BadInput(place, "its content is not text", "only text can be probed")
    return "".join(part if isinstance(part, str) else _part_text(part, place) for part in parts)


def _part_text(part: Any, place: str) -> str:
    kind = part_kind(part)
    if kind in TEXT_KINDS and isinstance(part.get("text"), str):
        return part["text"]
    for word, what in MEDIA.items():
        if word in kind:
            raise BadInput(place, f"holds {what} (part {kind!r}); only text can be probed", ONLY_TEXT)
    raise BadInput(place, f"its content has a part {kind!r}, which is not text", "only text can be probed")


def part_kind(part: Any) -> str:
    """The type of a part of a content; a part without one is text."""
    return str(part.get("type") or "text") if isinstance(part, Mapping) else type(part).__name__


def list_of(value: Any, key: str, place: str) -> list[Any]:
    """A list that is not empty.

    Raises:
        BadInput: it is anything else.
    """
    if isinstance(value, str):
        raise BadInput(place, f"{key!r} is a text that is not JSON", "write a list")
    if not isinstance(value, list) or not value:
        raise BadInput(place, f"has no {'steps' if key == 'steps' else 'messages'} ({key!r} is empty or no list)",
                       "fill it, or remove the record")  # fmt: skip
    return value


def objects(items: list[Any], word: str, place: str) -> Iterator[tuple[dict[str, Any], str]]:
    """The items of a list, which must be objects, without their nulls, each with its place.

    Raises:
        BadInput: an item is no object.
    """
    for number, item in enumerate(items, 1):
        where = f"{place} {word} {number}"
        if not isinstance(item, Mapping):
            raise BadInput(where, "is not an object", "write messages with 'role' and 'content'")
        yield without_nulls(item), where
