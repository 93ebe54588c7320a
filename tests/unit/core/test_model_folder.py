"""What belongs to a model, and when a folder counts as another one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from prism.core import model_folder
from prism.core.errors import BadInput

SHIPPED = Path(__file__).parents[3] / "resources" / "backbones" / "tiny-qwen3"


@pytest.fixture
def model(tmp_path):
    return Path(shutil.copytree(SHIPPED, tmp_path / "model"))


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("tiny-qwen3", "798728b3c81db9547829bf8e68e38d45d6b079bae855d8867ce052f7a0c2fc2d"),
        ("tiny-llama", "390c40339b18e4797bc526f9fdcf74ea7abd8da006a1fa7e20a087038d71d94c"),
    ],
)
def test_hashes_on_record_still_hold(name, digest):
    """Norms, models and evaluations name their model by this hash: it must not change with the code."""
    assert model_folder.sha256_model(SHIPPED.parent / name) == digest


def test_what_decides_probabilities_is_the_identity(model):
    before = model_folder.sha256_model(model)
    for name in ("generation_config.json", "README.md", "vocab.json"):
        (model / name).write_text("{}")
    assert model_folder.sha256_model(model) == before
    (model / "tokenizer_config.json").write_text("{}")
    assert model_folder.sha256_model(model) != before
    (model / "model.safetensors").unlink()
    with pytest.raises(BadInput, match=r"no \.safetensors weights"):
        model_folder.sha256_model(model)


def test_a_trained_model_keeps_configuration_and_the_whole_tokenizer(model, tmp_path):
    """A slow tokenizer's files too: without them a model that SFT wrote could not be read after RL."""
    exported, out = tmp_path / "exported", tmp_path / "out"
    for folder in (exported, out):
        folder.mkdir()
    (exported / "model-00001-of-00001.safetensors").write_bytes(b"new")
    for name in ("model.safetensors.index.json", "config.json", "tokenizer.json"):
        (exported / name).write_text("rewritten")
    for name in ("vocab.json", "merges.txt", "added_tokens.json", "optimizer.pt"):
        (model / name).write_text("old")
    model_folder.assemble_model(exported, model, out)
    kept = {path.name for path in SHIPPED.iterdir()} - {"model.safetensors", "provenance.json"}
    kept |= {"vocab.json", "merges.txt", "added_tokens.json"}
    weights = {"model-00001-of-00001.safetensors", "model.safetensors.index.json"}
    assert {path.name for path in out.iterdir()} == kept | weights
    assert all((out / name).read_bytes() == (model / name).read_bytes() for name in kept)


def test_another_content_is_another_backbone(model):
    before = model_folder.content_hash(model)
    (model / "notes.txt").write_text("not taken over")
    (model / "model.safetensors").touch()
    assert model_folder.content_hash(model) == before
    for name in ("model.safetensors", "chat_template.jinja", "generation_config.json"):
        content = (model / name).read_bytes()
        (model / name).write_bytes(content[:-1] + b"x")
        assert model_folder.content_hash(model) != before
        (model / name).write_bytes(content)
    assert model_folder.content_hash(model) == before


def test_large_files_are_hashed_once(model, tmp_path, monkeypatch):
    plain = model_folder.content_hash(model)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(model_folder, "REMEMBERED_BYTES", 1 << 20)  # the weights alone are larger
    read: list[str] = []
    hashed = model_folder.sha256_file
    monkeypatch.setattr(model_folder, "sha256_file", lambda path: read.append(path.name) or hashed(path))
    assert model_folder.content_hash(model) == model_folder.content_hash(model) == plain
    assert read.count("model.safetensors") == 1
    assert read.count("config.json") == 2
    (model / "model.safetensors").write_bytes((SHIPPED / "model.safetensors").read_bytes()[:-1] + b"x")
    assert model_folder.content_hash(model) != plain
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert model_folder.content_hash(model) == model_folder.content_hash(model) != plain
