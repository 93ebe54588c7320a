"""SWE-agent: the history of a run, or its steps alone; and mini-SWE-agent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prism.core.chat_formats.messages import known_fields, openai_turns
from prism.core.chat_formats.parts import list_of, objects, text_of
from prism.core.errors import BadInput


def detect(record: Mapping[str, Any]) -> bool:
    """Whether a record is a ``.traj`` file of SWE-agent or mini-SWE-agent."""
    steps = record.get("trajectory")
    has_steps = isinstance(steps, list) and bool(steps) and isinstance(steps[0], Mapping) and "action" in steps[0]
    return (has_steps and "role" not in steps[0]) or "trajectory_format" in record


def convert(record: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The history where the file has it, else the first question and each step's response and observation."""
    key = next((key for key in ("history", "messages") if record.get(key)), None)
    if key is None:
        return {"messages": list(_steps(list_of(record["trajectory"], "trajectory", place), place))}
    turns = []
    for item, where in objects(list_of(record[key], key, place), "message", place):
        if item.get("object") == "response":
            raise BadInput(where, "is an answer of the Responses API", "write the run's messages as OpenAI's chats")
        # mini-SWE-agent closes with how the run ended, which no model sees
        if item.get("role") != "exit":
            turns += [_of_history(turn) for turn in openai_turns(item, where)]
    return {"messages": turns}


def _of_history(turn: dict[str, Any]) -> dict[str, Any]:
    """A demonstration was shown to the model, not said by it; one result answers one call."""
    answered = turn.get("tool_call_ids") or ()
    result = {"tool_call_id": answered[0]} if len(answered) == 1 else {}
    demo = {"weight": 0} if turn.get("is_demo") else {}
    return known_fields(turn) | result | demo


def _steps(steps: list[Any], place: str) -> Iterator[dict[str, Any]]:
    for number, (step, where) in enumerate(objects(steps, "step", place)):
        asked = step.get("query", step.get("messages"))
        if not number:
            if not isinstance(asked, list) or not asked:
                raise BadInput(
                    where, "has neither 'query' nor a 'history' beside it: no prompt is known", "keep 'history'"
                )
            for item, there in objects(asked, "message", where):
                yield from map(known_fields, openai_turns(item, there))
        if not isinstance(step.get("response"), str) or not step["response"].strip():
            raise BadInput(where, "has no 'response': the model's words are not recorded", "keep 'history' in the file")
        yield {"role": "assistant", "content": step["response"]}
        if number + 1 < len(steps):
            yield {"role": "user", "content": text_of(step.get("observation"), where)}
