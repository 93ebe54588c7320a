"""Supervised fine-tuning through the real ``llamafactory-cli train``: of every parameter, or of LoRA's adapters.

LLaMA-Factory gets its data already tokenised (`tokenized_path`), by the same prompt builder that the probe, RL and
the evaluation use: what is trained is, token for token, what is probed.
"""

from __future__ import annotations

import csv
import importlib
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prism.core.errors import BadInput, NotFinite, PrismError
from prism.core.files import atomic_folder, read_json, read_jsonl, sha256_json, write_json
from prism.core.model_folder import CONFIGURATION, TOKENIZER, WEIGHTS, copy_model_files, sha256_model
from prism.core.progress import following, say
from prism.core.prompts import Encoded, PromptEncoder, PromptFormat, Row
from prism.core.recipes import result_settings
from prism.core.results import Results
from prism.core.slurm import read_allocation, rendezvous_command, rendezvous_environment
from prism.core.splits import read_split
from prism.core.tokenizers import check_template
from prism.core.trackers import tracker_environment
from prism.core.trajectories import Trajectory, read_trajectories
from prism.stages.sft_recipe import SftRecipe
from prism.stages.training import Training

REGIMES = ("sft", "rl")
IGNORED_LABEL = -100
SHIMS = Path(__file__).resolve().parents[1] / "shims"


def train_sft(training: Training, recipe: SftRecipe) -> None:
    """Fine-tune a model on a routed subset of the trajectories.

    Training happens in a folder of `training.work` that is named by the hash of everything that shapes the result.
    `training.out` gets safetensors weights, config, tokenizer, ``train.yaml`` (what LLaMA-Factory got),
    ``trainer_log.jsonl``, ``loss.csv`` and ``sft.json`` (hashes, counts, versions, seconds of the training loop).

    Raises:
        BadInput: a file cannot be used, or the subset is empty.
        NotFinite: a logged loss is NaN or infinite.
        PrismError: LLaMA-Factory failed.
    """
    check_template(training.model, recipe.template, "template")
    subset = select_trajectories(read_trajectories(training.data), training.split, training.regime)
    encoded = encode_subset(training.model, subset, recipe.prompt, recipe.layout)
    rows, truncated = encoded.rows, encoded.truncated
    facts = {
        "model_sha256": sha256_model(training.model),
        "rows_sha256": sha256_json([[row.input_ids, row.response_tokens] for row in rows]),
        "trajectories": len(subset),
        "rows": len(rows),
        "rows_truncated": truncated,
        "response_tokens": sum(row.response_tokens for row in rows),
        "response_tokens_cut": encoded.response_tokens_cut,
        "prompt_sha256": recipe.prompt.sha256(layout=recipe.layout),
        "recipe": asdict(recipe),
        "seed": training.seed,
        "versions": {name: version(name) for name in ("llamafactory", "torch", "transformers")},
    }
    # a killed run goes on also with other threads or less memory
    run_dir = training.work / sha256_json({**facts, "recipe": result_settings(recipe)})[:16]
    checkpoints = run_dir / "checkpoints"
    resume = last_checkpoint(checkpoints)
    if resume is None:
        # LLaMA-Factory refuses a folder with weights but no checkpoint
        shutil.rmtree(checkpoints, ignore_errors=True)
    checkpoints.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(run_dir / "rows", ignore_errors=True)
    write_rows(rows, run_dir / "rows")
    arguments = llamafactory_arguments(recipe, training.seed, training.model, run_dir, resume)
    say(
        f"SFT on {len(subset)} trajectories: {len(rows)} rows, {truncated} cut at {recipe.prompt.context_length} tokens"
    )
    if resume:
        say(f"SFT goes on from {resume}")
    with following(checkpoints / "trainer_log.jsonl", _describe_step):
        _run_llamafactory(arguments, run_dir / "train.yaml", recipe)
    losses = read_losses(checkpoints)
    with atomic_folder(training.out) as folder:
        _collect(training.model, run_dir, folder)
        _write_losses(folder / "loss.csv", losses)
        # without start, loading and the final weights; of a run that went on, what came after
        loop = read_json(checkpoints / "train_results.json")["train_runtime"]
        write_json(folder / "sft.json", {**facts, "result_sha256": sha256_model(folder), "loop_seconds": loop})
    shutil.rmtree(run_dir)


def select_trajectories(corpus: list[Trajectory], split_path: str | Path | None, regime: str) -> list[Trajectory]:
    """The trajectories of one regime, in the order of the corpus; all of them without a split.

    Raises:
        BadInput: the split does not fit the corpus, or leaves nothing to train on.
    """
    if regime not in REGIMES:
        raise BadInput("regime", f"unknown regime {regime!r}", f"use one of {', '.join(REGIMES)}")
    if split_path is None:
        return corpus
    routed = read_split(split_path)
    if missing := [trajectory.id for trajectory in corpus if trajectory.id not in routed]:
        raise BadInput(split_path, f"does not route {missing[0]!r}", "rebuild it from this corpus's scores")
    known = {trajectory.id for trajectory in corpus}
    if unknown := [name for name in routed if name not in known]:
        raise BadInput(split_path, f"routes {unknown[0]!r}, which is not in the corpus", "rebuild it with its rule")
    subset = [trajectory for trajectory in corpus if routed[trajectory.id] == regime]
    if not subset:
        raise BadInput(split_path, f"routes nothing to {regime}", "choose another percentage")
    return subset


def encode_subset(
    model_dir: str | Path, subset: Sequence[Trajectory], form: PromptFormat, layout: str = "steps"
) -> Encoded:
    """Rows of all trajectories, and what the context length cut off."""
    from prism.core.tokenizers import load_tokenizer

    encoder = PromptEncoder(load_tokenizer(model_dir), form)
    each = [encoder.encode_trajectory(trajectory, layout) for trajectory in subset]
    rows = [row for one in each for row in one.rows]
    if not rows:
        raise BadInput("prompt.context_length", "no row has a response token left", "raise context_length")
    return Encoded(rows, sum(one.truncated for one in each), sum(one.response_tokens_cut for one in each))


def write_rows(rows: Sequence[Row], folder: Path) -> None:
    """Write rows as the tokenised dataset that LLaMA-Factory's ``tokenized_path`` loads as it is.

    Columns input_ids, attention_mask, labels; a label is the token where the loss falls and -100 elsewhere.
    """
    from datasets import Dataset, DatasetDict

    columns = {
        "input_ids": [row.input_ids for row in rows],
        "attention_mask": [[1] * len(row.input_ids) for row in rows],
        "labels": [
            [
                token if carries else IGNORED_LABEL
                for token, carries in zip(row.input_ids, row.response_mask, strict=True)
            ]
            for row in rows
        ],
    }
    with atomic_folder(folder) as temporary:
        DatasetDict({"train": Dataset.from_dict(columns)}).save_to_disk(str(temporary))


def llamafactory_arguments(
    recipe: SftRecipe, seed: int, model_dir: str | Path, run_dir: Path, resume: Path | None = None
) -> dict[str, Any]:
    """The YAML that ``llamafactory-cli train`` gets; LLaMA-Factory refuses keys that it does not know.

    Args:
        run_dir: holds the tokenised ``rows``, gets ``checkpoints``.
        resume: the checkpoint to go on from.
    """
    own = {"prompt", "layout", "deepspeed", "gpus", "nodes", "threads", "lora_rank"}
    arguments = {key: value for key, value in asdict(recipe).items() if key not in own}
    arguments |= {
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora" if recipe.lora_rank else "full",
        "model_name_or_path": str(model_dir),
        "trust_remote_code": False,
        # a name must be given, but nothing is looked up: rows come from tokenized_path as they are
        "dataset": "prism",
        "tokenized_path": str(run_dir / "rows"),
        "cutoff_len": recipe.prompt.context_length,
        "output_dir": str(run_dir / "checkpoints"),
        "seed": seed,
        "data_seed": seed,
        "report_to": list(recipe.report_to) or "none",
        "run_name": Results.training_name(run_dir.parent),
        "plot_loss": False,
        "use_cpu": recipe.gpus == 0,
        "dataloader_num_workers": 0,
    }
    # LLaMA-Factory has its own switch, on unless told otherwise
    arguments["disable_gradient_checkpointing"] = not arguments.pop("gradient_checkpointing")
    if recipe.lora_rank:
        # LLaMA-Factory's scale is twice the rank
        arguments |= {"lora_rank": recipe.lora_rank, "lora_target": "all"}
    if recipe.deepspeed:
        path = run_dir / "deepspeed.json"
        write_json(path, recipe.deepspeed)
        arguments["deepspeed"] = str(path)
    if resume:
        arguments["resume_from_checkpoint"] = str(resume)
    return arguments


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint; one that a kill left half-written is removed.

    The trainer writes ``trainer_state.json`` last, so its presence (and that it parses) marks a whole checkpoint.
    """
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    whole: Path | None = None
    for path in found:
        try:
            read_json(path / "trainer_state.json")
            whole = path
        except BadInput:
            shutil.rmtree(path)
    return whole


def _describe_step(record: dict[str, Any]) -> str | None:
    """A line of LLaMA-Factory's log in words."""
    if "loss" not in record:
        return None
    done, total = record["current_steps"], record["total_steps"]
    return f"SFT: step {done}/{total}, loss {record['loss']:.3f}, {record['remaining_time']} left"


def _run_llamafactory(arguments: dict[str, Any], yaml_path: Path, recipe: SftRecipe) -> None:
    """Run ``llamafactory-cli train``; its output goes to standard error as it comes."""
    import yaml

    yaml_path.write_text(yaml.safe_dump(arguments, sort_keys=True), encoding="utf-8")
    command = [_find_program("llamafactory-cli"), "train", str(yaml_path)]
    environment = llamafactory_environment(recipe, yaml_path.parent.parent)
    if recipe.nodes > 1:
        allocation = read_allocation(recipe.nodes, "sft.nodes")
        command = rendezvous_command(command, allocation)
        environment |= rendezvous_environment(allocation)
    status = subprocess.run(command, env=environment, stdout=sys.stderr, check=False).returncode
    if status != 0:
        raise PrismError(f"llamafactory-cli train {yaml_path} ended with status {status}; its output is above")


def _find_program(name: str) -> str:
    """The program of this environment, whether it is activated or not."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise PrismError(f"{name} is not installed; install the environment that SFT runs in (envs/)")
    return found


def llamafactory_environment(recipe: SftRecipe, work: Path) -> dict[str, str]:
    """Environment of the subprocess: offline, its threads, one process a GPU, the torchaudio stand-in if needed."""
    environment = dict(os.environ)
    programs = str(Path(sys.executable).parent)
    environment["PATH"] = os.pathsep.join([programs, environment.get("PATH", "")])
    environment |= {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": str(recipe.threads),
        # threads that spin while they wait starve whatever else runs on the machine
        "OMP_WAIT_POLICY": "PASSIVE",
        **tracker_environment(recipe.report_to, work),
        "TRANSFORMERS_VERBOSITY": "warning",
    }
    if recipe.gpus == 0:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    else:
        environment["FORCE_TORCHRUN"] = "1"
    # without GPUs a node has one process
    environment["NPROC_PER_NODE"] = str(max(1, recipe.gpus))
    if not _loads("torchaudio"):
        shims = [str(SHIMS), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in shims if path)
    return environment


def _loads(module: str) -> bool:
    """Whether a module can be imported: it may be installed and still fail (built against another torch).

    The stand-in does not count: in this process it may be loaded, and its subprocess would not find it.
    """
    try:
        found = importlib.import_module(module)
    except (ImportError, OSError, RuntimeError, AttributeError):
        return False
    return SHIMS not in Path(found.__file__ or "").parents


def read_losses(checkpoints: Path) -> list[dict[str, float]]:
    """The loss curve that LLaMA-Factory logged: step, epoch, learning rate, loss.

    Raises:
        NotFinite: a loss is NaN or infinite.
    """
    curve: dict[int, dict[str, float]] = {}
    for _, record in read_jsonl(checkpoints / "trainer_log.jsonl"):
        if "loss" not in record:
            continue
        if not math.isfinite(record["loss"]):
            raise NotFinite(f"SFT: the loss of step {record['current_steps']} is {record['loss']}")
        # a resumed run logs some steps again: the last word counts
        step = int(record["current_steps"])
        curve[step] = {"step": step, "epoch": record["epoch"], "lr": record["lr"], "loss": record["loss"]}
    return [curve[step] for step in sorted(curve)]


def _write_losses(path: Path, curve: Sequence[dict[str, float]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["step", "epoch", "learning_rate", "loss"])
        writer.writerows([point["step"], point["epoch"], point["lr"], point["loss"]] for point in curve)


def _collect(model_dir: Path, run_dir: Path, folder: Path) -> None:
    """Copy what defines the trained model; the tokenizer is the base's own, byte for byte.

    Adapters are merged into the base's weights: what reads the folder sees a model like any other.
    """
    from prism.gradients.adapters import is_adapter, write_merged

    checkpoints = run_dir / "checkpoints"
    if is_adapter(checkpoints):
        write_merged(model_dir, checkpoints, folder)
    else:
        copy_model_files(checkpoints, folder, (*WEIGHTS, *CONFIGURATION))
    if not any(folder.glob("*.safetensors")):
        raise PrismError(f"llamafactory-cli left no safetensors weights in {checkpoints}")
    copy_model_files(model_dir, folder, TOKENIZER)
    for path in (run_dir / "train.yaml", checkpoints / "trainer_log.jsonl"):
        shutil.copyfile(path, folder / path.name)
