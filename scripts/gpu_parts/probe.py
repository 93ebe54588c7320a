"""The prober beside a naive loop and bergson, by `benchmarks/probe_gpu.py`, on the largest shape that fits."""

from __future__ import annotations

from gpu_parts.common import Found, Place, gpu_benchmark

# GiB that the slowest variant takes with weights, gradients and activations -> shape
SHAPES = {70: "qwen3-8b", 40: "qwen3-4b", 20: "qwen3-1.7b", 0: "qwen3-0.6b"}


def measure(place: Place, found: Found) -> None:
    """Compare the variants on whole conversations; a row a variant."""
    found["model"] = "tiny" if place.cpu else shape_for(place.card_gib)
    sizes = {"context": 512, "samples": 4, "slow_samples": 2, "tokens_per_pack": 1024, "runs": 1} if place.cpu else {
        "samples": 8, "slow_samples": 4, "tokens_per_pack": 8192, "runs": 2,
    }  # fmt: skip
    benchmark = gpu_benchmark()
    wanted = benchmark.Comparison(
        model=found["model"], trajectories=place.corpus, tokenizer=place.model, layout="conversation", **sizes
    )
    found["samples"], rows = benchmark.compare(wanted)
    for row in rows:
        print(row, flush=True)
        found["variants"] = [*found.get("variants", []), row]
    best = max((row for row in found["variants"] if "skipped" not in row), key=lambda row: row["tokens/s"])
    found["summary"] = (
        f"{found['model']}: {best['variant']} {best['tokens/s']:.0f} tokens/s, {best['ratio to naive']:.1f} x naive, "
        f"{100 * best['share of matmul peak (floor)']:.0f}% of the matmul peak, {best['memory'] / 2**30:.1f} GiB"
    )


def shape_for(card_gib: float) -> str:
    """The largest shape whose slowest variant fits a card."""
    return next(shape for least, shape in SHAPES.items() if card_gib >= least)
