"""`prism probe` as a command: shards, resume, provenance, bad input."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest
import torch
from chat_files import OPENAI, SHAREGPT, write
from safetensors.torch import load_file, save_file
from toy_corpus import FORM, save_toy_model, toy_corpus
from transformers import AutoModelForCausalLM

from prism.core.errors import BadInput
from prism.core.files import read_json
from prism.core.prompts import PromptEncoder
from prism.core.recipes import build_recipe
from prism.core.shards import Shard
from prism.core.tokenizers import load_tokenizer
from prism.core.trajectories import write_trajectories
from prism.gradients.norm_files import open_norms
from prism.gradients.prober import GradientProber
from prism.stages.probe import ChatProbeRecipe, ProbeOptions, ProbeRecipe, probe_shard

RECIPE = ProbeRecipe(FORM, tokens_per_pack=300)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_toy_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "trajectories.jsonl"
    write_trajectories(path, toy_corpus(7))
    return path


@pytest.fixture(scope="module")
def whole(model, corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("norms") / "whole.parquet"
    probe_shard(model, corpus, out, RECIPE)
    return out


def test_file(whole, model, corpus):
    table = pq.read_table(whole)
    assert table.column_names[:5] == ["id", "loss", "response_tokens", "rows", "truncated"]
    assert table.column_names[5:7] == ["layers.0.q_proj", "layers.0.k_proj"]
    assert len(table.column_names) == 5 + 7 * 2
    assert str(table.schema.field("layers.1.down_proj").type) == "double"
    assert table["id"].to_pylist() == [f"toy-{number:03d}" for number in range(7)]
    assert table["rows"].to_pylist() == [2 + number % 3 for number in range(7)]
    facts = open_norms(whole).facts
    assert (facts["dtype"], facts["shard"], facts["shards"]) == ("float32", "0", "1")
    assert len(facts["model_sha256"]) == len(facts["data_sha256"]) == len(facts["prompt_sha256"]) == 64
    assert facts["version_torch"] == torch.__version__.split("+")[0] or facts["version_torch"] == torch.__version__


def test_shards_partition_the_corpus(whole, model, corpus, tmp_path):
    expected = {row["id"]: row for row in pq.read_table(whole).to_pylist()}
    found = {}
    for shard in range(3):
        out = tmp_path / f"{shard}.parquet"
        probe_shard(model, corpus, out, RECIPE, Shard(shard, 3))
        rows = pq.read_table(out).to_pylist()
        assert [row["id"] for row in rows] == sorted(expected)[shard::3]
        found |= {row["id"]: row for row in rows}
    for identifier, row in expected.items():
        assert found[identifier].pop("id") == row.pop("id")
        assert found[identifier] == pytest.approx(row, rel=1e-4)


def test_resume_gives_the_same_bytes(whole, model, corpus, tmp_path, monkeypatch):
    out = tmp_path / "norms.parquet"
    probe_pack, packs = GradientProber.probe_pack, []

    def interrupted(self, samples):
        packs.append(samples)
        if len(packs) == 3:
            raise KeyboardInterrupt
        return probe_pack(self, samples)

    monkeypatch.setattr(GradientProber, "probe_pack", interrupted)
    with pytest.raises(KeyboardInterrupt):
        probe_shard(model, corpus, out, RECIPE)
    assert not out.exists()
    journal = out.with_name("norms.parquet.journal")
    with journal.open("a") as lines:
        lines.write('{"id": "toy-0')  # a kill in the middle of a line
    before = sum(json.loads(line)["seconds"] for line in journal.read_text().splitlines()[1:-1])
    packs.clear()
    monkeypatch.setattr(
        GradientProber, "probe_pack", lambda self, pack: (packs.append(pack), probe_pack(self, pack))[1]
    )
    started = time.perf_counter()
    probe_shard(model, corpus, out, RECIPE, options=ProbeOptions(resume=True, loop_path=tmp_path / "loop.json"))
    took = time.perf_counter() - started
    assert 0 < before < read_json(tmp_path / "loop.json")["loop_seconds"] < before + took
    finished = {sample.id for pack in packs for sample in pack}
    assert 0 < len(finished) < 7
    assert out.read_bytes() == whole.read_bytes()
    assert not journal.exists()


def test_a_journal_of_another_run_is_not_used(model, corpus, tmp_path, capsys):
    out = tmp_path / "norms.parquet"
    out.with_name("norms.parquet.journal").write_text('{"model": "other"}\n{"id": "toy-000", "loss": 0, "norms": []}\n')
    probe_shard(model, corpus, out, RECIPE, options=ProbeOptions(resume=True))
    assert "starting over" in capsys.readouterr().err
    assert pq.read_table(out).num_rows == 7


def test_formats_of_chats_give_the_same_norms(model, tmp_path):
    norms = []
    for name, record in (("a", {"id": "x", "messages": OPENAI}), ("b", {"id": "x", "conversations": SHAREGPT})):
        data = write(tmp_path / f"{name}.jsonl", record)
        probe_shard(model, data, tmp_path / f"{name}.parquet", RECIPE)
        norms.append(pq.read_table(tmp_path / f"{name}.parquet").to_pylist())
    assert norms[0] == norms[1]


def short(length):
    return ProbeRecipe(type(FORM)("compact", "actions:14", length))


def test_long_trajectories_are_truncated_counted_or_refused(model, tmp_path):
    data = write(tmp_path / "c.jsonl", {"id": "x", "messages": OPENAI}, {"id": "y", "messages": OPENAI[:3]})
    full = 25
    probe_shard(model, data, tmp_path / "n.parquet", short(full))
    assert pq.read_table(tmp_path / "n.parquet")["truncated"].to_pylist() == [1, 0]
    with pytest.raises(BadInput, match=r"c\.jsonl:1: trajectory 'x' is longer"):
        probe_shard(model, data, tmp_path / "m.parquet", short(full), options=ProbeOptions(strict=True))
    with pytest.raises(BadInput, match=r"no response token within 4 tokens"):
        probe_shard(model, data, tmp_path / "m.parquet", short(4))
    assert not (tmp_path / "m.parquet").exists()


def test_a_conversation_is_probed_as_one_row_and_what_is_cut_is_counted(whole, model, corpus, tmp_path):
    recipe = ProbeRecipe(FORM, layout="conversation", loss_on="response")
    encoder = PromptEncoder(load_tokenizer(model), FORM)
    expected = [encoder.encode_trajectory(trajectory, "conversation") for trajectory in toy_corpus(7)]
    out = tmp_path / "conversation.parquet"
    probe_shard(model, corpus, out, recipe)
    table, facts = pq.read_table(out), open_norms(out).facts
    assert table["rows"].to_pylist() == [1] * 7
    assert table["response_tokens"].to_pylist() == [one.rows[0].response_tokens for one in expected]
    cut = sum(one.response_tokens_cut for one in expected)
    assert (int(facts["trajectories_truncated"]), int(facts["response_tokens_cut"])) == (
        sum(one.truncated for one in expected), cut,
    )  # fmt: skip
    short_out = tmp_path / "short.parquet"
    short_form = dataclasses.replace(recipe, prompt=dataclasses.replace(FORM, context_length=70))
    probe_shard(model, corpus, short_out, short_form)
    facts = open_norms(short_out).facts
    lost = sum(table["response_tokens"].to_pylist()) - sum(pq.read_table(short_out)["response_tokens"].to_pylist())
    assert facts["trajectories_truncated"] == "7"
    assert int(facts["response_tokens_cut"]) - cut == lost > 0


def test_layout_and_loss_change_norms_and_the_hash_of_the_prompts(whole, model, corpus, tmp_path):
    norms, hashes = [], set()
    for layout, loss_on in (("steps", "all"), ("conversation", "response"), ("conversation", "all")):
        out = tmp_path / f"{layout}-{loss_on}.parquet"
        probe_shard(model, corpus, out, ProbeRecipe(FORM, layout=layout, loss_on=loss_on))
        norms.append(pq.read_table(out)["layers.0.q_proj"].to_pylist())
        hashes.add(open_norms(out).facts["prompt_sha256"])
    assert len({tuple(column) for column in norms}) == 3
    assert len(hashes | {open_norms(whole).facts["prompt_sha256"]}) == 4


def broken_model(model, folder, change):
    """A copy of the model folder after `change`, which gets its weights and its path."""
    shutil.copytree(model, folder)
    weights = load_file(folder / "model.safetensors")
    change(weights, folder)
    if (folder / "model.safetensors").exists():
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def poison(weights, folder):
    weights["model.layers.1.mlp.up_proj.weight"][0, 0] = float("nan")


def pickle_only(weights, folder):
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")


def without_template(weights, folder):
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (poison, "up_proj.*NaN"),
        (pickle_only, "no .safetensors"),
        (without_template, "no chat template"),
    ],
)
def test_broken_models(model, corpus, tmp_path, change, problem):
    folder = broken_model(model, tmp_path / "broken", change)
    with pytest.raises(BadInput, match=problem):
        probe_shard(folder, corpus, tmp_path / "n.parquet", RECIPE)
    assert not list(tmp_path.glob("*.parquet*"))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"model": "no/such/folder/here"}, "neither a model folder"),
        ({"data": "missing.jsonl"}, "cannot be read"),
        ({"options": ProbeOptions(device="quantum")}, "cannot be used here"),
    ],
)
def test_bad_settings(model, corpus, tmp_path, settings, problem):
    arguments = {"model": model, "data": corpus} | settings
    with pytest.raises(BadInput, match=problem):
        probe_shard(out_parquet=tmp_path / "n.parquet", recipe=RECIPE, **arguments)
    with pytest.raises(BadInput, match=r"dtype: unknown value 'float8'"):
        build_recipe(ProbeRecipe, {"prompt": dataclasses.asdict(FORM), "dtype": "float8"}, "probe")
    with pytest.raises(BadInput, match="2 of 2 does not exist; shards count from 0 to 1"):
        Shard(2, 2)


def test_a_full_disk_leaves_no_output(model, corpus, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="No space"):
        probe_shard(model, corpus, tmp_path / "n.parquet", RECIPE)
    assert not (tmp_path / "n.parquet").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["n.parquet.journal"]


def test_an_interrupted_probe_says_how_to_go_on(model, corpus, tmp_path, monkeypatch, capsys):
    probe, stopped = GradientProber.probe, []

    def interrupted(self, packs):
        for number, probed in enumerate(probe(self, packs)):
            if number == 1 and not stopped:
                stopped.append(number)
                raise KeyboardInterrupt
            yield probed

    monkeypatch.setattr(GradientProber, "probe", interrupted)
    recipe = dataclasses.replace(RECIPE, tokens_per_pack=1)
    with pytest.raises(KeyboardInterrupt):
        probe_shard(model, corpus, tmp_path / "n.parquet", recipe)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.endswith(f"the same command with --resume goes on from {tmp_path}/n.parquet.journal")
    probe_shard(model, corpus, tmp_path / "n.parquet", recipe, options=ProbeOptions(resume=True))
    assert "finished before: 1 trajectory" in capsys.readouterr().err


def test_a_file_gets_lines_and_no_bars(root, model, tmp_path):
    data = tmp_path / "chat.jsonl"
    data.write_text('{"messages": [{"role": "user", "content": "look"}, {"role": "assistant", "content": "look"}]}\n')
    out = tmp_path / "n.parquet"
    command = [sys.executable, "-m", "prism", "probe", "--model", model, "--data", data, "--out", out]
    printed = subprocess.run(command, cwd=root, capture_output=True, check=True).stderr
    # the context is the model's
    assert b"probe: 1 trajectory -> 1 row, 8 tokens (2 with loss), 0 cut at the context of 1024 tokens" in printed
    assert b"\r" not in printed
    assert b"\x1b" not in printed


def test_other_matrices_than_the_seven_are_named(model, corpus, tmp_path):
    recipe = ChatProbeRecipe(FORM, tokens_per_pack=300, matrices="all-linear")
    probe_shard(model, corpus, tmp_path / "norms.parquet", recipe)
    file = open_norms(tmp_path / "norms.parquet")
    assert file.names[:2] == ["layers.0.self_attn.q_proj", "layers.0.self_attn.k_proj"]
    assert file.facts["matrices"] == "every linear weight of each decoder layer but routers"
    assert len(file.parameter_counts) == len(file.names) == 14


def test_the_seven_say_nothing_of_a_rule(whole):
    assert "matrices" not in open_norms(whole).facts


def test_an_adapter_is_probed_like_a_model(model, corpus, tmp_path):
    peft = pytest.importorskip("peft")
    base = AutoModelForCausalLM.from_pretrained(model)
    adapted = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    probe_shard(tmp_path / "adapter", corpus, tmp_path / "adapted.parquet", RECIPE)
    adapted.merge_and_unload().save_pretrained(tmp_path / "merged")
    load_tokenizer(model).save_pretrained(tmp_path / "merged")
    probe_shard(tmp_path / "merged", corpus, tmp_path / "merged.parquet", RECIPE)
    found, expected = (open_norms(tmp_path / name) for name in ("adapted.parquet", "merged.parquet"))
    for (ids, norms), (other_ids, other) in zip(found.batches(), expected.batches(), strict=True):
        assert (ids, norms.tolist()) == (other_ids, other.tolist())
