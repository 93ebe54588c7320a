"""Episodes on generated games by the product's evaluation, through vLLM."""

from __future__ import annotations

import json
import time

from gpu_parts.common import Found, Place, prism, require
from prism.core.files import read_json
from prism.tools import doctor

CARD = {
    "prompt": {"style": "full", "history": "pairs:2", "context_length": 2048},
    "max_steps": 8,
    "max_new_tokens": 128,
}


def measure(place: Place, found: Found) -> None:
    """Play the panel once."""
    require(["alfworld", *([] if place.cpu else ["vllm"])])
    recipe = doctor.EVALUATION | ({"generator": "hf"} if place.cpu else CARD)
    found["sampler"] = recipe["generator"]
    if place.cpu:
        found["not_tried"] = "vLLM: its build for CPUs has an environment of its own (make gpu-stack)"
    started = time.monotonic()
    out = place.folder / "seen-result.json"
    prism(
        *("stage", "evaluate", "--model", place.model, "--games", place.games, "--panel", place.panel("seen")),
        *("--recipe", json.dumps(recipe), "--seed", "0", "--out", out),
    )
    found["seconds"] = time.monotonic() - started
    episodes = read_json(out)["episodes"]
    found["episodes"], found["broken"] = len(episodes), sum(bool(episode["error"]) for episode in episodes)
    found["summary"] = f"{len(episodes)} episodes by {recipe['generator']}, {found['broken']} broken"
