"""Tiny backbones: pre-training on random play, and the check of the shipped ones.

The base model shall speak the benchmark's language and keep the reply format: it is pre-trained on transcripts of a
random policy whose thought names its action. What it shall know of the tasks it has from the episodes among them that
an erring expert plays. (A base pre-trained on expert play of all types of task is itself a weak SFT model, and
fine-tuning it on a hundred trajectories only memorises them.)
"""

from __future__ import annotations

import math
import platform
import random
import string
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from prism.core.benchmarks import find_benchmark
from prism.core.errors import BadInput, NotFinite
from prism.core.files import atomic_folder, sha256_file, sha256_json, write_json
from prism.core.progress import say, track
from prism.core.prompts import LAYOUTS, PromptEncoder, PromptFormat, Row
from prism.core.recipes import setting
from prism.core.tiny import CONTEXT_LENGTH, CONTINUED, Family, Shape, build_model, build_tokenizer, find_family
from prism.core.trajectories import Trajectory, read_trajectories
from prism.environments import load_data

PROVENANCE = "provenance.json"
LOSS_WINDOW = 200


@dataclass(frozen=True)
class BackboneRecipe:
    """Settings of a tiny backbone's pre-training.

    Attributes:
        prompts: prompt format of each benchmark's rows.
        layouts: what a transcript is read as, each of them in turn: ``steps``, ``conversation``.
        shape: size of the model.
        epochs: passes over the rows.
        batch_tokens: tokens of a batch, padding included; rows of like length share a batch.
        learning_rate: peak of a cosine schedule that ends at a tenth.
        prompt_weight: weight of the loss on prompt tokens; on response tokens it is 1. Reading what the environment
            says teaches the vocabulary.
        threads: CPU threads; part of the recipe, since the sums depend on it.
    """

    prompts: dict[str, PromptFormat]
    shape: Shape
    epochs: int
    batch_tokens: int
    learning_rate: float
    warmup_ratio: float
    weight_decay: float
    prompt_weight: float
    max_grad_norm: float
    seed: int
    threads: int
    layouts: tuple[str, ...] = setting("what a transcript is read as", ("steps",), choices=LAYOUTS)

    def prompt_of(self, benchmark: str) -> PromptFormat:
        """The prompt format of a benchmark.

        Raises:
            BadInput: the recipe has none.
        """
        if benchmark not in self.prompts:
            raise BadInput("prompts", f"has no format for {benchmark}", f"it has: {', '.join(self.prompts)}")
        return self.prompts[benchmark]


def build_benchmark_tokenizer(family: Family) -> Any:
    """The tokenizer of a family's tiny model: it knows the words of the benchmarks that it was pre-trained on."""
    return build_tokenizer(family, load_data("alfworld").words() | load_data("webshop").words())


def train_tiny_backbone(
    recipe: BackboneRecipe, family_name: str, transcripts: Sequence[str | Path], out: str | Path
) -> None:
    """Pre-train a tiny backbone on transcripts and write it as a Hugging Face folder.

    Deterministic for one recipe, corpus, machine type and library version.

    Args:
        recipe: the settings.
        family_name: ``qwen3`` or ``llama3``.
        transcripts: files in the format of trajectories, each of a benchmark that `recipe.prompts` has a format for.
        out: folder; gets safetensors weights, config, tokenizer and ``provenance.json``.

    Raises:
        BadInput: the transcripts cannot be read, hold a word that the vocabulary lacks, or a game of another split.
        NotFinite: the loss became NaN or infinite.
    """
    import torch

    started = time.monotonic()
    family = find_family(family_name)
    tokenizer = build_benchmark_tokenizer(family)
    corpus: list[Trajectory] = []
    rows: list[Row] = []
    for path in transcripts:
        played = read_trajectories(path)
        _check_training_games(played, path)
        corpus += played
        form = recipe.prompt_of(played[0].benchmark)
        rows += [row for layout in recipe.layouts for row in encode_corpus(played, tokenizer, form, path, layout)]
    model = build_model(family, recipe.shape, tokenizer, recipe.seed)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    say(f"tiny-{family_name}: {parameters} parameters, {len(tokenizer)} words, {len(rows)} rows")
    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)
    try:
        _fit(model, rows, recipe, tokenizer.pad_token_id)
    finally:
        torch.set_num_threads(threads)
    with atomic_folder(out) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        provenance = {
            "family": family_name,
            "recipe": asdict(recipe),
            "corpus_sha256": [sha256_file(path) for path in transcripts],
            "corpus_games_sha256": sha256_json(sorted({trajectory.game for trajectory in corpus})),
            "corpus_trajectories": len(corpus),
            "corpus_rows": len(rows),
            "parameters": parameters,
            "vocabulary": len(tokenizer),
            "weights_sha256": sha256_file(folder / "model.safetensors"),
            "seconds": round(time.monotonic() - started),
            "versions": library_versions("torch", "transformers", "tokenizers"),
        }
        write_json(folder / PROVENANCE, provenance)


def _check_training_games(corpus: Sequence[Trajectory], place: object) -> None:
    """Refuse transcripts of games that a panel may hold: the backbone must not have seen them.

    A WebShop goal's name does not say which part of the list it is in; the recipe plays a catalog of its own.
    """
    for trajectory in corpus:
        if not trajectory.game.startswith(find_benchmark(trajectory.benchmark, place).training_games):
            raise BadInput(place, f"{trajectory.game} is not a training game", "play games of the training split only")


def library_versions(*names: str) -> dict[str, str]:
    """Versions of Python and of installed packages, to be recorded with a result."""
    from importlib.metadata import version

    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def encode_corpus(
    corpus: Sequence[Trajectory], tokenizer: Any, form: PromptFormat, place: object, layout: str = "steps"
) -> list[Row]:
    """All rows of a corpus in one layout; a conversation ends where the model's positions do.

    Raises:
        BadInput: a row holds an unknown word, or a step is longer than the context: steps must be read whole.
    """
    whole = layout == "steps"
    encoder = PromptEncoder(tokenizer, form if whole else replace(form, context_length=CONTEXT_LENGTH))
    strange = _spelling_ids(tokenizer)
    rows = []
    for trajectory in corpus:
        encoded = encoder.encode_trajectory(trajectory, layout)
        if whole and encoded.truncated:
            raise BadInput(f"{place}: {trajectory.id}", "does not fit the context", "raise prompt.context_length")
        if any(not strange.isdisjoint(row.input_ids) for row in encoded.rows):
            words = ", ".join(unknown_words([trajectory], tokenizer)[:5])
            raise BadInput(place, f"words outside the vocabulary: {words}", "add them to the vocabulary's sources")
        rows += encoded.rows
    return rows


def _spelling_ids(tokenizer: Any) -> set[int]:
    """Ids of the tokens that only words outside the vocabulary are made of."""
    letters = [CONTINUED + letter for letter in string.ascii_lowercase + string.digits]
    return {tokenizer.unk_token_id, *tokenizer.convert_tokens_to_ids(letters)}


def unknown_words(corpus: Sequence[Trajectory], tokenizer: Any) -> list[str]:
    """Words of a corpus that the tokenizer does not know or has to spell, in alphabetical order."""
    core = tokenizer.backend_tokenizer
    strange, known, missing = _spelling_ids(tokenizer), set(), set()
    for trajectory in corpus:
        texts = [trajectory.task]
        for step in trajectory.steps:
            texts += [step.observation, step.thought, step.action, *step.admissible]
        for text in texts:
            normalized = core.normalizer.normalize_str(text)
            pieces = core.pre_tokenizer.pre_tokenize_str(normalized)
            words = {piece for piece, _ in pieces} - known
            spelled = {word for word in words if not strange.isdisjoint(core.encode(word).ids)}
            missing |= spelled
            known |= words - spelled
    return sorted(missing)


def _fit(model: Any, rows: Sequence[Row], recipe: BackboneRecipe, pad_id: int) -> None:
    """Train in place: AdamW, linear warm-up, cosine decay to a tenth."""
    import torch

    order = random.Random(recipe.seed)
    batches = [batch for _ in range(recipe.epochs) for batch in make_batches(rows, recipe.batch_tokens, order)]
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.98)
    )
    warmup = max(1, round(recipe.warmup_ratio * len(batches)))

    def schedule(step: int) -> float:
        decay = 0.55 + 0.45 * math.cos(math.pi * step / len(batches))
        return min(1.0, (step + 1) / warmup) * decay

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    model.train()
    losses: list[float] = []
    for batch in track(batches, len(batches), "pre-training", "batches"):
        response_loss, prompt_loss = _losses(model, [rows[index] for index in batch], pad_id)
        loss = response_loss + recipe.prompt_weight * prompt_loss
        if not torch.isfinite(loss):
            raise NotFinite(f"pre-training: the loss of batch {len(losses)} is {loss.item()}; lower learning_rate")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
        optimizer.step()
        scheduler.step()
        losses.append(response_loss.item())
        if len(losses) % LOSS_WINDOW == 0 or len(losses) == len(batches):
            recent = losses[-LOSS_WINDOW:]
            say(f"pre-training: response loss {sum(recent) / len(recent):.3f}")
    model.eval()


def make_batches(rows: Sequence[Row], batch_tokens: int, order: random.Random) -> list[list[int]]:
    """Indices of `rows` in batches of at most `batch_tokens` padded tokens, like lengths together, shuffled."""
    # a few tokens of jitter: neighbours differ from epoch to epoch
    indices = sorted(range(len(rows)), key=lambda index: len(rows[index].input_ids) + 16 * order.random())
    batches: list[list[int]] = []
    current: list[int] = []
    longest = 0
    for index in indices:
        length = len(rows[index].input_ids)
        if current and max(longest, length) * (len(current) + 1) > batch_tokens:
            batches.append(current)
            current, longest = [], 0
        current.append(index)
        longest = max(longest, length)
    batches.append(current)
    order.shuffle(batches)
    return batches


def _losses(model: Any, rows: Sequence[Row], pad_id: int) -> tuple[Any, Any]:
    """Mean cross-entropy over the response tokens and over the prompt tokens of a batch."""
    import torch
    from torch.nn.functional import cross_entropy

    width = max(len(row.input_ids) for row in rows)
    ids = torch.full((len(rows), width), pad_id)
    is_response = torch.zeros(len(rows), width, dtype=torch.bool)
    is_prompt = torch.zeros(len(rows), width, dtype=torch.bool)
    for line, row in enumerate(rows):
        mask = torch.tensor(row.response_mask, dtype=torch.bool)
        ids[line, : len(mask)] = torch.tensor(row.input_ids)
        is_response[line, : len(mask)] = mask
        is_prompt[line, : len(mask)] = ~mask
    # padding is on the right, behind a causal mask: no real token sees it
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    loss = cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    return loss[is_response[:, 1:]].mean(), loss[is_prompt[:, 1:]].mean()


def check_shipped_backbone(folder: str | Path) -> Iterator[str]:
    """Compare a shipped backbone with its recipe without training it again; yield what does not agree.

    Checked: config and vocabulary rebuilt from the recipe, hash of the weights.
    """
    from transformers import AutoConfig, AutoTokenizer

    from prism.core.files import read_json
    from prism.core.recipes import build_recipe
    from prism.core.tiny import build_config

    folder = Path(folder)
    provenance = read_json(folder / PROVENANCE)
    recipe = build_recipe(BackboneRecipe, provenance["recipe"], str(folder / PROVENANCE))
    family = find_family(provenance["family"])
    rebuilt = build_benchmark_tokenizer(family)
    shipped = AutoTokenizer.from_pretrained(folder)
    if shipped.get_vocab() != rebuilt.get_vocab():
        yield "vocabulary"
    if shipped.chat_template != rebuilt.chat_template:
        yield "chat template"
    config = AutoConfig.from_pretrained(folder).to_dict()
    for key, value in build_config(family, recipe.shape, rebuilt).to_dict().items():
        # these two are written when a model is saved
        if key not in ("architectures", "_name_or_path") and config.get(key) != value:
            yield f"config key {key}"
    if sha256_file(folder / "model.safetensors") != provenance["weights_sha256"]:
        yield "weights"
