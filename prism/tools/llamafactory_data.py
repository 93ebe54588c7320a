"""Chats as data sets of LLaMA-Factory: as they were rendered for the probe, or as messages for a template of its own.

As they were rendered, every row is a conversation of texts: what stands before an answer, the answer, and so on. Under
LLaMA-Factory's template ``empty``, which adds nothing, its tokens and labels are those that were probed: whatever the
chat template made of tools, thoughts, parallel calls and system messages stands in the texts, and answers without loss
are part of a prompt.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from prism.core.chat_rows import ChatEncoder, TextSpan
from prism.core.chats import Chat
from prism.core.errors import BadInput
from prism.core.progress import say

DATASET = "prism_sft"
# LLaMA-Factory fills in the number of the turn where a prompt holds this
_FILLED_IN = "{{idx}}"
# how LLaMA-Factory itself joins the results of parallel calls, and marks text, thoughts and calls in one message
_BETWEEN_RESULTS = "\n</tool_response>\n<tool_response>\n"
_THOUGHTS, _CALLS = "<think>\n{}\n</think>\n\n", "<tool_call>{}</tool_call>"
_EXACT = "emit llamafactory: it keeps what was probed"


def rendered_files(chats: Sequence[Chat], encoder: ChatEncoder) -> dict[str, Any]:
    """Chats as they were probed: a data set named ``prism_sft``, and settings to train it with; contents by file name.

    Raises:
        BadInput: a text would not reach the tokenizer as it is.
    """
    records, cut = [], 0
    for chat in chats:
        encoded, rows = encoder.encode_with_texts(chat)
        records += _rendered_records(chat, rows)
        cut += encoded.truncated > 0
    _, context_length, loss_on = encoder.settings
    if cut:
        say(f"llamafactory: {cut} chats are longer than {context_length} tokens; LLaMA-Factory cuts them its own way")
    settings = {
        "dataset": DATASET,
        "template": "empty",
        "cutoff_len": context_length,
        "train_on_prompt": loss_on == "all",
    }
    return {**_dataset(records, {"messages": "messages"}), f"{DATASET}.yaml": yaml.safe_dump(settings)}


def _rendered_records(chat: Chat, rows: Sequence[Sequence[TextSpan]]) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows, 1):
        for text, is_response in row:
            if not is_response and _FILLED_IN in text:
                raise BadInput(
                    chat.place, f"{chat.id!r} holds {_FILLED_IN!r}, which LLaMA-Factory replaces", "reword it"
                )
        turns = [{"role": "assistant" if is_response else "user", "content": text} for text, is_response in row]
        yield {"id": chat.id, "row": number, "messages": turns}


def message_files(chats: Sequence[Chat]) -> dict[str, Any]:
    """Chats as messages, for the template that a training names: contents by file name.

    The tokens are those of LLaMA-Factory's template. It drops chats that do not alternate between user (or tool) and
    assistant with no more than a warning, and knows no answers without loss: they are refused here.

    Raises:
        BadInput: names the chat that LLaMA-Factory cannot express.
    """
    records = [_message_record(chat) for chat in chats]
    columns = {"messages": "messages"} | ({"tools": "tools"} if any(record["tools"] for record in records) else {})
    return _dataset(records, columns)


def _message_record(chat: Chat) -> dict[str, Any]:
    messages = _joined([_message(message, chat) for message in chat.messages])
    while messages[-1]["role"] not in ("assistant", "function_call"):
        messages.pop()  # nothing after the last answer carries loss
    turns = messages[1:] if messages[0]["role"] == "system" else messages
    for number, turn in enumerate(turns):
        expected = ("assistant", "function_call") if number % 2 else ("user", "tool")
        if turn["role"] not in expected:
            problem, remedy = "does not alternate between user and assistant", "merge neighbouring messages of one role"
            if turn["role"] == "system":
                problem, remedy = "has a system message that is not the first one", "move it to the front or remove it"
            raise BadInput(chat.place, f"{chat.id!r} {problem}, as LLaMA-Factory requires", f"{remedy}, or {_EXACT}")
    return {
        "id": chat.id,
        "messages": messages,
        "tools": json.dumps(chat.tools, ensure_ascii=False) if chat.tools else "",
    }


def _message(message: Mapping[str, Any], chat: Chat) -> dict[str, str]:
    """A message by LLaMA-Factory's roles; thoughts and text stand before the calls, whose arguments are objects."""
    if message.get("weight", 1) == 0:
        problem = f"{chat.id!r} has answers without loss: LLaMA-Factory cannot express them"
        raise BadInput(chat.place, problem, f"remove the weights, or {_EXACT}")
    thoughts = message.get("reasoning_content", "")
    content = (_THOUGHTS.format(thoughts.strip("\n")) if thoughts else "") + message["content"]
    if "tool_calls" not in message:
        return {"role": message["role"], "content": content}
    calls = [call["function"] for call in message["tool_calls"]]
    if any(isinstance(call["arguments"], str) for call in calls):
        raise BadInput(
            chat.place, f"{chat.id!r} has a tool call whose arguments are no object", f"mend it, or {_EXACT}"
        )
    text = json.dumps(calls, ensure_ascii=False)
    if message["content"].strip():
        text = f"{content}\n{_CALLS.format(text)}"
    elif thoughts:
        text = content + text
    return {"role": "function_call", "content": text}


def _joined(messages: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Messages with neighbouring results of tools as one."""
    joined: list[dict[str, str]] = []
    for message in messages:
        if joined and message["role"] == joined[-1]["role"] == "tool":
            joined[-1] = {"role": "tool", "content": joined[-1]["content"] + _BETWEEN_RESULTS + message["content"]}
        else:
            joined.append(message)
    return joined


def _dataset(records: list[dict[str, Any]], columns: Mapping[str, str]) -> dict[str, Any]:
    """A data set and its entry in ``dataset_info.json``."""
    tags = {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "observation_tag": "tool",
        "function_tag": "function_call",
        "system_tag": "system",
    }
    entry = {"file_name": f"{DATASET}.json", "formatting": "sharegpt", "columns": dict(columns), "tags": tags}
    return {entry["file_name"]: records, "dataset_info.json": {DATASET: entry}}
