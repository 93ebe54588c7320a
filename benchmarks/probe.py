"""Speed, memory and error of the prober beside the other ways to get per-sample gradient norms, on the same samples.

    python benchmarks/probe.py --trajectories results/demo/data/alfworld/trajectories.jsonl \
        --tokenizer resources/backbones/tiny-qwen3 --out benchmarks.md

Every variant runs in a process of its own, on one thread, on the same random model and the same token rows: whole
conversations of real trajectories (or their step rows, with --layout steps), cut at the context. Times are CPU seconds
(wall time on a quiet machine), the median of the runs. The floor counts the FLOPs of the forward pass and of the
activation gradients over the real tokens; its share of the peak is taken against a 1024^3 matrix product timed in the
same process.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3Config

from prism.core.probe.architecture import Projection, find_projections
from prism.core.probe.corpus import load_corpus
from prism.core.probe.packing import plan_packs
from prism.core.probe.prober import GradientProber
from prism.core.probe.samples import Sample, useful_length
from prism.core.prompts import PromptFormat, Row

BATCH = 4
VOCABULARY = 2048
# share of the context that the shortest sample of evenly spread lengths fills
SHORTEST = 0.1


@dataclass(frozen=True)
class Size:
    """A model and a context."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    key_heads: int
    head_dim: int
    context: int
    samples: int
    tokens_per_pack: int

    def title(self) -> str:
        """Heading of the size's table."""
        return f"{self.layers} layers, hidden {self.hidden}, context {self.context}, {self.samples} samples"


SIZES = {
    "128": Size(4, 128, 384, 4, 2, 32, 1024, 12, 2048),
    "256": Size(8, 256, 768, 8, 2, 32, 1024, 6, 2048),
    "1024": Size(2, 1024, 3072, 16, 4, 64, 2048, 4, 2048),
}


def build_model(size: Size, dtype: torch.dtype) -> nn.Module:
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.key_heads,
        head_dim=size.head_dim,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    # drawn in float32 whatever `dtype` is: the reference has the same weights
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa").to(dtype)


def real_samples(trajectories: Path, tokenizer: Path, size: Size, layout: str, lengths: str) -> list[Sample]:
    """Conversations, or single step rows: of the corpus's lengths, or the longest ones cut to lengths spread evenly."""
    corpus = load_corpus(trajectories)
    prompt = PromptFormat("compact", "actions:14", layout, size.context)
    read = AutoTokenizer.from_pretrained(tokenizer)
    encoded = [corpus.encode(identifier, read, prompt) for identifier in sorted(corpus.ids)]
    encoded = [Sample(f"{sample.id} {index}", (row,)) for sample in encoded for index, row in enumerate(sample.rows)]
    encoded = sorted((sample for sample in encoded if sample.response_tokens), key=lambda sample: sample.tokens)
    spread = [(index + 0.5) / size.samples for index in range(size.samples)]
    if lengths == "corpus":
        return [encoded[int(place * len(encoded))] for place in spread]
    longest = encoded[-size.samples :]
    return [
        cut(sample, round((SHORTEST + (1 - SHORTEST) * place) * size.context))
        for sample, place in zip(longest, spread, strict=True)
    ]


def cut(sample: Sample, length: int) -> Sample:
    """The sample's beginning, `length` tokens at most."""
    (row,) = sample.rows
    return Sample(sample.id, (Row(row.input_ids[:length], row.response_mask[:length]),))


# ------------------------------------------------------------------------------------------------------ variants


def padded(samples: Sequence[Sample], length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token ids, labels (-100 without loss) and attention mask of shape (samples, length)."""
    ids = torch.zeros(len(samples), length, dtype=torch.long)
    labels = torch.full((len(samples), length), -100)
    attention = torch.zeros(len(samples), length, dtype=torch.long)
    for index, sample in enumerate(samples):
        (row,) = sample.rows
        tokens = torch.tensor(row.input_ids[:length])
        ids[index, : len(tokens)] = tokens
        attention[index, : len(tokens)] = 1
        labels[index, : len(tokens)] = torch.where(torch.tensor(row.response_mask[:length]).bool(), tokens, -100)
    return ids, labels, attention


def naive(model: nn.Module, projections: list[Projection], samples: list[Sample], size: Size) -> torch.Tensor:
    """One sample at a time, padded to the context, gradients of all weights."""
    model.requires_grad_(True)
    norms = []
    for sample in samples:
        ids, labels, attention = padded([sample], size.context)
        model.zero_grad(set_to_none=True)
        model(input_ids=ids, attention_mask=attention, labels=labels, use_cache=False).loss.backward()
        norms.append(torch.stack([torch.linalg.vector_norm(one.linear.weight.grad) for one in projections]))
    return torch.stack(norms)


def hooks(model: nn.Module, projections: list[Projection], samples: list[Sample], size: Size) -> torch.Tensor:
    """One sample at a time without padding; a hook takes each gradient's norm and drops it."""
    model.requires_grad_(False)
    found: dict[int, torch.Tensor] = {}

    def take(index: int) -> Callable:
        def hook(parameter: nn.Parameter) -> None:
            found[index] = torch.linalg.vector_norm(parameter.grad)
            parameter.grad = None

        return hook

    handles = []
    for index, projection in enumerate(projections):
        projection.linear.weight.requires_grad_(True)
        handles.append(projection.linear.weight.register_post_accumulate_grad_hook(take(index)))
    norms = []
    for sample in samples:
        ids, labels, _ = padded([sample], useful_length(sample.rows[0]) + 1)
        model(input_ids=ids, labels=labels, use_cache=False).loss.backward()
        norms.append(torch.stack([found[index] for index in range(len(projections))]))
    for handle in handles:
        handle.remove()
    return torch.stack(norms)


def batches(samples: list[Sample]) -> list[list[int]]:
    """Indices in batches of similar length."""
    order = sorted(range(len(samples)), key=lambda index: -samples[index].tokens)
    return [order[start : start + BATCH] for start in range(0, len(order), BATCH)]


def batch_tensors(samples: list[Sample]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, shifted labels and token weights (1 / response tokens) of a batch padded to its longest sample."""
    ids, labels, _ = padded(samples, max(useful_length(sample.rows[0]) for sample in samples) + 1)
    targets = labels[:, 1:]
    weights = (targets != -100).float()
    return ids, targets, weights / weights.sum(dim=1, keepdim=True)


def summed_loss(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    flat = F.cross_entropy(logits[:, :-1].flatten(0, 1), targets.flatten().clamp_min(0), reduction="none")
    return (flat * weights.flatten()).sum()


def opacus_norms(
    model: nn.Module, projections: list[Projection], samples: list[Sample], wrap: Callable, read: Callable
) -> torch.Tensor:
    model.requires_grad_(False)
    for projection in projections:
        projection.linear.weight.requires_grad_(True)
    wrapped = wrap(model)
    norms: list[torch.Tensor | None] = [None] * len(samples)
    try:
        for batch in batches(samples):
            ids, targets, weights = batch_tensors([samples[index] for index in batch])
            summed_loss(wrapped(input_ids=ids, use_cache=False).logits, targets, weights).backward()
            found = torch.stack([read(projection.linear.weight) for projection in projections], dim=1)
            wrapped.zero_grad(set_to_none=True)
            for projection in projections:
                projection.linear.weight.grad_sample = None
            for index, row in zip(batch, found, strict=True):
                norms[index] = row.detach()
    finally:
        wrapped.remove_hooks()
    return torch.stack(norms)


def opacus_grad_sample(
    model: nn.Module, projections: list[Projection], samples: list[Sample], size: Size
) -> torch.Tensor:
    """Opacus GradSampleModule: per-sample gradients in memory."""
    from opacus import GradSampleModule

    def wrap(module: nn.Module) -> nn.Module:
        return GradSampleModule(module, batch_first=True, loss_reduction="sum", strict=False)

    return opacus_norms(model, projections, samples, wrap, lambda weight: weight.grad_sample.flatten(1).norm(dim=1))


def opacus_ghost(model: nn.Module, projections: list[Projection], samples: list[Sample], size: Size) -> torch.Tensor:
    """Opacus fast gradient clipping with ghost norms."""
    from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import GradSampleModuleFastGradientClipping

    def wrap(module: nn.Module) -> nn.Module:
        return GradSampleModuleFastGradientClipping(
            module,
            batch_first=True,
            loss_reduction="sum",
            strict=False,
            max_grad_norm=1.0,
            use_ghost_clipping=True,
        )

    return opacus_norms(model, projections, samples, wrap, lambda weight: weight._norm_sample)


def vmap_grad(model: nn.Module, projections: list[Projection], samples: list[Sample], size: Size) -> torch.Tensor:
    """torch.func: vmap over grad of a functional call."""
    from torch.func import functional_call, grad, vmap

    names = {id(parameter): name for name, parameter in model.named_parameters()}
    keys = [names[id(projection.linear.weight)] for projection in projections]
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    trained = {key: parameters[key] for key in keys}

    def loss(weights_of, ids, targets, weights, mask, positions):
        options = {"input_ids": ids[None], "attention_mask": mask, "position_ids": positions, "use_cache": False}
        logits = functional_call(model, {**parameters, **weights_of}, (), options).logits
        return summed_loss(logits, targets[None], weights[None])

    norms: list[torch.Tensor | None] = [None] * len(samples)
    for batch in batches(samples):
        ids, targets, weights = batch_tensors([samples[index] for index in batch])
        length = ids.shape[1]
        mask = torch.full((length, length), float("-inf")).triu(1)[None, None]
        positions = torch.arange(length)[None]
        gradients = vmap(grad(loss), in_dims=(None, 0, 0, 0, None, None))(
            trained, ids, targets, weights, mask, positions
        )
        found = torch.stack([gradients[key].flatten(1).norm(dim=1) for key in keys], dim=1)
        for index, row in zip(batch, found, strict=True):
            norms[index] = row
    return torch.stack(norms)


def ours(model: GradientProber, projections: list[Projection], samples: list[Sample], size: Size) -> torch.Tensor:
    """`prism probe`."""
    found = {
        probed.sample.id: torch.tensor(probed.norms)
        for pack in model.probe(plan_packs(samples, size.tokens_per_pack))
        for probed in pack
    }
    return torch.stack([found[sample.id] for sample in samples])


VARIANTS = {
    "naive": naive,
    "hooks": hooks,
    "opacus": opacus_grad_sample,
    "opacus-ghost": opacus_ghost,
    "vmap": vmap_grad,
    "prism": ours,
}
LABELS = {
    "naive": "naive: padded, `.grad` of all weights",
    "hooks": "hooks: unpadded, one by one",
    "opacus": f"Opacus GradSampleModule, batch {BATCH}",
    "opacus-ghost": f"Opacus ghost, batch {BATCH}",
    "vmap": f"torch.func vmap(grad), batch {BATCH}",
    "prism": "prism probe",
}


# ------------------------------------------------------------------------------------------------- measurements


def floor_flops(samples: Sequence[Sample], size: Size) -> float:
    """FLOPs of forward pass and activation gradients over the real tokens: projections, causal attention, logits."""
    attention_width = size.heads * size.head_dim
    key_width = size.key_heads * size.head_dim
    weights = size.layers * (size.hidden * (2 * attention_width + 2 * key_width) + 3 * size.hidden * size.intermediate)
    total = 0.0
    for sample in samples:
        tokens = sample.tokens
        # scores and values: 4 T^2 d by the half that is causal, once forward and twice backward
        attention = 3 * size.layers * 2 * tokens * tokens * attention_width
        total += 4 * weights * tokens + attention + 4 * sample.response_tokens * size.hidden * VOCABULARY
    return total


def matmul_peak() -> float:
    """FLOP/s of a 1024^3 float32 product, best of 12."""
    left, right = torch.randn(1024, 1024), torch.randn(1024, 1024)
    best = float("inf")
    for _ in range(12):
        started = time.process_time()
        left @ right
        best = min(best, time.process_time() - started)
    return 2 * 1024**3 / best


def run_child(variant: str, size: Size, samples: list[Sample], runs: int, out: Path) -> None:
    """Time one variant in this process; writes JSON and the norms."""
    torch.set_num_threads(1)
    if variant == "reference":
        model = build_model(size, torch.float64)
        norms = hooks(model, find_projections(model), samples, size)
        np.save(out.with_suffix(".npy"), norms.double().numpy())
        return
    model = build_model(size, torch.float32)
    projections = find_projections(model)
    runner = GradientProber(model) if variant == "prism" else model
    peak = matmul_peak()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(runs):
        started = time.process_time()
        norms = VARIANTS[variant](runner, projections, samples, size)
        seconds.append(time.process_time() - started)
    peak = max(peak, matmul_peak())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    np.save(out.with_suffix(".npy"), norms.double().numpy())
    out.write_text(json.dumps({"seconds": seconds, "peak": peak, "rss": memory * 1024, "before": before * 1024}))


def run_in_process(variant: str, name: str, samples_file: Path, runs: int, folder: Path) -> tuple[dict, np.ndarray]:
    out = folder / f"{name}-{variant}.json"
    command = [sys.executable, __file__, "--child", variant, "--size", name, "--samples", str(samples_file)]
    subprocess.run([*command, "--runs", str(runs), "--out", str(out)], check=True)
    return json.loads(out.read_text()) if out.exists() else {}, np.load(out.with_suffix(".npy"))


def measure(name: str, samples: list[Sample], variants: Sequence[str], runs: int, folder: Path) -> list[str]:
    """Lines of the table of one size."""
    size = SIZES[name]
    samples_file = folder / f"{name}.json"
    samples_file.write_text(json.dumps([asdict(sample) for sample in samples]))
    _, reference = run_in_process("reference", name, samples_file, 1, folder)
    floor = floor_flops(samples, size)
    mean = statistics.mean(sample.tokens for sample in samples)
    lines = [
        f"### {size.title()}",
        "",
        f"Mean length {mean:.0f} tokens ({100 * mean / size.context:.0f}% of the context), "
        f"floor {floor / 1e9:.0f} GFLOP, median of {runs} runs.",
        "",
        "| variant | samples/s | ratio to naive | peak RSS | share of matmul peak (floor) | largest relative error |",
        "|---|---|---|---|---|---|",
    ]
    base = None
    for variant in variants:
        result, norms = run_in_process(variant, name, samples_file, runs, folder)
        seconds = statistics.median(result["seconds"])
        base = base or seconds
        cells = [
            LABELS[variant],
            f"{len(samples) / seconds:.2f}",
            f"{base / seconds:.2f}",
            f"{result['rss'] / 2**20:.0f} MiB",
            f"{100 * floor / seconds / result['peak']:.0f}% of {result['peak'] / 1e9:.0f} GFLOP/s",
            f"{np.abs(norms / reference - 1).max():.0e}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], [round(value, 2) for value in result["seconds"]], file=sys.stderr, flush=True)
    return [*lines, ""]


def machine() -> str:
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        cpu = next((line.split(":")[1].strip() for line in info.open() if line.startswith("model name")), cpu)
    return f"{cpu}, one thread, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trajectories", type=Path, help="corpus whose conversations are the samples")
    parser.add_argument("--tokenizer", type=Path, help="model folder with the tokenizer that reads it")
    parser.add_argument("--size", choices=SIZES, action="append", help="default: all three")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--layout", choices=("conversation", "steps"), default="conversation")
    parser.add_argument(
        "--lengths",
        choices=("corpus", "even"),
        default="corpus",
        help="of the samples: the corpus's own, or a tenth of the context to all of it, evenly (mean 55%%)",
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, help="Markdown file to write; default: standard output")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--samples", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        records = json.loads(arguments.samples.read_text())
        samples = [
            Sample(record["id"], tuple(Row(**row) for row in record["rows"]), record["truncated"]) for record in records
        ]
        run_child(arguments.child, SIZES[arguments.size[0]], samples, arguments.runs, arguments.out)
        return
    lines = [f"Machine: {machine()}", ""]
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.size or SIZES:
            size = SIZES[name]
            samples = real_samples(
                arguments.trajectories, arguments.tokenizer, size, arguments.layout, arguments.lengths
            )
            lines += measure(name, samples, arguments.variants, arguments.runs, Path(folder))
    text = "\n".join(lines)
    if arguments.out:
        arguments.out.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
