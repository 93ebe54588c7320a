"""Where chats come from: files, folders, folders of `datasets`, data sets of the Hub; splits, columns, hashes."""

from __future__ import annotations

import gzip
import json

import datasets
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from format_examples import EXAMPLES, SHAREGPT

from prism.core.chats import read_chats
from prism.core.data_source import DataSource, parse_columns, rename
from prism.core.errors import BadInput
from prism.core.files import sha256_file

RECORDS = [
    {"id": f"{name} {number}", **record} for name, pairs in EXAMPLES.items() for number, (record, _) in enumerate(pairs)
]
CHATS = [{"id": letter, "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": letter}]}
         for letter in "abcd"]  # fmt: skip


def lines(records):
    return "".join(json.dumps(record) + "\n" for record in records)


def ids(path, **asked):
    return [chat.id for chat in read_chats(DataSource(str(path), **asked))]


def write_files(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, records in files.items():
        path = folder / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text(lines(records))
    return folder


def as_column(value):
    try:
        pa.array([value])
    except pa.ArrowInvalid:
        return json.dumps(value)
    return value


CONTAINERS = {
    "lines.jsonl": lambda records: lines(records).encode(),
    "lines.jsonl.gz": lambda records: gzip.compress(lines(records).encode()),
    "windows.jsonl": lambda records: b"\xef\xbb\xbf" + lines(records).replace("\n", "\r\n").encode(),
    "array.json": lambda records: json.dumps(records).encode(),
    "indented.json": lambda records: b"\xef\xbb\xbf" + json.dumps(records, indent=1).encode(),
    "array.json.gz": lambda records: gzip.compress(json.dumps(records, indent=1).encode()),
    "documents.json": lambda records: "\n".join(json.dumps(record, indent=2) for record in records).encode(),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_format_in_every_kind_of_file(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(CONTAINERS[name](RECORDS))
    (tmp_path / "plain").write_text(lines(RECORDS))
    expected = read_chats(tmp_path / "plain")
    found = read_chats(path)
    assert [chat.messages for chat in found] == [chat.messages for chat in expected]
    assert [(chat.id, chat.tools) for chat in found] == [(chat.id, chat.tools) for chat in expected]
    assert len(found) == len(RECORDS)


@pytest.mark.parametrize("record", RECORDS, ids=[record["id"] for record in RECORDS])
def test_every_format_in_parquet_and_arrow(tmp_path, record):
    """A table has every key in every row: what a record lacks is null, and counts as absent.

    What mixes types in a column stands there as a text of JSON.
    """
    row = {key: as_column(value) for key, value in record.items()}
    table = pa.Table.from_pylist([row, row | {"id": "again"}])
    pq.write_table(table, tmp_path / "data.parquet")
    datasets.Dataset(table).save_to_disk(tmp_path / "saved")
    (tmp_path / "plain").write_text(lines([record]))
    (expected,) = read_chats(tmp_path / "plain")
    for path in (tmp_path / "data.parquet", tmp_path / "saved"):
        first, again = read_chats(path)
        assert first.messages == again.messages == expected.messages
        assert first.tools == expected.tools
        assert (first.id, again.id) == (record["id"], "again")


def test_a_folder_of_datasets_and_its_splits(tmp_path):
    made = {"train": datasets.Dataset.from_list(CHATS[:3]), "test": datasets.Dataset.from_list(CHATS[3:])}
    made["train"].save_to_disk(tmp_path / "one", num_shards=2)
    datasets.DatasetDict(made).save_to_disk(tmp_path / "both")
    assert ids(tmp_path / "one") == ["a", "b", "c"]
    assert ids(tmp_path / "both") == ["a", "b", "c"]
    assert ids(tmp_path / "both", split="test") == ["d"]
    with pytest.raises(BadInput, match=r"both: has no split 'dev'; use --split with one of train, test"):
        ids(tmp_path / "both", split="dev")
    with pytest.raises(BadInput, match="is a single split"):
        ids(tmp_path / "one", split="train")


def test_a_folder_of_files_is_read_by_the_splits_in_their_names(tmp_path):
    folder = write_files(tmp_path / "a", **{"train-00000-of-00002": CHATS[:1], "train-00001-of-00002": CHATS[1:2],
                                            "deep/test": CHATS[2:3]})  # fmt: skip
    assert ids(folder) == ["a", "b"]
    assert ids(folder, split="test") == ["c"]
    # the numbers of records go on from file to file
    nameless = [[{"messages": chat["messages"]}] for chat in CHATS[:2]]
    assert ids(write_files(tmp_path / "b", x=nameless[0], y=nameless[1])) == ["1", "2"]
    with pytest.raises(BadInput, match="has the splits validation, test; name one with --split"):
        ids(write_files(tmp_path / "c", test=CHATS[:1], dev=CHATS[1:]))
    (tmp_path / "d").mkdir()
    with pytest.raises(BadInput, match="d: holds no data"):
        ids(tmp_path / "d")
    with pytest.raises(BadInput, match="is one file, which has no splits"):
        ids(folder / "deep/test.jsonl", split="test")


def test_the_readme_of_a_data_set_says_what_its_splits_are(tmp_path):
    folder = write_files(tmp_path / "a", **{"x/one": CHATS[:1], "x/two": CHATS[1:2], "y/three": CHATS[2:]})
    head = """---
configs:
- config_name: default
  data_files: [{split: train, path: "x/*.jsonl"}, {split: hard, path: [y/three.jsonl]}]
- config_name: small
  data_files: x/two.jsonl
---
# Chats
"""
    (folder / "README.md").write_text(head)
    assert ids(folder) == ["a", "b"]
    assert ids(folder, split="hard") == ["c", "d"]
    assert ids(folder, split="small/train") == ["b"]
    with pytest.raises(BadInput, match="has the configurations default, small; name one with --split CONF"):
        ids(folder, split="large/train")
    (folder / "README.md").write_text(head.replace("x/*", "z/*"))
    with pytest.raises(BadInput, match=r"holds no file 'z/\*.jsonl', which its README names"):
        ids(folder)
    (folder / "README.md").write_text("---\nconfigs: [\n---\n")
    with pytest.raises(BadInput, match=r"README.md: has a head that is not YAML"):
        ids(folder)


def test_runs_of_agents_are_called_by_their_files(tmp_path):
    for trial in ("t1", "t2"):
        (tmp_path / trial / "agent").mkdir(parents=True)
        (tmp_path / trial / "result.json").write_text('{"reward": 1}')
        record = {key: value for key, value in EXAMPLES["ATIF 1.0 to 1.7"][0][0].items() if key != "session_id"}
        (tmp_path / trial / "agent" / "trajectory.json").write_text(json.dumps(record, indent=2))
    assert ids(tmp_path) == ["t1/agent/trajectory.json", "t2/agent/trajectory.json"]


def test_a_data_set_of_the_hub(tmp_path, monkeypatch):
    """As the Hub's client keeps a download; without a network it answers from there."""
    base = tmp_path / "datasets--me--chats"
    (base / "refs").mkdir(parents=True)
    (base / "refs" / "main").write_text("abc")
    folder = base / "snapshots" / "abc" / "data"
    folder.mkdir(parents=True)
    for name, records in (("train", CHATS[:2]), ("test", CHATS[2:])):
        pq.write_table(pa.Table.from_pylist(records), folder / f"{name}-00000-of-00001.parquet")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert ids("me/chats") == ["a", "b"]
    assert ids("me/chats@main", split="test") == ["c", "d"]
    with pytest.raises(BadInput, match="me/none: is neither a file nor a folder nor a data set of the Hub"):
        ids("me/none")
    with pytest.raises(BadInput, match=r"me/none.jsonl: cannot be read \(No such file"):
        ids("me/none.jsonl")


def test_columns_by_other_names(tmp_path):
    turns = [{"speaker": "human", "words": "q"}, {"speaker": "gpt", "words": "a"}]
    path = tmp_path / "a.jsonl"
    path.write_text(lines([{"uid": 7, "dialog": turns, "messages": "something else", "id": "no"}]))
    columns = parse_columns("messages=dialog, id=uid,role=speaker,content=words")
    (chat,) = read_chats(DataSource(str(path), columns=columns))
    assert chat.id == "7"
    assert [turn["content"] for turn in chat.messages] == ["q", "a"]
    with pytest.raises(BadInput, match=r"a.jsonl:1: has no column 'chat'; it has 'dialog', 'id', 'messages', 'uid'"):
        ids(path, columns={"messages": "chat"})
    assert rename({"a": 1}, {"id": "uid"}, "f") == {"a": 1}
    for text in ("messages", "messages=", "colour=red"):
        with pytest.raises(BadInput, match="--columns: cannot read"):
            parse_columns(text)


def test_columns_turn_other_shapes_into_known_ones(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(lines([{"question": "q", "solution": "a", "prompt": "x", "chosen": [{"role": "assistant",
                            "content": "c"}]}]))  # fmt: skip
    for columns, answer in (("prompt=question,completion=solution", "a"), ("completion=chosen", "c")):
        (chat,) = read_chats(DataSource(str(path), columns=parse_columns(columns)))
        assert chat.messages[-1]["content"] == answer


def test_a_hash_is_that_of_the_data_that_are_read(tmp_path):
    folder = write_files(tmp_path / "a", train=CHATS[:2], test=CHATS[2:])
    file = folder / "train.jsonl"
    assert DataSource(str(file)).sha256() == DataSource(str(folder)).sha256() == sha256_file(file)
    seen = {DataSource(str(folder), split=split).sha256() for split in (None, "train", "test")}
    assert len(seen) == 3
    assert DataSource(str(file), columns={"id": "uid"}).sha256() != sha256_file(file)


def test_the_workflows_trajectories_are_one_file(tmp_path):
    folder = write_files(tmp_path / "a", x=[{"steps": []}], y=[{"steps": []}])
    assert DataSource(str(folder / "x.jsonl")).trajectory_file() == folder / "x.jsonl"
    for source in (DataSource(str(folder)), DataSource(str(folder / "x.jsonl"), columns={"id": "uid"})):
        with pytest.raises(BadInput, match="holds the workflow's trajectories, which are one file"):
            source.trajectory_file()


def test_options_are_kept_as_a_text():
    source = DataSource("x", "test", {"messages": "dialog"})
    assert DataSource.with_options("x", source.options) == source
    assert DataSource("x").options == ""
    assert DataSource.with_options("x", None) == DataSource("x")


def test_sharegpt_records_mix_with_others(tmp_path):
    (tmp_path / "f").write_text(lines([CHATS[0], SHAREGPT]))
    assert ids(tmp_path / "f") == ["a", "2"]
