"""CSV tables: every text survives, and so does what a spreadsheet does to a file."""

from __future__ import annotations

import csv

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prism.core.csv_files import read_frame, read_table, write_table
from prism.core.errors import BadInput

HOSTILE = ["=cmd|' /C calc'!A0", "+a1", "@x", "-b", "'=1+x", "''@y", "'quoted'", "a\rb", "\rc", "a\r\nb", "\t=d", "#5"]


def test_ids_that_look_like_formulas_or_hold_line_ends_survive(tmp_path):
    path = tmp_path / "t.csv"
    write_table(path, [], ["id", "score"], [[identifier, 0.5] for identifier in HOSTILE])
    assert read_table(path).column("id") == HOSTILE
    with path.open(newline="", encoding="utf-8") as lines:
        for row in csv.reader(lines):
            assert not row[0].startswith(("=", "+", "-", "@", "\t", "\r")), row


def test_a_frame_has_every_text_as_it_is_and_numbers_as_numbers(tmp_path):
    """Only lines in front are notes: an id may hold a # or begin with one, be a number, or be called NA."""
    path = tmp_path / "t.csv"
    ids = [*HOSTILE, "a#1", "a,#2", "007", "NA", "nan", ""]
    write_table(path, ["note: 1 # 2"], ["id", "score", "count"], [[name, "nan", 3] for name in ids])
    head, frame = read_frame(path, texts=["id"])
    assert head == ["note: 1 # 2"]
    assert frame["id"].tolist() == ids
    assert frame["score"].isna().all()
    assert frame["count"].tolist() == [3] * len(ids)


def test_numbers_and_lone_signs_are_left_alone(tmp_path):
    path = tmp_path / "t.csv"
    write_table(path, [], ["id", "a", "b"], [["x", -0.5, "-1.0000"], ["+1", "-", "-inf"]])
    assert path.read_text() == "id,a,b\nx,-0.5,-1.0000\n+1,-,-inf\n"


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=5).filter(lambda row: row[0][:1] != "#"))
@settings(deadline=None)
def test_any_text_is_read_back(tmp_path_factory, row):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    write_table(path, ["note: 1"], [f"column{index}" for index in range(len(row))], [row])
    assert read_table(path).rows == [row]


def test_a_spreadsheets_copy_is_read(tmp_path):
    path = tmp_path / "t.csv"
    lines = ["\ufeff# data: /my/chats.jsonl,,", '"# probe: float32, prompt format a",,', "id,gini,regime", "b,0.5,rl"]
    path.write_bytes("".join(f"{line}\r\n" for line in lines).encode())
    table = read_table(path)
    assert table.note("data") == "/my/chats.jsonl"
    assert table.note("probe") == "float32, prompt format a"
    assert (table.columns, table.rows) == (["id", "gini", "regime"], [["b", "0.5", "rl"]])


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs")])
def test_another_separator_is_named(tmp_path, separator, name):
    path = tmp_path / "t.csv"
    path.write_text(f"# made by a spreadsheet\nid{separator}gini\na{separator}0,5\n")
    with pytest.raises(BadInput, match=f"separated by {name}; save it with commas"):
        read_table(path)


def test_a_short_row_is_named_by_its_line(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('# note\nid,gini\n"a\nb",1\nc\n')
    with pytest.raises(BadInput, match=r"t\.csv:5: has 1 fields, not 2"):
        read_table(path)
