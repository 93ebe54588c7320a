"""A chat in the two common formats, for the tests that read one."""

from __future__ import annotations

import json

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
