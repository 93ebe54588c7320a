"""The prober on a GPU beside plain ways to get per-trajectory gradient norms, at the size of an 8B model in bfloat16.

    python benchmarks/probe_gpu.py --trajectories results/demo/data/alfworld/trajectories.jsonl \
        --tokenizer resources/backbones/tiny-qwen3

The weights are random: speed does not depend on them. The samples are trajectories as the workflow probes them at the
paper's scale, every environment step a row with the full prompt (``--layout steps``), or whole conversations. All
variants run on the same samples in one process, one after another; times are wall-clock between synchronisations, the
median of the runs. The share of the peak counts the FLOPs of forward pass and activation gradients over the real tokens
against an 8192^3 bfloat16 product timed in the same process; the memory is what the variant allocated at most, weights
included. Without a GPU the same code runs a tiny model on the CPU in float32 (``--model tiny``), which says that it
works, not how fast a GPU is; memory is not measured there. ``compare`` gives the rows to `scripts/gpu_check.py`.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
from probe import encode, floor_flops, spread, write_report
from probe_variants import LABELS, Size, bergson_norms, hooks, naive, ours
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3Config

from prism.core.prompts import PromptFormat
from prism.gradients.packs import Sample
from prism.gradients.prober import GradientProber
from prism.gradients.projections import find_projections

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# bfloat16 is emulated on many CPUs
DTYPE = torch.bfloat16 if DEVICE == "cuda" else torch.float32
QWEN3 = {
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
}


def qwen3(hidden: int, intermediate: int, layers: int, **changes: object) -> Qwen3Config:
    """A model of Qwen3's family; small ones tie their embeddings."""
    shape = {"hidden_size": hidden, "intermediate_size": intermediate, "num_hidden_layers": layers}
    return Qwen3Config(**{**QWEN3, "num_attention_heads": 16, "tie_word_embeddings": True, **shape, **changes})


MODELS = {
    "qwen3-8b": qwen3(4096, 12288, 36, num_attention_heads=32, tie_word_embeddings=False),
    "qwen3-4b": qwen3(2560, 9728, 36, num_attention_heads=32),
    "qwen3-1.7b": qwen3(2048, 6144, 28),
    "qwen3-0.6b": qwen3(1024, 3072, 28),
    "llama-3.1-8b": LlamaConfig(
        hidden_size=4096,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=8192,
        tie_word_embeddings=False,
        intermediate_size=14336,
        num_hidden_layers=32,
        vocab_size=128256,
    ),
    "tiny": qwen3(
        *(128, 256, 2),
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=64,
        vocab_size=4096,
        tie_word_embeddings=False,
    ),
}
PEAK_SIZE = 8192 if DEVICE == "cuda" else 512
COLUMNS = (
    "variant",
    "trajectories/s",
    "ratio to naive",
    "tokens/s",
    "memory",
    "share of matmul peak (floor)",
    "largest relative error",
)


@dataclass(frozen=True)
class Comparison:
    """What is measured: a model, the trajectories, how many of them and how they become rows.

    Attributes:
        tokenizer: model folder with the tokenizer that reads the trajectories.
        slow_samples: how many of the samples the slow variants get.
    """

    model: str
    trajectories: Path
    tokenizer: Path
    layout: str
    context: int = 2048
    samples: int = 18
    slow_samples: int = 3
    tokens_per_pack: int = 8192
    runs: int = 3


@dataclass(frozen=True)
class Measured:
    """One variant: its samples, seconds of every run, most bytes allocated, norms (samples x projections)."""

    samples: list[Sample]
    seconds: list[float]
    memory: int
    norms: torch.Tensor


def build_model(name: str, dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(0)
    with torch.device(DEVICE):
        # drawn in bfloat16 whatever `dtype` is: the reference has the same weights
        model = AutoModelForCausalLM.from_config(MODELS[name], dtype=torch.bfloat16, attn_implementation="sdpa")
    return model.to(dtype).eval()


def size_of(name: str, context: int, samples: int, tokens_per_pack: int) -> Size:
    """The model in the terms of the CPU's benchmark."""
    config = MODELS[name]
    return Size(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        intermediate=config.intermediate_size,
        heads=config.num_attention_heads,
        key_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        context=context,
        samples=samples,
        tokens_per_pack=tokens_per_pack,
        vocabulary=config.vocab_size,
    )


def timed(run: Callable[[list[Sample]], torch.Tensor], samples: list[Sample], runs: int) -> Measured:
    """Run once to warm up, then `runs` times."""
    run(samples)
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(runs):
        synchronize()
        started = time.perf_counter()
        norms = run(samples)
        synchronize()
        seconds.append(time.perf_counter() - started)
    memory = torch.cuda.max_memory_allocated() if DEVICE == "cuda" else 0
    return Measured(samples, seconds, memory, norms.double().cpu())


def plain_variants(name: str, samples: list[Sample], size: Size, runs: int) -> Iterator[tuple[str, Measured | str]]:
    """What a user would write, on a fresh model: measured, or why it was not."""
    model = build_model(name, DTYPE)
    projections = find_projections(model)
    variants = {
        "naive: rows padded to the context, `.grad` of all weights": naive,
        "hooks: rows unpadded, one by one": hooks,
        LABELS["bergson"]: bergson_norms,
    }
    for label, norms in variants.items():
        if norms is bergson_norms and not find_spec("bergson"):
            yield label, "bergson is not installed here"
            continue
        try:
            yield label, timed(partial(norms, model, projections, size=size), samples, runs)
        except torch.OutOfMemoryError:
            yield label, "out of memory"
        model.zero_grad(set_to_none=True)


def prism_variant(name: str, samples: list[Sample], size: Size, checkpointing: bool, runs: int) -> Measured:
    """`prism probe`, on a fresh model."""
    prober = GradientProber(build_model(name, DTYPE), gradient_checkpointing=checkpointing)
    return timed(lambda chosen: ours(prober, [], chosen, size), samples, runs)


def reference(name: str, samples: list[Sample], size: Size) -> torch.Tensor:
    """Norms from a float32 model with the same weights."""
    model = build_model(name, torch.float32)
    return hooks(model, find_projections(model), samples, size).double().cpu()


def matmul_peak() -> float:
    """FLOP/s of a product of random matrices: ten at a time, the best of three."""
    left, right = (torch.randn(PEAK_SIZE, PEAK_SIZE, dtype=DTYPE, device=DEVICE) for _ in range(2))
    best = float("inf")
    for _ in range(3):
        synchronize()
        started = time.perf_counter()
        for _ in range(10):
            left @ right
        synchronize()
        best = min(best, (time.perf_counter() - started) / 10)
    return 2 * PEAK_SIZE**3 / best


def synchronize() -> None:
    """Wait until the GPU has done what it was told."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def clean() -> None:
    """Give the last model's memory back."""
    gc.collect()
    if DEVICE == "cuda":
        torch.cuda.empty_cache()


def compare(wanted: Comparison) -> tuple[str, Iterator[dict]]:
    """A line that describes the samples, and a row a variant as it is measured.

    A row has `COLUMNS` as numbers (memory in bytes, 0 on a CPU) and the
    ``seconds`` of every run; a variant that was not measured has ``variant`` and ``skipped`` alone.
    """
    size = size_of(wanted.model, wanted.context, wanted.samples, wanted.tokens_per_pack)
    prompt = PromptFormat("full", "pairs:2", size.context)
    samples = spread(encode(wanted.trajectories, wanted.tokenizer, prompt, wanted.layout), size.samples)
    stride = max(1, len(samples) // wanted.slow_samples)
    few = samples[stride // 2 :: stride]
    rows = statistics.mean(len(sample.rows) for sample in samples)
    tokens = statistics.mean(sample.tokens for sample in samples)
    peak = matmul_peak()
    text = (
        f"{len(samples)} trajectories ({len(few)} of them in the slow variants), {rows:.1f} rows and {tokens:.0f} "
        f"tokens each; median of {wanted.runs} runs. Peak {peak / 1e12:.3g} TFLOP/s."
    )
    return text, _rows(wanted, samples, few, peak, size)


def _rows(wanted: Comparison, samples: list[Sample], few: list[Sample], peak: float, size: Size) -> Iterator[dict]:
    name, runs = wanted.model, wanted.runs
    checked = few[:2]
    expected = reference(name, checked, size)
    clean()
    base = None

    def row(label: str, measured: Measured | str) -> dict:
        nonlocal base
        if isinstance(measured, str):
            return {"variant": label, "skipped": measured}
        seconds = statistics.median(measured.seconds)
        # trajectories differ in length: what is compared is the time a token takes
        speed = sum(sample.tokens for sample in measured.samples) / seconds
        base = base or speed
        positions = [index for index, sample in enumerate(measured.samples) if sample in checked]
        numbers = (
            len(measured.samples) / seconds,
            speed / base,
            speed,
            measured.memory,
            floor_flops(measured.samples, size) / seconds / peak,
            float((measured.norms[positions] / expected - 1).abs().max()),
        )
        return {**dict(zip(COLUMNS, (label, *numbers), strict=True)), "seconds": measured.seconds}

    for label, measured in plain_variants(name, few, size, runs):
        yield row(label, measured)
    for checkpointing in (False, True):
        clean()
        label = f"prism probe, {size.tokens_per_pack} tokens a pack" + (", checkpointing" if checkpointing else "")
        yield row(label, prism_variant(name, samples, size, checkpointing, runs))
    clean()


def table(wanted: Comparison) -> list[str]:
    """Lines of the table of one layout."""
    text, rows = compare(wanted)
    lines = [
        f"### {wanted.model}, layout {wanted.layout}, context {wanted.context}",
        "",
        text,
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
    ]
    for row in rows:
        if "skipped" in row:
            print(f"{row['variant']}: not measured, {row['skipped']}", flush=True)
            continue
        label, trajectories, ratio, speed, memory, share, error = (row[column] for column in COLUMNS)
        cells = [label, f"{trajectories:.2f}", f"{ratio:.2f}", f"{speed:.0f}", f"{memory / 2**30:.1f} GiB"]
        lines.append(f"| {' | '.join([*cells, f'{100 * share:.0f}%', f'{error:.1e}'])} |")
        print(lines[-1], [round(value, 3) for value in row["seconds"]], flush=True)
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trajectories", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True, help="model folder with the tokenizer that reads them")
    parser.add_argument("--model", choices=MODELS, default="qwen3-8b")
    parser.add_argument("--layout", choices=("steps", "conversation"), action="append", help="default: both")
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--samples", type=int, default=18)
    parser.add_argument("--slow-samples", type=int, default=3, help="of them, for the variants that take long")
    parser.add_argument("--tokens-per-pack", type=int, default=8192)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, help="Markdown file to write; default: standard output")
    arguments = parser.parse_args()
    chosen = {key: value for key, value in vars(arguments).items() if key not in ("layout", "out")}
    lines = [f"Machine: {torch.cuda.get_device_name() if DEVICE == 'cuda' else 'CPU'}, torch {torch.__version__}", ""]
    for layout in arguments.layout or ("steps", "conversation"):
        lines += table(Comparison(layout=layout, **chosen))
    write_report(lines, arguments.out)


if __name__ == "__main__":
    main()
