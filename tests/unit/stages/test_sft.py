from __future__ import annotations

import dataclasses
import importlib
import shutil
import sys
from pathlib import Path

import pytest
import torch
from toy_corpus import FORM, save_toy_model, toy_corpus

from prism.core.errors import BadInput, NotFinite, PrismError
from prism.core.files import read_json, sha256_file
from prism.core.recipes import result_settings
from prism.core.trajectories import write_trajectories
from prism.stages import sft
from prism.stages.training import Training

RECIPE = sft.SftRecipe(
    prompt=FORM,
    template="qwen3",
    layout="steps",
    learning_rate=1e-3,
    num_train_epochs=2.0,
    per_device_train_batch_size=4,
    gradient_accumulation_steps=1,
    logging_steps=1,
    threads=1,
)
CORPUS = toy_corpus(6)


def write_split(path: Path, regimes: list[str]) -> Path:
    lines = ["# threshold 0.5", "id,score,regime"]
    lines += [f"{trajectory.id},0.5,{regime}" for trajectory, regime in zip(CORPUS, regimes, strict=False)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_split_selects_its_regime_in_corpus_order(tmp_path):
    split = write_split(tmp_path / "split.csv", ["sft", "rl", "rl", "sft", "rl", "sft"])
    assert [trajectory.id for trajectory in sft.select_trajectories(CORPUS, split, "sft")] == [
        CORPUS[index].id for index in (0, 3, 5)
    ]
    assert len(sft.select_trajectories(CORPUS, split, "rl")) == 3
    assert sft.select_trajectories(CORPUS, None, "sft") == CORPUS


@pytest.mark.parametrize(
    ("regimes", "regime", "message"),
    [
        (["sft"] * 5, "sft", "does not route"),
        (["sft"] * 6, "rl", "routes nothing to rl"),
        (["sft"] * 5 + ["both"], "sft", ":8: unknown regime 'both'"),
        (["sft"] * 6, "dpo", "unknown regime 'dpo'"),
    ],
)
def test_a_split_that_does_not_fit_is_refused(tmp_path, regimes, regime, message):
    with pytest.raises(BadInput, match=message):
        sft.select_trajectories(CORPUS, write_split(tmp_path / "split.csv", regimes), regime)


def test_a_split_of_another_corpus_is_refused(tmp_path):
    with pytest.raises(BadInput, match="not in the corpus"):
        sft.select_trajectories(CORPUS[:5], write_split(tmp_path / "split.csv", ["sft"] * 6), "sft")


def test_rows_reach_llamafactory_as_the_prompt_builder_made_them(tmp_path):
    """Same tokens, and -100 wherever the probe's mask is 0."""
    from datasets import load_from_disk

    encoded = sft.encode_subset(save_toy_model(tmp_path / "model"), CORPUS, FORM)
    rows = encoded.rows
    assert encoded.truncated == 0
    sft.write_rows(rows, tmp_path / "rows")
    loaded = load_from_disk(str(tmp_path / "rows"))["train"]
    assert len(loaded) == len(rows) == sum(len(trajectory.steps) for trajectory in CORPUS)
    for row, record in zip(rows, loaded, strict=True):
        assert record["input_ids"] == row.input_ids
        assert record["attention_mask"] == [1] * len(row.input_ids)
        carries = [label != sft.IGNORED_LABEL for label in record["labels"]]
        assert carries == [bool(bit) for bit in row.response_mask]
        assert record["labels"][-row.response_tokens :] == row.input_ids[-row.response_tokens :]


def test_a_half_written_checkpoint_is_not_resumed(tmp_path):
    for step in (5, 10, 15):
        (tmp_path / f"checkpoint-{step}").mkdir()
    assert sft.last_checkpoint(tmp_path) is None
    for step in (5, 10, 15):
        (tmp_path / f"checkpoint-{step}").mkdir()
    for step in (5, 10):
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    assert sft.last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert not (tmp_path / "checkpoint-15").exists()


def test_loss_curve_takes_the_last_word_and_refuses_nan(tmp_path):
    log = tmp_path / "trainer_log.jsonl"
    line = '{{"current_steps": {}, "loss": {}, "lr": 0.1, "epoch": 1.0}}\n'
    log.write_text(line.format(1, 3.0) + line.format(2, 2.5) + line.format(2, 2.0) + '{"current_steps": 2}\n')
    assert [(point["step"], point["loss"]) for point in sft.read_losses(tmp_path)] == [(1, 3.0), (2, 2.0)]
    log.write_text(line.format(1, "NaN"))
    with pytest.raises(NotFinite, match="step 1"):
        sft.read_losses(tmp_path)


def test_torchaudio_is_replaced_only_where_it_does_not_load(tmp_path, monkeypatch):
    monkeypatch.setattr(sft, "_loads", lambda module: False)
    assert sft.llamafactory_environment(RECIPE, tmp_path)["PYTHONPATH"].startswith(str(sft.SHIMS))
    assert (sft.SHIMS / "torchaudio" / "__init__.py").exists()
    monkeypatch.setattr(sft, "_loads", lambda module: True)
    assert str(sft.SHIMS) not in sft.llamafactory_environment(RECIPE, tmp_path).get("PYTHONPATH", "")


def test_a_stand_in_that_this_process_has_loaded_is_none_of_its_subprocess(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchaudio", importlib.import_module("prism.shims.torchaudio"))
    assert not sft._loads("torchaudio")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "template", "layout"),
    [("qwen3", "qwen3", "steps"), ("llama3", "llama3", "steps"), ("qwen3", "qwen3", "conversation")],
)
def test_llamafactory_trains_on_the_rows_as_they_are(tmp_path, monkeypatch, family, template, layout):
    """Through its own argument parser (which refuses unknown keys), tokenizer fix, loader and collator."""
    if not sft._loads("torchaudio"):
        # gone again after the test: else the stand-in would pass for the real one
        monkeypatch.setitem(sys.modules, "torchaudio", importlib.import_module("prism.shims.torchaudio"))
    # it would refuse to train outside its launcher where it sees several GPUs
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    from llamafactory.data import SFTDataCollatorWith4DAttentionMask, get_dataset, get_template_and_fix_tokenizer
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    model = save_toy_model(tmp_path / "model", family)
    rows = sft.encode_subset(model, CORPUS, FORM, layout).rows
    assert layout == "steps" or len(rows) == len(CORPUS)
    sft.write_rows(rows, tmp_path / "rows")
    recipe = dataclasses.replace(RECIPE, template=template, layout=layout)
    arguments = sft.llamafactory_arguments(recipe, 1, model, tmp_path)
    model_args, data_args, training_args, _, _ = get_train_args(arguments)
    parts = load_tokenizer(model_args)
    words = len(parts["tokenizer"])
    chat = get_template_and_fix_tokenizer(parts["tokenizer"], data_args)
    assert len(parts["tokenizer"]) == words, "a token beyond the embedding was added"
    data = get_dataset(chat, model_args, data_args, training_args, stage="sft", **parts)["train_dataset"]
    assert [record["input_ids"] for record in data] == [row.input_ids for row in rows]
    collate = SFTDataCollatorWith4DAttentionMask(template=chat, pad_to_multiple_of=8, label_pad_token_id=-100, **parts)
    batch = collate([data[index] for index in range(4)])
    for line, row in enumerate(rows[:4]):
        length = len(row.input_ids)
        assert batch["input_ids"][line, :length].tolist() == row.input_ids
        assert batch["attention_mask"][line].tolist() == [1] * length + [0] * (batch["input_ids"].shape[1] - length)
        with_loss = [token for token in batch["labels"][line].tolist() if token != sft.IGNORED_LABEL]
        assert with_loss == [token for token, carries in zip(row.input_ids, row.response_mask, strict=True) if carries]


def train(folder: Path, out: str, recipe: sft.SftRecipe = RECIPE) -> Path:
    paths = [folder / name for name in ("model", "corpus.jsonl", out, f"{out}-work")]
    sft.train_sft(Training(*paths, seed=1), recipe)
    return folder / out


@pytest.mark.slow
def test_training_is_byte_identical_and_resumes_exactly(tmp_path, monkeypatch):
    """Two runs give the same bytes, with and without checkpoints; so does one that was killed and goes on from one.

    The second run does without `full_determinism`: on a CPU it changes nothing but the time.
    """
    save_toy_model(tmp_path / "model")
    write_trajectories(tmp_path / "corpus.jsonl", CORPUS)
    # what reports to a tracker trains as what does not
    once = train(tmp_path, "once", dataclasses.replace(RECIPE, save_strategy="no", report_to=("tensorboard",)))
    assert list((tmp_path / "once-work/tensorboard").rglob("events.out.tfevents.*"))
    for name in ("tokenizer.json", "train.yaml", "loss.csv", "trainer_log.jsonl", "sft.json"):
        assert (once / name).exists()
    assert 0 < read_json(once / "sft.json")["loop_seconds"] < 600
    assert sha256_file(once / "model.safetensors") != sha256_file(tmp_path / "model" / "model.safetensors")

    quick = dataclasses.replace(RECIPE, full_determinism=False)
    with monkeypatch.context() as patch:
        patch.setattr(sft, "_collect", _cut_off)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, "twice", quick)
    (run,) = (tmp_path / "twice-work").iterdir()
    uncut = sha256_file(run / "checkpoints" / "model.safetensors")
    assert uncut == sha256_file(once / "model.safetensors")

    # as a kill in the second epoch leaves it
    shutil.rmtree(sft.last_checkpoint(run / "checkpoints"))
    (run / "checkpoints" / "model.safetensors").unlink()
    twice = train(tmp_path, "twice", quick)
    assert sha256_file(twice / "model.safetensors") == uncut
    assert not any((tmp_path / "twice-work").iterdir())


@pytest.mark.slow
def test_adapters_are_trained_and_merged_into_a_plain_model_folder(tmp_path, monkeypatch):
    """What is written is the base with LLaMA-Factory's own adapter added, to the last bit of float32."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = save_toy_model(tmp_path / "model")
    write_trajectories(tmp_path / "corpus.jsonl", CORPUS)
    kept = tmp_path / "adapter"
    original = sft._collect

    def keep(model_dir: Path, run_dir: Path, folder: Path) -> None:
        shutil.copytree(run_dir / "checkpoints", kept)
        original(model_dir, run_dir, folder)

    monkeypatch.setattr(sft, "_collect", keep)
    out = train(tmp_path, "out", dataclasses.replace(RECIPE, lora_rank=4, num_train_epochs=1.0))
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        assert sha256_file(out / name) == sha256_file(model / name)
    assert not list(out.glob("adapter*"))
    assert (read_json(kept / "adapter_config.json")["r"], read_json(kept / "adapter_config.json")["lora_alpha"]) == (
        4,
        8,
    )
    base, trained = (AutoModelForCausalLM.from_pretrained(path).state_dict() for path in (model, out))
    assert trained.keys() == base.keys()
    changed = {name.split(".")[-2] for name in base if not torch.equal(base[name], trained[name])}
    assert changed == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model), str(kept))
    tokens = torch.tensor([[5, 6, 7, 8]])
    expected, seen = adapted(tokens).logits, AutoModelForCausalLM.from_pretrained(out)(tokens).logits
    torch.testing.assert_close(seen, expected)


def test_without_adapters_llamafactory_is_told_what_it_always_was(tmp_path):
    told = sft.llamafactory_arguments(RECIPE, 0, tmp_path, tmp_path)
    assert told["finetuning_type"] == "full"
    assert not any(key.startswith("lora") for key in told)
    assert "lora_rank" not in result_settings(RECIPE)
    assert result_settings(dataclasses.replace(RECIPE, lora_rank=4))["lora_rank"] == 4


def _cut_off(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_failing_llamafactory_ends_in_one_line_and_leaves_no_output(tmp_path, monkeypatch):
    save_toy_model(tmp_path / "model")
    write_trajectories(tmp_path / "corpus.jsonl", CORPUS)
    monkeypatch.setattr(sft, "_find_program", lambda name: shutil.which("false"))
    with pytest.raises(PrismError, match="ended with status 1"):
        train(tmp_path, "out")
    assert not (tmp_path / "out").exists()


def test_llamafactory_is_the_one_of_this_environment():
    assert Path(sft._find_program("llamafactory-cli")).parent == Path(sys.executable).parent
