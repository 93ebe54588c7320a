"""`prism probe` in the memory there is: the plan is said and recorded, and a model larger than a limit is streamed."""

from __future__ import annotations

import json
import random
import resource
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from chat_files import OPENAI, write
from safetensors.torch import save_file
from toy_corpus import FORM, save_toy_model, toy_corpus
from transformers import AutoTokenizer, Qwen3Config

from prism.core.errors import BadInput
from prism.core.trajectories import write_trajectories
from prism.gradients.memory_plan import MemoryPlan
from prism.gradients.norm_files import open_norms
from prism.gradients.prober import GradientProber
from prism.stages.probe import ProbeOptions, ProbeRecipe, probe_shard

RECIPE = ProbeRecipe(FORM, tokens_per_pack=300)
OPEN = MemoryPlan(0, settled=False)
IDS = [trajectory.id for trajectory in toy_corpus(7)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_toy_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "trajectories.jsonl"
    write_trajectories(path, toy_corpus(7))
    return path


def norms(path):
    table = pq.read_table(path)
    return np.array([table[name] for name in table.column_names[5:]])


def test_the_plan_is_said_and_recorded(model, corpus, tmp_path, capsys):
    out = tmp_path / "n.parquet"
    probe_shard(model, corpus, out, RECIPE, options=ProbeOptions(memory=OPEN))
    assert "are free, a token takes" in capsys.readouterr().err
    facts = open_norms(out).facts
    assert (facts["tokens_per_pack"], facts["gradient_checkpointing"]) == ("4096", "false")
    assert "streaming" not in facts
    fixed = tmp_path / "fixed.parquet"
    probe_shard(model, corpus, fixed, RECIPE)
    # nothing is measured: rows and tokens are said, and what they take is not
    said = capsys.readouterr().err
    assert "are free" not in said
    assert "of memory" not in said
    assert "0 cut at the context of" in said
    np.testing.assert_allclose(norms(out), norms(fixed), rtol=1e-4)


def test_streaming_gives_the_same_bytes_of_norms(model, corpus, tmp_path):
    plans = (MemoryPlan(300, gradient_checkpointing=True), MemoryPlan(300, streaming=True))
    for number, plan in enumerate(plans):
        probe_shard(model, corpus, tmp_path / f"{number}.parquet", RECIPE, options=ProbeOptions(memory=plan))
    assert norms(tmp_path / "0.parquet").tobytes() == norms(tmp_path / "1.parquet").tobytes()
    assert open_norms(tmp_path / "1.parquet").facts["streaming"] == "true"


def test_what_is_kept_changes_no_bit_and_parts_change_the_rounding_only(model, corpus, tmp_path):
    kept = replace(RECIPE, gradient_checkpointing=True, tokens_kept=200)
    parts = replace(kept, tokens_per_pass=200)
    for number, recipe in enumerate((RECIPE, kept, parts)):
        probe_shard(model, corpus, tmp_path / f"{number}.parquet", recipe)
    assert norms(tmp_path / "0.parquet").tobytes() == norms(tmp_path / "1.parquet").tobytes()
    np.testing.assert_allclose(norms(tmp_path / "2.parquet"), norms(tmp_path / "0.parquet"), rtol=1e-4)
    facts = open_norms(tmp_path / "2.parquet").facts
    assert (facts["tokens_kept"], facts["tokens_per_pass"]) == ("200", "200")


def test_a_resumed_probe_goes_on_with_the_plan_it_began_with(model, corpus, tmp_path, monkeypatch, capsys):
    out, probe_pack, packs = tmp_path / "n.parquet", GradientProber.probe_pack, []

    def interrupted(self, samples):
        # the pass that is timed is of no trajectory
        packs.extend(sample.id for sample in samples if sample.id in IDS)
        if len(packs) > 2:
            raise KeyboardInterrupt
        return probe_pack(self, samples)

    wanted = MemoryPlan(150, settled=False)
    with monkeypatch.context() as patched:
        patched.setattr(GradientProber, "probe_pack", interrupted)
        with pytest.raises(KeyboardInterrupt):
            probe_shard(model, corpus, out, RECIPE, options=ProbeOptions(memory=wanted))
    capsys.readouterr()
    # by now so little is free that a new plan would be another one
    monkeypatch.setattr("prism.gradients.set_up.free_memory", lambda device: 2_000_000)
    probe_shard(model, corpus, out, RECIPE, options=ProbeOptions(memory=wanted, resume=True))
    said = capsys.readouterr().err
    assert "finished before" in said
    assert "starting over" not in said
    assert open_norms(out).facts["tokens_per_pack"] == "150"
    probe_shard(model, corpus, out, RECIPE, options=ProbeOptions(memory=wanted))
    assert int(open_norms(out).facts["tokens_per_pass"]) < 150


@pytest.mark.parametrize(
    ("streaming", "said"), [(True, "two layers' weights.*take a larger machine"), (False, "give --stream")]
)
def test_a_model_that_does_not_fit_while_it_is_opened_ends_in_one_line(
    model, corpus, tmp_path, monkeypatch, streaming, said
):
    def fails(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 26345472 bytes.")

    for name in ("load_model", "load_streamed"):
        monkeypatch.setattr(f"prism.gradients.set_up.{name}", fails)
    wanted = ProbeOptions(memory=MemoryPlan(300, streaming=streaming))
    with pytest.raises(BadInput, match=said):
        probe_shard(model, corpus, tmp_path / "n.parquet", RECIPE, options=wanted)


def test_a_model_that_is_probed_row_by_row_cannot_be_streamed(model, tmp_path):
    data = write(tmp_path / "c.jsonl", {"id": "x", "messages": OPENAI})
    config = json.loads((model / "config.json").read_text())
    folder = shutil.copytree(model, tmp_path / "longrope")
    config["rope_parameters"] = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match=r"row by row.*cannot be streamed.*without --stream"):
        probe_shard(
            folder, data, tmp_path / "n.parquet", RECIPE, options=ProbeOptions(memory=replace(OPEN, streaming=True))
        )
    probe_shard(folder, data, tmp_path / "n.parquet", RECIPE, options=ProbeOptions(memory=OPEN))


def test_the_command_knows_two_ways(root, model, tmp_path):
    data = write(tmp_path / "c.jsonl", {"id": "x", "messages": OPENAI})
    out = tmp_path / "n.parquet"
    command = [sys.executable, "-m", "prism", "probe", "--model", model, "--data", data, "--out", out]
    wrong = subprocess.run([*command, "--memory", "some"], cwd=root, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "'some' is neither auto nor fixed" in wrong.stderr
    streamed = subprocess.run([*command, "--stream"], cwd=root, capture_output=True, text=True, check=True)
    assert "with gradient checkpointing, weights streamed layer by layer" in streamed.stderr
    assert "tokens; how long it takes is said after the first pack, " in streamed.stderr
    fixed = subprocess.run([*command, "--memory", "fixed"], cwd=root, capture_output=True, text=True, check=True)
    assert "are free" not in fixed.stderr


# ------------------------------------------------------------------------------------- a model larger than the memory

# Python with torch, transformers and scipy (which transformers imports for its models) takes 450 MB of it by itself
LIMIT = 640 << 20
LAYERS = 104


@pytest.fixture(scope="module")
def large_model(model, tmp_path_factory):
    """Random weights of four times the limit, written layer by layer."""
    folder = tmp_path_factory.mktemp("large")
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.save_pretrained(folder)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=768, intermediate_size=2176, num_hidden_layers=LAYERS,
        num_attention_heads=12, num_key_value_heads=4, head_dim=64, max_position_embeddings=512,
        tie_word_embeddings=True,
    )  # fmt: skip
    config.architectures = ["Qwen3ForCausalLM"]
    config.save_pretrained(folder)
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "self_attn.q_proj": (768, 768), "self_attn.k_proj": (256, 768), "self_attn.v_proj": (256, 768),
        "self_attn.o_proj": (768, 768), "mlp.gate_proj": (2176, 768), "mlp.up_proj": (2176, 768),
        "mlp.down_proj": (768, 2176), "self_attn.q_norm": (64,), "self_attn.k_norm": (64,),
        "input_layernorm": (768,), "post_attention_layernorm": (768,),
    }  # fmt: skip

    def draw(shape):
        return torch.ones(shape) if len(shape) == 1 else torch.randn(shape, generator=generator) * 0.02

    total = 0
    for layer in range(LAYERS):
        weights = {f"model.layers.{layer}.{name}.weight": draw(shape) for name, shape in shapes.items()}
        total += sum(one.nbytes for one in weights.values())
        save_file(weights, folder / f"model-{layer:02d}.safetensors", metadata={"format": "pt"})
    rest = {"model.embed_tokens.weight": draw((len(tokenizer), 768)), "model.norm.weight": torch.ones(768)}
    save_file(rest, folder / "model-rest.safetensors", metadata={"format": "pt"})
    places = {f"model.layers.{layer}.{name}.weight": f"model-{layer:02d}.safetensors"
              for layer in range(LAYERS) for name in shapes}  # fmt: skip
    places |= dict.fromkeys(rest, "model-rest.safetensors")
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert total > 4 * LIMIT
    return folder


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA bounds anonymous memory on Linux")
def test_a_model_four_times_larger_than_the_memory_is_probed(root, large_model, tmp_path):
    """RLIMIT_DATA bounds all memory that the process writes to; by the kernel, whatever Python or torch count."""
    words = random.Random(0)
    messages = [
        {"role": role, "content": " ".join(words.choice(("go", "to", "desk", "mug", "look")) for _ in range(12))}
        for role in ("user", "assistant") * 2
    ]
    data = write(tmp_path / "c.jsonl", {"id": "a", "messages": messages}, {"id": "b", "messages": messages[:2]})

    def probe(out, limit, *options):
        command = [sys.executable, "-m", "prism", "probe", "--model", large_model, "--data", data, "--out", out]
        return subprocess.run(
            [*command, "--tokens-per-pack", "64", *options],
            cwd=root,
            capture_output=True,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)) if limit else None,
        )

    unlimited = probe(tmp_path / "unlimited.parquet", None, "--gradient-checkpointing")
    assert unlimited.returncode == 0, unlimited.stderr
    limited = probe(tmp_path / "limited.parquet", LIMIT)
    assert limited.returncode == 0, limited.stderr
    assert "weights streamed layer by layer" in limited.stderr
    assert "streamed" not in unlimited.stderr
    assert norms(tmp_path / "limited.parquet").tobytes() == norms(tmp_path / "unlimited.parquet").tobytes()
    # without streaming the limit is in the way
    whole = probe(tmp_path / "whole.parquet", LIMIT, "--memory", "fixed")
    assert whole.returncode == 2
    assert "give --stream" in whole.stderr
    assert not (tmp_path / "whole.parquet").exists()
