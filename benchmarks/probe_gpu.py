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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3Config

from prism.core.probe.architecture import Projection, find_projections
from prism.core.probe.corpus import load_corpus
from prism.core.probe.packing import plan_packs
from prism.core.probe.prober import GradientProber
from prism.core.probe.samples import Sample, useful_length
from prism.core.prompts import PromptFormat
from prism.core.tokenizers import load_tokenizer

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


@dataclass(frozen=True)
class Measured:
    """One variant: seconds of every run, most bytes allocated, norms (samples x projections)."""

    seconds: list[float]
    memory: int
    norms: torch.Tensor


def build_model(name: str, dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(0)
    with torch.device("cuda"):
        # drawn in bfloat16 whatever `dtype` is: the reference has the same weights
        model = AutoModelForCausalLM.from_config(MODELS[name], dtype=torch.bfloat16, attn_implementation="sdpa")
    return model.to(dtype).eval()


def read_samples(trajectories: Path, tokenizer: Path, layout: str, context: int, count: int) -> list[Sample]:
    """Trajectories spread evenly over the corpus's lengths."""
    corpus = load_corpus(trajectories)
    prompt = PromptFormat("full", "pairs:2", layout, context)
    read = load_tokenizer(tokenizer)
    samples = sorted((corpus.encode(one, read, prompt) for one in corpus.ids), key=lambda sample: sample.tokens)
    return [samples[int((index + 0.5) / count * len(samples))] for index in range(count)]


def row_loss(model: nn.Module, sample: Sample, index: int, length: int) -> torch.Tensor:
    """A row's share of its trajectory's loss, padded (or cut after its last response token) to `length`."""
    row = sample.rows[index]
    ids = torch.zeros(1, length, dtype=torch.long)
    labels = torch.full((1, length), -100)
    attention = torch.zeros(1, length, dtype=torch.long)
    tokens = torch.tensor(row.input_ids[:length])
    ids[0, : len(tokens)], attention[0, : len(tokens)] = tokens, 1
    labels[0, : len(tokens)] = torch.where(torch.tensor(row.response_mask[:length]).bool(), tokens, -100)
    mask = None if len(tokens) == length else attention.cuda()
    output = model(
        input_ids=ids.cuda(),
        attention_mask=mask,
        labels=labels.cuda(),
        num_items_in_batch=sample.response_tokens,
        use_cache=False,
    )
    return output.loss


def naive(model: nn.Module, projections: list[Projection], samples: list[Sample], context: int) -> torch.Tensor:
    """Rows padded to the context, gradients of all weights summed over a trajectory's rows, then their norms."""
    model.requires_grad_(True)
    norms = []
    for sample in samples:
        model.zero_grad(set_to_none=True)
        for index in range(len(sample.rows)):
            row_loss(model, sample, index, context).backward()
        norms.append(torch.stack([one.linear.weight.grad.float().norm() for one in projections]))
    model.zero_grad(set_to_none=True)
    return torch.stack(norms).double().cpu()


def hooks(model: nn.Module, projections: list[Projection], samples: list[Sample], context: int) -> torch.Tensor:
    """Rows one by one without padding, gradients of the projections alone; dropped once their norm is taken."""
    model.requires_grad_(False)
    for projection in projections:
        projection.linear.weight.requires_grad_(True)
    norms: list[torch.Tensor] = []
    for sample in samples:
        found: dict[int, torch.Tensor] = {}
        last = len(sample.rows) - 1
        handles = []
        for index in range(len(sample.rows)):
            if index == last:
                handles = [
                    one.linear.weight.register_post_accumulate_grad_hook(_take(found, number))
                    for number, one in enumerate(projections)
                ]
            row_loss(model, sample, index, useful_length(sample.rows[index]) + 1).backward()
        for handle in handles:
            handle.remove()
        norms.append(torch.stack([found[number] for number in range(len(projections))]))
    return torch.stack(norms).double().cpu()


def _take(found: dict[int, torch.Tensor], number: int) -> Callable[[nn.Parameter], None]:
    def hook(parameter: nn.Parameter) -> None:
        found[number] = parameter.grad.float().norm()
        parameter.grad = None

    return hook


def probe(prober: GradientProber, samples: list[Sample], tokens_per_pack: int) -> torch.Tensor:
    """`prism probe`."""
    found = {one.sample.id: one.norms for pack in prober.probe(plan_packs(samples, tokens_per_pack)) for one in pack}
    return torch.tensor([found[sample.id] for sample in samples], dtype=torch.float64)


def timed(run: Callable[[], torch.Tensor], runs: int) -> Measured:
    """Run once to warm up, then `runs` times."""
    run()
    torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(runs):
        torch.cuda.synchronize()
        started = time.perf_counter()
        norms = run()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return Measured(seconds, torch.cuda.max_memory_allocated(), norms)


def floor_flops(config: LlamaConfig | Qwen3Config, samples: Sequence[Sample]) -> float:
    """FLOPs of forward pass and activation gradients over the real tokens: projections, causal attention, logits."""
    width = config.num_attention_heads * config.head_dim
    key_width = config.num_key_value_heads * config.head_dim
    weights = config.num_hidden_layers * (
        config.hidden_size * (2 * width + 2 * key_width) + 3 * config.hidden_size * config.intermediate_size
    )
    total = 0.0
    for sample in samples:
        total += 4 * sample.response_tokens * config.hidden_size * config.vocab_size
        for tokens in map(useful_length, sample.rows):
            total += 4 * weights * tokens + 3 * config.num_hidden_layers * 2 * tokens * tokens * width
    return total


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


def reference(name: str, samples: list[Sample], context: int) -> torch.Tensor:
    """Norms from a float32 model with the same weights."""
    model = build_model(name, torch.float32)
    return hooks(model, find_projections(model), samples, context)


def clean() -> None:
    gc.collect()
    torch.cuda.empty_cache()


def plain_variants(name: str, samples: list[Sample], context: int, runs: int) -> dict[str, Measured]:
    """What a user would write, on a fresh model."""
    model = build_model(name, torch.bfloat16)
    projections = find_projections(model)
    return {
        "naive: rows padded to the context, `.grad` of all weights": timed(
            lambda: naive(model, projections, samples, context), runs
        ),
        "hooks: rows unpadded, one by one": timed(lambda: hooks(model, projections, samples, context), runs),
    }


def prism_variant(name: str, samples: list[Sample], tokens_per_pack: int, checkpointing: bool, runs: int) -> Measured:
    """`prism probe`, on a fresh model."""
    prober = GradientProber(build_model(name, torch.bfloat16), gradient_checkpointing=checkpointing)
    return timed(lambda: probe(prober, samples, tokens_per_pack), runs)


def measure(arguments: argparse.Namespace, layout: str) -> list[str]:
    """Lines of the table of one layout."""
    name, context, runs = arguments.model, arguments.context, arguments.runs
    samples = read_samples(arguments.trajectories, arguments.tokenizer, layout, context, arguments.samples)
    stride = max(1, len(samples) // arguments.slow_samples)
    few = samples[stride // 2 :: stride]
    checked = few[:2]
    expected = reference(name, checked, context)
    clean()
    peak = matmul_peak()
    results = {label: (few, found) for label, found in plain_variants(name, few, context, runs).items()}
    for checkpointing in (False, True):
        clean()
        found = prism_variant(name, samples, arguments.tokens_per_pack, checkpointing, runs)
        label = f"prism probe, {arguments.tokens_per_pack} tokens a pack" + (", checkpointing" if checkpointing else "")
        results[label] = (samples, found)
    clean()
    rows = statistics.mean(len(sample.rows) for sample in samples)
    tokens = statistics.mean(sample.tokens for sample in samples)
    columns = ["variant", "trajectories/s", "ratio to naive", "tokens/s", "memory", "share of matmul peak (floor)"]
    lines = [
        f"### {name}, layout {layout}, context {context}",
        "",
        f"{len(samples)} trajectories ({len(few)} of them in the slow variants), {rows:.1f} rows and {tokens:.0f} "
        f"tokens each; median of {runs} runs. Peak {peak / 1e12:.0f} TFLOP/s.",
        "",
        f"| {' | '.join(columns)} | largest relative error |",
        "|---|---|---|---|---|---|---|",
    ]
    base = None
    for label, (used, measured) in results.items():
        seconds = statistics.median(measured.seconds)
        # trajectories differ in length: what is compared is the time a token takes
        speed = sum(sample.tokens for sample in used) / seconds
        base = base or speed
        positions = [index for index, sample in enumerate(used) if sample in checked]
        error = float((measured.norms[positions] / expected - 1).abs().max())
        cells = [label, f"{len(used) / seconds:.2f}", f"{speed / base:.2f}", f"{speed:.0f}"]
        cells += [
            f"{measured.memory / 2**30:.1f} GiB",
            f"{100 * floor_flops(MODELS[name], used) / seconds / peak:.0f}%",
        ]
        lines.append(f"| {' | '.join([*cells, f'{error:.1e}'])} |")
        print(lines[-1], [round(value, 3) for value in measured.seconds], flush=True)
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trajectories", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True, help="model folder with the tokenizer that reads them")
    parser.add_argument("--model", choices=MODELS, default="qwen3-8b")
    parser.add_argument("--layout", choices=("steps", "conversation"), action="append", help="default: both")
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--slow-samples", type=int, default=3, help="of them, for the variants that take long")
    parser.add_argument("--tokens-per-pack", type=int, default=16384)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, help="Markdown file to write; default: standard output")
    arguments = parser.parse_args()
    lines = [f"Machine: {torch.cuda.get_device_name()}, torch {torch.__version__}", ""]
    for layout in arguments.layout or ("steps", "conversation"):
        lines += measure(arguments, layout)
    text = "\n".join(lines)
    if arguments.out:
        arguments.out.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
