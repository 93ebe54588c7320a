"""Data of one's own through the commands and from Python: columns, splits and tokens lead to the same norms."""

from __future__ import annotations

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chat_files import OPENAI, write
from toy_corpus import save_toy_model
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

import prism
from prism.cli import app
from prism.core.csv_files import read_table
from prism.core.errors import BadInput

WORDS = ("look", "take mug 1", "go to desk 1", "open drawer 2")
CHATS = [
    {"id": f"c{number}", "messages": [*OPENAI[:2], {"role": "assistant", "content": word}]}
    for number, word in enumerate(WORDS)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    save_toy_model(folder / "model")
    write(folder / "chats.jsonl", *CHATS)
    run("probe", "--model", folder / "model", "--data", folder / "chats.jsonl", "--out", folder / "chats.parquet")
    return folder


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def norms(path):
    table = pq.read_table(path)
    return table.replace_schema_metadata(None).sort_by("id")


@pytest.fixture(scope="module")
def hub_folder(folder):
    """A folder as a data set of the Hub has it: parquet by split, under names of its own."""
    rows = [{"uid": chat["id"], "dialog": [{"speaker": turn["role"], "words": turn["content"]}
                                           for turn in chat["messages"]]} for chat in CHATS]  # fmt: skip
    (folder / "hub").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "hub" / "test-00000-of-00001.parquet")
    pq.write_table(pa.Table.from_pylist(rows[:1]), folder / "hub" / "train-00000-of-00001.parquet")
    return folder / "hub"


OPTIONS = ("--columns", "messages=dialog,id=uid,role=speaker,content=words", "--split", "test")


def test_columns_and_split_are_remembered_until_the_emission(folder, hub_folder):
    out, scores = folder / "hub.parquet", folder / "hub.csv"
    run("probe", "--model", folder / "model", "--data", hub_folder, "--out", out, *OPTIONS)
    assert norms(out).equals(norms(folder / "chats.parquet"))
    run("score", out, "--out", scores)
    run("route", scores, "--out", folder / "hub-split" / "split.csv", "--emit", "llamafactory,verl")
    assert len(read_table(folder / "hub-split" / "split.csv").rows) == len(CHATS)
    assert (folder / "hub-split" / "llamafactory" / "prism_sft.json").is_file()
    run("probe", "--model", folder / "model", "--data", hub_folder, "--out", folder / "train.parquet", *OPTIONS[:2])
    assert norms(folder / "train.parquet").num_rows == 1
    assert b"data_options" not in pq.read_schema(folder / "chats.parquet").metadata


def test_tokens_have_the_norms_of_their_chats_and_cannot_be_emitted(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    records = []
    for chat in CHATS:
        before, after = (
            tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=ask).rstrip(
                "\n" if not ask else ""
            )
            for turns, ask in ((chat["messages"][:-1], True), (chat["messages"], False))
        )
        prompt, answer = (
            tokenizer(text, add_special_tokens=False)["input_ids"] for text in (before, after[len(before) :])
        )
        records.append({"id": chat["id"], "input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer})
    data = write(folder / "tokens.jsonl", *records)
    run("probe", "--model", folder / "model", "--data", data, "--out", folder / "tokens.parquet")
    assert norms(folder / "tokens.parquet").equals(norms(folder / "chats.parquet"))
    run("score", folder / "tokens.parquet", "--out", folder / "tokens.csv")
    with pytest.raises(BadInput, match=r"tokens.jsonl: holds tokens, of which no chat can be written; drop --emit"):
        run("route", folder / "tokens.csv", "--out", folder / "tokens-split.csv", "--emit", "verl")
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype="float32")
    from_python = prism.probe(model, tokenizer, records).frame
    assert list(from_python["loss"]) == pytest.approx(norms(folder / "chats.parquet")["loss"].to_pylist(), rel=1e-5)


def test_python_reads_what_the_commands_read(folder, hub_folder):
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype="float32")
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    columns = {"messages": "dialog", "id": "uid", "role": "speaker", "content": "words"}
    frames = [
        prism.probe(model, tokenizer, chats).frame
        for chats in (CHATS, str(folder / "chats.jsonl"), prism.DataSource(str(hub_folder), "test", columns))
    ]
    for frame in frames[1:]:
        assert frame.equals(frames[0])


def test_a_dataset_has_null_where_a_chat_lacks_a_key(folder):
    """Arguments of two calls with other keys are one structure in a table, whose nulls nobody wrote."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }} {{ m.content }}{% for c in m.tool_calls or [] %}"
        "{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
    )
    chats = [
        {"messages": [OPENAI[1], {"role": "assistant", "content": "look", "tool_calls": [
            {"type": "function", "function": {"name": "f", "arguments": {key: "desk 1"}}}]}]}
        for key in ("mug", "bed")
    ]  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype="float32")
    as_table = prism.probe(model, tokenizer, datasets.Dataset.from_list(chats)).frame
    assert as_table.equals(prism.probe(model, tokenizer, chats).frame)
