"""Backbones from a folder: what is taken over and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from prism.core.errors import BadInput
from prism.core.files import FOLDER_MARK
from prism.stages import backbone

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
    backbone.copy_backbone(model, tmp_path / "out")
    names = {path.name for path in SHIPPED.iterdir()} | {FOLDER_MARK}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names


def test_a_model_that_needs_code_of_its_own_is_refused(model, tmp_path):
    with_code(model, model_type="own_model")
    with pytest.raises(BadInput, match="needs code of its own") as caught:
        backbone.copy_backbone(model, tmp_path / "out")
    assert str(caught.value).startswith(str(model))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
