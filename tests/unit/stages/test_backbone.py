"""Backbones from a folder: what is taken over, what is refused, and when it counts as another one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from prism.core.errors import BadInput
from prism.core.files import FOLDER_MARK
from prism.stages import backbone as sources

SHIPPED = Path(__file__).parents[3] / "resources" / "backbones" / "tiny-qwen3"


@pytest.fixture
def model(tmp_path):
    return Path(shutil.copytree(SHIPPED, tmp_path / "model"))


def with_code(model, **changes):
    config = json.loads((model / "config.json").read_text())
    config |= {"auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}} | changes
    (model / "config.json").write_text(json.dumps(config))
    (model / "own.py").write_text("raise SystemExit('code was run')")


def test_a_folder_is_taken_over_without_code(model, tmp_path):
    with_code(model)  # transformers knows the model, and needs none of the code
    sources.copy_backbone(model, tmp_path / "out")
    names = {path.name for path in SHIPPED.iterdir()} | {FOLDER_MARK}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names


def test_a_model_that_needs_code_of_its_own_is_refused(model, tmp_path):
    with_code(model, model_type="own_model")
    with pytest.raises(BadInput, match="needs code of its own") as caught:
        sources.copy_backbone(model, tmp_path / "out")
    assert str(caught.value).startswith(str(model))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_another_content_is_another_backbone(model):
    before = sources.content_hash(model)
    (model / "notes.txt").write_text("not taken over")
    (model / "model.safetensors").touch()
    assert sources.content_hash(model) == before
    for name in ("model.safetensors", "chat_template.jinja", "generation_config.json"):
        content = (model / name).read_bytes()
        (model / name).write_bytes(content[:-1] + b"x")
        assert sources.content_hash(model) != before
        (model / name).write_bytes(content)
    assert sources.content_hash(model) == before


def test_large_files_are_hashed_once(model, tmp_path, monkeypatch):
    plain = sources.content_hash(model)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "REMEMBERED_BYTES", 1 << 20)  # the weights alone are larger
    read: list[str] = []
    hashed = sources.sha256_file
    monkeypatch.setattr(sources, "sha256_file", lambda path: read.append(path.name) or hashed(path))
    assert sources.content_hash(model) == sources.content_hash(model) == plain
    assert read.count("model.safetensors") == 1
    assert read.count("config.json") == 2
    (model / "model.safetensors").write_bytes((SHIPPED / "model.safetensors").read_bytes()[:-1] + b"x")
    assert sources.content_hash(model) != plain
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert sources.content_hash(model) == sources.content_hash(model) != plain
