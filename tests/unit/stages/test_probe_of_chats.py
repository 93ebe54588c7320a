"""`prism probe` of people's own chats: how they are rendered is given, hashed and said; nothing is lost in silence."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
from chat_files import OPENAI, write
from toy_corpus import save_toy_model
from typer.testing import CliRunner

from prism.cli import app
from prism.core.csv_files import read_table
from prism.core.errors import BadInput

THINKING = [OPENAI[1], {**OPENAI[2], "reasoning_content": "on the desk"}]
CALLING = [OPENAI[1], {**OPENAI[2], "tool_calls": [{"function": {"name": "look", "arguments": "{}"}}] * 2}]
DATED = "{{ strftime_now('%d') }} {% for m in messages %}{{ m.role }} {{ m.content }} {{ wish }}{% endfor %}"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_toy_model(tmp_path_factory.mktemp("models") / "tiny")


def probe(folder, model, *options, chats=(THINKING, CALLING, OPENAI)):
    """Norms of chats by id, the file's metadata, and what was said."""
    data = write(folder / "my.jsonl", *({"id": str(number), "messages": chat} for number, chat in enumerate(chats)))
    out = folder / "norms.parquet"
    words = ["probe", "--model", model, "--data", data, "--out", out, "--context-length", 64, *options]
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception:
        raise result.exception
    table = pq.read_table(out)
    facts = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    return {row.pop("id"): row for row in table.to_pylist()}, facts, result.output


def test_what_is_left_out_is_counted_and_named_before_time_is_spent(tmp_path, model):
    _, _, said = probe(tmp_path, model)
    lines = [line.partition(" ")[2] for line in said.splitlines() if " probe: " in line]
    thoughts, calls, _, forecast = lines[:4]
    assert forecast.startswith("probe: 3 trajectories -> 3 rows, ")
    assert "with loss), 0 cut at the context of 64 tokens; less than a minute, " in forecast
    assert forecast.endswith("B of memory")
    place = f"not rendered in full by this chat template; the first: {tmp_path}/my.jsonl"
    assert thoughts == f"probe: 1 thought of 1 chat is {place}:1"
    assert calls == f"probe: 2 tool calls of 1 chat are {place}:2"


def test_strict_refuses_what_is_left_out_or_cut(tmp_path, model):
    with pytest.raises(BadInput, match=r"my\.jsonl:1: 1 thought of '0' not rendered in full"):
        probe(tmp_path, model, "--strict")
    with pytest.raises(BadInput, match=r"my\.jsonl:1: 2 tool calls of '0' not rendered in full"):
        probe(tmp_path, model, "--strict", chats=[CALLING])
    long = [{**OPENAI[1], "content": "look " * 50}, OPENAI[2], *OPENAI[3:]]
    with pytest.raises(BadInput, match=r"my\.jsonl:1: trajectory '0' is longer than the context of 64 tokens"):
        probe(tmp_path, model, "--strict", chats=[long])
    _, _, said = probe(tmp_path, model, chats=[long])
    assert "1 cut at the context of 64 tokens (" in said
    probe(tmp_path, model, "--strict", chats=[OPENAI])


def test_thoughts_change_the_norms(tmp_path, model):
    template = tmp_path / "thinks.jinja"
    template.write_text(
        "{% for m in messages %}{{ m.role }} {{ m.reasoning_content or '' }} {{ m.content }} {% endfor %}"
    )
    chats = (THINKING, [THINKING[0], OPENAI[2]])
    found, _, said = probe(tmp_path, model, "--chat-template", template, chats=chats)
    assert found["0"]["response_tokens"] > found["1"]["response_tokens"]
    assert found["0"]["layers.0.v_proj"] != found["1"]["layers.0.v_proj"]
    assert "not rendered" not in said


def test_template_variables_and_date_shape_the_tokens_and_their_hash(tmp_path, model):
    template = tmp_path / "dated.jinja"
    template.write_text(DATED)
    variants = {
        "own": (),
        "other": ("--chat-template", template),
        "dated": ("--chat-template", template, "--date", "2026-09-01"),
        "wish": ("--chat-template", template, "--chat-template-kwargs", '{"wish": "look"}'),
    }
    probes = {name: probe(tmp_path, model, *options, chats=[OPENAI]) for name, options in variants.items()}
    assert len({facts["prompt_sha256"] for _, facts, _ in probes.values()}) == 4
    assert len({found["0"]["layers.0.v_proj"] for found, _, _ in probes.values()}) == 4
    assert json.loads(probes["dated"][1]["chats"]) == {
        "template": DATED, "variables": {}, "date": "2026-09-01", "context_length": 64, "loss_on": "response",
    }  # fmt: skip
    again = probe(tmp_path, model, *variants["dated"], chats=[OPENAI])
    assert again[0] == probes["dated"][0]


def test_scores_say_how_the_chats_were_rendered(tmp_path, model):
    _, facts, _ = probe(tmp_path, model, "--date", "2026-09-01")
    words = ["score", tmp_path / "norms.parquet", "--out", tmp_path / "scores.csv"]
    assert CliRunner().invoke(app, [str(word) for word in words]).exit_code == 0
    assert read_table(tmp_path / "scores.csv").note("chats") == facts["chats"]


def test_chats_in_python_warn_of_what_is_left_out(model):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    import prism

    loaded = AutoModelForCausalLM.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    with pytest.warns(UserWarning, match=r"1 thought of 1 chat is not rendered.* the first: chats\[1\]"):
        prism.probe(*loaded, [OPENAI, THINKING])
