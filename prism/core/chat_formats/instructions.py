"""Question and answer in columns: alpaca's instruction and output, TRL's prompt and completion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prism.core.chat_formats.messages import openai_turns
from prism.core.chat_formats.parts import objects
from prism.core.errors import BadInput


def detect_alpaca(record: Mapping[str, Any]) -> bool:
    """Whether a record is alpaca's."""
    return "instruction" in record and "output" in record


def convert_alpaca(record: Mapping[str, Any], place: str) -> dict[str, Any]:
    """History, instruction and output; an input stands below the instruction, as LLaMA-Factory joins them."""
    turns = []
    for number, pair in enumerate(record.get("history") or (), 1):
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise BadInput(f"{place} history {number}", "is not a question and an answer", "write two texts")
        turns += zip(("user", "assistant"), pair, strict=True)
    asked = [_text(record, key, place) for key in ("instruction", "input") if record.get(key)]
    turns += [("user", "\n".join(asked)), ("assistant", _text(record, "output", place))]
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


def detect_completion(record: Mapping[str, Any]) -> bool:
    """Whether a record is TRL's prompt and completion."""
    return "prompt" in record and "completion" in record


def convert_completion(record: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Prompt and completion, texts or messages; only answers of the completion carry loss, as TRL trains them."""
    prompt = _turns(record, "prompt", "user", place)
    prompt = [{**turn, "weight": 0} if turn["role"] == "assistant" else turn for turn in prompt]
    return {"messages": prompt + _turns(record, "completion", "assistant", place)}


def _turns(record: Mapping[str, Any], key: str, role: str, place: str) -> list[dict[str, Any]]:
    if isinstance(record[key], list):
        items = objects(record[key], f"{key} message", place)
        return [turn for item, where in items for turn in openai_turns(item, where)]
    return [{"role": role, "content": _text(record, key, place)}]


def _text(record: Mapping[str, Any], key: str, place: str) -> str:
    if not isinstance(record[key], str):
        raise BadInput(place, f"{key!r} is not a text", "write a text")
    return record[key]
