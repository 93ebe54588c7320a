"""Steps of SFT through LLaMA-Factory, by the product's stage, with DeepSpeed as config/paper.yaml has it."""

from __future__ import annotations

import csv
import json

from gpu_parts.common import Found, Place, Unsound, prism, require
from prism.core.files import read_json
from prism.tools import doctor

CARD = {
    "prompt": {"style": "full", "history": "pairs:2", "context_length": 2048},
    "layout": "steps",
    "per_device_train_batch_size": 4,
    "save_strategy": "no",
    "logging_steps": 1,
}
CPU = {"bf16": False, "gpus": 0, "deepspeed": {}, "gradient_checkpointing": False, "per_device_train_batch_size": 2,
       "save_strategy": "no", "logging_steps": 1}  # fmt: skip


def measure(place: Place, found: Found) -> None:
    """Train one pass over the trajectories."""
    require(["llamafactory", *([] if place.cpu else ["deepspeed"])])
    recipe = doctor.SFT | (CPU if place.cpu else CARD)
    out = place.folder / "sft"
    prism(
        *("stage", "sft", "--model", place.model, "--trajectories", place.corpus, "--recipe", json.dumps(recipe)),
        *("--seed", "0", "--work", place.folder / "sft-work", "--out", out),
    )
    facts = read_json(out / "sft.json")
    with (out / "loss.csv").open(encoding="utf-8") as lines:
        found["losses"] = [float(line["loss"]) for line in csv.DictReader(lines)]
    found["rows"], found["loop_seconds"] = facts["rows"], facts["loop_seconds"]
    found["seconds_per_step"] = facts["loop_seconds"] / len(found["losses"])
    found["sha256"] = {"before": facts["model_sha256"], "after": facts["result_sha256"]}
    found["summary"] = (
        f"{len(found['losses'])} steps, {found['seconds_per_step']:.2f} s each, loss {found['losses'][0]:.3f} -> "
        f"{found['losses'][-1]:.3f}"
    )
    if found["sha256"]["before"] == found["sha256"]["after"]:
        raise Unsound("the weights are the first ones")
