"""The message model of chats: what could carry loss is read, or refused by name."""

from __future__ import annotations

import json

import pytest

from prism.core.chats import parse_chat
from prism.core.errors import BadInput
from prism.core.messages import parse_messages

USER = {"role": "user", "content": "where is the mug?"}
ANSWER = {"role": "assistant", "content": "on the desk"}
ARGUMENTS = {"place": "desk 1", "deep": {"n": [1, 2]}}


def answer(**fields):
    """The one answer of a chat, as the model has it."""
    return parse_messages([USER, {**ANSWER, **fields}], "f:1")[1]


def call(arguments, **fields):
    return [{"type": "function", **fields, "function": {"name": "look", "arguments": arguments}}]


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_calls": call(ARGUMENTS)},
        {"tool_calls": call(json.dumps(ARGUMENTS))},
        {"tool_calls": [{"name": "look", "arguments": ARGUMENTS}]},
        {"function_call": {"name": "look", "arguments": json.dumps(ARGUMENTS)}},
    ],
    ids=["object", "text", "bare", "legacy"],
)
def test_arguments_are_objects_whatever_the_file_has(fields):
    assert answer(**fields)["tool_calls"] == call(ARGUMENTS)


def test_arguments_that_are_no_object():
    assert answer(tool_calls=call(""))["tool_calls"] == answer(tool_calls=call(None))["tool_calls"] == call({})
    assert answer(tool_calls=call("grep -n"))["tool_calls"] == call("grep -n")
    assert answer(tool_calls=call("[1]"))["tool_calls"] == call("[1]")


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
def test_thoughts_are_kept(key):
    assert answer(**{key: "a desk?"}) == {**ANSWER, "reasoning_content": "a desk?"}
    assert answer(content="", **{key: "a desk?"})["reasoning_content"] == "a desk?"


def test_thoughts_among_the_parts():
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "desk"}]
    assert answer(content=parts) == {"role": "assistant", "content": "desk", "reasoning_content": "hm"}


@pytest.mark.parametrize("flag", [{"weight": 0}, {"loss": False}, {"train": False}, {"loss": 0}, {"weight": 0.0}])
def test_every_flag_of_loss_counts(flag):
    first, second = parse_messages([USER, {**ANSWER, **flag}, USER, ANSWER], "f:1")[1::2]
    assert first == {**ANSWER, "weight": 0}
    assert second == ANSWER


@pytest.mark.parametrize("key", ["weight", "loss", "train", "tool_calls", "reasoning_content", "function_call", "name"])
def test_null_is_as_good_as_absent(key):
    assert answer(**{key: None}) == ANSWER


def test_a_tools_result_says_which_call_it_answers():
    turns = [USER, {**ANSWER, "tool_calls": call({}, id="c1")}, {"role": "tool", "content": "a mug", "name": "look",
             "tool_call_id": "c1"}, ANSWER]  # fmt: skip
    messages = parse_messages(turns, "f:1")
    assert messages[1]["tool_calls"][0]["id"] == "c1"
    assert messages[2] == turns[2]


def test_sharegpt_function_calls_are_tool_calls():
    value = json.dumps({"name": "look", "arguments": ARGUMENTS})
    turns = [{"from": "human", "value": "x"}, {"from": "function_call", "value": value},
             {"from": "observation", "value": "a mug"}, {"from": "gpt", "value": "done", "loss": False}]  # fmt: skip
    messages = parse_chat({"conversations": turns}, 1, "f:1").messages
    assert messages[1] == {"role": "assistant", "content": "", "tool_calls": call(ARGUMENTS)}
    assert messages[2] == {"role": "tool", "content": "a mug"}
    assert messages[3]["weight"] == 0
    turns[1]["value"] = f"<think>\nhm\n</think>\n\nI look.\n<tool_call>[{value}, {value}]</tool_call>"
    assert parse_chat({"conversations": turns}, 1, "f:1").messages[1] == {
        "role": "assistant",
        "content": "I look.",
        "reasoning_content": "hm",
        "tool_calls": call(ARGUMENTS) * 2,
    }


def test_fields_that_nobody_reads_are_named():
    turns = [{**USER, "mood": "x"}, {**ANSWER, "plan": "look around", "cost": 3, "audio": None}]
    assert parse_chat({"messages": turns}, 1, "f:1").unread == ("plan",)


@pytest.mark.parametrize(
    ("turn", "problem"),
    [
        ({**ANSWER, "reasoning": "a", "thinking": "b"}, "'reasoning' and 'thinking' hold different thoughts"),
        ({**ANSWER, "reasoning": {"a": 1}}, "'reasoning' is not text"),
        ({**ANSWER, "tool_calls": {"name": "f"}}, "its tool calls are not a list"),
        ({**ANSWER, "tool_calls": ["f"]}, "its tool call 1 has no name"),
        ({**ANSWER, "tool_calls": [{"function": {"arguments": {}}}]}, "its tool call 1 has no name"),
        ({**ANSWER, "tool_calls": call(3)}, "tool call 1: its arguments are neither"),
        ({**ANSWER, "loss": "no"}, "'loss' is neither 0 nor 1"),
        ({**ANSWER, "weight": 0.5}, "'weight' is neither 0 nor 1"),
        ({**ANSWER, "weight": 0, "loss": True}, "'weight' and 'loss' disagree"),
        ({**USER, "train": True}, "'train' asks for loss on a message of role 'user'"),
        ({**USER, "tool_calls": call({})}, "a message of role 'user' has tool calls"),
        ({**ANSWER, "content": [{"type": "image_url"}]}, "its content is not text"),
        ({**ANSWER, "content": " ", "reasoning_content": " "}, "an assistant message is empty"),
    ],
)
def test_what_cannot_be_read_is_refused(turn, problem):
    with pytest.raises(BadInput) as caught:
        parse_messages([USER, ANSWER, turn], "f:1")
    assert str(caught.value).startswith(f"f:1 message 3{'' if problem.startswith('tool call') else ': '}".rstrip())
    assert problem in str(caught.value)


def test_a_function_call_that_is_none():
    turns = [{"from": "human", "value": "x"}, {"from": "function_call", "value": "look!"}]
    with pytest.raises(BadInput, match="f:1 message 2: its function call is not JSON"):
        parse_chat({"conversations": turns}, 1, "f:1")
