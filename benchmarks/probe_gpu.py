"""The prober on a GPU beside plain ways to get per-trajectory gradient norms, at the size of an 8B model in bfloat16.

    python benchmarks/probe_gpu.py --trajectories results/demo/data/alfworld/trajectories.jsonl \
        --tokenizer resources/backbones/tiny-qwen3

The weights are random: speed does not depend on them. The samples are trajectories as the workflow probes them at the
paper's scale, every environment step a row with the full prompt (``--layout steps``), or whole conversations. All
variants run on the same samples in one process, one after another; times are wall-clock between synchronisations, the
median of the runs. The share of the peak counts the FLOPs of forward pass and activation gradients over the real tokens
against an 8192^3 bfloat16 product timed in the same process; the memory is what the variant allocated at most, weights
included.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
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

LARGE = {
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "hidden_size": 4096,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": False,
}
MODELS = {
    "qwen3-8b": Qwen3Config(**LARGE, intermediate_size=12288, num_hidden_layers=36, vocab_size=151936),
    "llama-3.1-8b": LlamaConfig(**LARGE, intermediate_size=14336, num_hidden_layers=32, vocab_size=128256),
}
PEAK_SIZE = 8192
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
class Measured:
    """One variant: its samples, seconds of every run, most bytes allocated, norms (samples x projections)."""

    samples: list[Sample]
    seconds: list[float]
    memory: int
    norms: torch.Tensor


def build_model(name: str, dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(0)
    with torch.device("cuda"):
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
    torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(runs):
        torch.cuda.synchronize()
        started = time.perf_counter()
        norms = run(samples)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return Measured(samples, seconds, torch.cuda.max_memory_allocated(), norms.double().cpu())


def plain_variants(name: str, samples: list[Sample], size: Size, runs: int) -> dict[str, Measured]:
    """What a user would write, on a fresh model."""
    model = build_model(name, torch.bfloat16)
    projections = find_projections(model)
    variants = {
        "naive: rows padded to the context, `.grad` of all weights": timed(
            lambda chosen: naive(model, projections, chosen, size), samples, runs
        ),
        "hooks: rows unpadded, one by one": timed(
            lambda chosen: hooks(model, projections, chosen, size), samples, runs
        ),
    }
    if find_spec("bergson"):
        variants[LABELS["bergson"]] = timed(
            lambda chosen: bergson_norms(model, projections, chosen, size), samples, runs
        )
    else:
        print("bergson is not installed here: it is not measured", flush=True)
    return variants


def prism_variant(name: str, samples: list[Sample], size: Size, checkpointing: bool, runs: int) -> Measured:
    """`prism probe`, on a fresh model."""
    prober = GradientProber(build_model(name, torch.bfloat16), gradient_checkpointing=checkpointing)
    return timed(lambda chosen: ours(prober, [], chosen, size), samples, runs)


def reference(name: str, samples: list[Sample], size: Size) -> torch.Tensor:
    """Norms from a float32 model with the same weights."""
    model = build_model(name, torch.float32)
    return hooks(model, find_projections(model), samples, size).double().cpu()


def matmul_peak() -> float:
    """FLOP/s of a bfloat16 product of random matrices, best of 20."""
    left, right = (torch.randn(PEAK_SIZE, PEAK_SIZE, dtype=torch.bfloat16, device="cuda") for _ in range(2))
    best = float("inf")
    for _ in range(20):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        left @ right
        end.record()
        torch.cuda.synchronize()
        best = min(best, start.elapsed_time(end) / 1000)
    return 2 * PEAK_SIZE**3 / best


def clean() -> None:
    """Give the last model's memory back."""
    gc.collect()
    torch.cuda.empty_cache()


def measure(arguments: argparse.Namespace, layout: str) -> list[str]:
    """Lines of the table of one layout."""
    name, runs = arguments.model, arguments.runs
    size = size_of(name, arguments.context, arguments.samples, arguments.tokens_per_pack)
    prompt = PromptFormat("full", "pairs:2", size.context)
    samples = spread(encode(arguments.trajectories, arguments.tokenizer, prompt, layout), size.samples)
    stride = max(1, len(samples) // arguments.slow_samples)
    few = samples[stride // 2 :: stride]
    checked = few[:2]
    expected = reference(name, checked, size)
    clean()
    peak = matmul_peak()
    results = plain_variants(name, few, size, runs)
    for checkpointing in (False, True):
        clean()
        label = f"prism probe, {size.tokens_per_pack} tokens a pack" + (", checkpointing" if checkpointing else "")
        results[label] = prism_variant(name, samples, size, checkpointing, runs)
    clean()
    rows = statistics.mean(len(sample.rows) for sample in samples)
    tokens = statistics.mean(sample.tokens for sample in samples)
    lines = [
        f"### {name}, layout {layout}, context {size.context}",
        "",
        f"{len(samples)} trajectories ({len(few)} of them in the slow variants), {rows:.1f} rows and {tokens:.0f} "
        f"tokens each; median of {runs} runs. Peak {peak / 1e12:.0f} TFLOP/s.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
    ]
    base = None
    for label, measured in results.items():
        seconds = statistics.median(measured.seconds)
        # trajectories differ in length: what is compared is the time a token takes
        speed = sum(sample.tokens for sample in measured.samples) / seconds
        base = base or speed
        positions = [index for index, sample in enumerate(measured.samples) if sample in checked]
        error = float((measured.norms[positions] / expected - 1).abs().max())
        cells = [label, f"{len(measured.samples) / seconds:.2f}", f"{speed / base:.2f}", f"{speed:.0f}"]
        cells += [f"{measured.memory / 2**30:.1f} GiB"]
        cells += [f"{100 * floor_flops(measured.samples, size) / seconds / peak:.0f}%", f"{error:.1e}"]
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], [round(value, 3) for value in measured.seconds], flush=True)
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
    lines = [f"Machine: {torch.cuda.get_device_name()}, torch {torch.__version__}", ""]
    for layout in arguments.layout or ("steps", "conversation"):
        lines += measure(arguments, layout)
    write_report(lines, arguments.out)


if __name__ == "__main__":
    main()
