"""No command writes over a folder, over its own input, or over what the project did not make."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import typer
from norm_files import fake_norms

from prism.cli import app
from prism.core.errors import BadInput
from prism.core.files import FOLDER_MARK

PRISM = typer.main.get_command(app)
# these add files to the folder that --out names, and replace nothing else in it
ADD_TO_A_FOLDER = {"cells", "claims", "pack-records", "plan", "timing-cells"}
OUTPUTS = ("out", "svg", "png", "html", "manifest", "snapshot")


def _output_options() -> Iterator[tuple[tuple[str, ...], str]]:
    """Words of a command and the option that names an output of it."""
    groups = [((), PRISM), *(((name,), PRISM.commands[name]) for name in ("stage", "containers"))]
    for words, group in groups:
        for name, command in group.commands.items():
            for param in command.params:
                if param.name.split("_")[0] in OUTPUTS and name not in ADD_TO_A_FOLDER:
                    yield (*words, name), param.opts[0]


def refused(*words: object) -> str:
    with pytest.raises(BadInput) as caught:
        PRISM.main([str(word) for word in words], standalone_mode=False)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("words", "option"), list(_output_options()))
def test_no_output_takes_a_folders_place(tmp_path, monkeypatch, words, option):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / "thesis").write_text("years")
    for place in ("keep", ".", "..", ""):
        refused(*words, option, place)
    assert [path.name for path in tmp_path.rglob("*")] == ["keep", "thesis"]


def test_an_output_is_no_input(tmp_path):
    norms = fake_norms(tmp_path / "n.parquet", range(6))
    (tmp_path / "link.parquet").symlink_to(norms)
    before = norms.read_bytes()
    for place in (norms, tmp_path / "link.parquet", tmp_path / "x" / ".." / "n.parquet"):
        assert "is also an input" in refused("score", norms, "--out", place)
    scores = tmp_path / "s.csv"
    PRISM.main(["score", str(norms), "--out", str(scores)], standalone_mode=False)
    assert "is also an input" in refused("route", scores, "--out", scores)
    assert norms.read_bytes() == before
    assert scores.read_text().startswith("# concentration")


def test_an_output_neither_holds_nor_hits_an_input(tmp_path):
    model, data = tmp_path / "made" / "model", tmp_path / "made" / "chats.jsonl"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (tmp_path / "made" / FOLDER_MARK).touch()
    data.touch()
    probe = ("probe", "--model", model, "--data", data, "--out")
    assert "is a file of the input" in refused(*probe, model / "config.json")
    backbone = ("stage", "backbone", "--source", "local", "--location", model, "--out")
    assert "holds the input" in refused(*backbone, tmp_path / "made")
    assert "two outputs" in refused(
        *("stage", "figure", "figure5", "--norms", data, "--scale", "demo"),
        *("--svg", tmp_path / "a.svg", "--png", tmp_path / "x" / ".." / "a.svg"),
    )
    assert (model / "config.json").read_text() == "{}"
