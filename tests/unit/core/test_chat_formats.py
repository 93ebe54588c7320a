"""Each row of the table of formats in docs/route-your-own-data.md: the same chat has the same tokens in all of them."""

from __future__ import annotations

import copy
import json

import pytest
from chat_files import encode_chat
from format_examples import (
    ANSWER,
    ATIF,
    EXAMPLES,
    HISTORY,
    LAST,
    LLAMAFACTORY,
    OPENAI,
    OPENHANDS_0,
    OPENHANDS_1,
    PLAIN,
    QUESTION,
    SHAREGPT,
    SWE_AGENT_STEPS,
    TOOLS,
    USER,
    response,
    text_call,
)

from prism.core.chats import parse_chat
from prism.core.errors import BadInput
from prism.core.tiny import build_tokenizer, find_family
from prism.environments import load_data

# shows all that a message can hold, but for ids of calls, which not every format has
TEMPLATE = """{% for tool in tools or [] %}{{ tool | tojson }}{% endfor -%}
{% for m in messages %}<|im_start|>{{ m.role }} {{ m.reasoning_content or '' }}|{{ m.content }}
{%- for call in m.tool_calls or [] %}({{ call.function.name }} {{ call.function.arguments | tojson }}){% endfor -%}
<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"""
ROWS = [(name, number, *pair) for name, pairs in EXAMPLES.items() for number, pair in enumerate(pairs)]
WITH_TOOLS = {id(record) for pairs in EXAMPLES.values() for record, messages in pairs if len(messages) > 2}


@pytest.fixture(scope="module")
def tokenizer():
    made = build_tokenizer(find_family("qwen3"), load_data("alfworld").words())
    made.chat_template = TEMPLATE
    return made


def without_ids(messages):
    """Messages without what only some formats have: which call a result answers, and the name of its tool."""
    kept = [{key: value for key, value in turn.items() if key not in ("tool_call_id", "name")} for turn in messages]
    for turn in kept:
        if "tool_calls" in turn:
            calls = turn["tool_calls"]
            turn["tool_calls"] = [{key: value for key, value in one.items() if key != "id"} for one in calls]
    return kept


@pytest.mark.parametrize(("name", "number", "record", "messages"), ROWS, ids=[f"{row[0]} {row[1]}" for row in ROWS])
def test_the_same_chat_has_the_same_tokens_in_every_format(tokenizer, name, number, record, messages):
    before = copy.deepcopy(record)
    chat = parse_chat(record, 1, "f:1")
    assert without_ids(chat.messages) == messages
    assert chat.tools == (TOOLS if id(record) in WITH_TOOLS else None)
    assert chat.unread == ()
    rows = encode_chat(tokenizer, chat.messages, 500, "f:1", tools=chat.tools).rows
    assert rows == encode_chat(tokenizer, messages, 500, "f:1", tools=chat.tools).rows
    assert rows[0].response_tokens
    assert record == before


def test_every_row_of_the_table_in_the_docs_is_tested(root):
    lines = (root / "docs/route-your-own-data.md").read_text().splitlines()
    table = lines[lines.index("| format | what is read | what is exact, and what is not |") + 2 :]
    rows = [line.split("|")[1].strip() for line in table[: table.index("")]]
    assert rows == [*EXAMPLES, "tokens: `input_ids`"]


def test_results_say_which_call_they_answer():
    for record, name in ((OPENAI, None), (ATIF, "look"), (OPENHANDS_0, "look"), (OPENHANDS_1, "look")):
        turns = parse_chat(record, 1, "f").messages
        assert turns[2]["tool_calls"][0]["id"] == turns[3]["tool_call_id"]
        assert turns[3].get("name") == name


def test_ids_of_the_formats():
    assert parse_chat(ATIF, 7, "f").id == "session-1"
    assert parse_chat({**ATIF, "trajectory_id": "t"}, 7, "f").id == "t"
    assert parse_chat({**ATIF, "id": "mine", "trajectory_id": "t"}, 7, "f").id == "mine"
    assert parse_chat({**SHAREGPT, "id": None}, 7, "f").id == "7"


def changed(record, key, number, **fields):
    """A record with fields of one message or step replaced; None takes a field away."""
    items = list(record[key])
    items[number] = {name: value for name, value in {**items[number], **fields}.items() if value is not None}
    return {**record, key: items}


def test_what_a_model_did_not_say_carries_no_loss():
    copied = parse_chat(changed(ATIF, "steps", 2, is_copied_context=True), 1, "f").messages
    assert [turn.get("weight") for turn in copied] == [None, None, 0, None, None]
    dispatched = parse_chat(changed(ATIF, "steps", 2, llm_call_count=0), 1, "f").messages
    assert dispatched[2]["weight"] == 0
    demo = parse_chat({"trajectory_format": "x", "messages": [USER, {**LAST, "is_demo": True}, USER, LAST]}, 1, "f")
    assert [turn.get("weight") for turn in demo.messages] == [None, 0, None, None]
    prompted = parse_chat({"prompt": [USER, LAST, USER], "completion": [LAST]}, 1, "f").messages
    assert [turn.get("weight") for turn in prompted] == [None, 0, None, None]
    trained = parse_chat({**SHAREGPT, "conversations": [*SHAREGPT["conversations"] * 2]}, 1, "f").messages
    assert all("weight" not in turn for turn in trained)


def test_what_answers_no_call_comes_from_the_users_side():
    steps = changed(ATIF, "steps", 2, tool_calls=None, observation={"results": [{"content": "a screen"}]})
    turns = parse_chat(steps, 1, "f").messages
    assert turns[3] == {"role": "user", "content": "a screen"}


def test_alpacas_history_and_input():
    record = {"instruction": "find", "input": "mug 1", "output": ANSWER}
    assert parse_chat(record, 1, "f").messages[0]["content"] == "find\nmug 1"
    record = {"history": [["a", "b"], ["c", "d"]], "instruction": QUESTION, "output": ANSWER}
    assert [turn["content"] for turn in parse_chat(record, 1, "f").messages] == ["a", "b", "c", "d", QUESTION, ANSWER]


@pytest.mark.parametrize("record", [
    {"instruction": "find", "input": "mug 1", "output": ANSWER, "history": [["a", "b"]], "system": "act"},
    {"instruction": QUESTION, "output": ANSWER},
    SHAREGPT,
])  # fmt: skip
def test_alpaca_and_sharegpt_are_what_llamafactory_makes_of_them(record, root, monkeypatch):
    """Its own converters, with the column names that it documents."""
    monkeypatch.syspath_prepend(str(root / "prism" / "shims"))
    converter = pytest.importorskip("llamafactory.data.converter")
    parser = pytest.importorskip("llamafactory.data.parser")
    attributes = parser.DatasetAttr("file", "x", history="history", system="system", tools="tools")
    kind = converter.SharegptDatasetConverter if record is SHAREGPT else converter.AlpacaDatasetConverter
    theirs = kind(attributes, None)({"input": "", "history": None, "system": "", "tools": ""} | record)
    system = [{"role": "system", "content": theirs["_system"]}] if theirs["_system"] else []
    assert list(parse_chat(record, 1, "f").messages) == [*system, *theirs["_prompt"], *theirs["_response"]]


def test_several_calls_of_one_response_are_one_answer():
    calls = [text_call(id="c1"), text_call(id="c2")]
    act = OPENHANDS_0["history"][4]
    both = {**act["tool_call_metadata"], "model_response": response("r1", content="", tool_calls=calls)}
    seen = OPENHANDS_0["history"][5]
    act = {**act, "tool_call_metadata": both}
    history = [OPENHANDS_0["history"][1], act, seen, act, seen, OPENHANDS_0["history"][6]]
    turns = parse_chat({"history": history}, 1, "f").messages
    assert [turn["role"] for turn in turns] == ["user", "assistant", "tool", "tool", "assistant"]
    assert len(turns[1]["tool_calls"]) == 2
    events = list(OPENHANDS_1["events"])
    events[4:4] = [{**events[3], "tool_call_id": "c2", "thought": []}]
    turns = parse_chat({"events": events}, 1, "f").messages
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "tool", "assistant"]
    assert [one["id"] for one in turns[2]["tool_calls"]] == ["c1", "c2"]


def test_old_openhands_files_pair_action_and_observation():
    ask, act, seen, end = (OPENHANDS_0["history"][number] for number in (1, 4, 5, 6))
    turns = parse_chat({"history": [[ask, act], [seen, end]]}, 1, "f").messages
    assert [turn["role"] for turn in turns] == ["user", "assistant", "tool", "assistant"]


def test_a_chat_with_its_rejected_twin_is_a_chat():
    """Tables of preferences often hold the chosen chat as messages too; a label of a chat may be its success."""
    record = {"messages": PLAIN, "chosen": PLAIN, "rejected": PLAIN, "label": False}
    assert parse_chat(record, 1, "f").messages == tuple(PLAIN)


def test_messages_may_be_a_text_that_holds_them():
    assert parse_chat({"messages": json.dumps(PLAIN)}, 1, "f").messages == tuple(PLAIN)


IMAGE = {"type": "image_url", "image_url": {"url": "x"}}


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (changed(ATIF, "steps", 2, message=None, tool_calls=None, reasoning_content=None),
         "f:9: looks like ATIF v1.6, but step 3 has no message; "),
        (changed(ATIF, "steps", 1, source="robot"), "f:9: looks like ATIF v1.6, but step 2 has the source 'robot'"),
        (changed(ATIF, "steps", 3, message=""), "f:9: looks like ATIF v1.6, but step 4 says nothing"),
        ({**ATIF, "steps": []}, "f:9: has no steps"),
        ({**ATIF, "steps": [3]}, "f:9: looks like ATIF v1.6, but step 1 has no source"),
        ({**ATIF, "schema_version": "ATIF-v2.0"}, "f:9: is ATIF v2.0, which is not known"),
        (changed(ATIF, "steps", 1, message=[{"type": "image", "source": {}}]),
         "f:9: looks like ATIF v1.6, but step 2: holds an image"),
        ({"messages": [{"role": "user", "content": [IMAGE]}, LAST]}, "f:9 message 1: holds an image (part 'image"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}, LAST]}, "f:9 message 1: holds audio"),
        ({"messages": PLAIN, "images": ["a.png"]}, "f:9: holds images ('images')"),
        ({**SHAREGPT, "audios": ["a.wav"]}, "f:9: holds audio ('audios')"),
        ({"messages": [USER, {"role": "assistant", "content": [{"type": "redacted_thinking"}]}]},
         "f:9 message 2: holds a thought that is redacted"),
        ({"messages": 3}, "f:9: has no messages"),
        ({"messages": "[1"}, "f:9: 'messages' is a text that is not JSON"),
        ({"chosen": [LAST], "rejected": [LAST], "prompt": [USER]}, "f:9: is a preference pair"),
        ({"conversations": [*PLAIN, USER], "chosen": LAST, "rejected": LAST}, "f:9: is a preference pair"),
        ({"chosen": [*PLAIN]}, "f:9: is a preference pair, not a trajectory; name what to probe: --columns"),
        ({"prompt": QUESTION, "completion": ANSWER, "label": False}, "f:9: is preference data: 'label'"),
        ({"messages": PLAIN, "chat_template_kwargs": {"enable_thinking": False}}, "f:9: has variables of the chat"),
        ({**SHAREGPT, "kto_tag": True}, "f:9: is preference data: 'kto_tag'"),
        ({"prompt": QUESTION}, "f:9: has a prompt but no completion"),
        ({"text": "once"}, "f:9: is plain text"),
        (USER, "f:9: is a single message"),
        ({"input_ids": [1]}, "f:9: holds tokens, among chats"),
        ({"data": [], "meta": 1}, "f:9: has neither 'messages' nor 'conversations', nor the keys of another format; "
                                  "it has 'data', 'meta'"),
        (changed(LLAMAFACTORY, "conversations", 1, value="look desk 1"), "f:9 message 2: its function call is not"),
        ({"instruction": QUESTION, "output": 3}, "f:9: 'output' is not a text"),
        ({"instruction": QUESTION, "output": ANSWER, "history": [["a"]]}, "f:9 history 1: is not a question and an"),
        (changed(OPENHANDS_0, "history", 4, tool_call_metadata=None),
         "f:9 event 5: the agent's words for 'run' are not recorded"),
        (changed(OPENHANDS_1, "events", 3, tool_call=None), "f:9 event 4: the agent's call is not recorded"),
        (changed(OPENHANDS_1, "events", 2, kind="Condensation"), "f:9 event 3: condenses the history"),
        (changed(OPENHANDS_1, "events", 2, kind="NewEvent"), "f:9 event 3: is a 'NewEvent', which is not known"),
        (changed(SWE_AGENT_STEPS, "trajectory", 0, response=None), "f:9 step 1: has no 'response'"),
        (changed(SWE_AGENT_STEPS, "trajectory", 0, query=None), "f:9 step 1: has neither 'query' nor"),
        ({"trajectory_format": "mini-swe-agent-2", "messages": [USER, {"object": "response", "output": []}]},
         "f:9 message 2: is an answer of the Responses API"),
        ({"history": [{**HISTORY[0], "role": "robot"}]}, "f:9 message 1: unknown role 'robot'"),
        ({"messages": [USER, {**LAST, "tool_calls": [{"function": {}}]}]}, "f:9 message 2: its tool call 1 has no"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_it_is_and_what_to_do(record, problem):
    with pytest.raises(BadInput) as caught:
        parse_chat(record, 9, "f:9")
    assert str(caught.value).startswith(problem)
    assert caught.value.remedy
    assert "\n" not in str(caught.value)
