"""Outputs appear whole or not at all; bad input is named by file and line."""

import json
from pathlib import Path

import pytest

from prism.core.errors import BadInput
from prism.core.files import (
    FOLDER_MARK,
    atomic_folder,
    atomic_path,
    read_json,
    read_jsonl,
    sha256_json,
    write_json,
)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise RuntimeError("killed")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "model"
    for content in ("first", "second"):
        with atomic_folder(target) as temporary:
            (temporary / content).write_text(content)
    assert sorted(path.name for path in target.iterdir()) == [FOLDER_MARK, "second"]


def test_an_empty_folder_may_be_filled(tmp_path):
    with atomic_folder(tmp_path / "new") as temporary:
        (temporary / "a").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    with atomic_folder(tmp_path / "link") as temporary:
        (temporary / "a").touch()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "empty" / "a").is_file()


def test_nothing_takes_the_place_of_what_the_project_did_not_make(tmp_path, monkeypatch):
    home, own, repository = (tmp_path / name for name in ("home", "own", "repository"))
    for folder in (home / "work", own, repository / ".git"):
        folder.mkdir(parents=True)
    (own / "thesis").write_text("years")
    for folder in (home, home / "work", repository):  # a mark does not make these replaceable
        (folder / FOLDER_MARK).touch()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home / "work")
    before = sorted(tmp_path.rglob("*"))
    for place in (own, "", ".", "..", "/", home, "~/..".replace("~", str(home / "work")), repository, own / "thesis"):
        with pytest.raises(BadInput) as refused, atomic_folder(place):
            pass
        assert "\n" not in str(refused.value)
    for place in (own, "", ".", "..", "/", repository, "/dev/null"):
        with pytest.raises(BadInput), atomic_path(place):
            pass
    assert sorted(tmp_path.rglob("*")) == before
    assert Path("/dev/null").is_char_device()


def test_json_is_independent_of_key_order(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": 2})
    write_json(tmp_path / "b.json", {"a": 2, "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert sha256_json({"b": 1, "a": 2}) == sha256_json({"a": 2, "b": 1})
    assert sha256_json({"a": 1}) != sha256_json({"a": 2})


def test_nan_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"value": float("nan")})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "place"),
    [('{"a": 1}\n{"b": \n', "data.jsonl:2"), ('{"a": 1}\n[1]\n', "data.jsonl:2"), ("nonsense\n", "data.jsonl:1")],
)
def test_a_broken_line_is_named(tmp_path, text, place):
    path = tmp_path / "data.jsonl"
    path.write_text(text)
    with pytest.raises(BadInput, match=place):
        list(read_jsonl(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"none\.json"):
        read_json(tmp_path / "none.json")
    with pytest.raises(BadInput, match=r"none\.jsonl"):
        list(read_jsonl(tmp_path / "none.jsonl"))


def test_the_remedy_for_an_array_where_lines_are_needed(tmp_path):
    path = tmp_path / "f"
    path.write_text(json.dumps([{"a": 1}], indent=1))
    with pytest.raises(BadInput, match=r"f:1: is not valid JSON .*jq -c '\.\[\]'. for an array"):
        list(read_jsonl(path))
