"""What a chat says is found in what is probed, or counted by name; the same chat is the same tokens on every day."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
from chat_files import encode_chat
from tokenizers import processors

from prism.core import chat_templates
from prism.core.chat_templates import ChatForm, ChatTemplate, read_form
from prism.core.errors import BadInput
from prism.core.prompts import PromptEncoder, PromptFormat
from prism.core.tiny import FAMILIES, build_tokenizer, find_family
from prism.environments import load_data

TEMPLATES = Path(__file__).parents[1] / "templates"
USER = {"role": "user", "content": "go to desk 1"}
ANSWER = {"role": "assistant", "content": "take mug 1"}
RESULT = {"role": "tool", "content": "you see a mug 1"}
TOOLS = [{"type": "function", "function": {"name": "look", "description": "look around", "parameters": {}}}]
# the date of Llama-3.2's template, and one that asks for no clock before it calls it, as SmolLM3's
GUARDED = "{%- if strftime_now is defined %}{%- set date_string = strftime_now('%d %b %Y') %}{%- else %}{%- set " \
          "date_string = '26 Jul 2024' %}{%- endif %}"  # fmt: skip
UNGUARDED = "{{ strftime_now('%Y-%m-%d') }}" + FAMILIES["qwen3"].chat_template


def tokenizer_of(template: str, family: str = "qwen3"):
    tokenizer = build_tokenizer(find_family(family), load_data("alfworld").words())
    tokenizer.chat_template = template
    return tokenizer


@pytest.fixture(scope="module")
def qwen3():
    return tokenizer_of((TEMPLATES / "qwen3.jinja").read_text())


@pytest.fixture(scope="module")
def llama():
    return tokenizer_of((TEMPLATES / "llama3.1.jinja").read_text(), "llama3")


@pytest.fixture(scope="module")
def plain():
    """A template that knows role and content, no more."""
    return tokenizer_of(FAMILIES["qwen3"].chat_template)


def call(arguments, name="look", **fields):
    return {"type": "function", **fields, "function": {"name": name, "arguments": arguments}}


def said(tokenizer, messages, **more):
    """The text of the tokens that carry loss in the last row, spelt without blanks: the toy vocabulary splits words."""
    row = encode_chat(tokenizer, messages, 4096, **more).rows[-1]
    ids = [token for token, carries in zip(row.input_ids, row.response_mask, strict=True) if carries]
    return "".join(tokenizer.decode(ids).split())


def test_thoughts_are_probed(qwen3):
    thinking = [USER, {**ANSWER, "reasoning_content": "the mug is on it"}]
    assert said(qwen3, thinking) == "<think>themugisonit</think>takemug1<|im_end|>"
    assert said(qwen3, [USER, ANSWER]) == "<think></think>takemug1<|im_end|>"
    assert encode_chat(qwen3, thinking, 500).unrendered == {}


@pytest.mark.parametrize("key", ["reasoning_content", "thinking", "reasoning"])
def test_thoughts_have_the_name_that_the_template_reads(key):
    template = FAMILIES["qwen3"].chat_template.replace(
        "message['content']", f"(message.{key} or '') ~ message['content']"
    )
    thinking = [USER, {**ANSWER, "reasoning_content": "the mug is on it"}]
    assert said(tokenizer_of(template), thinking) == "themugisonittakemug1<|im_end|>"


def test_thoughts_that_the_template_does_not_write_are_counted(plain):
    thinking = [USER, {**ANSWER, "reasoning_content": "the mug is on it"}]
    encoded = encode_chat(plain, [*thinking, *thinking], 500)
    assert encoded.unrendered == {"thought": 2}
    assert encoded.rows == encode_chat(plain, [USER, ANSWER] * 2, 500).rows


@pytest.mark.parametrize("name", ["qwen3", "llama"])
def test_arguments_as_text_are_not_encoded_twice(name, request):
    tokenizer = request.getfixturevalue(name)
    arguments = {"place": "desk 1", "times": 2}
    as_object, as_text = (
        encode_chat(tokenizer, [USER, {**ANSWER, "content": "", "tool_calls": [call(one)]}], 500)
        for one in (arguments, json.dumps(arguments))
    )
    assert as_object == as_text
    assert as_object.unrendered == {}
    assert "\\" not in tokenizer.decode(as_text.rows[0].input_ids)


def test_arguments_that_a_message_quotes_as_python_prints_them_are_not_encoded_twice(llama):
    template, calling = ChatTemplate(llama), {**ANSWER, "content": "", "tool_calls": [call({"place": "desk 1"})]}
    for asked in ("go to {'place': 'desk 1'}", "go to desk 1"):
        text = template.render([{**USER, "content": asked}, calling], "here", add_generation_prompt=False)
        assert text.endswith('{"name": "look", "parameters": {"place": "desk 1"}}<|eot_id|>')


@pytest.mark.parametrize(
    "written", ["c.function.name + c.function.arguments", "c.function.name ~ '(' ~ c.function.arguments ~ ')'"]
)
def test_templates_that_want_a_text_get_one(written):
    template = FAMILIES["qwen3"].chat_template.replace(
        "message['content'] +", "message['content'] }}{% for c in message.tool_calls or [] %}{{ " + written + " }}"
        "{% endfor %}{{ ")  # fmt: skip
    assert written in template
    spoken = said(tokenizer_of(template), [USER, {**ANSWER, "tool_calls": [call({"place": "desk 1"})]}])
    assert '{"place":"desk1"}' in spoken


def test_calls_that_the_template_does_not_write_are_counted(plain):
    calls = [call({"place": "desk 1"}), call({})]
    encoded = encode_chat(plain, [USER, {**ANSWER, "tool_calls": calls}, RESULT, ANSWER], 500, tools=TOOLS)
    assert encoded.unrendered == {"tool call": 2, "tool schema": 1}
    # a name that stands in the text beside the call is not the call
    beside = {**ANSWER, "content": "look", "tool_calls": [call({})]}
    assert encode_chat(plain, [USER, beside], 500).unrendered == {"tool call": 1}


def test_text_beside_a_call_that_the_template_drops_is_counted(llama, qwen3):
    beside = [USER, {**ANSWER, "tool_calls": [call({"place": "desk 1"})]}]
    assert encode_chat(llama, beside, 500).unrendered == {"answer text": 1}
    within = [USER, {"role": "assistant", "content": "desk 1", "tool_calls": [call({"place": "desk 1"})]}]
    assert encode_chat(llama, within, 500).unrendered == {"answer text": 1}
    assert encode_chat(qwen3, beside, 500).unrendered == encode_chat(qwen3, within, 500).unrendered == {}


def test_calls_that_are_changed_are_counted():
    """gpt-oss' template writes the first of parallel calls, Kimi-K2's the id in place of the name."""
    first = FAMILIES["qwen3"].chat_template.replace(
        "message['content']", "message['content'] ~ (message.tool_calls[0].function | tojson if message.tool_calls)"
    )
    calls = [call({"place": "desk 1"}), call({"place": "bed 2"})]
    assert encode_chat(tokenizer_of(first), [USER, {**ANSWER, "tool_calls": calls}], 500).unrendered == {"tool call": 1}
    cut = FAMILIES["qwen3"].chat_template.replace("message['content']", "message['content'][:6]")
    assert encode_chat(tokenizer_of(cut), [USER, ANSWER], 500).unrendered == {"answer text": 1, "user message": 1}


def test_thoughts_within_the_text_that_the_template_drops_are_counted():
    drops = FAMILIES["qwen3"].chat_template.replace("message['content']", "message['content'].split('</think>')[-1]")
    thinking = [USER, {**ANSWER, "content": "<think>on the desk</think>take mug 1"}]
    assert encode_chat(tokenizer_of(drops), thinking, 500).unrendered == {"thought": 1}


def test_context_that_the_template_drops_is_counted():
    deaf = FAMILIES["qwen3"].chat_template.replace(
        "{% for message in messages %}",
        "{% for message in messages %}{% if message.role in ('system', 'tool') %}{% continue %}{% endif %}",
    )
    chat = [{"role": "system", "content": "act"}, USER, ANSWER, RESULT, ANSWER]
    assert encode_chat(tokenizer_of(deaf), chat, 500).unrendered == {"system message": 1, "tool result": 1}


@pytest.mark.parametrize("flag", [{"weight": 0}, {"loss": False}, {"train": False}])
def test_answers_without_loss_carry_none(plain, flag):
    both = encode_chat(plain, [USER, ANSWER, USER, ANSWER], 500).rows[0]
    one = encode_chat(plain, [USER, {**ANSWER, **flag}, USER, ANSWER], 500).rows[0]
    assert one.input_ids == both.input_ids
    assert 2 * one.response_tokens == both.response_tokens


def test_ids_of_calls_reach_the_template():
    """Mistral's templates refuse results without the id of their call."""
    strict = FAMILIES["qwen3"].chat_template.replace(
        "{% for message in messages %}",
        "{% for message in messages %}{% if message.role == 'tool' and not message.tool_call_id %}"
        "{{ raise_exception('which call?') }}{% endif %}",
    )
    chat = [USER, {**ANSWER, "tool_calls": [call({}, id="c1")]}, {**RESULT, "tool_call_id": "c1"}, ANSWER]
    assert encode_chat(tokenizer_of(strict), chat, 500).rows
    with pytest.raises(BadInput, match="which call"):
        encode_chat(tokenizer_of(strict), [USER, ANSWER, RESULT, ANSWER], 500)


class Tomorrow(datetime.datetime):
    """A clock that runs ahead."""

    @classmethod
    def now(cls, tz=None):
        return datetime.datetime(2031, 2, 3, tzinfo=tz)


@pytest.fixture(params=["guarded", "unguarded"])
def dated(request, llama):
    if request.param == "unguarded":
        return tokenizer_of(UNGUARDED)
    template = llama.chat_template.replace('{%- set date_string = "26 Jul 2024" %}', GUARDED)
    assert GUARDED in template
    return tokenizer_of(template, "llama3")


def test_a_chat_is_the_same_tokens_on_every_day(dated, monkeypatch):
    rows = encode_chat(dated, [USER, ANSWER], 500).rows
    prompts = PromptEncoder(dated, PromptFormat("compact", "actions:14", 500)).encode_prompts(["look"])
    assert "2024" in "".join(dated.decode(rows[0].input_ids).split())
    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Tomorrow)
    assert "2031" in dated.apply_chat_template([USER], tokenize=False)
    assert encode_chat(dated, [USER, ANSWER], 500).rows == rows
    assert PromptEncoder(dated, PromptFormat("compact", "actions:14", 500)).encode_prompts(["look"]) == prompts


def test_a_day_can_be_given(dated, llama):
    form = ChatForm(date="2026-09-01")
    texts = [ChatTemplate(one, form).render([USER], "here", add_generation_prompt=True) for one in (dated, llama)]
    assert ("2026-09-01" if dated.chat_template == UNGUARDED else "Today Date: 01 Sep 2026") in texts[0]
    assert "Today Date: 01 Sep 2026" in texts[1]
    own = ChatForm(date="2026-09-01", variables={"date_string": "today"})
    assert "Today Date: today" in ChatTemplate(llama, own).render([USER], "here", add_generation_prompt=True)
    with pytest.raises(BadInput, match="--date: 'tomorrow' is no day; write it as in 2024-07-26"):
        ChatForm(date="tomorrow")


def test_another_template_and_its_variables(qwen3, plain):
    form = ChatForm(template=qwen3.chat_template, variables={"enable_thinking": False})
    assert said(plain, [USER, ANSWER], form=form) == "takemug1<|im_end|>"
    with pytest.raises(BadInput, match="answer 2 after its generation prompt"):
        encode_chat(plain, [USER, {**ANSWER, "reasoning_content": "the mug is on it"}], 500, form=form)


def test_options_that_cannot_be_used(tmp_path):
    for text in ("[1]", "{", "3"):
        with pytest.raises(BadInput, match=r"--chat-template-kwargs: .* is not a JSON object"):
            read_form(None, text, "")
    for taken in ("messages", "strftime_now", "chat_template"):
        with pytest.raises(BadInput, match=f"--chat-template-kwargs: '{taken}' cannot be set"):
            read_form(None, json.dumps({taken: 1}), "")
    with pytest.raises(BadInput, match=r"none\.jinja: cannot be read"):
        read_form(tmp_path / "none.jinja", "{}", "")
    (tmp_path / "empty.jinja").write_text("\n")
    with pytest.raises(BadInput, match=r"empty\.jinja: is empty"):
        read_form(tmp_path / "empty.jinja", "{}", "")
    (tmp_path / "one.jinja").write_text("{{ messages }}")
    assert read_form(tmp_path / "one.jinja", '{"a": 1}', "2026-01-02") == ChatForm(
        "{{ messages }}", {"a": 1}, "2026-01-02"
    )


def test_chats_that_no_template_takes_say_why(qwen3, plain):
    with pytest.raises(BadInput, match="here: starts with an answer: there is no prompt"):
        encode_chat(qwen3, [ANSWER, USER, ANSWER], 500)
    silent = {**ANSWER, "weight": 0}
    assert encode_chat(plain, [silent, USER, ANSWER], 500).rows[0].response_tokens == 4
    opens = tokenizer_of(
        plain.chat_template.replace("<|im_start|>assistant\\n'", "<|im_start|>assistant\\n<think>\\n'")
    )
    with pytest.raises(
        BadInput,
        match=r"prompt, which goes on with '<think>'; give --chat-template-kwargs '\{\"enable_thinking\": true\}'",
    ):
        encode_chat(opens, [USER, ANSWER], 500)


# drops the thoughts before a call once the last answer is there, as gpt-oss' template
FORGETS = """{% for m in messages %}{% if m.role == 'assistant' %}<|im_start|>assistant
{%- if m.reasoning_content and (loop.last or messages[-1].role != 'assistant' or messages[-1].tool_calls) %} think
{{- ' ' ~ m.reasoning_content }}{% endif %} {{ m.content }} {% for c in m.tool_calls or [] %}{{ c.function.name }}
{{- ' ' ~ c.function.arguments | tojson }}{% endfor %}<|im_end|>{% else %}<|im_start|>{{ m.role }} {{ m.content }}
{%- endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant{% endif %}"""


@pytest.mark.parametrize("last", ["take mug 1", "look"])
def test_an_answer_is_found_behind_a_context_that_it_changes(last):
    """Its row has the context in which the model gives it, thoughts before the call included."""
    tokenizer = tokenizer_of(FORGETS)
    calling = {"role": "assistant", "content": "", "reasoning_content": "on the desk", "tool_calls": [call({"n": 1})]}
    same = {**RESULT, "content": last}
    encoded = encode_chat(tokenizer, [USER, calling, same, {**calling, "tool_calls": [call({"n": 2})]}, same,
                                      {**ANSWER, "content": last}], 500)  # fmt: skip
    (row,) = encoded.rows
    spoken, text = "".join(last.split()), "".join(tokenizer.decode(row.input_ids).split())
    assert text.count("thinkonthedesk") == 2
    assert text.endswith(f"<|im_start|>tool{spoken}<|im_start|>assistant{spoken}<|im_end|>")
    thought = 'thinkonthedesklook{"n":1}<|im_end|>'
    assert said(tokenizer, [USER, calling, same, {**ANSWER, "content": last}]) == f"{thought}{spoken}<|im_end|>"
    assert encoded.unrendered == {}


def test_neighbouring_answers_follow_each_other(qwen3):
    assert said(qwen3, [USER, ANSWER, {**ANSWER, "content": "look"}]) == (
        "<think></think>takemug1<|im_end|><think></think>look<|im_end|>"
    )


def test_a_beginning_of_text_comes_once():
    tokenizer = tokenizer_of(FAMILIES["llama3"].chat_template, "llama3")
    start = (tokenizer.bos_token, tokenizer.bos_token_id)
    rows = encode_chat(tokenizer, [USER, ANSWER], 500).rows
    # as Llama's own tokenizer does, whose chat template writes the token too
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start[0]} $A", special_tokens=[start]
    )
    assert tokenizer("look")["input_ids"][0] == tokenizer.bos_token_id
    assert encode_chat(tokenizer, [USER, ANSWER], 500).rows == rows
    assert rows[0].input_ids.count(tokenizer.bos_token_id) == 1


def test_a_second_beginning_of_text_is_refused():
    tokenizer = tokenizer_of(FAMILIES["llama3"].chat_template, "llama3")
    twice = tokenizer_of("{{ bos_token }}" + tokenizer.chat_template, "llama3")
    with pytest.raises(BadInput, match="here: its tokens begin with two beginning-of-text tokens"):
        encode_chat(twice, [USER, ANSWER], 500)

    class Stubborn(type(tokenizer)):
        """Adds the token also where it is told not to, as some tokenizers of models' own code did."""

        def __call__(self, text, **options):
            return super().__call__(text, **options | {"add_special_tokens": True})

    tokenizer.__class__ = Stubborn
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{tokenizer.bos_token} $A", special_tokens=[(tokenizer.bos_token, tokenizer.bos_token_id)]
    )
    for encode in (
        lambda: encode_chat(tokenizer, [USER, ANSWER], 500),
        lambda: PromptEncoder(tokenizer, PromptFormat("compact", "actions:14", 500)),
    ):
        with pytest.raises(BadInput, match=r"puts '<\|begin_of_text\|>' before every text"):
            encode()


def test_a_chat_of_many_turns_is_rendered_in_time(qwen3, monkeypatch):
    """Two renderings an answer, one more for each of its parts that may be there by chance: no more than five."""
    counted = []
    monkeypatch.setattr(chat_templates, "_bounded", lambda: counted.append(1) or __import__("contextlib").nullcontext())
    encode_chat(qwen3, [USER, {**ANSWER, "tool_calls": [call({"place": "desk 1"})]}, RESULT] * 20 + [ANSWER], 9999)
    assert len(counted) <= 5 * 21
