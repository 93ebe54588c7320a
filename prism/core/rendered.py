"""Whether what a chat says can be found in what a chat template makes of it.

White space does not count: templates trim. A part may be written as it is or as JSON writes it. A short part may stand
in the text by chance, and a tool's name beside its call: then the template is asked what it writes without the part.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prism.core.chat_templates import ChatTemplate
from prism.core.chats import Chat
from prism.core.errors import BadInput

# kinds of parts, in the singular
TEXTS, THOUGHTS, CALLS, SCHEMAS = "answer text", "thought", "tool call", "tool schema"
CONTEXT = {"system": "system message", "user": "user message", "tool": "tool result"}
# fewer characters may be found in a template's own words
_SHORT = 24
_INLINE = re.compile(r"\s*(?:<think>)?(.*?)</think>(.*)", re.DOTALL)

Messages = Sequence[Mapping[str, Any]]


def lost_of_answer(template: ChatTemplate, told: Messages, chat: Chat, *, whole: str, said: str) -> Counter[str]:
    """Number of texts, thoughts and tool calls of an answer that the template does not write as they are.

    Args:
        told: the chat up to the answer.
        whole: what the template writes for it.
        said: what of it is the answer.
    """
    answer, squashed = told[-1], _squash(said)
    text, thoughts = _text_and_thoughts(answer)
    calls = answer.get("tool_calls", ())
    parts = {TEXTS: [text] if text.strip() else [], THOUGHTS: [thoughts] if thoughts.strip() else [], CALLS: calls}
    several = sum(map(bool, parts.values())) > 1
    lost = Counter[str]()
    for kind, found in parts.items():
        missing = sum(not all(_is_found(leaf, squashed) for leaf in _leaves(part)) for part in found)
        doubtful = found and not missing and (several or kind == CALLS or len(_squash(found[0])) < _SHORT)
        if doubtful and _writes_nothing_of(template, told, chat, whole, _without(answer, kind)):
            missing = len(found)
        lost[kind] = missing
    return +lost


def lost_of_context(template: ChatTemplate, told: Messages, chat: Chat, whole: str) -> Counter[str]:
    """Number of messages that are no answers, and of tool schemas, that the template does not write.

    Args:
        told: the chat up to its last answer with loss.
        whole: what the template writes for it.
    """
    squashed = _squash(whole)
    lost = Counter[str]()
    for message in told:
        kind = CONTEXT.get(message["role"])
        if kind and message["content"].strip() and not _is_found(message["content"], squashed):
            lost[kind] += 1
    if chat.tools and _render(template, told, chat.place, None) == whole:
        lost[SCHEMAS] = len(chat.tools)
    return lost


def check_said(template: ChatTemplate, told: Messages, chat: Chat, *, whole: str, said: str) -> None:
    """Refuse an answer of which the template writes nothing: its end-of-turn token alone would be probed.

    Args:
        told, whole, said: as for `lost_of_answer`.

    Raises:
        BadInput: names chat and message.
    """
    answer, squashed = told[-1], _squash(said)
    parts = [answer["content"], answer.get("reasoning_content", "")]
    if not answer.get("tool_calls") and any(part.strip() and _is_found(part, squashed) for part in parts):
        return
    silent = {**{key: value for key, value in answer.items() if key == "role"}, "content": ""}
    if _writes_nothing_of(template, told, chat, whole, silent):
        what = "tool calls" if answer.get("tool_calls") else "text"
        raise BadInput(chat.place, f"the chat template writes nothing of the {what} of message {len(told)}",
                       "use a chat template that does, or remove the chat")  # fmt: skip


def _text_and_thoughts(answer: Mapping[str, Any]) -> tuple[str, str]:
    """Text and thoughts of an answer; the thoughts may stand in the text."""
    content, thoughts = answer["content"], answer.get("reasoning_content", "")
    inline = None if thoughts else _INLINE.fullmatch(content)
    return (inline[2], inline[1]) if inline else (content, thoughts)


def _without(answer: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """An answer without its text, its thoughts or its tool calls."""
    text, _ = _text_and_thoughts(answer)
    if kind == TEXTS:
        return {**answer, "content": answer["content"].removesuffix(text)}
    if kind == THOUGHTS and "reasoning_content" not in answer:
        return {**answer, "content": text}
    return {
        key: value for key, value in answer.items() if key != {THOUGHTS: "reasoning_content", CALLS: "tool_calls"}[kind]
    }


def _writes_nothing_of(template: ChatTemplate, told: Messages, chat: Chat, whole: str, silent: Mapping) -> bool:
    """Whether the template writes the same for a chat whose last answer lacks something."""
    return _render(template, [*told[:-1], silent], chat.place, chat.tools) == whole


def _render(template: ChatTemplate, messages: Messages, place: str, tools: Any) -> str | None:
    """What the template writes; None where it refuses, so that it does read what was changed."""
    try:
        return template.render(messages, place, tools, add_generation_prompt=False)
    except BadInput:
        return None


def _leaves(part: Any) -> Iterator[Any]:
    """The values and names in a part: a text, or a tool call with arguments of any shape."""
    if isinstance(part, Mapping) and "function" in part:
        yield part["function"]["name"]
        yield from _leaves(part["function"]["arguments"])
    elif isinstance(part, Mapping):
        for key, value in part.items():
            yield str(key)
            yield from _leaves(value)
    elif isinstance(part, list | tuple):
        for value in part:
            yield from _leaves(value)
    else:
        yield part


def _is_found(value: Any, squashed: str) -> bool:
    """Whether a value stands in a text: as it is, or as JSON writes it."""
    if not isinstance(value, str):
        return json.dumps(value) in squashed or str(value) in squashed
    return _squash(value) in squashed or any(
        _squash(json.dumps(value, ensure_ascii=ascii_only)[1:-1]) in squashed for ascii_only in (False, True)
    )


def _squash(part: Any) -> str:
    return "".join(part.split()) if isinstance(part, str) else ""
