"""The texts of a probed corpus, as a page shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prism.core.chats import TOKENS, TRAJECTORIES, kind_of_data, stream_chats
from prism.core.data_source import DataSource
from prism.core.errors import BadInput
from prism.core.prompts import conversation_messages
from prism.core.trajectories import read_trajectories
from prism.gradients.norm_files import NormFile

# (role, text) of each message
Messages = list[tuple[str, str]]


def read_texts(file: NormFile, data: str | Path | None, ids: Sequence[str]) -> list[Messages]:
    """The messages of these trajectories, in their order; of a corpus of token ids there are none.

    Args:
        file: names the corpus and its hash.
        data: where the corpus is, if it moved.

    Raises:
        BadInput: the corpus is not there, or not the one that was probed.
    """
    source = DataSource.with_options(str(data or file.facts["data"]), file.facts.get("data_options"))
    if data is None and not (Path(source.path).exists() or source.on_hub):
        raise BadInput(
            source.path, "is not there, and its texts go into the page", "name it with --data, or use --no-text"
        )
    if source.sha256() != file.facts["data_sha256"]:
        raise BadInput(source.path, f"is not the corpus of {file.path}", "name it with --data, or use --no-text")
    kind = kind_of_data(source)
    if kind == TOKENS:
        return [[] for _ in ids]
    if kind == TRAJECTORIES:
        chats = {one.id: conversation_messages(one, "full") for one in read_trajectories(source.trajectory_file())}
    else:
        chats = {chat.id: chat.messages for chat in stream_chats(source)}
    if missing := [identifier for identifier in ids if identifier not in chats]:
        raise BadInput(source.path, f"has no trajectory {missing[0]!r} of {file.path}", "probe it again")
    return [[(message["role"], _text(message)) for message in chats[identifier]] for identifier in ids]


def _text(message: Mapping[str, Any]) -> str:
    """Everything that a message says: thought, text, calls, flags."""
    content = message.get("content") or ""
    parts = [content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=1)]
    for key, value in message.items():
        if key not in ("role", "content") and value not in (None, "", []):
            parts.append(f"[{key}] {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    return "\n".join(part for part in parts if part)
