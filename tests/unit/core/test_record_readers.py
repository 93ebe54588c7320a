"""The one reader of records: what kind of file it is, its content tells; memory stays flat."""

from __future__ import annotations

import gzip
import json
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prism.core.errors import BadInput
from prism.core.records import read_records


def test_json_lines_and_arrays_are_read_as_people_have_them(tmp_path):
    records = [{"a": 1}, {"a": "ü"}]
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    array = json.dumps(records, ensure_ascii=False, indent=2)
    for text, places in ((lines, ["f:1", "f:2"]), (array, ["f record 1", "f record 2"])):
        for mark in ("", "\ufeff"):
            for pack in (bytes, gzip.compress):
                path = tmp_path / "f"
                path.write_bytes(pack((mark + text).encode()))
                found = list(read_records(path))
                assert [record for _, _, record in found] == records
                assert [number for number, _, _ in found] == [1, 2]
                assert [place.rpartition("/")[2] for _, place, _ in found] == places


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (gzip.compress(b'{"a": 1}\n' * 1000, mtime=0)[:40], "f: is a damaged gzip file"),
        (b"\x1f\x8bnonsense", "f: is a damaged gzip file"),
        (b'[{"a": 1},\n{"a": \n]', "f:3: is not valid JSON"),
        (b'[{"a": 1}, 2]', "f record 2: is not a JSON object"),
        (b'["\xff"]', "f: is not UTF-8"),
        ("[]".encode("utf-16"), "f:1: is not UTF-8"),
    ],
)
def test_damaged_files_are_named(tmp_path, content, problem):
    path = tmp_path / "f"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=problem):
        list(read_records(path))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'[{"a": 1} {"b": 2}]', r"f:1: is not valid JSON \(Expecting ',' delimiter\)"),
        (b'[{"a": 1},\n {"b": 2}\n', r"f:3: is not valid JSON \(the array has no end\)"),
        (b'[{"a": 1}]\n{"b": 2}', r"f:2: is not valid JSON \(Extra data\)"),
        (b'{\n "a": [1,\n 2}\n}', r"f:3: is not valid JSON"),
        (b'{\n "a": "x', r"f:2: is not valid JSON \(Unterminated string"),
        (b'{"a": 1, b}\n{"a": 2}', "f:1: is not valid JSON"),
        (b'[{"a": "\\ud800"}]', "f record 1: holds half of a surrogate pair"),
        (b'[{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]", "nested too deep"),
        (b"PK\x03\x04rest", "f: is a zip file; unpack it"),
        (b"\x28\xb5\x2f\xfdrest", "f: is compressed by zstd"),
        (b"PAR1 and no more", "f: is a damaged parquet file"),
        (b"ARROW1 and no more", "f: is a damaged arrow file"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, content, problem):
    path = tmp_path / "f"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=problem) as caught:
        list(read_records(path))
    assert "\n" not in str(caught.value)


def test_a_table_of_texts_is_refused(tmp_path):
    path = tmp_path / "f.csv"
    path.write_text("id,text\na,b\n")
    with pytest.raises(BadInput, match=r"f.csv: is a table of texts"):
        list(read_records(path))
    path.write_text('{"a": 1}\n')
    assert [record for _, _, record in read_records(path)] == [{"a": 1}]


def test_values_may_end_anywhere_in_a_block(tmp_path, monkeypatch):
    """Escapes, numbers and words that are cut by the end of a block are read once more is there."""
    records = [{"a": 'x\\u00e4\n"' * 3, "b": -1.5e-10, "c": [True, None, {"d": "\u2028 ü"}]} for _ in range(5)]
    for size in (1, 2, 3, 5, 7, 64):
        monkeypatch.setattr("prism.core.records.BLOCK_CHARACTERS", size)
        for text in (json.dumps(records), json.dumps(records, indent=1, ensure_ascii=False)):
            (tmp_path / "f").write_text(text)
            assert [record for _, _, record in read_records(tmp_path / "f")] == records


def test_a_single_document_of_one_line_is_a_record(tmp_path):
    (tmp_path / "f").write_text('{"a": 1}')
    assert [(number, record) for number, _, record in read_records(tmp_path / "f")] == [(1, {"a": 1})]


def test_records_of_a_parquet_file_are_read_in_batches(tmp_path):
    records = [
        {"n": number, "deep": {"a": None if number % 2 else 1}, "list": [{"x": None, "y": 2}]} for number in range(150)
    ]
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "f", row_group_size=40)
    found = [record for _, _, record in read_records(tmp_path / "f")]
    assert found[0] == {"n": 0, "deep": {"a": 1}, "list": [{"y": 2}]}
    assert found[149] == {"n": 149, "deep": {}, "list": [{"y": 2}]}


def write_many(path, count):
    """Chats of about 600 bytes in one file, of each kind that streams."""
    record = {"messages": [{"role": "user", "content": "x" * 500}, {"role": "assistant", "content": "y"}]}
    text = json.dumps(record)
    if path.suffix == ".parquet":
        batch = pa.RecordBatch.from_pylist([record] * 1000)
        with pq.ParquetWriter(path, batch.schema) as writer:
            for _ in range(count // 1000):
                writer.write_batch(batch)
        return
    array = path.suffix == ".json"
    with (gzip.open if path.suffix == ".gz" else open)(path, "wt") as out:
        out.write("[" if array else "")
        for number in range(count):
            out.write(("," if array and number else "") + text + ("" if array else "\n"))
        out.write("]" if array else "")


@pytest.mark.parametrize("name", ["f.jsonl", "f.jsonl.gz", "f.json", "f.parquet"])
def test_memory_stays_flat(tmp_path, name):
    """A file of 12 MB in one line, or many, is read with less than one."""
    write_many(tmp_path / name, 20_000)
    records = read_records(tmp_path / name)
    next(records)
    tracemalloc.start()
    try:
        assert sum(1 for _ in records) == 19_999
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20
