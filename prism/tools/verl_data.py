"""Chats as verl's parquet: a prompt a trajectory, and what a reward function may want to know of the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from prism.core.chats import Chat
from prism.core.errors import BadInput

VERL_FILE = "prism_rl.parquet"


def verl_files(chats: Sequence[Chat]) -> dict[str, Any]:
    """One prompt a trajectory, the messages before its first answer with loss; contents by file name.

    ``reward_model.ground_truth`` is the last answer, ``extra_info.trajectory`` the whole chat and ``extra_info.tools``
    its tool schemas, both as JSON (a table would give every object the keys of all others): how they are turned into a
    reward and into verl's tools is up to the task.
    """
    return {VERL_FILE: pa.Table.from_pylist([_record(chat, index) for index, chat in enumerate(chats)])}


def _record(chat: Chat, index: int) -> dict[str, Any]:
    answers = [message for message in chat.messages if message["role"] == "assistant"]
    first = next(
        number
        for number, message in enumerate(chat.messages)
        if message["role"] == "assistant" and message.get("weight", 1)
    )
    if not first:
        raise BadInput(chat.place, f"{chat.id!r} starts with an answer: there is no prompt to act on", "add one")
    return {
        "data_source": "prism",
        "prompt": [_prompt_message(message, chat) for message in chat.messages[:first]],
        "ability": "trajectory",
        "reward_model": {"style": "rule", "ground_truth": _spoken(answers[-1])},
        "extra_info": {
            "index": index,
            "id": chat.id,
            "trajectory": json.dumps(chat.messages, ensure_ascii=False),
            "tools": json.dumps(chat.tools, ensure_ascii=False) if chat.tools else "",
        },
    }


def _prompt_message(message: Mapping[str, Any], chat: Chat) -> dict[str, str]:
    if message.keys() & {"tool_calls", "reasoning_content"} or message["role"] == "tool":
        problem = f"the prompt of {chat.id!r} holds tool calls or thoughts of answers without loss"
        raise BadInput(chat.place, problem, "remove them: verl's parquet holds prompts of text")
    return {"role": message["role"], "content": message["content"]}


def _spoken(answer: Mapping[str, Any]) -> str:
    """What an answer says: its text, or its calls where it has none."""
    if answer["content"].strip() or "tool_calls" not in answer:
        return answer["content"]
    return json.dumps([call["function"] for call in answer["tool_calls"]], ensure_ascii=False)
