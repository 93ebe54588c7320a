"""The layout `conversation` under real chat templates: one row a trajectory, token by token as they write it."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from pathlib import Path

import pytest
from chat_files import encode_chat
from toy_corpus import FORM, toy_trajectory

from prism.core.errors import BadInput
from prism.core.prompts import PromptEncoder, conversation_messages, render_response
from prism.core.tiny import build_tokenizer, find_family
from prism.environments import load_data

TEMPLATES = Path(__file__).parents[1] / "templates"
LONG = dataclasses.replace(FORM, context_length=4096)
TRAJECTORY = toy_trajectory(1, steps=10)
REAL = [("qwen3", "qwen3.jinja"), ("llama3", "llama3.1.jinja")]
TINY = [("qwen3", None), ("llama3", None)]


def tokenizer_of(family: str, template: str | None):
    tokenizer = build_tokenizer(find_family(family), load_data("alfworld").words())
    if template:
        tokenizer.chat_template = (TEMPLATES / template).read_text(encoding="utf-8")
    return tokenizer


@pytest.fixture(scope="module", params=REAL + TINY, ids=lambda case: case[1] or f"tiny {case[0]}")
def tokenizer(request):
    return tokenizer_of(*request.param)


def spoken(row) -> list[int]:
    return [token for token, carries in zip(row.input_ids, row.response_mask, strict=True) if carries]


def test_ten_steps_are_one_row_with_all_thoughts_and_loss_on_every_answer(tokenizer):
    encoder = PromptEncoder(tokenizer, LONG)
    encoded = encoder.encode_trajectory(TRAJECTORY, "conversation")
    (row,) = encoded.rows
    assert (encoded.truncated, encoded.response_tokens_cut) == (0, 0)
    answers = encoder.encode_responses([render_response(step.thought, step.action) for step in TRAJECTORY.steps])
    assert spoken(row) == [token for answer in answers for token in answer]
    assert row.input_ids.count(tokenizer.eos_token_id) >= 10
    # what the agent is trained to say is, token for token, what it says in RL and evaluation
    steps = encoder.encode_trajectory(TRAJECTORY).rows
    assert spoken(row) == [token for step in steps for token in spoken(step)]
    assert row.input_ids[: len(steps[0].input_ids)] == steps[0].input_ids


def test_the_row_is_the_templates_own_text(tokenizer):
    """The template's rendering of the chat, with each answer put back as it was given, tokenized in one go."""
    messages = conversation_messages(TRAJECTORY, LONG.style)
    answers = {f"@@{index}@@": turn["content"] for index, turn in enumerate(messages) if turn["role"] == "assistant"}
    hidden = [{**turn, "content": mark} for turn, mark in zip(messages[1::2], answers, strict=True)]
    chat = [turn for pair in zip(messages[::2], hidden, strict=True) for turn in pair]
    text = tokenizer.apply_chat_template(chat[:-1], add_generation_prompt=True, tokenize=False) + list(answers)[-1]
    for mark, answer in answers.items():
        text = text.replace(mark, answer)
    (row,) = PromptEncoder(tokenizer, LONG).encode_trajectory(TRAJECTORY, "conversation").rows
    assert row.input_ids == [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]


def test_a_template_that_drops_earlier_thoughts_would_have_dropped_them():
    """What the layout is there for: Qwen3's template alone keeps one thought of ten, and own chats become ten rows."""
    tokenizer = tokenizer_of("qwen3", "qwen3.jinja")
    messages = conversation_messages(TRAJECTORY, LONG.style)
    assert tokenizer.apply_chat_template(messages, tokenize=False).count("<think>") == 1
    (row,) = PromptEncoder(tokenizer, LONG).encode_trajectory(TRAJECTORY, "conversation").rows
    assert tokenizer.decode(row.input_ids).count("<think>") == 10
    chat = encode_chat(tokenizer, messages, 4096, "here")
    assert len(chat.rows) == 10
    assert sum(len(one.input_ids) for one in chat.rows) > 4 * len(row.input_ids)


@pytest.mark.parametrize("keep", [1, 5, 50])
def test_what_the_context_cuts_is_counted(tokenizer, keep):
    whole = PromptEncoder(tokenizer, LONG).encode_trajectory(TRAJECTORY, "conversation").rows[0]
    short = dataclasses.replace(LONG, context_length=len(whole.input_ids) - keep)
    encoded = PromptEncoder(tokenizer, short).encode_trajectory(TRAJECTORY, "conversation")
    assert encoded.rows[0].input_ids == whole.input_ids[:-keep]
    assert encoded.truncated == 1
    assert encoded.response_tokens_cut == sum(whole.response_mask[-keep:]) > 0


def test_loss_on_all_tokens(tokenizer):
    encoder = PromptEncoder(tokenizer, LONG)
    for layout in ("steps", "conversation"):
        answers, everything = (encoder.encode_trajectory(TRAJECTORY, layout, loss).rows for loss in ("response", "all"))
        assert [row.input_ids for row in answers] == [row.input_ids for row in everything]
        assert all(row.response_tokens == len(row.input_ids) for row in everything)


def test_steps_that_are_not_demonstrated_are_read_and_carry_no_loss(tokenizer):
    first, *others = TRAJECTORY.steps
    detour = dataclasses.replace(TRAJECTORY, steps=(dataclasses.replace(first, demonstrated=False), *others))
    encoder = PromptEncoder(tokenizer, LONG)
    whole, less = (encoder.encode_trajectory(one, "conversation").rows[0] for one in (TRAJECTORY, detour))
    assert whole.input_ids == less.input_ids
    unsaid = encoder.encode_responses([render_response(first.thought, first.action)])[0]
    assert spoken(whole) == unsaid + spoken(less)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        # thoughts are opened by the generation prompt and closed in the history
        (
            "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}",
            "writes a turn differently",
        ),
        (
            "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
            "does not end an answer with",
        ),
    ],
)
def test_a_template_that_has_no_pieces_is_refused_where_they_are_needed(template, problem):
    tokenizer = tokenizer_of("qwen3", None)
    tokenizer.chat_template = template
    encoder = PromptEncoder(tokenizer, LONG)
    assert len(encoder.encode_trajectory(TRAJECTORY).rows) == 10
    with pytest.raises(BadInput, match=rf"{problem}.*use layout: steps"):
        encoder.encode_trajectory(TRAJECTORY, "conversation")


@pytest.mark.slow
def test_llamafactorys_own_encoding_of_the_chat_is_the_same(monkeypatch):
    """Its template `qwen3` keeps all thoughts and all answers' loss too; it also trains the newline after each."""
    sft = importlib.import_module("prism.stages.sft")
    if not sft._loads("torchaudio"):
        monkeypatch.setitem(sys.modules, "torchaudio", importlib.import_module("prism.shims.torchaudio"))
    from llamafactory.data.template import TEMPLATES as REGISTERED

    tokenizer = tokenizer_of("qwen3", "qwen3.jinja")
    (row,) = PromptEncoder(tokenizer, LONG).encode_trajectory(TRAJECTORY, "conversation").rows
    pairs = REGISTERED["qwen3"].encode_multiturn(tokenizer, conversation_messages(TRAJECTORY, LONG.style))
    whole = [token for pair in pairs for part in pair for token in part]
    assert row.input_ids == whole[: len(row.input_ids)]
    rest = tokenizer("\n", add_special_tokens=False)["input_ids"]
    assert whole[len(row.input_ids) :] == rest
    trained = [answer[: len(answer) - len(rest)] for _, answer in pairs]
    assert spoken(row) == [token for answer in trained for token in answer]
