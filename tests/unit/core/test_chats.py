"""Chats in OpenAI's and ShareGPT's format, and their token rows."""

from __future__ import annotations

import json

import pytest
from chat_files import OPENAI, SHAREGPT, encode_chat, write
from toy_corpus import toy_trajectory

from prism.core import chat_templates
from prism.core.chats import read_chats
from prism.core.errors import BadInput
from prism.core.prompts import Encoded, PromptEncoder, PromptFormat, conversation_messages
from prism.core.tiny import build_tokenizer, find_family
from prism.environments import load_data


@pytest.fixture(scope="module", params=["qwen3", "llama3"])
def tokenizer(request):
    return build_tokenizer(find_family(request.param), load_data("alfworld").words())


def test_both_formats_read_the_same(tmp_path):
    path = write(
        tmp_path / "chats.jsonl",
        {"id": "a", "messages": OPENAI},
        {"id": "b", "conversations": SHAREGPT},
        {"conversations": SHAREGPT[1:], "system": "act"},
    )
    first, second, third = read_chats(path)
    assert first.messages == second.messages == third.messages == tuple(OPENAI)
    assert [first.id, second.id, third.id] == ["a", "b", "3"]
    assert third.place == f"{path}:3"


def test_parts_tools_and_weights(tmp_path):
    call = [{"type": "function", "function": {"name": "f", "arguments": "{}"}}]
    turns = [
        {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "tool_calls": call},
        {"role": "tool", "content": "y"},
        {"role": "assistant", "content": "z", "weight": 0},
    ]
    (chat,) = read_chats(write(tmp_path / "c.jsonl", {"messages": turns, "tools": [{"type": "function"}]}))
    assert chat.messages[0] == {"role": "system", "content": "ab"}
    call[0]["function"]["arguments"] = {}
    assert chat.messages[2] == {"role": "assistant", "content": "", "tool_calls": call}
    assert chat.messages[4]["weight"] == 0
    assert chat.tools == [{"type": "function"}]


GOOD = {"id": "a", "messages": OPENAI}
USER, ANSWER = OPENAI[1:3]


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ("{not json", ":2: is not valid JSON"),
        ("[1]", ":2: is not a JSON object"),
        (GOOD, ":2: repeats id 'a' of line 1"),
        ({"id": "b"}, ":2: has neither"),
        ({"id": "b", "messages": []}, ":2: has no messages"),
        ({"id": "b", "messages": [USER]}, ":2: has no assistant message"),
        ({"id": "b", "messages": [USER, {**ANSWER, "weight": 0}]}, ":2: has no assistant message"),
        ({"id": "b", "messages": [USER, {**ANSWER, "role": "bot"}]}, ":2 message 2: unknown role 'bot'"),
        ({"id": "b", "messages": [USER, {**ANSWER, "role": ""}]}, ":2 message 2: 'role' is missing or empty"),
        ({"id": "b", "messages": [USER, {**ANSWER, "content": ""}]}, ":2 message 2: an assistant message is empty"),
        ({"id": "b", "messages": [USER, {**ANSWER, "content": " \n"}]}, ":2 message 2: an assistant message is empty"),
        ({"id": "b", "messages": [USER, {**ANSWER, "content": 3}]}, ":2 message 2: its content is not text"),
        ({"id": "b", "messages": [USER, {**ANSWER, "weight": 2}]}, ":2 message 2: 'weight'"),
        ({"id": "b", "messages": ["hello"]}, ":2 message 1: is not an object"),
        ({"id": "b", "conversations": [{"from": "alien", "value": "x"}]}, ":2 message 1: unknown role 'alien'"),
        ({"id": True, "messages": OPENAI}, ":2: 'id'"),
        ({"id": "b", "messages": OPENAI, "tools": "x"}, ":2: 'tools' is a text that is not JSON"),
        ({"id": "b", "messages": OPENAI, "tools": '{"a": 1}'}, ":2: 'tools' is not a list"),
        ({"id": "b", "messages": OPENAI, "tools": 3}, ":2: 'tools' is not a list"),
    ],
)
def test_bad_lines_are_named(tmp_path, bad, problem):
    path = write(tmp_path / "c.jsonl", GOOD, bad)
    with pytest.raises(BadInput) as caught:
        read_chats(path)
    assert str(caught.value).startswith(f"{path}{problem}")
    assert "\n" not in str(caught.value)


def test_one_row_with_loss_on_the_answers(tokenizer):
    encoded = encode_chat(tokenizer, OPENAI, 500, "here")
    assert encoded.truncated == 0
    (row,) = encoded.rows
    spoken = [token for token, said in zip(row.input_ids, row.response_mask, strict=True) if said]
    end = tokenizer.eos_token_id
    answers = [tokenizer(turn["content"], add_special_tokens=False)["input_ids"] for turn in OPENAI[2::2]]
    assert spoken == [*answers[0], end, *answers[1], end]
    assert (
        row.input_ids == tokenizer.apply_chat_template(OPENAI, tokenize=True, return_dict=False)[: len(row.input_ids)]
    )


def test_templates_that_rewrite_earlier_turns_give_a_row_an_answer(tokenizer):
    forgetful = build_tokenizer(find_family("qwen3"), load_data("alfworld").words())
    forgetful.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] }} "
        "{{ m['content'] if loop.last or m['role'] == 'user' else 'look' }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
    )
    rows = encode_chat(forgetful, OPENAI, 500, "here").rows
    assert len(rows) == 2
    assert [row.response_tokens for row in rows] == [4, 5]


def test_truncation_and_answers_out_of_reach(tokenizer):
    whole = encode_chat(tokenizer, OPENAI, 500, "here").rows[0]
    encoded = encode_chat(tokenizer, OPENAI, len(whole.input_ids) - 2, "here")
    assert (encoded.truncated, encoded.response_tokens_cut) == (1, 2)
    assert encoded.rows[0].response_tokens == whole.response_tokens - 2
    assert encode_chat(tokenizer, OPENAI, 3, "here") == Encoded([], 1, whole.response_tokens)
    everything = encode_chat(tokenizer, OPENAI, 500, "here", loss_on="all").rows[0]
    assert everything.response_mask == [1] * len(whole.input_ids)


def test_templates_that_refuse_name_the_place(tokenizer):
    strict = build_tokenizer(find_family("qwen3"), load_data("alfworld").words())
    strict.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(BadInput, match=r"file:7: the chat template refuses .*alternate"):
        encode_chat(strict, OPENAI, 100, "file:7")
    strict.chat_template = None
    with pytest.raises(BadInput, match="no chat template"):
        encode_chat(strict, OPENAI, 100, "file:7")


def test_a_trajectory_reads_as_a_chat():
    trajectory = toy_trajectory(1)
    messages = conversation_messages(trajectory, "compact")
    assert [turn["role"] for turn in messages] == ["user", "assistant"] * len(trajectory.steps)
    assert trajectory.task in messages[0]["content"]
    # later turns are what the environment said
    seen = [f"now : {step.observation}" for step in trajectory.steps[1:]]
    assert [turn["content"] for turn in messages[2::2]] == seen


def test_tools_may_be_a_text_as_llamafactory_has_them(tmp_path):
    tools = [{"name": "look", "parameters": {}}]
    records = [{"id": str(n), "messages": OPENAI, "tools": one} for n, one in enumerate((tools, json.dumps(tools), ""))]
    path = tmp_path / "chats.json"
    path.write_text("\ufeff" + json.dumps(records, indent=1))
    wrapped = [{"type": "function", "function": tools[0]}]
    assert [chat.tools for chat in read_chats(path)] == [wrapped, wrapped, None]


def test_a_number_that_is_another_records_id(tmp_path):
    path = write(tmp_path / "c.jsonl", {"id": "2", "messages": OPENAI}, {"messages": OPENAI})
    with pytest.raises(BadInput, match=r"c\.jsonl:2: has no id, and its number 2 is the id of line 1"):
        read_chats(path)
    path.write_text(json.dumps([{"id": "2", "messages": OPENAI}, {"id": 2, "messages": OPENAI}]))
    with pytest.raises(BadInput, match=r"c\.jsonl record 2: repeats id '2' of record 1"):
        read_chats(path)


CALL = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "look", "arguments": "{}"}}]}


def with_template(template):
    tokenizer = build_tokenizer(find_family("qwen3"), load_data("alfworld").words())
    tokenizer.chat_template = template
    return tokenizer


def test_answers_that_the_template_does_not_show_are_refused(tokenizer):
    with pytest.raises(BadInput, match=r"here: the chat template writes nothing of the tool calls of message 2"):
        encode_chat(tokenizer, [USER, CALL], 500, "here")
    shows_calls = tokenizer.chat_template.replace(
        "message['content']", "message['content'] ~ (message.tool_calls or '')"
    )
    assert shows_calls != tokenizer.chat_template
    assert encode_chat(with_template(shows_calls), [USER, CALL], 500, "here").rows[0].response_tokens > 1
    mute = with_template("{% for m in messages %}[{{ m.role }}]{% endfor %}{% if add_generation_prompt %}{% endif %}")
    with pytest.raises(BadInput, match=r"here: the chat template writes nothing of the text of message 2"):
        encode_chat(mute, [USER, ANSWER], 500, "here")
    shouts = with_template("{% for m in messages %}{{ m.content | upper }} {% endfor %}")
    assert encode_chat(shouts, [USER, ANSWER], 500, "here").rows


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{ 'x' * 10**10 }}", "raises numbers to powers"),
        ("{{ 'x' * 10000000000 }}", "asks for too much memory"),
        ("{{ 'x'.center(10000000000) }}", "asks for too much memory"),
        ("{% for a in range(9999999999) %}{% endfor %}", "asks for too much memory"),
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "takes more than 0.3 s"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "asks for too much memory"),
        ("{% for %}", "its chat template is broken"),
        ("{{ ''.__class__.__mro__ }}", "its chat template is broken"),
    ],
)
def test_templates_that_never_end_or_eat_memory_are_stopped(monkeypatch, template, problem):
    monkeypatch.setattr(chat_templates, "RENDER_SECONDS", 0.3)
    with pytest.raises(BadInput, match=problem) as caught:
        encode_chat(with_template(template), [USER, ANSWER], 500, "here")
    assert "\n" not in str(caught.value)
    assert "order of roles" not in str(caught.value)
    with pytest.raises(BadInput, match=problem):
        PromptEncoder(with_template(template), PromptFormat("compact", "actions:14", 500))
