"""OpenHands: the events of a run, under ``history``, ``trajectory`` or ``events``, of its versions 0 and 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prism.core.chat_formats.messages import known_fields, openai_turns
from prism.core.chat_formats.parts import ONLY_TEXT, call, list_of, objects, text_of, without_nulls
from prism.core.errors import BadInput

KEYS = ("history", "trajectory", "events")
# what the loop notes for itself, and no model sees
_SILENT = ("agent_state_changed", "change_agent_state", "recall", "null", "condensation", "condensation_request")
_SILENT_KINDS = (
    "ConversationStateUpdateEvent",
    "PauseEvent",
    "TokenEvent",
    "LLMCompletionLogEvent",
    "CondensationRequest",
)
REMEDY = "remove the trajectory, or write its messages as OpenAI's"


def _events(record: Mapping[str, Any]) -> Any:
    return next((record[key] for key in KEYS if isinstance(record.get(key), list) and record[key]), None)


def _flat(events: list[Any]) -> list[Any]:
    """Events in order; old files pair an action with its observation."""
    return [one for event in events for one in (event if isinstance(event, list) else [event])]


def _is_event(event: Any) -> bool:
    return isinstance(event, Mapping) and "role" not in event and ("kind" in event or "source" in event)


def detect(record: Mapping[str, Any]) -> bool:
    """Whether a record has a list of events."""
    events = _events(record)
    return bool(events) and all(_is_event(event) for event in _flat(events)[:2])


def convert(record: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The messages that the model saw and gave. An agent's words are those of the recorded response."""
    reader = _Reader()
    tools = record.get("tools")
    for event, where in objects(_flat(list_of(_events(record), "events", place)), "event", place):
        if event.get("kind") in ("CondensationEvent", "Condensation") or event.get("action") == "condensation":
            raise BadInput(where, "condenses the history, which the model then did not see whole", REMEDY)
        tools = tools or event.get("tools") or _object(event, "args").get("tools")
        if "kind" in event:
            reader.add_version_1(event, where)
        else:
            reader.add_version_0(event, where)
    return {"messages": reader.turns} | without_nulls({"tools": tools})


def _object(event: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A field that is an object; an empty one where it is anything else."""
    return event[key] if isinstance(event.get(key), Mapping) else {}


def _response_message(response: Any, where: str) -> Mapping[str, Any]:
    choices = response.get("choices") if isinstance(response, Mapping) else None
    message = choices[0].get("message") if isinstance(choices, list) and choices else None
    if not isinstance(message, Mapping):
        raise BadInput(where, "its model_response has no message", REMEDY)
    return message


class _Reader:
    """Collects messages from events. Several actions may be calls of one response: the answer stands once."""

    def __init__(self) -> None:
        self.turns: list[dict[str, Any]] = []
        self.answers: dict[Any, dict[str, Any]] = {}

    def say(self, role: str, content: Any, where: str, **fields: Any) -> dict[str, Any]:
        """Append a message, and return it."""
        self.turns.append(without_nulls({"role": role, "content": text_of(content, where), **fields}))
        return self.turns[-1]

    def add_version_0(self, event: Mapping[str, Any], where: str) -> None:
        """An event of OpenHands 0: an action, or the observation that answers one."""
        kind, arguments = event.get("action") or event.get("observation"), _object(event, "args")
        made = _object(event, "tool_call_metadata")
        if kind is None or kind in _SILENT:
            return
        if arguments.get("image_urls"):
            raise BadInput(where, "holds an image; only text can be probed", ONLY_TEXT)
        if "observation" in event and made:
            self.say("tool", event.get("content"), where, tool_call_id=made.get("tool_call_id"),
                     name=made.get("function_name"))  # fmt: skip
        elif "observation" in event:
            self.say("user", event.get("content"), where)
        elif kind == "system":
            self.say("system", arguments.get("content"), where)
        elif event.get("source") != "agent":
            self.say("user", arguments.get("content", event.get("message")), where)
        elif made.get("model_response"):
            self.add_response(made["model_response"], where)
        elif kind == "message":
            self.say("assistant", arguments.get("content"), where)
        else:
            raise BadInput(where, f"the agent's words for {kind!r} are not recorded", REMEDY)

    def add_response(self, response: Any, where: str) -> None:
        """The message of a model's response, unless an action before was of the same response."""
        message, identifier = _response_message(response, where), response.get("id")
        if identifier is None or identifier not in self.answers:
            self.answers[identifier] = {}
            self.turns += map(known_fields, openai_turns(without_nulls(message), where))

    def add_version_1(self, event: Mapping[str, Any], where: str) -> None:
        """An event of OpenHands' SDK."""
        kind = event["kind"]
        if kind == "SystemPromptEvent":
            self.say("system", event.get("system_prompt"), where)
        elif kind == "MessageEvent":
            message = without_nulls(_object(event, "llm_message"))
            self.turns += map(known_fields, openai_turns(message, where))
        elif kind == "ActionEvent":
            self.add_action(event, where)
        elif "tool_call_id" in event:
            said = _object(event, "observation").get("content", event.get("error", event.get("rejection_reason")))
            self.say("tool", said, where, tool_call_id=event["tool_call_id"], name=event.get("tool_name"))
        elif kind not in _SILENT_KINDS:
            raise BadInput(where, f"is a {kind!r}, which is not known", REMEDY)

    def add_action(self, event: Mapping[str, Any], where: str) -> None:
        """A call of the SDK's agent: of a new answer, or one more of the response before."""
        made = _object(event, "tool_call")
        if not made:
            raise BadInput(where, "the agent's call is not recorded", REMEDY)
        made = made.get("function", made)
        one = call(made.get("name"), made.get("arguments"), event.get("tool_call_id"))
        response = event.get("llm_response_id")
        if response is not None and response in self.answers:
            self.answers[response]["tool_calls"].append(one)
            return
        thoughts = event.get("reasoning_content")
        answer = self.say("assistant", event.get("thought"), where, reasoning_content=thoughts, tool_calls=[one])
        self.answers[response] = answer
