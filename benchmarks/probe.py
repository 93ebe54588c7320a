"""Speed, memory and error of the prober beside the other ways to get per-sample gradient norms, on the same samples.

    python benchmarks/probe.py --trajectories results/demo/data/alfworld/trajectories.jsonl \
        --tokenizer resources/backbones/tiny-qwen3 --out benchmarks.md

Every variant runs in a process of its own, on one thread, on the same random model and the same token rows: whole
conversations of real trajectories, cut at the context. Times are CPU seconds (wall time on a quiet machine), the median
of the runs. The floor counts the FLOPs of the forward pass and of the activation gradients over the real tokens; its
share of the peak is taken against a 1024^3 matrix product timed in the same process.

With --layout steps a sample is what the workflow probes: a whole trajectory of one row an environment step, whose norm
is that of the sum of its rows' gradients. Prompts are those of config/paper.yaml (full, the last two observations and
actions: rows of about 350 tokens) at the size's context, or with --prompt demo those of config/config.yaml (compact,
the last 14 actions: rows of about 120 tokens) at 512. Every other variant goes row by row or batch by batch and sums
the gradients before it takes the norm; ghost norms cannot be summed, so that one has no entry. The naive variant pads
every row to the context, and most of its distance to the others is that padding: the line above a table says how much.
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3Config

from prism.core.prompts import PromptFormat, Row
from prism.gradients.corpus import load_corpus
from prism.gradients.packs import Sample, plan_packs, useful_length
from prism.gradients.prober import GradientProber
from prism.gradients.projections import Projection, find_projections

BATCH = 4
VOCABULARY = 2048
# style, history and context of the workflow's prompts, for --layout steps
PROMPTS = {"paper": ("full", "pairs:2", 2048), "demo": ("compact", "actions:14", 512)}
# what config/config.yaml sets
STEPS_TOKENS_PER_PACK = 4096
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
    vocabulary: int = VOCABULARY

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
        vocab_size=size.vocabulary,
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


def conversations(trajectories: Path, tokenizer: Path, size: Size, lengths: str) -> list[Sample]:
    """Conversations, one row each: of the corpus's lengths, or the longest ones cut to lengths spread evenly."""
    encoded = encode(trajectories, tokenizer, PromptFormat("compact", "actions:14", size.context), "conversation")
    if lengths == "corpus":
        return spread(encoded, size.samples)
    longest = encoded[-size.samples :]
    return [
        cut(sample, round((SHORTEST + (1 - SHORTEST) * place) * size.context))
        for sample, place in zip(longest, places(size.samples), strict=True)
    ]


def step_rows(trajectories: Path, tokenizer: Path, size: Size, prompt: str) -> tuple[Size, list[Sample]]:
    """Whole trajectories with all their step rows, and the size with the context and the pack size they take."""
    style, history, context = PROMPTS[prompt]
    size = replace(size, context=min(size.context, context), tokens_per_pack=STEPS_TOKENS_PER_PACK)
    encoded = encode(trajectories, tokenizer, PromptFormat(style, history, size.context), "steps")
    return size, spread(encoded, size.samples)


def encode(trajectories: Path, tokenizer: Path, prompt: PromptFormat, layout: str) -> list[Sample]:
    """All trajectories with a response token, shortest first; rows without one are left out."""
    corpus = load_corpus(trajectories)
    read = AutoTokenizer.from_pretrained(tokenizer)
    samples = corpus.samples(sorted(corpus.ids), read, prompt, layout, "response")
    samples = [replace(sample, rows=tuple(filter(useful_length, sample.rows))) for sample in samples]
    return sorted((sample for sample in samples if sample.rows), key=lambda sample: sample.tokens)


def places(count: int) -> list[float]:
    """Middles of `count` equal parts of 0 to 1."""
    return [(index + 0.5) / count for index in range(count)]


def spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """`count` samples spread evenly over a sorted sequence."""
    return [samples[int(place * len(samples))] for place in places(count)]


def cut(sample: Sample, length: int) -> Sample:
    """The sample's beginning, `length` tokens at most."""
    (row,) = sample.rows
    return Sample(sample.id, (Row(row.input_ids[:length], row.response_mask[:length]),))


# ------------------------------------------------------------------------------------------------------ variants


def padded(rows: Sequence[Row], length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token ids, labels (-100 without loss) and attention mask of shape (rows, length)."""
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    labels = torch.full((len(rows), length), -100)
    attention = torch.zeros(len(rows), length, dtype=torch.long)
    for index, row in enumerate(rows):
        tokens = torch.tensor(row.input_ids[:length])
        ids[index, : len(tokens)] = tokens
        attention[index, : len(tokens)] = 1
        labels[index, : len(tokens)] = torch.where(torch.tensor(row.response_mask[:length]).bool(), tokens, -100)
    return ids, labels, attention


def row_loss(model: nn.Module, sample: Sample, row: Row, length: int, masked: bool) -> torch.Tensor:
    """The row's part of the sample's loss, the mean over all its response tokens; the row padded to `length`."""
    ids, labels, attention = (tensor.to(model.device) for tensor in padded([row], length))
    options = {"attention_mask": attention} if masked else {}
    responses = torch.tensor(sample.response_tokens)
    return model(input_ids=ids, labels=labels, num_items_in_batch=responses, use_cache=False, **options).loss


def gradient_norm(gradient: torch.Tensor) -> torch.Tensor:
    """In float32 or better: the norm of a bfloat16 tensor would be rounded to bfloat16."""
    return torch.linalg.vector_norm(gradient, dtype=torch.promote_types(gradient.dtype, torch.float32))


def naive(model: nn.Module, projections: list[Projection], samples: list[Sample], size: Size) -> torch.Tensor:
    """One row at a time, padded to the context, gradients of all weights summed in `.grad`.

    All rows of a trajectory in one batch are slower: larger activations, the same padding.
    """
    model.requires_grad_(True)
    norms = []
    for sample in samples:
        model.zero_grad(set_to_none=True)
        for row in sample.rows:
            row_loss(model, sample, row, size.context, masked=True).backward()
        norms.append(torch.stack([gradient_norm(one.linear.weight.grad) for one in projections]))
    return torch.stack(norms)


def hooks(model: nn.Module, projections: list[Projection], samples: list[Sample], size: Size) -> torch.Tensor:
    """One row at a time without padding; after a sample's last row a hook takes each gradient's norm and drops it."""
    model.requires_grad_(False)
    found: dict[int, torch.Tensor] = {}
    rows_left = 0

    def take(index: int) -> Callable:
        def hook(parameter: nn.Parameter) -> None:
            if rows_left == 0:
                found[index] = gradient_norm(parameter.grad)
                parameter.grad = None

        return hook

    handles = []
    for index, projection in enumerate(projections):
        projection.linear.weight.requires_grad_(True)
        handles.append(projection.linear.weight.register_post_accumulate_grad_hook(take(index)))
    norms = []
    for sample in samples:
        rows_left = len(sample.rows)
        for row in sample.rows:
            rows_left -= 1
            row_loss(model, sample, row, useful_length(row) + 1, masked=False).backward()
        norms.append(torch.stack([found[index] for index in range(len(projections))]))
    for handle in handles:
        handle.remove()
    return torch.stack(norms)


def norms_by_batches(
    samples: list[Sample], per_row: Callable[[list[Row], list[int]], list[torch.Tensor]]
) -> torch.Tensor:
    """Norms of all samples from what is known of each row of a batch.

    Args:
        per_row: of some rows and the response tokens of each one's trajectory, for every projection the gradients of
            the rows (rows, d_out, d_in) or, where no sample has several rows, their norms (rows,).
    """
    if any(len(sample.rows) > 1 for sample in samples):
        return torch.stack([_norm_of_rows(sample, per_row) for sample in samples])
    norms: list[torch.Tensor | None] = [None] * len(samples)
    order = sorted(range(len(samples)), key=lambda index: -samples[index].tokens)
    for batch in batches(order):
        chosen = [samples[index] for index in batch]
        found = per_row([sample.rows[0] for sample in chosen], [sample.response_tokens for sample in chosen])
        found = [one if one.dim() == 1 else one.flatten(1).norm(dim=1) for one in found]
        for index, row in zip(batch, torch.stack(found, dim=1), strict=True):
            norms[index] = row.detach()
    return torch.stack(norms)


def _norm_of_rows(sample: Sample, per_row: Callable[[list[Row], list[int]], list[torch.Tensor]]) -> torch.Tensor:
    sums: list[torch.Tensor] = []
    for rows in batches(sorted(sample.rows, key=useful_length, reverse=True)):
        found = [one.sum(dim=0) for one in per_row(rows, [sample.response_tokens] * len(rows))]
        sums = [old.add_(new) for old, new in zip(sums, found, strict=True)] if sums else found
    return torch.stack([one.norm() for one in sums]).detach()


def batches(ordered: list) -> Iterator[list]:
    """Parts of `BATCH` items, the last one shorter."""
    for start in range(0, len(ordered), BATCH):
        yield ordered[start : start + BATCH]


def batch_tensors(rows: list[Row], responses: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, shifted labels and token weights (1 / response tokens) of a batch padded to its longest row."""
    ids, labels, _ = padded(rows, max(map(useful_length, rows)) + 1)
    targets = labels[:, 1:]
    return ids, targets, (targets != -100).float() / torch.tensor(responses)[:, None]


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

    def per_row(rows: list[Row], responses: list[int]) -> list[torch.Tensor]:
        ids, targets, weights = batch_tensors(rows, responses)
        summed_loss(wrapped(input_ids=ids, use_cache=False).logits, targets, weights).backward()
        found = [read(projection.linear.weight) for projection in projections]
        wrapped.zero_grad(set_to_none=True)
        for projection in projections:
            projection.linear.weight.grad_sample = None
        return found

    try:
        return norms_by_batches(samples, per_row)
    finally:
        wrapped.remove_hooks()


def opacus_grad_sample(
    model: nn.Module, projections: list[Projection], samples: list[Sample], size: Size
) -> torch.Tensor:
    """Opacus GradSampleModule: per-sample gradients in memory."""
    from opacus import GradSampleModule

    def wrap(module: nn.Module) -> nn.Module:
        return GradSampleModule(module, batch_first=True, loss_reduction="sum", strict=False)

    return opacus_norms(model, projections, samples, wrap, lambda weight: weight.grad_sample)


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

    def per_row(rows: list[Row], responses: list[int]) -> list[torch.Tensor]:
        ids, targets, weights = batch_tensors(rows, responses)
        length = ids.shape[1]
        mask = torch.full((length, length), float("-inf")).triu(1)[None, None]
        positions = torch.arange(length)[None]
        gradients = vmap(grad(loss), in_dims=(None, 0, 0, 0, None, None))(
            trained, ids, targets, weights, mask, positions
        )
        return [gradients[key] for key in keys]

    return norms_by_batches(samples, per_row)


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


# what a variant cannot do with samples of several rows
SINGLE_ROWS_ONLY = {"opacus-ghost": "n/a: norms of rows alone"}


# ------------------------------------------------------------------------------------------------- measurements


def floor_flops(samples: Sequence[Sample], size: Size) -> float:
    """FLOPs of forward pass and activation gradients over the real tokens: projections, causal attention, logits."""
    attention_width = size.heads * size.head_dim
    key_width = size.key_heads * size.head_dim
    weights = size.layers * (size.hidden * (2 * attention_width + 2 * key_width) + 3 * size.hidden * size.intermediate)
    total = 0.0
    for sample in samples:
        # scores and values: 4 T^2 d by the half that is causal, once forward and twice backward, row by row
        squares = sum(useful_length(row) ** 2 for row in sample.rows)
        attention = 3 * size.layers * 2 * squares * attention_width
        total += 4 * weights * sample.tokens + attention + 4 * sample.response_tokens * size.hidden * size.vocabulary
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


def run_in_process(variant: str, work: Path, runs: int) -> tuple[dict, np.ndarray]:
    """Times and norms of one variant on the size and samples that `work` describes."""
    out = work.with_name(f"{work.stem}-{variant}.json")
    command = [sys.executable, __file__, "--child", variant, "--samples", str(work), "--runs", str(runs)]
    subprocess.run([*command, "--out", str(out)], check=True)
    return json.loads(out.read_text()) if out.exists() else {}, np.load(out.with_suffix(".npy"))


def write_work(path: Path, size: Size, samples: Sequence[Sample]) -> None:
    path.write_text(json.dumps({"size": asdict(size), "samples": [asdict(sample) for sample in samples]}))


def read_work(path: Path) -> tuple[Size, list[Sample]]:
    work = json.loads(path.read_text())
    samples = [Sample(one["id"], tuple(Row(**row) for row in one["rows"]), one["truncated"]) for one in work["samples"]]
    return Size(**work["size"]), samples


def describe(size: Size, samples: Sequence[Sample], floor: float, runs: int) -> str:
    """The line above a table."""
    rows = [useful_length(row) for sample in samples for row in sample.rows]
    mean = statistics.mean(rows)
    text = f"Mean length {mean:.0f} tokens ({100 * mean / size.context:.0f}% of the context)"
    if len(rows) > len(samples):
        text = (
            f"Trajectories of {len(rows) / len(samples):.1f} rows on average, a row's mean length {mean:.0f} tokens "
            f"({100 * mean / size.context:.0f}% of the context: padding alone makes the naive variant compute "
            f"{size.context / mean:.1f} times the positions)"
        )
    return f"{text}, floor {floor / 1e9:.0f} GFLOP, median of {runs} runs."


def measure(size: Size, samples: list[Sample], variants: Sequence[str], runs: int, note: str, work: Path) -> list[str]:
    """Lines of the table of one size; `note` goes into its heading."""
    write_work(work, size, samples)
    _, reference = run_in_process("reference", work, 1)
    floor = floor_flops(samples, size)
    lines = [
        f"### {size.title()}{note}",
        "",
        describe(size, samples, floor, runs),
        "",
        "| variant | samples/s | ratio to naive | peak RSS | share of matmul peak (floor) | largest relative error |",
        "|---|---|---|---|---|---|",
    ]
    several_rows = any(len(sample.rows) > 1 for sample in samples)
    base = None
    for variant in variants:
        if several_rows and variant in SINGLE_ROWS_ONLY:
            lines.append(f"| {LABELS[variant]} | {SINGLE_ROWS_ONLY[variant]} | | | | |")
            continue
        result, norms = run_in_process(variant, work, runs)
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


def write_report(lines: Sequence[str], out: Path | None) -> None:
    """Write Markdown to a file, or to standard output."""
    text = "\n".join(lines)
    if out:
        out.write_text(text)
    else:
        print(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trajectories", type=Path, help="corpus whose trajectories are the samples")
    parser.add_argument("--tokenizer", type=Path, help="model folder with the tokenizer that reads it")
    parser.add_argument("--size", choices=SIZES, action="append", help="default: all three")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--layout", choices=("conversation", "steps"), default="conversation")
    parser.add_argument("--prompt", choices=PROMPTS, default="paper", help="of step rows (default: paper)")
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
        size, samples = read_work(arguments.samples)
        run_child(arguments.child, size, samples, arguments.runs, arguments.out)
        return
    if arguments.layout == "steps" and arguments.lengths != "corpus":
        parser.error("--lengths even cuts conversations; step rows keep the corpus's lengths")
    source = arguments.trajectories, arguments.tokenizer
    lines = [f"Machine: {machine()}", ""]
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.size or SIZES:
            size, note = SIZES[name], ""
            if arguments.layout == "steps":
                size, samples = step_rows(*source, size, arguments.prompt)
                note = f", step rows with the {arguments.prompt}'s prompts ({', '.join(PROMPTS[arguments.prompt][:2])})"
            else:
                samples = conversations(*source, size, arguments.lengths)
            lines += measure(size, samples, arguments.variants, arguments.runs, note, Path(folder) / f"{name}.json")
    write_report(lines, arguments.out)


if __name__ == "__main__":
    main()
