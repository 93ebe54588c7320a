"""Steps of RL as the product launches them: vLLM inside verl, the weights' way to it, the log-probability gap.

The third step plays with the weights after two: its gap is the one after the steps. Random weights solve nothing and no
reply is an action, so advantages are zero; what moves the weights is the entropy bonus.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM

from gpu_parts.common import Found, Place, Unsound, prism, require
from prism.core.model_folder import sha256_model
from prism.core.prompts import PromptFormat, Row
from prism.core.trajectories import read_trajectories
from prism.rl.run_logs import LOG_PROB_GAP, LOG_PROB_GAP_MAX, read_verl_metrics
from prism.stages.sft import encode_subset
from prism.tools import doctor

STEPS = 3
COMMON = {"steps": STEPS, "learning_rate": 3e-4, "entropy_coefficient": 0.1, "group_size": 4}
CARD = {
    "prompt": {"style": "full", "history": "pairs:2", "context_length": 2048},
    "max_steps": 4,
    "tasks_per_step": 8,
    "mini_batch": 64,
    "micro_batch_tokens": 8192,
    "max_response_tokens": 64,
}
CPU = {"platform": "cpu", "rollout_engine": "hf", "max_steps": 2, "warm_workers": True}
# name in the answer -> name in verl's log
LOGGED = {
    "log_prob_gap": LOG_PROB_GAP,
    "log_prob_gap_largest": LOG_PROB_GAP_MAX,
    "probability_gap": "training/rollout_probs_diff_mean",
    "entropy": "actor/entropy",
    "grad_norm": "actor/grad_norm",
    "rows": "prism/rows",
    "tokens": "perf/total_num_tokens",
    "trainer_gib": "actor/perf/max_memory_allocated_gb",
    "seconds": "timing_s/step",
    "seconds_generation": "timing_s/gen",
    "seconds_update": "timing_s/update_actor",
    "seconds_weights": "timing_s/update_weights",
}
ROWS_COMPARED = 8


def measure(place: Place, found: Found) -> None:
    """Train, then compare weights and log-probabilities before and after."""
    require(["verl", "ray", "alfworld", *([] if place.cpu else ["vllm"])])
    recipe = doctor.RL | COMMON | (CPU if place.cpu else CARD)
    work, out = place.folder / "rl-work", place.folder / "rl"
    found["sampler"] = recipe["rollout_engine"]
    prism(
        *("stage", "rl", "--init", place.model, "--games", place.games, "--panel", place.panel("train")),
        *("--recipe", json.dumps(recipe), "--seed", "0", "--work", work, "--out", out),
    )
    logged = read_verl_metrics(work / "metrics")
    found["steps"] = [{name: logged[step].get(key) for name, key in LOGGED.items()} for step in sorted(logged)]
    found["sha256"] = {"before": sha256_model(place.model), "after": sha256_model(out)}
    found["weights"] = compare_weights(place.model, out)
    found["gap_of_first_weights"] = gap_of_first_weights(place, out, recipe["prompt"])
    first, last = (found["steps"][index]["log_prob_gap"] for index in (0, -1))
    found["sampler_has_the_new_weights"] = verdict = follows(first, last, found["gap_of_first_weights"])
    changed = found["weights"]
    found["summary"] = (
        f"{changed['changed']} of {changed['tensors']} tensors moved; gap {first:.4f} -> {last:.4f} nats "
        f"(first weights: {found['gap_of_first_weights']:.4f}); sampler has the new weights: {verdict}; "
        f"{found['steps'][-1]['seconds']:.1f} s the last step"
    )
    if changed["changed"] == 0:
        raise Unsound("no weight moved")
    if verdict == "no":
        raise Unsound(
            "sampler and trainer differ as much as the first weights do: the new ones did not reach the sampler"
        )


def follows(first: float, last: float, stale: float) -> str:
    """Whether the sampler has the new weights: ``yes``, ``no``, or ``cannot tell`` where the steps changed too little.

    Args:
        first: gap of sampler and trainer with the first weights, which is what their arithmetic differs by.
        last: gap after the steps.
        stale: gap of a sampler that still has the first weights.
    """
    if not math.isfinite(last):
        return "no"
    if stale < 4 * first:
        return "cannot tell"
    return "yes" if last < stale / 2 else "no"


def compare_weights(before: Path, after: Path) -> dict[str, float]:
    """How many tensors of a model folder differ from those of another, and by how much at most."""
    old = dict(tensors(before))
    changes = [float((new.float() - old[name].float()).abs().max()) for name, new in tensors(after) if name in old]
    return {"tensors": len(changes), "changed": sum(change > 0 for change in changes), "largest": max(changes)}


def tensors(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Names and weights of a model folder."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as weights:
            yield from ((name, weights.get_tensor(name)) for name in weights.keys())  # noqa: SIM118


def gap_of_first_weights(place: Place, after: Path, prompt: dict) -> float:
    """The gap that a sampler shows which never got new weights: E |log p_old - log p_new| over what the old one says.

    Exact over the vocabulary, at the places of the expert's answers in a few rows.
    """
    rows = encode_subset(place.model, read_trajectories(place.corpus), PromptFormat(**prompt), "steps").rows
    chosen = rows[:: max(1, len(rows) // ROWS_COMPARED)]
    old = list(log_probs(place.model, chosen, place.cpu))
    new = log_probs(after, chosen, place.cpu)
    gaps = [(before.exp() * (before - now).abs()).sum(-1).mean() for before, now in zip(old, new, strict=True)]
    return float(torch.stack(gaps).mean())


@torch.no_grad()
def log_probs(folder: Path, rows: list[Row], cpu: bool) -> Iterator[torch.Tensor]:
    """Log-probabilities of each row's response positions, (tokens, vocabulary), in the host's memory."""
    device = "cpu" if cpu else "cuda"
    dtype = torch.float32 if cpu else torch.bfloat16
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device).eval()
    for row in rows:
        logits = model(input_ids=torch.tensor([row.input_ids], device=device), use_cache=False).logits[0, :-1]
        answers = torch.tensor(row.response_mask[1:], device=device).bool()
        yield logits[answers].float().log_softmax(-1).cpu()
