"""A chat in the two common formats, for the tests that read one."""

from __future__ import annotations

import json

from prism.core.chat_rows import ChatEncoder
from prism.core.chats import Chat
from prism.core.messages import parse_messages

OPENAI = [
    {"role": "system", "content": "act"},
    {"role": "user", "content": "go to desk 1"},
    {"role": "assistant", "content": "take mug 1"},
    {"role": "user", "content": "look"},
    {"role": "assistant", "content": "go to bed 1"},
]
SHAREGPT = [
    {"from": {"user": "human", "assistant": "gpt"}.get(turn["role"], turn["role"]), "value": turn["content"]}
    for turn in OPENAI
]


def write(path, *records):
    path.write_text("".join((record if isinstance(record, str) else json.dumps(record)) + "\n" for record in records))
    return path


def encode_chat(tokenizer, messages, context_length, place="here", **more):
    """Token rows of messages as a file has them; `more` are tools, and form and loss_on of `ChatEncoder`."""
    chat = Chat("a", tuple(parse_messages(list(messages), place)), more.pop("tools", None), place)
    return ChatEncoder(tokenizer, context_length, **more).encode(chat)
