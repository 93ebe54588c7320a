"""ATIF, the Agent Trajectory Interchange Format of Harbor and terminal-bench (RFC 0001, versions 1.0 to 1.7)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from prism.core.chat_formats.parts import call, list_of, text_of, without_nulls
from prism.core.errors import BadInput

SOURCES = {"system": "system", "user": "user", "agent": "assistant"}
_VERSION = re.compile(r"ATIF-v([\d.]{1,9})")
MEND = "mend it, or remove the trajectory"


def detect(record: Mapping[str, Any]) -> bool:
    """Whether a record has steps, and an agent or a version of ATIF."""
    return "steps" in record and ("agent" in record or str(record.get("schema_version", "")).startswith("ATIF"))


def convert(record: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Steps as messages, every result after the step that it answers.

    A step that was copied from another trajectory, or that no model made, carries no loss. Trajectories of subagents
    are their own.
    """
    stated = _VERSION.fullmatch(str(record.get("schema_version")))
    version = f"ATIF v{stated[1]}" if stated else "ATIF"
    if stated and not stated[1].startswith("1."):
        raise BadInput(place, f"is {version}, which is not known", "write ATIF v1.0 to v1.7")
    turns = []
    for number, step in enumerate(list_of(record["steps"], "steps", place), 1):
        where = f"{place}: looks like {version}, but step {number}"
        turns += _step_turns(without_nulls(step) if isinstance(step, Mapping) else {}, where)
    agent = record["agent"] if isinstance(record.get("agent"), Mapping) else {}
    identifier = next((record[key] for key in ("id", "trajectory_id", "session_id") if key in record), None)
    tools = record.get("tools", agent.get("tool_definitions"))
    return {"messages": turns} | without_nulls({"id": identifier, "tools": tools})


def _step_turns(step: Mapping[str, Any], where: str) -> Iterator[dict[str, Any]]:
    source = step.get("source")
    if not isinstance(source, str) or source not in SOURCES:
        raise _broken(where, f"has the source {source!r}" if source else "has no source", f"use {', '.join(SOURCES)}")
    spoken = source == "agent" and (step.get("tool_calls") or step.get("reasoning_content"))
    if "message" not in step and not spoken:
        raise _broken(where, "has no message", MEND)
    message = {"role": SOURCES[source], "content": text_of(step.get("message"), where)}
    if source == "agent":
        message |= _agent_fields(step, where)
        if not (message["content"].strip() or spoken):
            raise _broken(where, "says nothing: no response token", MEND)
    if message["content"] or source == "agent":
        yield message
    yield from _result_turns(step, where)


def _agent_fields(step: Mapping[str, Any], where: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if step.get("reasoning_content"):
        fields["reasoning_content"] = step["reasoning_content"]
    if step.get("tool_calls"):
        if not all(isinstance(one, Mapping) for one in step["tool_calls"]):
            raise _broken(where, "has a tool call that is not an object", MEND)
        fields["tool_calls"] = [
            call(one.get("function_name"), one.get("arguments"), one.get("tool_call_id")) for one in step["tool_calls"]
        ]
    if step.get("is_copied_context") or step.get("llm_call_count") == 0:
        fields["weight"] = 0
    return fields


def _result_turns(step: Mapping[str, Any], where: str) -> Iterator[dict[str, Any]]:
    """Results of tools as messages of tools; what answers no call comes from the user's side, as agents see it."""
    observation = step.get("observation") or {}
    results = observation.get("results") if isinstance(observation, Mapping) else None
    if observation and not isinstance(results, list):
        raise _broken(where, "has an observation without results", MEND)
    names = {one.get("tool_call_id"): one.get("function_name") for one in step.get("tool_calls") or ()}
    for result in results or ():
        if not isinstance(result, Mapping):
            raise _broken(where, "has a result that is not an object", MEND)
        content = text_of(result.get("content"), where)
        asked = result.get("source_call_id")
        if asked is None:
            if content:
                yield {"role": "user", "content": content}
            continue
        yield without_nulls({"role": "tool", "content": content, "tool_call_id": asked, "name": names.get(asked)})


def _broken(where: str, problem: str, remedy: str) -> BadInput:
    """An error whose place already says what the record looks like."""
    place, _, looks = where.partition(": looks like")
    return BadInput(place, f"looks like{looks} {problem}", remedy)
