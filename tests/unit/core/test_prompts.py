"""The prompt builder and the reply parser."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prism.core.errors import BadInput
from prism.core.prompts import LAYOUTS, Moment, PromptFormat, join_spans, parse_reply, render_prompt, render_response

PAST = [("room", "go to desk 1"), ("desk", "take mug 1 from desk 1"), ("mug taken", "go to sink 1")]


def form(style="compact", history="actions:2"):
    return PromptFormat(style, history, 512)


def moment(past=PAST):
    return Moment("alfworld", "clean the mug.", past, "you see a sink.", ("help", "look", "clean mug 1 with sink 1"))


def test_compact_prompt():
    assert render_prompt(moment(), form()) == (
        "task : clean the mug.\n"
        "past : take mug 1 from desk 1 , go to sink 1\n"
        "now : you see a sink.\n"
        "actions : look , clean mug 1 with sink 1"
    )


def test_history_pairs_and_none():
    assert "past : desk > take mug 1 from desk 1 , mug taken > go to sink 1\n" in render_prompt(
        moment(), form(history="pairs:2")
    )
    assert "past" not in render_prompt(moment(), form(history="pairs:0"))
    assert "past" not in render_prompt(moment([]), form())


def test_full_prompt_numbers_the_steps_and_drops_help():
    text = render_prompt(moment(), form("full", "pairs:2"))
    assert "Steps taken so far: 3." in text
    assert "Observation 2: desk\nAction 2: take mug 1 from desk 1" in text
    assert "Action 3: go to sink 1" in text
    assert "'help'" not in text
    assert "Action 1" not in text


def test_format_hash_changes_with_every_field():
    hashes = {
        PromptFormat(*fields).sha256()
        for fields in [
            ("compact", "actions:2", 512),
            ("full", "actions:2", 512),
            ("compact", "pairs:2", 512),
            ("compact", "actions:2", 513),
        ]
    } | {form().sha256(layout=layout) for layout in LAYOUTS}
    assert len(hashes) == 6


@pytest.mark.parametrize("fields", [("loud", "pairs:2"), ("full", "last 2")])
def test_an_unknown_format_is_refused(fields):
    with pytest.raises(BadInput, match="prompt"):
        PromptFormat(*fields, 512)


@pytest.mark.parametrize(
    ("text", "action", "valid"),
    [
        (render_response("find it", "go to desk 1"), "go to desk 1", True),
        ("<THINK>a</THINK><ACTION> Go  To Desk 1 </ACTION>", "go to desk 1", True),
        ("<action>look</action>", "look", False),  # no thought
        ("<think>a</think>look", "<think>a</think>look", False),  # no action span: the end of the text is sent
        ("<think>看</think><action>look</action>", "look", False),
        ("x" * 100, "x" * 30, False),
        ("<think></think><action></action>", "", True),
    ],
)
def test_replies(text, action, valid):
    reply = parse_reply(text)
    assert (reply.action, reply.valid) == (action, valid)


def test_webshop_falls_back_to_twenty_characters():
    assert parse_reply("y" * 100, "webshop").action == "y" * 20


@given(st.text())
def test_any_text_is_a_reply(text):
    reply = parse_reply(text)
    assert isinstance(reply.action, str)
    assert isinstance(reply.valid, bool)


@given(
    st.lists(st.integers(0, 9), max_size=12), st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(1, 20)
)
def test_truncation(prompt, response, context):
    encoded = join_spans([[(prompt, False), (response, True)]], context, "response")
    assert encoded.truncated == (len(prompt) + len(response) > context)
    left = max(0, min(context - len(prompt), len(response)))
    assert encoded.response_tokens_cut == len(response) - left
    assert [row.response_tokens for row in encoded.rows] == [left] * (left > 0)
    assert [row.input_ids for row in encoded.rows] == [(prompt + response)[:context]] * (left > 0)
