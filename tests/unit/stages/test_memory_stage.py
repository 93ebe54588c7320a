"""What the passes of section 2.2's claim need: measured on a block of known size, and on a toy model."""

import json

import pytest
import torch
from families import tiny_model
from toy_corpus import FORM, save_toy_model, toy_corpus

from prism.core.errors import BadInput
from prism.core.tokenizers import load_tokenizer
from prism.core.trajectories import write_trajectories
from prism.gradients.memory import peak_memory
from prism.gradients.recipe import ProbeRecipe
from prism.stages.memory import measure_memory
from prism.stages.score_study import memory

MEBIBYTE = 2**20


def test_a_block_of_known_size_is_measured_at_its_peak():
    """64 MiB that are there for a moment only, after 256 MiB that were there before."""
    before = torch.ones(256 * MEBIBYTE // 4)
    del before
    with peak_memory(torch.device("cpu")) as measured:
        inside = torch.ones(64 * MEBIBYTE // 4)
        del inside
    assert 60 < measured.size / MEBIBYTE < 72


def test_all_passes_are_measured_and_tabled(tmp_path):
    model = save_toy_model(tmp_path / "model")
    write_trajectories(tmp_path / "t.jsonl", toy_corpus(6))
    out = tmp_path / "memory/alfworld/toy.json"
    out.parent.mkdir(parents=True)
    measure_memory(model, tmp_path / "t.jsonl", out, ProbeRecipe(FORM))
    found = json.loads(out.read_text())
    assert set(found["peak_mib"]) == set(memory.PASSES)
    assert all(size >= 0 for size in found["peak_mib"].values())
    assert 0 < found["response_tokens"] < found["tokens"]
    assert found["weights_mib"] > 0
    table = memory.study([out])
    assert [row[table.columns.index("pass")] for row in table.rows] == list(memory.PASSES)
    assert table.rows[0][table.columns.index("times_forward")] <= 1
    del found["peak_mib"]["naive"]
    out.write_text(json.dumps(found))
    with pytest.raises(BadInput, match="lacks 'naive'"):
        memory.study([out])


def test_a_model_that_is_probed_row_by_row_is_measured_so(tmp_path):
    """Gemma 2's soft caps are no attention of packs."""
    tokenizer = load_tokenizer(save_toy_model(tmp_path / "toy"))
    settings = {"vocab_size": len(tokenizer), "max_position_embeddings": FORM.context_length}
    tiny_model("gemma2", torch.float32, **settings).save_pretrained(tmp_path / "gemma2")
    tokenizer.save_pretrained(tmp_path / "gemma2")
    write_trajectories(tmp_path / "t.jsonl", toy_corpus(2))
    measure_memory(tmp_path / "gemma2", tmp_path / "t.jsonl", tmp_path / "out.json", ProbeRecipe(FORM))
    assert set(json.loads((tmp_path / "out.json").read_text())["peak_mib"]) == set(memory.PASSES)
