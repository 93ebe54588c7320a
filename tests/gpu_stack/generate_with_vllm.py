"""Runs in the GPU stack's environment: samples with prism's vLLM generator, as told by a JSON file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from prism.generation.base import Sampling
from prism.generation.vllm import VllmGenerator


def main(source: Path, target: Path) -> None:
    """Greedy replies, and the replies of two sampled runs with the same seed."""
    told = json.loads(source.read_text())
    greedy = Sampling(0.0, 1.0, told["max_new_tokens"], 0)
    generator = VllmGenerator.load(told["model"], greedy, batch_size=told["batch_size"], context_tokens=512)
    answer = {"greedy": generator.generate(told["prompts"]), "stop_ids": generator.stop_ids}
    runs = []
    for _ in range(2):
        sampled = VllmGenerator(generator.engine, generator.tokenizer, Sampling(**told["sampling"]))
        runs.append([sampled.generate(told["sampled_prompts"]) for _ in range(2)])
    answer["sampled"] = runs
    target.write_text(json.dumps(answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
