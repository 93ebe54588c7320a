"""The ways to get per-trajectory gradient norms that `probe.py` and `probe_gpu.py` measure, and their models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModelForCausalLM, Qwen3Config

from prism.core.prompts import Row
from prism.gradients.packs import Sample, plan_packs, useful_length
from prism.gradients.prober import GradientProber
from prism.gradients.projections import Projection

BATCH = 4
VOCABULARY = 2048


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
    # that of SmolLM2-135M, with --layout steps: trajectories of about 3,100 tokens
    "576": Size(30, 576, 1536, 9, 3, 64, 2048, 2, 4096, 49152),
}
QUICK_SIZES = ("128", "256", "1024")


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


def bergson_norms(model: nn.Module, projections: list[Projection], samples: list[Sample], size: Size) -> torch.Tensor:
    """A collector of bergson (EleutherAI) that takes the norm of every example's gradient, module by module."""
    from bergson.collector.collector import HookCollectorBase

    found: dict[str, torch.Tensor] = {}
    names = {id(module): name for name, module in model.named_modules()}
    measured = [names[id(projection.linear)] for projection in projections]
    several = any(len(sample.rows) > 1 for sample in samples)

    class Norms(HookCollectorBase):
        def setup(self) -> None: ...

        def teardown(self) -> None: ...

        def process_batch(self, indices: list[int], **_) -> None: ...

        def backward_hook(self, module: nn.Module, g: torch.Tensor) -> None:
            gradients = self._compute_gradient(module, g)
            # rows of one trajectory are summed before their norm is taken
            found[module._name] = gradients if several else gradients.norm(dim=1)

    # as bergson does it: hooks of the first layers need an input that wants a gradient
    model.requires_grad_(False)
    model.get_input_embeddings().requires_grad_(True)
    collector = Norms(model=model, target_modules=set(measured))

    def per_row(rows: list[Row], responses: list[int]) -> list[torch.Tensor]:
        ids, targets, weights = (tensor.to(model.device) for tensor in batch_tensors(rows, responses))
        with collector:
            summed_loss(model(input_ids=ids, use_cache=False).logits.float(), targets, weights).backward()
        model.zero_grad(set_to_none=True)
        return [found.pop(name) for name in measured]

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
    "bergson": bergson_norms,
    "prism": ours,
    "prism-auto": ours,
    "prism-stream": ours,
}
LABELS = {
    "naive": "naive: padded, `.grad` of all weights",
    "hooks": "hooks: unpadded, one by one",
    "opacus": f"Opacus GradSampleModule, batch {BATCH}",
    "opacus-ghost": f"Opacus ghost, batch {BATCH}",
    "vmap": f"torch.func vmap(grad), batch {BATCH}",
    "bergson": f"bergson, norms of each example, batch {BATCH}",
    "prism": "prism probe, all memory it wants",
    "prism-auto": "prism probe (`--memory auto`)",
    "prism-stream": "prism probe --stream",
}
# what a variant cannot do with samples of several rows
SINGLE_ROWS_ONLY = {"opacus-ghost": "n/a: norms of rows alone"}
