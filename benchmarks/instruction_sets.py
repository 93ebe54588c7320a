"""Which settings make CPUs with other instruction sets compute the same bits, and what they cost.

    python benchmarks/instruction_sets.py [--parts probe replies SFT] [--trajectories N] [--repeats N] [--settings ...]

Every setting is a set of environment variables, which the libraries read at their first operation. Its process is
forked from one that has imported all of them and computed nothing; the settings take turns, and what counts is user
time on a CPU, which other programs on the machine change little. Printed is a row a setting: CPU seconds over those of
the plain setting, whether its bits are those of the plain one and of the emulated AVX2 machine, and the largest
relative difference of a norm from the plain ones.

A machine without AVX-512 is emulated here by what masks its instructions in each library. What reads the processor past
these masks is not: there the digests of a run on such a machine decide.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import resource
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from prism.core.data_source import DataSource
from prism.core.processor import VARIABLES
from prism.core.prompts import PromptFormat
from prism.core.tokenizers import load_tokenizer
from prism.generation.base import Sampling
from prism.generation.hf import HFGenerator
from prism.gradients.corpus import load_corpus
from prism.gradients.memory_plan import MemoryPlan
from prism.gradients.packs import Sample, plan_packs
from prism.gradients.set_up import ModelPlace, set_up
from prism.stages import sft as stage
from prism.stages.training import Training

MASK = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
# no variable of a library: torch has a switch of its own
WITHOUT_ONEDNN = "WITHOUT_ONEDNN"
PLAIN, MASKED = "plain", "an AVX2 machine, emulated"
SETTINGS = {
    PLAIN: {},
    MASKED: MASK,
    "ATen avx2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "ATen default": {"ATEN_CPU_CAPABILITY": "default"},
    "oneDNN AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "oneDNN SSE41": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    "oneDNN off": {WITHOUT_ONEDNN: "yes"},
    "MKL_CBWR AVX2": {"MKL_CBWR": "AVX2"},
    "MKL_CBWR COMPATIBLE": {"MKL_CBWR": "COMPATIBLE"},
    "MKL instructions AVX2": {"MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    # what `instruction_set: avx2` sets, here and on the emulated machine
    "ATen avx2, MKL_CBWR AVX2": VARIABLES["avx2"],
    "the same, emulated": {**MASK, **VARIABLES["avx2"]},
    "ATen default, MKL_CBWR COMPATIBLE": {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"},
    "the same, emulated ": {**MASK, "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"},
}
PROMPT = PromptFormat("compact", "actions:14", 512)
SFT = stage.SftRecipe(
    prompt=PROMPT, template="qwen3", layout="steps", learning_rate=2e-3, num_train_epochs=1,
    per_device_train_batch_size=16, gradient_accumulation_steps=1, save_strategy="no", threads=1,
)  # fmt: skip


@dataclass(frozen=True)
class Work:
    """What is computed: a model's folder, a corpus and its trajectories, and the prompts of their steps."""

    model: Path
    corpus: Path
    samples: Sequence[Sample]
    prompts: list[list[int]]


@dataclass(frozen=True)
class Measured:
    """One run under one setting: a digest of its bits, norms where it has some, and user seconds on a CPU."""

    digest: str
    values: list[float]
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("resources/backbones/tiny-qwen3"))
    parser.add_argument("--data", type=Path, default=Path("results/demo/data/alfworld/trajectories.jsonl"))
    parser.add_argument("--trajectories", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS)
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), help="some of the settings, by name")
    options = parser.parse_args()
    if "SFT" in options.parts:
        # torchaudio, which the library imports and nobody here needs, where there is none
        sys.path.append(str(stage.SHIMS))
        importlib.import_module("llamafactory.train.tuner")
    with tempfile.TemporaryDirectory() as folder:
        work = prepare(options, Path(folder) / "corpus.jsonl")
        print(f"torch {torch.__version__}, {cpu_name()}; {len(work.samples)} trajectories, {len(work.prompts)} prompts")
        for name in options.parts:
            turns = [{setting: forked(PARTS[name], work, SETTINGS[setting]) for setting in options.settings}
                     for _ in range(options.repeats)]  # fmt: skip
            report(name, turns)


def cpu_name() -> str:
    """The processor, as the kernel calls it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown processor")


def prepare(options: argparse.Namespace, corpus: Path) -> Work:
    """The first trajectories of the data as a corpus, and as token ids: nothing here computes with torch."""
    lines = options.data.read_text(encoding="utf-8").splitlines(keepends=True)
    corpus.write_text("".join(lines[: options.trajectories]), encoding="utf-8")
    tokenizer, read = load_tokenizer(options.model), load_corpus(DataSource.of(corpus))
    samples = read.samples(sorted(read.ids), tokenizer, PROMPT, "steps", "response")
    rows = [row for sample in samples for row in sample.rows]
    prompts = [list(row.input_ids[: list(row.response_mask).index(1)]) for row in rows]
    return Work(options.model, corpus, samples, prompts[: 4 * options.trajectories])


def probe(work: Work) -> tuple[list[float], bytes]:
    """The norms of all trajectories."""
    place = ModelPlace(work.model, "float32", torch.device("cpu"))
    prober = set_up(place, work.samples, MemoryPlan(4096)).prober
    started = user_seconds()
    probed = [one for pack in prober.probe(plan_packs(work.samples, 4096)) for one in pack]
    norms = np.array([one.norms for one in probed])
    return [user_seconds() - started, *norms.ravel().tolist()], norms.tobytes()


def reply(work: Work) -> tuple[list[float], bytes]:
    """Sampled replies to the prompts: what an evaluation computes between two steps of its environments."""
    generator = HFGenerator.load(work.model, Sampling(0.4, 1.0, 32, 0), 64)
    started = user_seconds()
    replies = generator.generate(work.prompts)
    return [user_seconds() - started], json.dumps(replies).encode()


def user_seconds() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def forked(part: Callable[[Work], tuple[list[float], bytes]], work: Work, variables: dict[str, str]) -> Measured:
    """Run a part in a process of its own, whose libraries find these variables at their first operation."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.environ.update(variables)
        torch.set_num_threads(1)
        torch.backends.mkldnn.enabled = WITHOUT_ONEDNN not in variables
        numbers, content = part(work)
        with os.fdopen(writing, "w") as out:
            json.dump([hashlib.sha256(content).hexdigest()[:8], numbers], out)
        # nothing of the parent's is flushed or closed twice
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as found:
        digest, (seconds, *values) = json.load(found)
    os.waitpid(process, 0)
    return Measured(digest, values, seconds)


def train(work: Work) -> tuple[list[float], bytes]:
    """The weights after the real stage's training, with LLaMA-Factory in this process instead of one of its own."""
    from llamafactory.train.tuner import run_exp

    def run_here(arguments: dict, path: Path, recipe: stage.SftRecipe) -> None:
        path.write_text(json.dumps(arguments), encoding="utf-8")
        run_exp(arguments)

    stage._run_llamafactory = run_here
    started = user_seconds()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        stage.train_sft(Training(work.model, work.corpus, out, Path(folder) / "work", 0), SFT)
        weights = (out / "model.safetensors").read_bytes()
    return [user_seconds() - started], weights


PARTS = {"probe": probe, "replies": reply, "SFT": train}


def report(name: str, turns: list[dict[str, Measured]]) -> None:
    """A table of one part, a row a setting."""
    first = turns[0]
    plain, masked = first[PLAIN], first.get(MASKED)
    print(f"\n| {name} | CPU s | price | bits of plain | bits of the emulated | off by | digest |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    base = statistics.median(turn[PLAIN].seconds for turn in turns)
    for setting, found in first.items():
        seconds = [turn[setting].seconds for turn in turns]
        same = [other is not None and found.digest == other.digest for other in (plain, masked)]
        off = max((abs(one / other - 1) for one, other in zip(found.values, plain.values, strict=True)), default=0.0)
        repeats = all(turn[setting].digest == found.digest for turn in turns)
        words = ["yes" if one else "no" for one in same]
        middle = statistics.median(seconds)
        price = f"{100 * (middle / base - 1):+.0f}%"
        taken = f"{middle:.2f} ({min(seconds):.2f} to {max(seconds):.2f})"
        digest = found.digest if repeats else f"{found.digest}, NOT the same in every turn"
        print("|", " | ".join([setting.strip(), taken, price, *words, f"{off:.0e}", digest]), "|", flush=True)


if __name__ == "__main__":
    main()
