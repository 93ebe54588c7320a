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
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from probe_variants import LABELS, QUICK_SIZES, SINGLE_ROWS_ONLY, SIZES, VARIANTS, Size, build_model, hooks
from torch import nn
from transformers import AutoTokenizer

from prism.core.prompts import PromptFormat, Row
from prism.gradients.corpus import load_corpus
from prism.gradients.memory_plan import MemoryPlan, checkpoint_layers, free_memory, measure_need, plan_memory
from prism.gradients.packs import Sample, useful_length
from prism.gradients.prober import GradientProber
from prism.gradients.projections import Projection, find_projections, parameter_counts
from prism.gradients.streaming import load_streamed
from prism.gradients.work import Work

# style, history and context of the workflow's prompts, for --layout steps
PROMPTS = {"paper": ("full", "pairs:2", 2048), "demo": ("compact", "actions:14", 512)}
# what config/config.yaml sets
STEPS_TOKENS_PER_PACK = 4096
# share of the context that the shortest sample of evenly spread lengths fills
SHORTEST = 0.1


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


# ------------------------------------------------------------------------------------------------- measurements


def floor_flops(samples: Sequence[Sample], size: Size) -> float:
    """FLOPs of forward pass and activation gradients over the real tokens: projections, causal attention, logits."""
    attention_width = size.heads * size.head_dim
    key_width = size.key_heads * size.head_dim
    weights = size.layers * (size.hidden * (2 * attention_width + 2 * key_width) + 3 * size.hidden * size.intermediate)
    work = Work(weights, size.layers * attention_width, size.hidden * size.vocabulary)
    return sum(map(work.floor, samples))


def matmul_peak(clock: Callable[[], float]) -> float:
    """FLOP/s of a 1024^3 float32 product by the clock that the variants are timed with, best of 12."""
    left, right = torch.randn(1024, 1024), torch.randn(1024, 1024)
    best = float("inf")
    for _ in range(12):
        started = clock()
        left @ right
        best = min(best, clock() - started)
    return 2 * 1024**3 / best


def run_child(variant: str, work: Path, runs: int, threads: int, out: Path) -> None:
    """Time one variant in this process; writes JSON and the norms."""
    size, samples = read_work(work)
    torch.set_num_threads(threads)
    if variant == "model":
        build_model(size, torch.float32).save_pretrained(model_folder(work))
        return
    if variant == "reference":
        model = build_model(size, torch.float64)
        norms = hooks(model, find_projections(model), samples, size)
        np.save(out.with_suffix(".npy"), norms.double().numpy())
        return
    clock = time.process_time if threads == 1 else time.perf_counter
    runner, projections, size = prepared(variant, size, samples, work)
    peak = matmul_peak(clock)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(runs):
        started = clock()
        norms = VARIANTS[variant](runner, projections, samples, size)
        seconds.append(clock() - started)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = max(peak, matmul_peak(clock))
    np.save(out.with_suffix(".npy"), norms.double().numpy())
    out.write_text(json.dumps({"seconds": seconds, "peak": peak, "rss": memory * 1024, "before": before * 1024}))


def prepared(
    variant: str, size: Size, samples: list[Sample], work: Path
) -> tuple[nn.Module | GradientProber, list[Projection], Size]:
    """What a variant runs on: the plain model or our prober, in the memory that the variant stands for."""
    if variant == "prism-stream":
        model = load_streamed(model_folder(work), torch.float32, torch.device("cpu"))
    else:
        model = build_model(size, torch.float32)
    projections = find_projections(model)
    if not variant.startswith("prism"):
        return model, projections, size
    prober = GradientProber(model)
    plan = MemoryPlan(size.tokens_per_pack, streaming=variant == "prism-stream")
    if variant == "prism-auto":
        need = measure_need(prober, samples, sum(parameter_counts(projections)))
        plan = plan_memory(need, samples, MemoryPlan(0, settled=False), free_memory(prober.device), "cpu")
        print(plan, file=sys.stderr)
    if plan.gradient_checkpointing or plan.streaming:
        checkpoint_layers(model)
    prober.tokens_per_pass = plan.tokens_per_pass
    return prober, projections, replace(size, tokens_per_pack=plan.tokens_per_pack)


def model_folder(work: Path) -> Path:
    """Where the weights lie that are streamed."""
    return work.with_name(f"{work.stem}-model")


@dataclass(frozen=True)
class Runs:
    """How variants are run.

    Attributes:
        bergson_python: interpreter of the environment with bergson; none without.
    """

    repeats: int
    threads: int
    bergson_python: Path | None

    def child(self, variant: str, work: Path) -> tuple[dict, np.ndarray]:
        """Times and norms of one variant on the size and samples that `work` describes, from a process of its own."""
        out = work.with_name(f"{work.stem}-{variant}.json")
        python = self.bergson_python if variant == "bergson" else sys.executable
        command = [python, __file__, "--child", variant, "--samples", work, "--out", out]
        command += ["--runs", str(self.repeats), "--threads", str(self.threads)]
        subprocess.run(command, check=True)
        norms = out.with_suffix(".npy")
        return json.loads(out.read_text()) if out.exists() else {}, np.load(norms) if norms.exists() else np.empty(0)


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


def measure(size: Size, samples: list[Sample], variants: Sequence[str], runs: Runs, note: str, work: Path) -> list[str]:
    """Lines of the table of one size; `note` goes into its heading."""
    write_work(work, size, samples)
    _, reference = runs.child("reference", work)
    if "prism-stream" in variants:
        runs.child("model", work)
    floor = floor_flops(samples, size)
    lines = [
        f"### {size.title()}{note}",
        "",
        describe(size, samples, floor, runs.repeats),
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
        if variant == "bergson" and runs.bergson_python is None:
            lines.append(f"| {LABELS[variant]} | not measured: no environment with it was named | | | | |")
            continue
        result, norms = runs.child(variant, work)
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


def bergson_is_missing(python: Path) -> str:
    """Why bergson cannot be measured with an interpreter; empty where it can."""
    try:
        run = subprocess.run([python, "-c", "import bergson, prism.gradients.prober"], capture_output=True, text=True)
    except OSError as error:
        return f"--bergson-python: {python} cannot be run ({error.strerror})"
    return "" if run.returncode == 0 else f"--bergson-python: {run.stderr.strip().splitlines()[-1]}"


def machine(threads: int) -> str:
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        cpu = next((line.split(":")[1].strip() for line in info.open() if line.startswith("model name")), cpu)
    counted = "one thread" if threads == 1 else f"{threads} threads, times by the clock on the wall"
    return f"{cpu}, {counted}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"


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
    parser.add_argument("--size", choices=SIZES, action="append", help=f"default: {', '.join(QUICK_SIZES)}")
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
    parser.add_argument("--threads", type=int, default=1, help="with one, CPU seconds are counted")
    parser.add_argument(
        "--bergson-python",
        type=Path,
        help="interpreter of an environment with bergson; its requirements want other versions of torch and "
        "transformers than prism, but it runs with prism's: in the environment of a second checkout, "
        "pip install --no-deps bergson==2.5.1 simple-parsing ml-dtypes petname jaxtyping",
    )
    parser.add_argument("--out", type=Path, help="Markdown file to write; default: standard output")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--samples", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        run_child(arguments.child, arguments.samples, arguments.runs, arguments.threads, arguments.out)
        return
    if arguments.bergson_python and (missing := bergson_is_missing(arguments.bergson_python)):
        parser.error(missing)
    runs = Runs(arguments.runs, arguments.threads, arguments.bergson_python)
    if arguments.layout == "steps" and arguments.lengths != "corpus":
        parser.error("--lengths even cuts conversations; step rows keep the corpus's lengths")
    source = arguments.trajectories, arguments.tokenizer
    lines = [f"Machine: {machine(arguments.threads)}", ""]
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.size or QUICK_SIZES:
            size, note = SIZES[name], ""
            if arguments.layout == "steps":
                size, samples = step_rows(*source, size, arguments.prompt)
                note = f", step rows with the {arguments.prompt}'s prompts ({', '.join(PROMPTS[arguments.prompt][:2])})"
            else:
                samples = conversations(*source, size, arguments.lengths)
            lines += measure(size, samples, arguments.variants, runs, note, Path(folder) / f"{name}.json")
    write_report(lines, arguments.out)


if __name__ == "__main__":
    main()
